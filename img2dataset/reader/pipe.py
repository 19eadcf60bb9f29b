"""What can be read only once, as standard input: its beginning is kept until it is known what to do."""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from threading import Lock
from typing import IO, Any, cast

STANDARD_INPUT = "/dev/stdin"


def is_pipe(path: str) -> bool:
    """Whether a path is that of a pipe, a socket or a terminal."""
    with suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))
    return False


class Pipe:
    """In the place of a file system. Whoever opens it reads from the beginning, and whoever opened it before no more.

    What has been read is kept for the next one, until `keep_no_more`.
    """

    def __init__(self, path: str) -> None:
        self._source: Any = open(path, "rb", buffering=0)  # noqa: SIM115 - as long as the run reads
        self._head = bytearray()
        self._keeps = True
        self._current: _View | None = None
        self._lock = Lock()

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """Its content from the beginning."""
        del path, mode
        with self._lock:
            self._current = _View(self)
        return cast("IO[bytes]", io.BufferedReader(self._current, io.DEFAULT_BUFFER_SIZE * 8))

    def keep_no_more(self) -> None:
        """Whoever opens it next is the last."""
        self._keeps = False

    def read(self, view: _View, size: int) -> bytes:
        """The next bytes of a view; nothing where another one has been opened since: its library reads ahead."""
        with self._lock:
            if view is not self._current or self._source.closed:
                return b""
            kept = bytes(self._head[view.place : view.place + size])
            if kept:
                return kept
            data: bytes = self._source.read(size)
            if self._keeps:
                self._head += data
            else:
                self._head.clear()
            return data

    def end(self, view: _View) -> None:
        """A view is closed; with the last one, the pipe."""
        with self._lock:
            if view is self._current and not self._keeps:
                self._source.close()


class _View(io.RawIOBase):
    """One look at a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.place = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._pipe.read(self, len(buffer))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._pipe.end(self)
        super().close()
