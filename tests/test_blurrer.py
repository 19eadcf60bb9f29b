"""Boxes are unrecognisable, their surroundings untouched, and no row whose boxes make no sense is saved."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import decoded, encoded
from PIL import Image, ImageChops

from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer
from img2dataset.images.blurrer import ENLARGEMENT, BoundingBoxBlurrer, checked_boxes
from img2dataset.images.modes import RESIZE_MODES
from img2dataset.options import ResizeOptions

SIZE = (320, 200)
BOX = (0.25, 0.3, 0.5, 0.7)


def stripes(size: tuple[int, int] = SIZE, period: int = 8) -> Image.Image:
    """Vertical black and white stripes: sharp where they keep their contrast."""
    tile = Image.new("L", (period, 1), 0)
    tile.paste(255, (0, 0, period // 2, 1))
    line = Image.new("L", (size[0], 1))
    for left in range(0, size[0], period):
        line.paste(tile, (left, 0))
    return line.resize(size).convert("RGB")


def blurred(image: Image.Image, *boxes: tuple[float, float, float, float]) -> Image.Image:
    result = image.copy()
    BoundingBoxBlurrer()(result, boxes)
    return result


def in_pixels(
    box: tuple[float, float, float, float], size: tuple[int, int], grown: float = 0
) -> tuple[int, int, int, int]:
    left, top, right, bottom = box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]
    margin = grown * math.hypot(right - left, bottom - top)
    rounded = (
        math.floor(left - margin),
        math.floor(top - margin),
        math.ceil(right + margin),
        math.ceil(bottom + margin),
    )
    return max(0, rounded[0]), max(0, rounded[1]), min(size[0], rounded[2]), min(size[1], rounded[3])


def contrast(image: Image.Image) -> int:
    low, high = image.convert("L").getextrema()
    return int(high - low)  # type: ignore[operator]


def outside_of(image: Image.Image, box: tuple[int, int, int, int]) -> bytes:
    covered = image.copy()
    covered.paste((9, 9, 9), box)
    return covered.tobytes()


def test_all_of_a_box_is_blurred() -> None:
    shown = blurred(stripes(), BOX)
    assert contrast(shown.crop(in_pixels(BOX, SIZE))) < 12
    assert contrast(stripes().crop(in_pixels(BOX, SIZE))) == 255


def test_nothing_beyond_a_tenth_of_the_diagonal_is_touched() -> None:
    enlarged = in_pixels(BOX, SIZE, ENLARGEMENT)
    assert outside_of(blurred(stripes(), BOX), enlarged) == outside_of(stripes(), enlarged)


def test_the_edge_fades_out() -> None:
    """From the box to its enlargement there are at least as many different weights as there are pixels."""
    white_box = Image.new("RGB", SIZE, "black")
    white_box.paste((255, 255, 255), (0, 0, SIZE[0], SIZE[1] // 2))
    shown = blurred(white_box, BOX).convert("L")
    right, reach = round(BOX[2] * SIZE[0]), round(ENLARGEMENT * math.hypot(80, 80))
    row = SIZE[1] // 2 + 2  # black, which the blur makes grey
    fading = [shown.getpixel((column, row)) for column in range(right, right + reach)]
    assert fading == sorted(fading, reverse=True)
    assert len(set(fading)) >= reach - 2
    assert shown.getpixel((right + reach + 1, row)) == 0


def test_a_picture_with_thousands_of_boxes_fails() -> None:
    with pytest.raises(ResizeError, match=Reason.INVALID_BOX):
        checked_boxes([[0, 0, 1, 1]] * 1001)


def test_a_side_that_is_no_float_is_no_box() -> None:
    with pytest.raises(ResizeError, match=Reason.INVALID_BOX):
        checked_boxes([[0, 0, 1, 10**400]])


def test_the_radius_follows_the_largest_box() -> None:
    """Faces of a group are equally unrecognisable, also the small ones at the back."""
    small = (0.8, 0.4, 0.84, 0.46)
    wide = stripes(period=16)
    alone, beside = blurred(wide, small), blurred(wide, small, BOX)
    area = in_pixels(small, SIZE)
    assert contrast(beside.crop(area)) < contrast(alone.crop(area)) / 3


def test_a_box_at_the_edge_of_the_picture_is_blurred_up_to_it() -> None:
    corner = (0.0, 0.0, 0.3, 0.3)
    shown = blurred(stripes(), corner).crop(in_pixels(corner, SIZE)).convert("L")
    neighbours = ImageChops.difference(shown, ImageChops.offset(shown, 4, 0)).crop((4, 0, *shown.size))
    assert neighbours.getextrema()[1] < 12  # a stripe beside the next; the edge itself may darken the blur


def test_no_boxes_change_nothing() -> None:
    assert blurred(stripes()).tobytes() == stripes().tobytes()


def marked() -> Image.Image:
    """A grey picture with a fine black and white grid in `BOX` alone."""
    image = Image.new("RGB", (800, 500), (128, 128, 128))
    area = in_pixels(BOX, image.size)
    image.paste(stripes(image.size, period=40).crop(area), area)
    return image


@pytest.mark.parametrize("mode", sorted(RESIZE_MODES))
@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
def test_the_right_part_is_blurred_in_every_mode_and_orientation(mode: str, orientation: int) -> None:
    turns = {2: (0,), 6: (2,), 7: (6,)}
    stored = marked()
    for turn in turns.get(orientation, ()):
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(stored, "PNG", exif=exif.tobytes())
    options = ResizeOptions(resize_mode=mode, image_size=200, encode_format="png")
    sharp, soft = (decoded(Resizer(options)(body, boxes).data).convert("L") for boxes in ([], [BOX]))
    content = sharp.crop(content_of(mode, sharp.size))
    assert contrast(content) > 200
    assert contrast(soft.crop(content_of(mode, soft.size))) < 40
    if mode == "border":  # the white around the picture is neither blurred nor blurred into it
        assert soft.getpixel((100, 36)) == 255
        assert soft.getpixel((5, 39)) == 128


def content_of(mode: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where the picture is, without the white border."""
    return (0, 38, 200, 162) if mode == "border" else (0, 0, *size)


