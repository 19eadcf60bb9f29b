"""What a worker and its parent say to each other: length-prefixed frames over a pipe."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

_LENGTH = struct.Struct("<Q")

NO_MORE = b""  # parent to worker, where a pickled shard would be: the list has ended


@dataclass(frozen=True, slots=True)
class More:
    """Worker to parent: there is room for one more shard."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """Worker to parent, its last frame: the work has ended, by itself or by an error."""

    error: str | None


def write_frame(stream: IO[bytes], payload: bytes) -> None:
    """Send a frame at once: a crash right after does not take it back. Raises `BrokenPipeError` if nobody reads."""
    stream.write(_LENGTH.pack(len(payload)) + payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """The next frame. Raises `EOFError` when the other side is gone, be it in the middle of a frame."""
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    return _read_exactly(stream, length)


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other side is gone")
    return data
