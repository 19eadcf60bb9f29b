"""Standard streams that may be closed, full or gone: what people see never decides what is done."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast


def secure_standard_streams() -> None:
    """For a process of our own: nothing that is written to stdout or stderr raises, now or when Python ends."""
    open_closed_streams()
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)


def open_closed_streams() -> None:
    """Let standard streams that are closed lead nowhere.

    Else the next file that is opened, which may be one of the dataset, gets the descriptor that all stray output of
    this process and its children goes to; and a warning raises.
    """
    for descriptor in range(3):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    for name in ("stdout", "stderr"):
        if getattr(getattr(sys, name), "closed", False):
            setattr(sys, name, unfailing(None))


def _is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def unfailing(stream: TextIO | None) -> TextIO:
    """The same stream, to write to without ever an error; None, which Python makes of a closed one, leads nowhere."""
    return cast("TextIO", stream if isinstance(stream, _Unfailing) else _Unfailing(stream))


class _Unfailing(io.TextIOBase):
    """What cannot be written is dropped. Any error will do: the stream of a notebook has errors of its own."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        with suppress(Exception):
            self._write(text)
        return len(text)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a file name, in a terminal that knows only ASCII
            self._stream.write(text.encode("ascii", "backslashreplace").decode())

    def flush(self) -> None:
        with suppress(Exception):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        with suppress(Exception):
            return self._stream is not None and self._stream.isatty()
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # tqdm asks whether the bar may have blocks in it
        return getattr(self._stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_stream"], name)