def test_a_box_that_was_cut_off_leaves_the_rest_alone() -> None:
    options = ResizeOptions(resize_mode="center_crop", image_size=100, encode_format="png")
    body = encoded(stripes((800, 200), period=40), "PNG")
    sharp, soft = (Resizer(options)(body, boxes).data for boxes in ([], [[0.0, 0.0, 0.2, 1.0]]))
    assert sharp == soft


def test_greyscale_is_blurred_too() -> None:
    body = encoded(stripes().convert("L"), "JPEG")
    shown = decoded(Resizer(ResizeOptions(resize_mode="no"))(body, [BOX]).data)
    assert contrast(shown.crop(in_pixels(BOX, SIZE))) < 20


@pytest.mark.parametrize("boxes", [None, [], [[0.3, 0.3, 0.3, 0.9]], [[0, 0, 0, 0]], [[1.0, 0.2, 1.3, 0.4]]])
def test_no_area_means_nothing_to_blur(boxes: list[list[float]] | None) -> None:
    assert checked_boxes(boxes) == []


def test_a_box_that_reaches_beyond_the_picture_is_cut_at_its_edge() -> None:
    assert checked_boxes([[-0.1, 0.2, 0.5, 1.3]]) == [(0.0, 0.2, 0.5, 1.0)]


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([0.1, 0.2, 0.3], id="too short"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.9], id="too long"),
        pytest.param([0.5, 0.2, 0.3, 0.4], id="inverted"),
        pytest.param([0.1, 0.8, 0.3, 0.4], id="upside down"),
        pytest.param([120, 80, 200, 160], id="in pixels"),
        pytest.param([-0.5, 0.1, -0.2, 0.3], id="left of the picture"),
        pytest.param([0.1, 0.2, 0.3, None], id="null in it"),
        pytest.param(None, id="null"),
        pytest.param([0.1, 0.2, 0.3, math.nan], id="not a number"),
        pytest.param([0.1, 0.2, math.inf, 0.4], id="infinite"),
        pytest.param("left", id="text"),
        pytest.param(0.5, id="a number"),
    ],
)
def test_a_row_with_a_box_that_makes_no_sense_fails(box: object) -> None:
    """Saved unblurred it would show what somebody wanted hidden."""
    with pytest.raises(ResizeError, match=Reason.INVALID_BOX):
        Resizer(ResizeOptions())(encoded(stripes()), [[0.1, 0.1, 0.2, 0.2], box])  # type: ignore[list-item]


coordinates = st.floats(-0.5, 1.5)


@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=3),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_any_boxes_are_blurred_or_refused(
    boxes: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    image = stripes((width, height), period=4)
    try:
        windows = checked_boxes(boxes)
    except ResizeError:
        return
    BoundingBoxBlurrer()(image, windows)
    assert image.size == (width, height)
