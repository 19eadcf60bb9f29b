"""Parts of a picture, given as boxes, are made unrecognisable."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageFilter

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.orientation import WHOLE, Window

ENLARGEMENT = 0.1
"""How far the soft edge reaches beyond a box on each side, in parts of the box's diagonal."""

RADIUS = 0.1
"""Standard deviation of the Gaussian, in parts of the largest box's diagonal (Yang et al. 2021, face obfuscation)."""


MOST_BOXES = 1000
"""Boxes of one picture; each costs up to 2 ms."""


def checked_boxes(boxes: Sequence[Sequence[float]] | None) -> list[Window]:
    """The boxes of a row, cut to the picture; those without any area are left out.

    A box is ``[x_min, y_min, x_max, y_max]``, from 0 to 1, of the original as it is seen. No boxes and None are the
    same. A box that reaches beyond the picture is cut at its edge.

    Raises:
        ResizeError: ``invalid bounding box``: not four finite numbers, inverted, wholly outside the picture, as
            boxes in pixels are, or more than `MOST_BOXES`. Such a row is not saved, as what it wanted hidden would be
            seen.
    """
    if boxes is not None and len(boxes) > MOST_BOXES:
        raise ResizeError(Reason.INVALID_BOX)
    windows = [_checked(box) for box in (boxes if boxes is not None else ())]
    return [window for window in windows if window[0] < window[2] and window[1] < window[3]]


def _checked(box: Sequence[float]) -> Window:
    try:
        left, top, right, bottom = (float(side) for side in box)
    except (TypeError, ValueError, OverflowError):
        raise ResizeError(Reason.INVALID_BOX) from None
    upright = left <= right and top <= bottom  # false for NaN
    overlaps = left <= 1 and top <= 1 and right >= 0 and bottom >= 0
    if not upright or not overlaps or math.isinf(left + top + right + bottom):
        raise ResizeError(Reason.INVALID_BOX)
    return max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)


class BoundingBoxBlurrer:
    """Blurs boxes with a Gaussian: all of a box, fading out around it, and nothing beyond."""

    def __call__(self, image: Image.Image, boxes: Sequence[Window], shown: Window = WHOLE) -> None:
        """Blur an ``L`` or ``RGB`` image in place.

        Args:
            image: what is left of the picture, already resized: radius and edges follow its scale.
            boxes: what `checked_boxes` returned.
            shown: the part of the original that `image` shows, as ``center_crop`` cuts some off.
        """
        if not boxes:
            return
        placed = [_place(box, shown, image.size) for box in boxes]
        sigma = max(1.0, RADIUS * min(math.hypot(*image.size), max(map(_diagonal, placed))))
        sharp = image.copy()
        for box in placed:
            _blur_box(image, sharp, box, sigma)


def _place(box: Window, shown: Window, size: tuple[int, int]) -> Window:
    """A box in pixels of an image of `size` that shows a part of the original; it may lie outside."""
    x_scale, y_scale = size[0] / (shown[2] - shown[0]), size[1] / (shown[3] - shown[1])
    left, right = ((side - shown[0]) * x_scale for side in (box[0], box[2]))
    top, bottom = ((side - shown[1]) * y_scale for side in (box[1], box[3]))
    return left, top, right, bottom


def _diagonal(box: Window) -> float:
    return math.hypot(box[2] - box[0], box[3] - box[1])


def _blur_box(image: Image.Image, sharp: Image.Image, box: Window, sigma: float) -> None:
    margin = max(1.0, ENLARGEMENT * _diagonal(box))
    area = _whole_pixels(_grown(box, margin), image.size)
    if area[0] >= area[2] or area[1] >= area[3]:
        return
    around = _whole_pixels(_grown(area, 3 * sigma), image.size)  # where the Gaussian's colours come from
    blurred = sharp.crop(around).filter(ImageFilter.GaussianBlur(sigma))
    left, top = area[0] - around[0], area[1] - around[1]
    blurred = blurred.crop((left, top, left + area[2] - area[0], top + area[3] - area[1]))
    image.paste(blurred, area[:2], _soft_mask(box, area, margin))


def _soft_mask(box: Window, area: tuple[int, int, int, int], margin: float) -> Image.Image:
    """The weight of the blurred pixels in `area`: full over the box, fading to none over `margin` pixels around it."""
    size = (area[2] - area[0], area[3] - area[1])
    columns = Image.frombytes("L", (size[0], 1), _ramp(area[0], area[2], box[0], box[2], margin))
    rows = Image.frombytes("L", (1, size[1]), _ramp(area[1], area[3], box[1], box[3], margin))
    nearest = Image.Resampling.NEAREST
    return ImageChops.multiply(columns.resize(size, nearest), rows.resize(size, nearest))


def _ramp(start: int, stop: int, low: float, high: float, margin: float) -> bytes:
    """255 where a pixel of `start` to `stop` touches `low` to `high`, falling to 0 at a distance of `margin`."""
    distances = (max(low - (pixel + 1), pixel - high, 0.0) for pixel in range(start, stop))
    return bytes(round(255 * max(0.0, 1 - distance / margin)) for distance in distances)


def _grown(box: Sequence[float], margin: float) -> Window:
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _whole_pixels(box: Window, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels that a box touches, within an image of `size`."""
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    return left, top, min(size[0], math.ceil(box[2])), min(size[1], math.ceil(box[3]))
