"""A json list: an array of records, or records a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any, cast

from img2dataset.errors import OptionsError, in_one_line
from img2dataset.reader.jsonl import BLOCK, Jsonl
from img2dataset.reader.records import Block, NoRecordError

BLANKS = b" \t\r\n\xef\xbb\xbf"  # what may stand before the first bracket, byte order mark included


class Json(Jsonl):
    """An array is read record by record: it may be larger than memory."""

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
        whole = cast("IO[bytes]", _Begun(first, file))
        yield from _of_array(whole) if first == b"[" else super().blocks(whole)


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
    """The records of an array, a line each."""
    lines: list[bytes] = []
    size, first = 0, 1
    for line in _lines_of_array(file):
        lines.append(line)
        size += len(line)
        if size >= BLOCK:
            yield Block(b"\n".join(lines), first, "record")
            first += len(lines)
            lines, size = [], 0
    if lines:
        yield Block(b"\n".join(lines), first, "record")


def _lines_of_array(file: IO[bytes]) -> Iterator[bytes]:
    import ijson

    count = 0
    try:
        for record in ijson.items(file, "item"):
            count += 1
            yield json.dumps(record, ensure_ascii=False, default=_number).encode("utf-8", "replace")
    except (ijson.JSONError, UnicodeDecodeError) as error:
        why = in_one_line(ValueError(str(error).partition("\n")[0]))
        raise NoRecordError(f"behind record {count} it is no JSON: {why}") from error


def _number(decimal: Any) -> float:
    """ijson gives a number with a point as a Decimal."""
    return float(decimal)
