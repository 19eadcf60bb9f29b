"""The eight EXIF orientations: how an image stored in one is turned to be seen upright."""

from __future__ import annotations

from PIL import Image

Window = tuple[float, float, float, float]
"""A part of a picture, ``(left, top, right, bottom)`` from 0 to 1."""

WHOLE: Window = (0.0, 0.0, 1.0, 1.0)

# How to turn the stored pixels, by EXIF 2.32, 4.6.4: the tag names where the stored row 0 and column 0 are seen.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it is seen. Orientation 1 returns the same object."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def stored_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The stored width and height of what is seen as ``size``."""
    return (size[1], size[0]) if orientation >= 5 else size


def stored_window(window: Window, orientation: int) -> Window:
    """Where in the stored pixels that part of the picture lies which is seen in `window`."""
    left, top, right, bottom = window
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)
