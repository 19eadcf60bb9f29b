"""What an image will take of the memory, told from its header before it is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from img2dataset.errors import Reason, ResizeError

if TYPE_CHECKING:
    from img2dataset.images.source import Source

Size = tuple[int, int]

# Bytes for each pixel of the file that a decoder holds beside the picture: canvases, planes, components as integers.
_DECODER = {"WEBP": 12, "AVIF": 5, "HEIC": 8, "JPEG2000": 16, "GIF": 1}
# Bytes for each decoded pixel, by mode: the picture, and what is made of it until it is flat. Measured in
# tests/test_image_memory.py.
_FLATTENING = {"1": 2, "L": 1, "P": 5, "RGB": 4, "CMYK": 4, "LA": 7, "La": 11, "PA": 12, "RGBA": 8, "RGBa": 12}
_OTHER_MODE = 11  # of more than 8 bits, or of colour spaces that are brought to RGB
_TRANSPARENT = {"1": 9, "L": 8, "P": 9, "RGB": 12}  # with a colour or palette entry that stands for transparency
_COEFFICIENT = 2  # a progressive JPEG is held as its coefficients, whatever the size it is decoded at
_SECOND_LOOK, _SECOND_LOOK_DRAFTED = 4, 10  # for each decoded pixel of a JPEG: what tells whether it lacks data
_ROW = 12  # for each row, in pixels: its address, and what fills it up
_RESIZING = 8  # for each pixel of the result: its two passes
_RGB = 4


def check_memory(source: Source, decoded: Size, content: Size, canvas: Size, limit: int) -> None:
    """See that an image fits into `limit` bytes while it is decoded and resized.

    Args:
        source: the opened image.
        decoded: width and height at which it will be decoded.
        content: width and height of what is kept of it, after resizing.
        canvas: width and height of the saved image.

    Raises:
        ResizeError: ``image needs too much memory``.
    """
    needed = _decoding(source, decoded) + _flattening(source, decoded) + _finishing(source, decoded, content, canvas)
    if needed > limit:
        raise ResizeError(Reason.IMAGE_MEMORY)


def _decoding(source: Source, decoded: Size) -> float:
    pixels = _area(source.stored)
    if source.format.name != "JPEG":
        return _DECODER.get(source.format.name, 0) * pixels
    coefficients = _samples_a_pixel(source) * pixels if source.image.info.get("progressive") else 0
    second_look = _SECOND_LOOK_DRAFTED if source.image.size != source.stored else _SECOND_LOOK
    return _COEFFICIENT * coefficients + second_look * _area(decoded)


def _area(size: Size) -> int:
    """Pixels, and what rows cost beside them: a picture of one column takes many times what its pixels do."""
    return (size[0] + _ROW) * size[1]


def _samples_a_pixel(source: Source) -> float:
    """1 for a grey JPEG, 3 where no component is subsampled, 1.5 where the usual two are halved."""
    layers: list[tuple[int, int, int, int]] = source.image.layer  # type: ignore[attr-defined]
    areas = [vertical * horizontal for _, vertical, horizontal, _ in layers]
    return sum(areas) / max(*areas, 1)


def _flattening(source: Source, decoded: Size) -> int:
    image = source.image
    known = _FLATTENING if image.info.get("transparency") is None else _FLATTENING | _TRANSPARENT
    return known.get(image.mode, _OTHER_MODE) * _area(decoded)


def _finishing(source: Source, decoded: Size, content: Size, canvas: Size) -> int:
    resized = _RESIZING if sorted(content) != sorted(decoded) else 0
    converted = _RGB if source.image.mode != "RGB" or source.orientation != 1 else 0
    laid = _RGB * _area(canvas) if canvas != content else 0
    return (resized + converted) * _area(content) + laid
