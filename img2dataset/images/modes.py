"""The resize modes: which part of an image is kept, at what size, and on what canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from img2dataset.images.orientation import WHOLE, Window

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a mode does to an image: scale all of it to `scaled`, keep `crop` of that, lay it on a white `canvas`.

    `fixed_side` is the side of the original that the mode brings to ``image_size``.
    """

    scaled: Size
    crop: tuple[int, int, int, int]
    canvas: Size
    fixed_side: int

    @property
    def shown(self) -> Window:
        """The part of the original that is kept."""
        if self.crop == (0, 0, *self.scaled):
            return WHOLE
        (width, height), (left, top, right, bottom) = self.scaled, self.crop
        return left / width, top / height, right / width, bottom / height

    @property
    def content(self) -> Size:
        """The size of what is kept, before it is laid on the canvas."""
        return self.crop[2] - self.crop[0], self.crop[3] - self.crop[1]


def keep(width: int, height: int, image_size: int) -> Layout:
    return Layout((width, height), (0, 0, width, height), (width, height), image_size)


def _border(width: int, height: int, image_size: int) -> Layout:
    scaled = _scale(width, height, max(width, height), image_size)
    return Layout(scaled, (0, 0, *scaled), (image_size, image_size), max(width, height))


def _keep_ratio(width: int, height: int, image_size: int) -> Layout:
    scaled = _scale(width, height, min(width, height), image_size)
    return Layout(scaled, (0, 0, *scaled), scaled, min(width, height))


def _keep_ratio_largest(width: int, height: int, image_size: int) -> Layout:
    scaled = _scale(width, height, max(width, height), image_size)
    return Layout(scaled, (0, 0, *scaled), scaled, max(width, height))


def _center_crop(width: int, height: int, image_size: int) -> Layout:
    scaled = _scale(width, height, min(width, height), image_size)
    left, top = (scaled[0] - image_size) // 2, (scaled[1] - image_size) // 2
    square = (left, top, left + image_size, top + image_size)
    return Layout(scaled, square, (image_size, image_size), min(width, height))


def _scale(width: int, height: int, side: int, image_size: int) -> Size:
    """The size at which `side` of the image is `image_size`: nearest integers, halves up, never below 1."""
    nearest = (max(1, (2 * length * image_size + side) // (2 * side)) for length in (width, height))
    return next(nearest), next(nearest)


RESIZE_MODES: dict[str, Callable[[int, int, int], Layout]] = {
    "no": keep,
    "border": _border,
    "keep_ratio": _keep_ratio,
    "keep_ratio_largest": _keep_ratio_largest,
    "center_crop": _center_crop,
}
