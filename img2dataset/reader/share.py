"""A file as a reader of Arrow's sees it that reads ahead in a thread of its own, and is not told when to end."""

from __future__ import annotations

import math
from threading import Lock
from typing import IO, Any


class Share:
    """The bytes of a file from where it stands, at most so many, until the end of the ``with`` block."""

    closed = False

    def __init__(self, file: IO[bytes], limit: float = math.inf) -> None:
        self._file = file
        self._left = limit
        self._lock = Lock()

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._left = 0

    def read(self, size: int) -> bytes:
        """The next bytes; none where the limit is reached or the block has ended."""
        with self._lock:
            data = self._file.read(int(min(size, self._left)))
            self._left -= len(data)
            return data

    def close(self) -> None:
        """The file is somebody else's to close."""
