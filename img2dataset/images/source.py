"""Encoded bytes become an image of which the header is read, by a decoder that is asked for by name."""

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
from img2dataset.images.structure import check_structure

MAX_PIXELS = 179_000_000
"""Pixels of the largest picture that is decoded: twice `PIL.Image.MAX_IMAGE_PIXELS`, where Pillow itself refuses."""

MANY_PIXELS = 1_000_000
MAX_PIXELS_A_BYTE = 100_000
"""A picture of many pixels that has fewer bytes than that is one colour, or claims what it does not hold."""

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
    image = open_as(made, body)
    width, height = image.size
    if width * height > min(MAX_PIXELS, max(MANY_PIXELS, MAX_PIXELS_A_BYTE * len(body))):
        raise ResizeError(Reason.TOO_MANY_PIXELS)
    orientation = 1 if made.name == "TIFF" else orientation_of(image.info.get("exif"))  # Pillow turns a TIFF itself
    if orientation >= 5:
        width, height = height, width
    return Source(image, body, made, orientation, width, height, image.size)


def open_as(made: RasterFormat, body: bytes) -> ImageFile.ImageFile:
    """Have the header read by the decoder of a format. Raises as `open_source`."""
    opener = _opener(made)
    if opener is None:
        raise ResizeError(unsupported_format_reason(made.name))
    check_structure(made.name, body)
    with few_messages(made):
        return opener(BytesIO(body))


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
def few_messages(made: RasterFormat) -> Iterator[None]:
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
