"""A json list: an array of records, or records a line."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, cast

from img2dataset.errors import OptionsError
from img2dataset.reader.jsonl import BLOCK, LONGEST, Jsonl
from img2dataset.reader.records import Block, NoRecordError

BLANKS = b" \t\r\n\xef\xbb\xbf"  # what may stand before the first bracket, byte order mark included
NO_BLANKS = re.compile(r"[ \t\r\n]*")
SHOWN = 40  # characters of what is no record
SCANNER = json.JSONDecoder(
    parse_int=str, parse_float=str
)  # it is asked where an object ends, and numbers are left alone


class Json(Jsonl):
    """An array is read record by record: it may be larger than memory.

    The json of Python finds where a record ends. ijson was tried: 200 KB of opening brackets cost it 4 GB.
    """

    name = "json"

    def check(self, file: IO[bytes], path: str) -> None:
        try:
            super().check(file, path)
        except OptionsError as error:
            if _is_object(file):
                raise OptionsError(
                    f"{error}; the file is one JSON object, and a json list is an array of objects, or one a line"
                ) from error
            raise

    def blocks(self, file: IO[bytes]) -> Iterator[Block]:
        """The file in blocks, of whole lines or of records of its array. Raises `NoRecordError`."""
        first = _first_byte(file)
        yield from _of_array(file) if first == b"[" else super().blocks(cast("IO[bytes]", _Begun(first, file)))


def _is_object(file: IO[bytes]) -> bool:
    """Whether a list that is none is an object: the rest is read as far as it tells."""
    file.seek(0)
    begun = file.read(BLOCK).strip(BLANKS)
    if not begun.startswith(b"{"):
        return False
    first_line, _, rest = begun.partition(b"\n")
    try:
        json.loads(first_line)
    except (ValueError, RecursionError):
        return True
    return not rest.strip()


def _first_byte(file: IO[bytes]) -> bytes:
    while (byte := file.read(1)) and byte in BLANKS:
        pass
    return byte


class _Begun:
    """A file whose first bytes have been read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        if not size:
            return b""
        first, self._first = self._first, b""
        return first or self._rest.read(size)


def _of_array(file: IO[bytes]) -> Iterator[Block]:
    """The records of an array, a line each; its first bracket has been read."""
    lines: list[bytes] = []
    size, first = 0, 1
    for record in _records(_Text(file)):
        lines.append(record.encode("utf-8", "replace"))
        size += len(record)
        if size >= BLOCK:
            yield Block(b"\n".join(lines), first, "record")
            first += len(lines)
            lines, size = [], 0
    if lines:
        yield Block(b"\n".join(lines), first, "record")


def _records(text: _Text) -> Iterator[str]:
    count = 0
    if text.peek() == "]":
        text.take()
    else:
        sign = ","
        while sign == ",":
            count += 1
            yield text.take_object(f"record {count}")
            sign = text.take()
        if sign != "]":
            raise NoRecordError(
                f"behind record {count} the array neither goes on nor ends, but has {sign or 'no end'!r}"
            )
    if sign := text.take():
        raise NoRecordError(f"behind record {count}, and the end of the array, there is {sign!r}")


class _Text:
    """The text of a file, of which a part is held."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._place = 0

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            self._place = NO_BLANKS.match(self._held, self._place).end()  # type: ignore[union-attr]  # it always does
            if self._place < len(self._held):
                return self._held[self._place]
            if not self._read():
                return ""

    def take(self) -> str:
        """The same, and it is used up."""
        sign = self.peek()
        self._place += len(sign)
        return sign

    def take_object(self, name: str) -> str:
        """The next object, in one line. Raises `NoRecordError` where there is none."""
        if self.peek() != "{":
            begun = self._held[self._place : self._place + SHOWN]
            raise NoRecordError(f"{name} is no JSON object but {begun!r}")
        while (end := self._end_of_object(name)) is None:
            pass
        found, self._place = self._held[self._place : end], end
        return found.replace("\n", " ").replace("\r", " ")  # between values: in a text they are escaped

    def _end_of_object(self, name: str) -> int | None:
        """Where it ends; None where more had to be read, and it is to be looked for again."""
        try:
            return SCANNER.raw_decode(self._held, self._place)[1]
        except RecursionError as error:
            raise NoRecordError(f"{name} is nested too deeply") from error
        except json.JSONDecodeError as error:
            if len(self._held) - self._place > LONGEST or not self._read():
                raise NoRecordError(f"{name} is no JSON object: {error.msg}") from error
            return None

    def _read(self) -> bool:
        """Hold more of it. Returns False at the end."""
        data = self._file.read(BLOCK)
        self._held = self._held[self._place :] + self._decoder.decode(data, final=not data)
        self._place = 0
        return bool(data)
