"""One look at the parts that an image file is made of, before a decoder sees them.

Pillow reads some of these parts in Python, a few microseconds each, and joins others in quadratic time. A file of
millions of them would keep a worker busy for minutes. The look takes time in proportion to the file's bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from img2dataset.errors import Reason, ResizeError

# What no honest file comes near: extended XMP and a large profile make a few hundred segments of a JPEG.
MOST_PARTS = 4096
_MOST_SLOW_PARTS = 64  # of a JPEG, of each kind that is read entry by entry or joined: an honest one has a few
_MOST_HEADER_BYTES = 16 << 20  # before the first scan of a JPEG: depth maps and second pictures are kept there
_MOST_JUNK_BYTES = 1 << 16  # between its segments
_CHUNK_BYTES = 1024  # a PNG's data may come in pieces of this size in the mean
_MOST_PROFILES = 8


def check_structure(name: str, body: bytes) -> None:
    """Look at a file of the format `name`.

    Raises:
        ResizeError: ``decoding too slow`` when its parts are as many as only a hostile file's, ``image cut short``
            when a container is longer, by what it says, than the file.
    """
    look = _LOOKS.get(name)
    if look is not None:
        look(body)


def _require(holds: bool, reason: str = Reason.DECODING_TOO_SLOW) -> None:
    if not holds:
        raise ResizeError(reason)


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
_STANDS_ALONE = frozenset(bytes([marker]) for marker in (0x01, *range(0xD0, 0xDA)))
_SCAN = b"\xda"
_SLOW_PARTS = re.compile(rb"[\xdb\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xde]|\xe1..Exif|\xed..Photoshop", re.DOTALL)


def _look_at_jpeg(body: bytes) -> None:
    """Its header, up to the first scan: what follows is libjpeg's, and `decoder` looks at the markers there."""
    position, junk, slow = 2, 0, 0
    for _ in range(MOST_PARTS):
        found = _JPEG_MARKER.search(body, position, position + _MOST_JUNK_BYTES)
        if found is None:
            _require(position + _MOST_JUNK_BYTES > len(body))
            return  # the decoder tells what is missing
        marker, start = found[1], found.end()
        junk += found.start() - position
        slow += _SLOW_PARTS.match(body, start - 1) is not None
        _require(junk <= _MOST_JUNK_BYTES and slow <= _MOST_SLOW_PARTS and start <= _MOST_HEADER_BYTES)
        if marker == _SCAN:
            return
        position = start if marker in _STANDS_ALONE else start + int.from_bytes(body[start : start + 2], "big")
    raise ResizeError(Reason.DECODING_TOO_SLOW)


def _look_at_png(body: bytes) -> None:
    position, profiles = 8, 0
    for _ in range(MOST_PARTS + len(body) // _CHUNK_BYTES):
        name = body[position + 4 : position + 8]
        if name in (b"IEND", b""):
            return
        profiles += name == b"iCCP"
        _require(profiles <= _MOST_PROFILES)
        position += 12 + int.from_bytes(body[position : position + 4], "big")
    raise ResizeError(Reason.DECODING_TOO_SLOW)


def _look_at_gif(body: bytes) -> None:
    """The blocks before its first frame, the only one that is decoded."""
    palette = 3 << (body[10] & 7) + 1 if len(body) > 10 and body[10] & 0x80 else 0
    position, left = 13 + palette, MOST_PARTS
    while (kind := body[position : position + 1]) not in (b",", b";", b""):
        left -= 1
        position += 1
        if kind == b"!":
            position += 1  # what kind of extension, then blocks that begin with their length, up to one of none
            while position < len(body) and body[position] and left > 0:
                position, left = position + 1 + body[position], left - 1
            position += 1
        _require(left > 0)


def _look_at_webp(body: bytes) -> None:
    """Its chunks: each must end before the file does."""
    end = 8 + int.from_bytes(body[4:8], "little")
    position = 12
    for _ in range(MOST_PARTS):
        if position + 8 > end:
            break
        position += 8 + int.from_bytes(body[position + 4 : position + 8], "little")
        _require(position <= len(body), Reason.IMAGE_CUT_SHORT)
        position += position % 2
    _require(end <= len(body), Reason.IMAGE_CUT_SHORT)


def _look_at_boxes(body: bytes) -> None:
    """The outer boxes of an ISO media file: each must end before the file does."""
    position = 0
    for _ in range(MOST_PARTS):
        if position + 8 > len(body):
            return
        size = int.from_bytes(body[position : position + 4], "big")
        if size == 1:  # it follows in eight bytes
            size = int.from_bytes(body[position + 8 : position + 16], "big")
        if size < 8:  # up to the end, or nothing that a box may say: the decoder tells
            return
        position += size
        _require(position <= len(body), Reason.IMAGE_CUT_SHORT)


_LOOKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _look_at_jpeg,
    "PNG": _look_at_png,
    "GIF": _look_at_gif,
    "WEBP": _look_at_webp,
    "AVIF": _look_at_boxes,
    "HEIC": _look_at_boxes,
}
