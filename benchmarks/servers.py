"""Starts what the contestants fetch from: a thousand https hosts and more http hosts, all of them on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import certifi
import trustme
from contestants import HERE

TLS_HOSTS = tuple(f"127.1.{number // 250}.{number % 250 + 1}" for number in range(1000))
_START_SECONDS = 15

_NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
worker_processes 2;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000;
    types {{ image/jpeg jpg; image/png png; image/webp webp; image/gif gif; image/avif avif; }}
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    ssl_session_cache shared:tls:10m;
    server {{
        listen {http} backlog=4096;
        listen {https} ssl backlog=4096;
        allow 127.0.0.0/8;
        deny all;
        root {root};
    }}
}}
"""


def http_host(number: int) -> str:
    """One of sixty thousand hosts on loopback that are no https hosts."""
    return f"127.2.{number // 250 % 250}.{number % 250 + 1}"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where the web is. ``http`` and ``https`` serve files as fast as they can; `webserver.py` is at ``unruly``."""

    program: str
    http: int
    https: int
    unruly: int
    has_names: bool  # hN.test is known, anything.invalid is known not to be
    ca_bundle: Path


@contextlib.contextmanager
def servers(corpus: Path, has_names: bool, own_certificates: bool = False) -> Iterator[Servers]:
    """Serve the files of the folder `corpus`. `has_names`: port 53 is ours to take.

    `own_certificates`: every https host has a small one of its own, as on the web, if nginx serves.
    """
    http, https, unruly, unruly_tls = _free_ports(4)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = trustme.CA()
        certificate, ca_bundle = _certificate(folder, authority)
        program = [sys.executable, str(HERE / "webserver.py"), str(corpus), "--certificate", str(certificate)]
        names = ["--dns"] if has_names else []
        stack.enter_context(_started([*program, "--http", str(unruly), "--https", str(unruly_tls), *names], unruly))
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if nginx:
            configuration = folder / "nginx.conf"
            user = "user root;" if os.geteuid() == 0 else ""
            if own_certificates:
                certificate = _own_certificates(folder, authority)
            values = {"root": corpus, "certificate": certificate, "http": http, "https": https}
            configuration.write_text(_NGINX.format(folder=folder, user=user, **values))
            command = [nginx, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
            stack.enter_context(_started(command, https))
        yield Servers(
            program="nginx" if nginx else "webserver.py",
            http=http if nginx else unruly,
            https=https if nginx else unruly_tls,
            unruly=unruly,
            has_names=has_names,
            ca_bundle=ca_bundle,
        )


def _certificate(folder: Path, authority: trustme.CA) -> tuple[Path, Path]:
    """A certificate for all https hosts, with its key, and a bundle of full size that its issuer is in."""
    certificate, ca_bundle = folder / "server.pem", folder / "ca-bundle.pem"
    authority.issue_cert(*TLS_HOSTS).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    ca_bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    return certificate, ca_bundle


def _own_certificates(folder: Path, authority: trustme.CA) -> Path:
    """A certificate for each https host; the name of its file as nginx finds it."""
    for host in TLS_HOSTS:
        authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(str(folder / f"{host}.pem"))
    return folder / "$server_addr.pem"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


@contextlib.contextmanager
def _started(command: list[str], port: int) -> Iterator[None]:
    """A server that listens on `port`, ended in any case."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server came up on port {port}: {process.args!r}")
