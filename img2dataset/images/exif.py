"""The EXIF block of an image file: the orientation it asks for, and all of it as JSON text."""

from __future__ import annotations

import json
import logging
import struct
from io import BytesIO
from typing import Any

_ORIENTATION_TAG = 0x0112
_MAX_ENTRIES = 512
_HEADER_BYTES = 1 << 20
_MAX_CHUNKS = 2000

MAX_JSON_CHARS = 65_536
MAX_VALUE_CHARS = 512
MAX_READ_BYTES = 1 << 20
READ_COST = 100
"""Bytes that any read counts for: an honest file takes a thousand reads, and ten thousand take 30 ms."""


def orientation_of(block: bytes | None) -> int:
    """The orientation 1–8 that an EXIF block asks for; 1 when it asks for none or cannot be read.

    `block` is the TIFF structure of EXIF, with or without its ``Exif\\0\\0`` prefix.
    """
    if not block:
        return 1
    start = 6 if block.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", block, start + 4)
        (entries,) = struct.unpack_from(order + "H", block, start + directory)
        for entry in range(start + directory + 2, start + directory + 2 + 12 * min(entries, _MAX_ENTRIES), 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", block, entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def read_exif(body: bytes) -> str:
    """The EXIF tags of an image file as JSON text, `exifread`'s names to printable values; ``{}`` when there are none.

    Never raises. The text is ASCII and of at most `MAX_JSON_CHARS`: values are cut, the last tags left out. Thumbnails
    and maker notes are not in it.
    """
    return _bounded_json(_tags(body)) if _may_have_exif(body) else "{}"


def _bounded_json(tags: dict[str, str]) -> str:
    text = json.dumps(tags)
    while len(text) > MAX_JSON_CHARS:
        tags = dict(list(tags.items())[: len(tags) // 2])
        text = json.dumps(tags)
    return text


def _may_have_exif(body: bytes) -> bool:
    """Whether it is worth importing and asking `exifread`."""
    if body.startswith(b"\xff\xd8"):
        return body.find(b"Exif\0\0", 0, _HEADER_BYTES) > 0
    if body.startswith(b"\x89PNG"):
        return b"eXIf" in body
    if body.startswith(b"RIFF"):
        return bool(_block_of_webp(body))
    return body[:2] in (b"II", b"MM") or (body[4:8] == b"ftyp" and body.find(b"Exif", 0, _HEADER_BYTES) > 0)


def _block_of_webp(body: bytes) -> bytes:
    """The EXIF chunk of a WebP file, which `exifread` takes to have a prefix that it has in some files only."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        name, size = body[position : position + 4], int.from_bytes(body[position + 4 : position + 8], "little")
        position += 8
        if name == b"EXIF":
            return body[position : position + size].removeprefix(b"Exif\0\0")
        position += size + size % 2
        if position >= len(body):
            break
    return b""


class _OutOfBudgetError(Exception):
    """A file made `exifread` read more than any honest one does."""


class _BudgetedFile(BytesIO):
    """A file that ends the reading of directories which point at each other over and over."""

    budget = MAX_READ_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.budget -= READ_COST + len(data)
        if self.budget < 0:
            raise _OutOfBudgetError
        return data


# exifread walks untrusted offsets without much checking; what its arithmetic on them can raise.
_PARSE_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError, struct.error, _OutOfBudgetError),
)


def _tags(body: bytes) -> dict[str, str]:
    import exifread
    from exifread.core.exceptions import ExifError

    logging.getLogger("exifread").setLevel(logging.CRITICAL)  # it warns on the terminal of every odd tag
    file = _BudgetedFile(_block_of_webp(body) if body.startswith(b"RIFF") else body)
    try:
        tags: dict[str, Any] = exifread.process_file(file, details=False, extract_thumbnail=False)
        return {_printable(name): _printable(value) for name, value in tags.items()}
    except (ExifError, *_PARSE_ERRORS):
        return {}


def _printable(value: object) -> str:
    return str(value)[:MAX_VALUE_CHARS]
