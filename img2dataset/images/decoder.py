"""Encoded bytes become an opened Pillow image: header first, few error messages."""

from __future__ import annotations

import importlib
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import cast

from PIL import Image, ImageFile

from img2dataset.errors import Reason, ResizeError, unsupported_format_reason
from img2dataset.images.exif import orientation_of
from img2dataset.images.sniff import FORMATS, RasterFormat, sniff
from img2dataset.images.structure import MOST_PARTS, check_structure

MAX_PIXELS = 179_000_000
"""Pixels of the largest picture that is decoded: twice `PIL.Image.MAX_IMAGE_PIXELS`, where Pillow itself refuses."""

MANY_PIXELS = 1_000_000
MAX_PIXELS_A_BYTE = 100_000
"""A picture of many pixels that has fewer bytes than that is one colour, or claims what it does not hold."""

MAX_SCAN_PIXELS = 10 * MAX_PIXELS
"""Pixels times scans of a JPEG: an honest progressive file has ten scans, a hostile one thousands."""

# What decoders of other people's making raise on hostile bytes. Anything else is a mistake of ours, and costs the row.
_DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


@dataclass(frozen=True, slots=True)
class Source:
    """An image of which only the header is read. Sizes are in pixels and as the image is seen, after orientation.

    `stored` is the size before that, which ``image.size`` is no more when the image is decoded smaller.
    """

    image: ImageFile.ImageFile
    body: bytes
    format: RasterFormat
    orientation: int
    width: int
    height: int
    stored: tuple[int, int]


def open_source(body: bytes) -> Source:
    """Read the header of an encoded image; pixels stay encoded.

    Raises:
        ResizeError: the bytes are no image, of a format this build lacks, damaged, or of too many pixels.
    """
    made = sniff(body)
    image = _open(made, body)
    width, height = image.size
    if width * height > min(MAX_PIXELS, max(MANY_PIXELS, MAX_PIXELS_A_BYTE * len(body))):
        raise ResizeError(Reason.TOO_MANY_PIXELS)
    orientation = 1 if made.name == "TIFF" else orientation_of(image.info.get("exif"))  # Pillow turns a TIFF itself
    if orientation >= 5:
        width, height = height, width
    return Source(image, body, made, orientation, width, height, image.size)


def _open(made: RasterFormat, body: bytes) -> ImageFile.ImageFile:
    opener = _opener(made)
    if opener is None:
        raise ResizeError(unsupported_format_reason(made.name))
    check_structure(made.name, body)
    with _few_messages(made):
        return opener(BytesIO(body))


def load(source: Source) -> None:
    """Decode the pixels of the first frame into ``source.image``.

    Raises:
        ResizeError: the data is damaged or ends early, where the decoder or the file's structure tells.
    """
    image = source.image
    ends: list[int] = []
    if source.format.name == "JPEG":
        ends = _ends_of_scans(source)
        image.decodermaxblock = len(source.body)  # one call of the decoder instead of one for each 64 KB
    size = image.size
    with _few_messages(source.format):
        image.load()
    if image.size != size:  # a frame inside an icon that is not what the icon's header says
        raise ResizeError(Reason.IMAGE_DAMAGED)
    if ends and _ends_in_one_colour(image) and _lacks_data(source, ends):
        raise ResizeError(Reason.IMAGE_CUT_SHORT)


def ignore_warnings_of_pillow() -> None:
    """Silence Pillow's remarks on metadata: what matters is raised, and a worker has nobody to tell the rest."""
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")


def preload() -> None:
    """Import every decoder there is, for a process that is about to fork."""
    for made in FORMATS.values():
        _opener(made)


@cache
def _opener(made: RasterFormat) -> type[ImageFile.ImageFile] | None:
    """The class that reads a format; None when this installation lacks it.

    Asked for by name, as `Image.open` imports five plugins, probes them all, and warns by a limit of its own.
    """
    try:
        module = importlib.import_module(made.module)
    except ImportError:
        return None
    if getattr(module, "SUPPORTED", True) is False:
        return None
    opener = cast("type[ImageFile.ImageFile]", getattr(module, made.class_name))
    if made.name == "JPEG":
        return _without_resolution(opener)
    if made.name == "AVIF":
        module.DEFAULT_MAX_THREADS = 1  # type: ignore[attr-defined]  # the pool has a process for each core already
    return opener


def _without_resolution(opener: type[ImageFile.ImageFile]) -> type[ImageFile.ImageFile]:
    """A JPEG reader that leaves the EXIF block alone: Pillow parses all of it, in Python, to learn the dpi."""

    class HeaderOnlyJpeg(opener):  # type: ignore[misc, valid-type]
        def _read_dpi_from_exif(self) -> None:
            pass

    return HeaderOnlyJpeg


@contextmanager
def _few_messages(made: RasterFormat) -> Iterator[None]:
    """Whatever a decoder raises becomes a `ResizeError` with one of a few messages."""
    try:
        yield
    except _DECODER_ERRORS as error:
        raise ResizeError(_message(error, made)) from error


# Told by the words of Pillow and its plugins, as they raise OSError, SyntaxError and ValueError for either.
_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation|cannot allocate", re.IGNORECASE)
_LACKING = re.compile(r"not available|not installed|unknown pixel mode|cannot handle|unsupported", re.IGNORECASE)
_CUT_SHORT = re.compile(r"truncated|not enough|incomplete|unexpected end|requires a buffer", re.IGNORECASE)


def _message(error: BaseException, made: RasterFormat) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return Reason.TOO_MANY_PIXELS
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return Reason.IMAGE_MEMORY
    if _LACKING.search(str(error)):
        return unsupported_format_reason(made.name)
    if _CUT_SHORT.search(str(error)):
        return Reason.IMAGE_CUT_SHORT
    return Reason.IMAGE_DAMAGED


# Inside a scan, 0xFF is followed by 0 (a data byte), a restart marker or a fill byte; else a segment begins.
_NEXT_SEGMENT = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SCAN, _END, _LINES = b"\xda", b"\xd9", b"\xdc"
_MAY_FOLLOW_A_SCAN = frozenset(
    (_SCAN, _LINES, b"\xc4", b"\xdb", b"\xdd", b"\xfe", *(bytes([n]) for n in range(0xE0, 0xF0)))
)


def _ends_of_scans(source: Source) -> list[int]:
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


def _lacks_data(source: Source, ends: list[int]) -> bool:
    """Whether more bytes at the end of its scans would change a JPEG.

    libjpeg passes over what it does not need, and fills what it lacks with the colour of the last block; of either it
    only warns, which Pillow does not pass on.
    """
    body, scale = source.body, _scale_of(source.image)
    more = _MORE_DATA.join(body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True))
    with _few_messages(source.format):
        if scale > 1:
            return source.image.tobytes() != _pixels(source.format, more, scale)
        # At half the size, for the memory that a second picture of the full size would take.
        return _pixels(source.format, body, 2) != _pixels(source.format, more, 2)


def _pixels(made: RasterFormat, body: bytes, scale: int) -> bytes:
    """The pixels of a JPEG that is decoded so many times smaller."""
    image = _open(made, body)
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image.tobytes()
