"""`img2dataset.blurrer`, which programs of others call with arrays."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from img2dataset.blurrer import BoundingBoxBlurrer
from img2dataset.errors import ResizeError
from img2dataset.images import blurrer

BOX = [0.25, 0.25, 0.5, 0.75]


def noise(*shape: int) -> npt.NDArray[np.uint8]:
    """An array in which any blurring shows."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 1), (60, 80, 3), (60, 80, 4)])
@pytest.mark.parametrize("boxes", [[BOX], np.array([BOX]), (tuple(BOX),)], ids=["list", "array", "tuple"])
def test_the_boxes_are_blurred_in_a_copy_of_the_same_shape(shape: tuple[int, ...], boxes: Any) -> None:
    image = noise(*shape)
    blurred = BoundingBoxBlurrer()(image, boxes)
    assert (blurred.shape, blurred.dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, noise(*shape))
    assert blurred[15:45, 20:40].std() < image[15:45, 20:40].std() / 2
    assert np.array_equal(blurred[:, 60:], image[:, 60:])


def test_colours_are_blurred_as_a_run_blurs_them() -> None:
    picture = Image.fromarray(noise(60, 80, 3))
    blurrer.BoundingBoxBlurrer()(picture, blurrer.checked_boxes([BOX]))
    assert np.array_equal(BoundingBoxBlurrer()(noise(60, 80, 3), [BOX]), np.asarray(picture))


def test_a_box_that_reaches_beyond_the_picture_is_cut() -> None:
    image = noise(60, 80, 3)
    assert np.array_equal(
        BoundingBoxBlurrer()(image, [[-0.5, -0.5, 0.5, 0.5]]), BoundingBoxBlurrer()(image, [[0, 0, 0.5, 0.5]])
    )


@pytest.mark.parametrize("none", [[], (), np.zeros((0, 4))], ids=["list", "tuple", "array"])
def test_without_boxes_the_very_same_array_comes_back(none: Any) -> None:
    image = noise(60, 80, 3)
    assert BoundingBoxBlurrer()(image, none) is image


def test_a_view_and_a_read_only_array_are_taken_too() -> None:
    image = noise(60, 80, 3)[::2, ::-1]
    image.flags.writeable = False
    assert BoundingBoxBlurrer()(image, [BOX]).shape == (30, 80, 3)


def test_none_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError):
        BoundingBoxBlurrer()(noise(6, 8, 3), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.2, 0.2], [10, 10, 20, 20], [0, 0, 1], [float("nan"), 0, 1, 1]])
def test_a_box_that_hides_nothing_is_refused(box: list[float]) -> None:
    with pytest.raises(ResizeError, match="invalid bounding box"):
        BoundingBoxBlurrer()(noise(60, 80, 3), [box])


def test_the_import_is_light() -> None:
    program = "import sys, img2dataset.blurrer; assert not {'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
