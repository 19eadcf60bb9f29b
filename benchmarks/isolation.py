"""A network of our own: loopback is all there is, and names are asked of our name server."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile

_INSIDE = "IMG2DATASET_BENCHMARK_ISOLATED"
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_SYSTEM_FILES = {"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/nsswitch.conf": "hosts: files dns\n"}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def isolate() -> bool:
    """Go on in Linux namespaces, where nothing that is measured can reach beyond this machine.

    This starts the script over. Returns whether it worked: it does not where the system forbids such namespaces.
    """
    if os.environ.get(_INSIDE):
        _set_up()
        return True
    if _is_allowed():
        os.environ[_INSIDE] = "1"
        os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, *sys.argv])
    return False


def _is_allowed() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _set_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    for path, text in _SYSTEM_FILES.items():
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(text)
            file.flush()
            subprocess.run(["mount", "--bind", file.name, path], check=True)
