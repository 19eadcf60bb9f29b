"""One run at a time in a folder."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from img2dataset.errors import OptionsError
from img2dataset.filesystem import LOCK_NAME, Folder

logger = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds between two signs of life of the run that holds the lock
STALE = 90.0  # seconds without one after which a lock on another host is taken over


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock. Raises `OptionsError`, saying who holds it, when another run does.

    The lock of a run that died is taken over: at once when it died on this host, else when its heartbeat is `STALE`.
    """
    token = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time(), "id": os.urandom(8).hex()}
    _acquire(folder, token)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(folder, token, stop), name="lock heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        if _holder(folder).get("id") == token["id"]:
            folder.remove(LOCK_NAME)


def _acquire(folder: Folder, token: dict[str, Any]) -> None:
    if not folder.write_new(LOCK_NAME, _text(token)):
        holder = _holder(folder)
        if _is_alive(holder):
            raise OptionsError(
                f"{folder} is being written by another run (host {holder.get('host')}, process {holder.get('pid')}); "
                "wait for its end, or choose another output_folder"
            )
        folder.write(LOCK_NAME, _text(token))
    if _holder(folder).get("id") != token["id"]:
        raise OptionsError(f"{folder} is being written by another run that began at the same moment")


def _beat(folder: Folder, token: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT):
        _renew(folder, token)


def _renew(folder: Folder, token: dict[str, Any]) -> None:
    try:
        folder.write(LOCK_NAME, _text(token))
    except OSError:
        logger.warning("the lock of %s could not be renewed", folder, exc_info=True)


def _text(token: dict[str, Any]) -> bytes:
    return json.dumps(token | {"heartbeat": time.time()}).encode()


def _holder(folder: Folder) -> dict[str, Any]:
    try:
        holder = json.loads(folder.read(LOCK_NAME))
    except (FileNotFoundError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_alive(holder: dict[str, Any]) -> bool:
    if holder.get("host") == socket.gethostname() and not _process_lives(holder.get("pid")):
        return False
    return time.time() - float(holder.get("heartbeat", 0)) < STALE


def _process_lives(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
