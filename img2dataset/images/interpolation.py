"""The filters that bring an image to another size."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A filter, and how many times the target size an image must at least keep when it is cheaply reduced before.

    `slight` is the filter for a reduction by less than `SLIGHT`, where it is another one.
    """

    filter: Image.Resampling
    reduction_gap: float | None
    slight: Image.Resampling | None = None

    def filter_for(self, factor: float) -> Image.Resampling:
        """The filter with which an image becomes `factor` times smaller."""
        return self.slight if self.slight is not None and 1 < factor < SLIGHT else self.filter


SLIGHT = 1.4
"""Reduction below which a triangle is nearer to the exact area filter than HAMMING is."""

_AREA = Interpolation(Image.Resampling.HAMMING, 2.0, slight=Image.Resampling.BILINEAR)
_LINEAR = Interpolation(Image.Resampling.BILINEAR, 2.0)
_CUBIC = Interpolation(Image.Resampling.BICUBIC, 3.0)
_LANCZOS = Interpolation(Image.Resampling.LANCZOS, 3.0)

INTERPOLATIONS = {
    "nearest": Interpolation(Image.Resampling.NEAREST, None),
    "linear": _LINEAR,
    "bilinear": _LINEAR,
    "cubic": _CUBIC,
    "bicubic": _CUBIC,
    "area": _AREA,
    "lanczos": _LANCZOS,
    "lanczos4": _LANCZOS,
}
