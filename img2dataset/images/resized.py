"""An image as it is saved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResizedImage:
    """An image as it is saved. Sizes are in pixels.

    `extension` has no dot: ``jpg``, ``png``, ``webp`` or ``avif``, and any `RasterFormat`'s when the original bytes are
    kept. `original_width` and `original_height` are those of the image as it is seen, EXIF orientation applied.
    """

    data: bytes
    extension: str
    width: int
    height: int
    original_width: int
    original_height: int
