"""The beginning of a server's answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Header:
    """The header of an answer, from its lines with their ends. Names are asked for in lower case."""

    __slots__ = ("_lower", "_text")

    def __init__(self, lines: Sequence[bytes]) -> None:
        # Searched as one text: for the few names that are asked for, that is quicker than to take all lines apart.
        self._text = b"\n" + b"".join(lines)
        self._lower = self._text.lower()

    def first(self, name: bytes) -> str | None:
        """The value of the first line with this name."""
        return next(self._values(name), None)

    def all(self, name: bytes) -> list[str]:
        """The values of every line with this name, in order."""
        return list(self._values(name))

    def _values(self, name: bytes) -> Iterator[str]:
        wanted = b"\n" + name + b":"
        found = self._lower.find(wanted)
        while found >= 0:
            start = found + len(wanted)
            end = self._text.find(b"\n", start)
            yield self._text[start : end if end >= 0 else None].strip().decode("latin-1")
            found = self._lower.find(wanted, start)


class Answer(NamedTuple):
    """The beginning of a server's answer."""

    status: int
    header: Header

    @property
    def is_success(self) -> bool:
        """Whether the body is what was asked for."""
        return 200 <= self.status < 300

    @property
    def declared_size(self) -> int:
        """The size of the body in bytes as its header tells it; 0 when it does not, or when it will be decompressed."""
        length = self.header.first(b"content-length")
        if length is None or not length.isdecimal() or self.header.first(b"content-encoding"):
            return 0
        return int(length[:18])  # beyond that it is too large in any case, and int() refuses thousands of digits
