"""The size that each resize mode makes of each size, and which part of the picture is in it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import decoded, encoded, mean_difference, picture
from PIL import Image

from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer
from img2dataset.images.modes import RESIZE_MODES
from img2dataset.options import ResizeOptions

sides = st.integers(1, 70_000)
image_sizes = st.integers(1, 2_000)
small_sides = st.one_of(st.integers(1, 12), st.integers(1, 700))


def nearest(length: int, image_size: int, side: int) -> int:
    """The length when `side` becomes `image_size`: exact, halves up, at least 1."""
    return max(1, int(Fraction(length * image_size, side) + Fraction(1, 2)))


@given(sides, sides, image_sizes)
def test_border_fits_the_whole_image_into_the_square(width: int, height: int, image_size: int) -> None:
    plan = RESIZE_MODES["border"](width, height, image_size)
    longer = max(width, height)
    assert plan.canvas == (image_size, image_size)
    assert plan.scaled == (nearest(width, image_size, longer), nearest(height, image_size, longer))
    assert max(plan.scaled) == image_size
    assert plan.content == plan.scaled


@given(sides, sides, image_sizes)
def test_keep_ratio_makes_the_smallest_side_the_image_size(width: int, height: int, image_size: int) -> None:
    plan = RESIZE_MODES["keep_ratio"](width, height, image_size)
    shorter = min(width, height)
    assert plan.canvas == plan.scaled == plan.content
    assert plan.scaled == (nearest(width, image_size, shorter), nearest(height, image_size, shorter))
    assert min(plan.scaled) == image_size


@given(sides, sides, image_sizes)
def test_keep_ratio_largest_makes_the_largest_side_the_image_size(width: int, height: int, image_size: int) -> None:
    plan = RESIZE_MODES["keep_ratio_largest"](width, height, image_size)
    longer = max(width, height)
    assert plan.canvas == plan.scaled == plan.content
    assert plan.scaled == (nearest(width, image_size, longer), nearest(height, image_size, longer))
    assert max(plan.scaled) == image_size
    assert min(plan.scaled) >= 1


@given(sides, sides, image_sizes)
def test_center_crop_keeps_the_middle_square_of_the_smallest_side(width: int, height: int, image_size: int) -> None:
    plan = RESIZE_MODES["center_crop"](width, height, image_size)
    left, top, right, bottom = plan.crop
    assert min(plan.scaled) == image_size
    assert plan.canvas == plan.content == (image_size, image_size)
    assert 0 <= left <= right <= plan.scaled[0]
    assert 0 <= top <= bottom <= plan.scaled[1]
    assert abs(left - (plan.scaled[0] - right)) <= 1
    assert abs(top - (plan.scaled[1] - bottom)) <= 1


@given(sides, sides, image_sizes)
def test_no_leaves_the_size(width: int, height: int, image_size: int) -> None:
    plan = RESIZE_MODES["no"](width, height, image_size)
    assert plan.canvas == plan.scaled == plan.content == (width, height)


@settings(deadline=None, max_examples=150)
@given(small_sides, small_sides, st.integers(1, 300), st.sampled_from(sorted(RESIZE_MODES)), st.booleans())
def test_saves_what_it_says_in_the_size_of_the_mode(
    width: int, height: int, image_size: int, mode: str, only_if_bigger: bool
) -> None:
    options = ResizeOptions(image_size=image_size, resize_mode=mode, resize_only_if_bigger=only_if_bigger)
    body = encoded(picture(width, height, "L"))
    plan = RESIZE_MODES[mode](width, height, image_size)
    expected = (width, height) if only_if_bigger and plan.fixed_side <= image_size else plan.canvas
    if max(expected) > 65_500:  # a line of one pixel became a line of many
        with pytest.raises(ResizeError, match=f"{Reason.TOO_LONG_FOR_FORMAT}|{Reason.TOO_MANY_PIXELS}"):
            Resizer(options)(body)
        return
    image = Resizer(options)(body)
    assert decoded(image.data).size == (image.width, image.height) == expected
    assert (image.original_width, image.original_height) == (width, height)


@pytest.mark.parametrize(
    ("mode", "size", "left_alone"),
    [
        ("border", (200, 100), True),
        ("border", (256, 100), True),
        ("border", (257, 100), False),
        ("keep_ratio", (400, 256), True),
        ("keep_ratio", (400, 257), False),
        ("keep_ratio_largest", (256, 100), True),
        ("keep_ratio_largest", (300, 100), False),
        ("center_crop", (400, 256), True),
        ("center_crop", (400, 257), False),
    ],
)
def test_only_if_bigger_compares_the_side_that_the_mode_fixes(
    mode: str, size: tuple[int, int], left_alone: bool
) -> None:
    resizer = Resizer(ResizeOptions(resize_mode=mode, resize_only_if_bigger=True))
    image = resizer(encoded(picture(*size)))
    assert ((image.width, image.height) == size) is left_alone


def test_border_is_white_and_centres_the_image() -> None:
    image = Resizer(ResizeOptions(encode_format="png"))(encoded(Image.new("RGB", (100, 51), "black"), "PNG"))
    shown = decoded(image.data).convert("L")
    column = [shown.getpixel((128, row)) for row in range(256)]
    assert column == [255] * 62 + [0] * 131 + [255] * 63


def test_center_crop_of_an_image_of_the_right_height_moves_no_pixel() -> None:
    source = picture(301, 256)
    options = ResizeOptions(resize_mode="center_crop", encode_format="png")
    shown = decoded(Resizer(options)(encoded(source, "PNG")).data)
    assert shown.tobytes() == source.crop((22, 0, 278, 256)).tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["border", "keep_ratio", "center_crop"])
def test_a_turned_image_is_resized_like_the_upright_one(mode: str, orientation: int) -> None:
    """Turning comes after resizing, as there are fewer pixels then; it must not show."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.merge("RGB", (picture(603, 401, "L"), Image.new("L", (603, 401), 128), picture(603, 401, "L")))
    upright.paste((250, 10, 10), (0, 0, 90, 60))
    turns = {2: (0,), 3: (3,), 4: (1,), 5: (5,), 6: (2,), 7: (6,), 8: (4,)}
    stored = upright
    for turn in turns.get(orientation, ()):
        stored = stored.transpose(Image.Transpose(turn))
    resize = Resizer(ResizeOptions(image_size=64, resize_mode=mode, encode_format="png"))
    turned = resize(encoded(stored, "PNG", exif=exif.tobytes()))
    straight = resize(encoded(upright, "PNG"))
    assert (turned.original_width, turned.original_height) == (603, 401)
    assert mean_difference(decoded(turned.data), decoded(straight.data)) < 1
