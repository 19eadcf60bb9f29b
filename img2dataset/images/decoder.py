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
from img2dataset.images.sniff import RasterFormat, sniff

MAX_PIXELS = 179_000_000
"""Pixels of the largest picture that is decoded: twice `PIL.Image.MAX_IMAGE_PIXELS`, where Pillow itself refuses."""

MAX_SCAN_PIXELS = 10 * MAX_PIXELS
"""Pixels times scans of a JPEG: an honest progressive file has ten scans, a hostile one thousands."""

# What decoders of other people's making raise on hostile bytes. Anything else is a defect, and fails the shard.
_DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


@dataclass(frozen=True, slots=True)
class Source:
    """An image of which only the header is read. Sizes are in pixels and as the image is seen, after orientation."""

    image: ImageFile.ImageFile
    body: bytes
    format: RasterFormat
    orientation: int
    width: int
    height: int


def open_source(body: bytes) -> Source:
    """Read the header of an encoded image; pixels stay encoded.

    Raises:
        ResizeError: the bytes are no image, of a format this build lacks, damaged, or of too many pixels.
    """
    made = sniff(body)
    opener = _opener(made)
    if opener is None:
        raise ResizeError(unsupported_format_reason(made.name))
    with _few_messages(made, body):
        image = opener(BytesIO(body))
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ResizeError(Reason.TOO_MANY_PIXELS)
    orientation = 1 if made.name == "TIFF" else orientation_of(image.info.get("exif"))  # Pillow turns a TIFF itself
    if orientation >= 5:
        width, height = height, width
    return Source(image, body, made, orientation, width, height)


def load(source: Source) -> None:
    """Decode the pixels of the first frame into ``source.image``.

    Raises:
        ResizeError: the data is damaged or ends early, where the decoder or the file's structure tells.
    """
    image = source.image
    if source.format.name == "JPEG":
        _check_scans(source)
        image.decodermaxblock = len(source.body)  # one call of the decoder instead of one for each 64 KB
    size = image.size
    with _few_messages(source.format, source.body):
        image.load()
    if image.size != size:  # a frame inside an icon that is not what the icon's header says
        raise ResizeError(Reason.IMAGE_DAMAGED)


def ignore_warnings_of_pillow() -> None:
    """Silence Pillow's remarks on metadata: what matters is raised, and a worker has nobody to tell the rest."""
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")


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
def _few_messages(made: RasterFormat, body: bytes) -> Iterator[None]:
    """Whatever a decoder raises becomes a `ResizeError` with one of a few messages."""
    try:
        yield
    except _DECODER_ERRORS as error:
        raise ResizeError(_message(error, made, body)) from error


# Told by the words of Pillow and its plugins, as they raise OSError, SyntaxError and ValueError for either.
_LACKING = re.compile(r"not available|not installed|unknown pixel mode|cannot handle|unsupported", re.IGNORECASE)
_CUT_SHORT = re.compile(r"truncated|not enough|incomplete|unexpected end|requires a buffer", re.IGNORECASE)


def _message(error: BaseException, made: RasterFormat, body: bytes) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return Reason.TOO_MANY_PIXELS
    if _LACKING.search(str(error)):
        return unsupported_format_reason(made.name)
    if _CUT_SHORT.search(str(error)) or _is_cut_webp(made, body):
        return Reason.IMAGE_CUT_SHORT
    return Reason.IMAGE_DAMAGED


def _is_cut_webp(made: RasterFormat, body: bytes) -> bool:
    """libwebp gives no reason; the container tells its length."""
    return made.name == "WEBP" and len(body) < 8 + int.from_bytes(body[4:8], "little")


# Inside a scan, 0xFF is followed by 0 (a data byte), a restart marker or a fill byte; else a segment begins.
_NEXT_SEGMENT = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SCAN, _END, _LINES = b"\xda", b"\xd9", b"\xdc"
_MAY_FOLLOW_A_SCAN = frozenset(
    (_SCAN, _LINES, b"\xc4", b"\xdb", b"\xdd", b"\xfe", *(bytes([n]) for n in range(0xE0, 0xF0)))
)


def _check_scans(source: Source) -> None:
    """Refuse a JPEG whose scans are interrupted by a marker that cannot be there, or are a great many.

    libjpeg fills what is missing with grey and only warns, which Pillow does not pass on.
    """
    body, position, scans = source.body, _start_of_scan(source), 1
    while (found := _NEXT_SEGMENT.search(body, position)) and (marker := found[1]) != _END:
        if marker not in _MAY_FOLLOW_A_SCAN:
            raise ResizeError(Reason.IMAGE_DAMAGED)
        scans += marker == _SCAN
        position = found.end() + int.from_bytes(body[found.end() : found.end() + 2], "big")
    if scans * source.width * source.height > MAX_SCAN_PIXELS:
        raise ResizeError(Reason.TOO_MANY_PIXELS)


def _start_of_scan(source: Source) -> int:
    """Where the first scan's data begins: Pillow's parser stops right there."""
    return source.image.fp.tell() if source.image.fp else 0
