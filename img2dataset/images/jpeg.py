"""Tells a JPEG that lacks data, which libjpeg fills with grey or the last colour and only warns of."""

from __future__ import annotations

import re

from PIL import ImageFile

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.sniff import RasterFormat
from img2dataset.images.source import MAX_PIXELS, Source, few_messages, open_as
from img2dataset.images.structure import MOST_PARTS

MAX_SCAN_PIXELS = 10 * MAX_PIXELS
"""Pixels times scans of a JPEG: an honest progressive file has ten scans, a hostile one thousands."""

# Inside a scan, 0xFF is followed by 0 (a data byte), a restart marker or a fill byte; else a segment begins.
_NEXT_SEGMENT = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SCAN, _END, _LINES = b"\xda", b"\xd9", b"\xdc"
_MAY_FOLLOW_A_SCAN = frozenset(
    (_SCAN, _LINES, b"\xc4", b"\xdb", b"\xdd", b"\xfe", *(bytes([n]) for n in range(0xE0, 0xF0)))
)


def ends_of_scans(source: Source) -> list[int]:
    """Where the data of each scan of a JPEG ends.

    Refuses one whose scans are interrupted by a marker that cannot be there, or are a great many: libjpeg fills what
    is missing with grey and only warns, which Pillow does not pass on.
    """
    body, position, ends, in_scan = source.body, _start_of_scan(source), list[int](), True
    for _ in range(MOST_PARTS):
        found = _NEXT_SEGMENT.search(body, position)
        if found is None:
            break
        if in_scan:
            ends.append(found.start())
        if found[1] == _END:
            break
        if found[1] not in _MAY_FOLLOW_A_SCAN:
            raise ResizeError(Reason.IMAGE_DAMAGED)
        in_scan = found[1] == _SCAN
        position = found.end() + int.from_bytes(body[found.end() : found.end() + 2], "big")
    else:
        raise ResizeError(Reason.DECODING_TOO_SLOW)
    if len(ends) * source.width * source.height > MAX_SCAN_PIXELS:
        raise ResizeError(Reason.TOO_MANY_PIXELS)
    return ends


def _start_of_scan(source: Source) -> int:
    """Where the first scan's data begins: Pillow's parser stops right there."""
    return source.image.fp.tell() if source.image.fp else 0


_LAST_BLOCKS = (32, 8)
"""Width and height in source pixels of the corner where a picture that ran out of data has one colour."""

_MORE_DATA = bytes(byte for byte in range(1, 255) for _ in range(3)) * 4
"""Bytes that decode to something, and hold no marker."""


def _scale_of(image: ImageFile.ImageFile) -> int:
    """By how much a JPEG is decoded smaller."""
    return image.decoderconfig[0] if image.decoderconfig else 1


def _ends_in_one_colour(image: ImageFile.ImageFile) -> bool:
    """Whether the last blocks of a decoded JPEG are all alike and not white, as many honest pictures end."""
    width, height = (max(2, side // _scale_of(image)) for side in _LAST_BLOCKS)
    corner = image.crop((max(0, image.width - width), max(0, image.height - height), *image.size))
    extremes = corner.getextrema()
    bands = (extremes,) if isinstance(extremes[0], (int, float)) else extremes
    return all(low == high for low, high in bands) and not all(low == 255 for low, _ in bands)


def lacks_data(source: Source, ends: list[int]) -> bool:
    """Whether a decoded JPEG, whose scans end there, lacks data: more bytes at their ends would change it.

    libjpeg passes over what it does not need, and fills what it lacks with the colour of the last block; of either it
    only warns, which Pillow does not pass on.
    """
    if not (ends and _ends_in_one_colour(source.image)):
        return False  # which it would, and which few honest ones do
    body, scale = source.body, _scale_of(source.image)
    more = _MORE_DATA.join(body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True))
    with few_messages(source.format):
        if scale > 1:
            return source.image.tobytes() != _pixels(source.format, more, scale)
        # At half the size, for the memory that a second picture of the full size would take.
        return _pixels(source.format, body, 2) != _pixels(source.format, more, 2)


def _pixels(made: RasterFormat, body: bytes, scale: int) -> bytes:
    """The pixels of a JPEG that is decoded so many times smaller."""
    image = open_as(made, body)
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image.tobytes()
