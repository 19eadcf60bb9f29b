"""One run at a time in a folder."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from img2dataset.errors import OptionsError, ShardError
from img2dataset.filesystem import LOCK_NAME, Folder
from img2dataset.filesystem.names import claim_name

logger = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds between two signs of life of the run that holds the lock
STALE = 90.0  # seconds without one after which a lock that a run elsewhere left is taken over
PATIENCE = 2.0  # seconds that a sign of life may take to be written
LARGEST = 1 << 16  # bytes of a lock


class Lock:
    """A lock that is held. `check` tells whether it still is."""

    def __init__(self, folder: Folder, token: dict[str, Any]) -> None:
        self._folder = folder
        self._token = token
        self._taken_by: dict[str, Any] | None = None
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lock heartbeat", daemon=True)
        self._heart.start()

    @property
    def is_held(self) -> bool:
        """Whether no other run has taken the lock over."""
        return self._taken_by is None

    def check(self) -> None:
        """Raises `ShardError` when another run has taken the lock over, having had no sign of life for `STALE`."""
        if self._taken_by is not None:
            raise ShardError(f"{self._folder} was taken over by another run ({_who(self._taken_by)}); this one stops")

    def release(self) -> None:
        """Remove the lock if it is still this run's."""
        self._stop.set()
        self._heart.join(PATIENCE)
        if self._is_ours(_holder(self._folder, LOCK_NAME)):
            self._folder.remove(LOCK_NAME)

    def _is_ours(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and holder.get("id") == self._token["id"]

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT) and self._taken_by is None:
            self._renew()

    def _renew(self) -> None:
        """Write a sign of life, but never over the lock of a run that took this one for dead."""
        try:
            holder = _holder(self._folder, LOCK_NAME)
            if holder and not self._is_ours(holder):  # one that tells of nobody is damaged, and written anew
                self._taken_by = holder
            elif not self._stop.is_set():
                self._folder.write(LOCK_NAME, _text(self._token))
        except OSError:
            logger.warning("the lock of %s could not be renewed", self._folder, exc_info=True)


@contextmanager
def locked(folder: Folder) -> Iterator[Lock]:
    """Hold the folder's lock. Raises `OptionsError`, saying who holds it, when another run does.

    The lock of a run that died is taken over: at once when it died on this machine, else when its heartbeat is `STALE`.
    """
    token = _new_token()
    try:
        _acquire(folder, LOCK_NAME, token)
    except OSError as error:
        raise OptionsError(f"{folder} cannot be locked: {error.strerror or error}") from error
    lock = Lock(folder, token)
    try:
        yield lock
    finally:
        with suppress(OSError):  # the store is gone: the lock is stale then
            lock.release()


def _new_token() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "id": uuid.uuid4().hex,
        "machine": _machine(),
        "process_started": _process_start(pid),
    }


def _acquire(folder: Folder, name: str, token: dict[str, Any]) -> None:
    """Create the file `name`, or take it over from a dead run."""
    holder = None
    while holder is None:  # when it was released in between
        if folder.write_new(name, _text(token)):
            return
        holder = _holder(folder, name)
    if _is_alive(holder) and (not _is_ahead(holder) or _beats(folder, name, holder)):
        raise OptionsError(
            f"{folder} is being written by another run ({_who(holder)}); "
            f"wait for its end, or choose another output_folder{_when_free(holder)}"
        )
    _take_over(folder, name, holder, token)


def _take_over(folder: Folder, name: str, dead: dict[str, Any], token: dict[str, Any]) -> None:
    """Of several runs that find the same dead holder, the one that creates the claim on its lock gets it.

    Who comes later finds the claim, or another holder than the dead one.
    """
    claim = claim_name(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {dead.get('id')}").hex)
    _acquire(folder, claim, token)
    try:
        if _holder(folder, name) != dead:
            raise OptionsError(f"{folder} is being written by another run that began at the same moment")
        folder.write(name, _text(token))
    finally:
        with suppress(FileNotFoundError):  # a run that got the lock meanwhile has swept
            folder.remove(claim)


def _text(token: dict[str, Any]) -> bytes:
    return json.dumps(token | {"heartbeat": time.time()}).encode()


def _holder(folder: Folder, name: str) -> dict[str, Any] | None:
    """What the lock says of its holder; None when there is no lock, and nothing when it is damaged."""
    try:
        holder = folder.read_json(name, LARGEST)
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) and all(map(_is_plain, holder.values())) and _is_whole(holder) else {}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | None)


def _is_whole(holder: dict[str, Any]) -> bool:
    heartbeat: Any = holder.get("heartbeat")
    return (
        isinstance(holder.get("host"), str)
        and isinstance(holder.get("id"), str)
        and type(holder.get("pid")) is int
        and type(heartbeat) in (int, float)
        and abs(heartbeat) < 1e15  # which NaN is not
    )


def _who(holder: dict[str, Any]) -> str:
    return f"host {holder.get('host')}, process {holder.get('pid')}"


def _is_here(holder: dict[str, Any]) -> bool:
    """Whether the holder's process would be seen from here: same boot of the same machine, same container."""
    return holder.get("host") == socket.gethostname() and holder.get("machine") == _machine()


def _is_alive(holder: dict[str, Any]) -> bool:
    if _is_here(holder) and not _process_lives(holder):
        return False
    return _silence(holder) < STALE


def _silence(holder: dict[str, Any]) -> float:
    return time.time() - float(holder.get("heartbeat", 0))


def _is_ahead(holder: dict[str, Any]) -> bool:
    """Whether its clock is so far ahead of ours that they cannot be compared: the lock would never be stale."""
    return _silence(holder) < -STALE


def _beats(folder: Folder, name: str, holder: dict[str, Any]) -> bool:
    """Whether the holder gives a sign of life while it is watched."""
    logger.warning("the lock of %s is from the future; watching it for a sign of life", folder)
    deadline = time.monotonic() + HEARTBEAT + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(HEARTBEAT / 20)
        if _holder(folder, name) != holder:
            return True
    return False


def _when_free(holder: dict[str, Any]) -> str:
    if _is_here(holder) or _is_ahead(holder):
        return ""
    return f"; if that run is dead, its lock is free in {max(1, STALE - _silence(holder)):.0f} s"


def _process_lives(holder: dict[str, Any]) -> bool:
    """Whether the process is there, and is not another one that was given its number since."""
    pid = int(holder.get("pid", 0))
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return _process_start(pid) in (None, holder.get("process_started"))
    return _process_start(pid) == holder.get("process_started")


def _process_start(pid: int) -> str | None:
    """When a process began, in clock ticks since the boot; None for a zombie, or where the system does not tell."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = text.rpartition(")")[2].split()  # as proc(5) tells
        return None if state == "Z" else fields[18]
    return None


def _machine() -> str | None:
    """What tells apart the boots and containers that have the same host name; None where the system does not tell."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return None
