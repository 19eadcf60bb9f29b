"""`area` is close to what it stands for: an exact area filter on a full decode."""

from __future__ import annotations

import random
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from img2dataset.images import Resizer
from img2dataset.options import ResizeOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from corpus import crop, drawn_size

Floats = npt.NDArray[np.float64]
IMAGE_SIZE = 256


def averaged(pixels: Floats, size: int) -> Floats:
    """The means of `size` equal parts of the first axis, pixels on an edge counted by the part that they lie in."""
    length = len(pixels)
    sums = np.concatenate((np.zeros_like(pixels[:1]), np.cumsum(pixels, axis=0), np.zeros_like(pixels[:1])))
    sums[-1] = sums[-2]
    edges = np.linspace(0, length, size + 1)
    whole = edges.astype(int)
    part = (edges - whole)[:, None, None]
    return np.diff(sums[whole] * (1 - part) + sums[whole + 1] * part, axis=0) * size / length


def area_filtered(body: bytes, size: tuple[int, int]) -> Floats:
    pixels = np.asarray(Image.open(BytesIO(body)).convert("RGB"), float)
    lines = averaged(pixels, size[1])
    return averaged(lines.transpose(1, 0, 2), size[0]).transpose(1, 0, 2)


def psnr(shown: Floats, exact: Floats) -> float:
    return float(10 * np.log10(255**2 / np.mean((shown - exact) ** 2)))


def photo(draw: random.Random) -> bytes:
    """A JPEG photo of the size that photos of the web have, of more than 300 pixels."""
    while max(size := drawn_size("jpg", draw)) <= 300 or size[0] * size[1] > 3e6:  # the reference takes its time
        pass
    file = BytesIO()
    crop(*size, draw).save(file, "JPEG", quality=draw.randint(70, 95), progressive=draw.random() < 1 / 3)
    return file.getvalue()


def test_area_is_within_48_decibels_of_the_exact_filter() -> None:
    resize = Resizer(ResizeOptions(resize_mode="keep_ratio_largest", image_size=IMAGE_SIZE, encode_format="png"))
    draw, ratios = random.Random(4), []
    for _ in range(100):
        body = photo(draw)
        resized = resize(body)
        shown = np.asarray(Image.open(BytesIO(resized.data)), float)
        ratios.append(psnr(shown, area_filtered(body, (resized.width, resized.height))))
    assert np.mean(ratios) >= 48
    assert np.percentile(ratios, 5) >= 38


@pytest.mark.parametrize("factor", [1.02, 1.1, 1.2, 1.3, 1.38])
def test_area_is_close_to_the_exact_filter_where_little_is_taken_off(factor: float) -> None:
    resize = Resizer(ResizeOptions(resize_mode="keep_ratio_largest", image_size=IMAGE_SIZE, encode_format="png"))
    draw, ratios = random.Random(4), []
    for _ in range(25):
        file = BytesIO()
        crop(round(IMAGE_SIZE * factor), round(IMAGE_SIZE * factor * 3 / 4), draw).save(file, "PNG")
        resized = resize(file.getvalue())
        shown = np.asarray(Image.open(BytesIO(resized.data)), float)
        ratios.append(psnr(shown, area_filtered(file.getvalue(), (resized.width, resized.height))))
    assert np.mean(ratios) >= 47
