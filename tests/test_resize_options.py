"""ResizeOptions refuses what cannot work, in one sentence that names the option, its value and what would be right."""

from __future__ import annotations

import math

import pytest

from img2dataset.errors import OptionsError
from img2dataset.options import ResizeOptions


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image_size": 0}, ["image_size", "0", "at least 1"]),
        ({"image_size": 20_000}, ["image_size", "20000", "13379"]),
        ({"resize_mode": "crop"}, ["resize_mode", "'crop'", "no, border, keep_ratio, keep_ratio_largest, center_crop"]),
        ({"resize_only_if_bigger": "yes"}, ["resize_only_if_bigger", "true or false"]),
        ({"upscale_interpolation": "sharp"}, ["upscale_interpolation", "lanczos"]),
        ({"downscale_interpolation": "sharp"}, ["downscale_interpolation", "area"]),
        ({"encode_format": "gif"}, ["encode_format", "jpg, png, webp, avif"]),
        ({"encode_quality": 101}, ["encode_quality", "101", "from 1 to 100"]),
        ({"encode_quality": 0}, ["encode_quality", "0"]),
        ({"encode_format": "png", "encode_quality": 95}, ["95", "encode_format=png", "from 0 to 9"]),
        ({"encode_quality": 9.5}, ["encode_quality", "9.5"]),
        ({"min_image_size": -1}, ["min_image_size", "-1"]),
        ({"max_image_area": 0}, ["max_image_area", "0"]),
        ({"max_image_area": math.nan}, ["max_image_area", "nan"]),
        ({"max_aspect_ratio": 0.5}, ["max_aspect_ratio", "0.5", "at least 1"]),
        ({"min_image_size": 100, "max_image_area": 9999}, ["min_image_size", "max_image_area", "no image can pass"]),
    ],
)
def test_refuses(wrong: dict[str, object], words: list[str]) -> None:
    with pytest.raises(OptionsError) as refusal:
        ResizeOptions(**wrong)  # type: ignore[arg-type]
    assert all(word in str(refusal.value) for word in words)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"encode_format": "png", "encode_quality": 0},
        {"encode_format": "webp", "encode_quality": 0},
        {"disable_all_reencoding": True},
        {"disable_all_reencoding": True, "resize_mode": "no"},
        {"max_aspect_ratio": 1, "min_image_size": 0, "max_image_area": 1},
    ],
)
def test_accepts(right: dict[str, object]) -> None:
    ResizeOptions(**right)  # type: ignore[arg-type]


def test_options_of_the_encoding_are_ignored_where_there_is_none() -> None:
    encoding = {"resize_mode": "center_crop", "encode_format": "webp", "encode_quality": 90, "skip_reencode": True}
    ignored = ("resize_mode=center_crop", "encode_format=webp", "encode_quality=90", "skip_reencode")
    assert ResizeOptions(disable_all_reencoding=True, **encoding).ignored == ignored  # type: ignore[arg-type]
    assert ResizeOptions(**encoding).ignored == ()  # type: ignore[arg-type]
    assert ResizeOptions(disable_all_reencoding=True).ignored == ()
