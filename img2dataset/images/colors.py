"""Whatever mode and colour space an image is in, it becomes sRGB."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, cast

from PIL import Image

from img2dataset.errors import Reason, ResizeError

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

WHITE = (255, 255, 255)

_CACHED_PROFILE_BYTES = 1 << 20
_MAX_PROFILE_BYTES = 4 << 20
_SAME_COLOUR = 2
"""Levels of 255 by which a profile may differ from sRGB and still be sRGB."""


def flatten(image: Image.Image) -> Image.Image:
    """An image whose pixels can be averaged: ``L``, ``RGB`` or ``CMYK``, alpha laid on white, 8 bits deep.

    Raises:
        ResizeError: floating-point pixels that are not finite.
    """
    mode = image.mode
    if image.info.get("transparency") is not None and mode in _OPAQUE:
        return _on_white(image.convert(_WITH_ALPHA[mode]))
    convert = _FLATTEN.get(mode)
    return convert(image) if convert else image


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A flattened image in sRGB, mode ``RGB``. `profile` is the ICC profile its file carries, if any."""
    transform = transform_to_srgb(profile)
    if transform is not None:
        source_mode, apply = transform
        if source_mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if image.mode == source_mode:
            return apply.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def transform_to_srgb(profile: bytes | None) -> tuple[str, ImageCmsTransform] | None:
    """What brings colours of an ICC profile to sRGB, and the mode it works on.

    None when there is nothing to do: no profile, a broken one, or one that describes sRGB.
    """
    if not profile or len(profile) > _MAX_PROFILE_BYTES:
        return None
    if len(profile) > _CACHED_PROFILE_BYTES:
        return _build_transform(profile)
    return _cached_transform(profile)


def _build_transform(profile: bytes) -> tuple[str, ImageCmsTransform] | None:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(_without_float_tables(profile)))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
        if mode is None:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    return None if _changes_nothing(transform, mode) else (mode, transform)


_TAG_TABLE, _TAG_BYTES, _MOST_TAGS = 128, 12, 100


def _without_float_tables(profile: bytes) -> bytes:
    """The same profile, of which lcms sees no ``D2B`` tag: it would prefer that, and falls back to the usual tables.

    Such a tag may name the same long table over and over, and keeps a processor busy out of all proportion to the
    profile's size. The layout is that of ICC.1:2022, 7.3.
    """
    count = int.from_bytes(profile[_TAG_TABLE : _TAG_TABLE + 4], "big")
    changed = bytearray(profile)
    for place in range(_TAG_TABLE + 4, _TAG_TABLE + 4 + _TAG_BYTES * min(count, _MOST_TAGS), _TAG_BYTES):
        if changed[place : place + 3] == b"D2B":
            changed[place] = ord("x")
    return bytes(changed)


# A dataset knows few profiles, and building a transform costs milliseconds.
_cached_transform = lru_cache(maxsize=64)(_build_transform)


def _changes_nothing(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether a profile is sRGB, told by what it does to a set of colours: names and digests of it are legion."""
    if mode == "CMYK":
        return False
    before = _swatches().convert(mode)
    after = transform.apply(before)
    pairs = zip(before.convert("RGB").tobytes(), after.tobytes(), strict=True)
    return max(abs(old - new) for old, new in pairs) <= _SAME_COLOUR


def _swatches() -> Image.Image:
    """Nine levels of each channel in all combinations, 27 × 27 pixels."""
    levels = range(0, 256, 255 // 8)
    colours = bytes(level for red in levels for green in levels for blue in levels for level in (red, green, blue))
    return Image.frombytes("RGB", (27, 27), colours)


def _on_white(image: Image.Image) -> Image.Image:
    """Composite an ``LA`` or ``RGBA`` image on white; the result is ``L`` or ``RGB``."""
    if image.mode == "LA":
        grey, alpha = image.split()
        canvas = Image.new("L", image.size, 255)
        canvas.paste(grey, mask=alpha)
        return canvas
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(image, mask=image)
    return canvas


def _from_palette(image: Image.Image) -> Image.Image:
    if image.info.get("transparency") is not None:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """16 bits to 8. What Pillow calls 32-bit integers are 16-bit values nearly always, and are spread if not."""
    integers = image if image.mode == "I" else image.convert("I")
    return _scaled(integers, ranges=(65535,))


def _from_floats(image: Image.Image) -> Image.Image:
    return _scaled(image, ranges=(1.0, 255.0, 65535.0))


def _scaled(image: Image.Image, ranges: tuple[float, ...]) -> Image.Image:
    """Bring numbers to 0–255: from the first range 0–x that holds them all, else from their own extremes."""
    low, high = cast("tuple[float, float]", image.getextrema())  # a pair in modes of one band
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ResizeError(Reason.IMAGE_DAMAGED)
    full = next((top for top in ranges if low >= 0 and high <= top), None)
    start, span = (0, full) if full else (low, (high - low) or 1)
    factor, offset = 255 / span, 0.5 - start * 255 / span
    return image.point(lambda value: value * factor + offset).convert("L")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return transform.apply(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


_OPAQUE = ("1", "L", "RGB")
_WITH_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}

_FLATTEN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "1": lambda image: image.convert("L"),
    "LA": _on_white,
    "La": lambda image: _on_white(image.convert("LA")),
    "P": _from_palette,
    "PA": lambda image: _on_white(image.convert("RGBA")),
    "RGBA": _on_white,
    "RGBa": lambda image: _on_white(image.convert("RGBA")),
    "RGBX": _to_rgb,
    "YCbCr": _to_rgb,
    "HSV": _to_rgb,
    "LAB": _from_lab,
    "I": _from_integers,
    "I;16": _from_integers,
    "I;16L": _from_integers,
    "I;16B": _from_integers,
    "I;16N": _from_integers,
    "F": _from_floats,
}
