"""The Resizer: interpolations, encodings, filters, and what is decided before anything is decoded."""

from __future__ import annotations

import time
import warnings
from functools import cache

import pytest
from pictures import decoded, encoded, mean_difference, picture
from PIL import Image

from img2dataset import options as options_module
from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer
from img2dataset.images.encoder import ENCODERS
from img2dataset.images.interpolation import INTERPOLATIONS
from img2dataset.images.modes import RESIZE_MODES
from img2dataset.options import ENCODE_QUALITIES, ResizeOptions


@pytest.mark.parametrize("name", sorted(INTERPOLATIONS))
@pytest.mark.parametrize("size", [(1300, 900), (90, 60)])
def test_every_interpolation_resizes_both_ways(name: str, size: tuple[int, int]) -> None:
    options = ResizeOptions(upscale_interpolation=name, downscale_interpolation=name, encode_format="png")
    for pillow_name in ("JPEG", "PNG"):
        source = picture(*size)
        shown = decoded(Resizer(options)(encoded(source, pillow_name)).data)
        expected = Image.new("RGB", (256, 256), "white")
        height = round(256 * size[1] / size[0])
        expected.paste(source.resize((256, height), Image.Resampling.BICUBIC), (0, (256 - height) // 2))
        assert mean_difference(shown, expected) < (6 if name == "nearest" else 3)


def test_nearest_makes_no_new_colours() -> None:
    chequered = Image.effect_noise((900, 700), 90).point(lambda level: 255 * (level > 128)).convert("RGB")
    options = ResizeOptions(resize_mode="keep_ratio", downscale_interpolation="nearest", encode_format="png")
    shown = decoded(Resizer(options)(encoded(chequered, "PNG")).data)
    assert {colour for _, colour in shown.getcolors()} == {(0, 0, 0), (255, 255, 255)}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("encode_format", "pillow_name"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("avif", "AVIF")]
)
def test_encodes_what_is_asked_for(encode_format: str, pillow_name: str) -> None:
    source = encoded(picture(400, 300))
    sizes = {}
    lowest, highest, default = ENCODE_QUALITIES[encode_format]
    for quality in (max(1, lowest), highest, None):
        image = Resizer(ResizeOptions(encode_format=encode_format, encode_quality=quality))(source)
        assert image.extension == encode_format
        assert decoded(image.data).format == pillow_name
        assert decoded(image.data).mode == "RGB"
        sizes[quality] = len(image.data)
    smaller, larger = (highest, max(1, lowest)) if encode_format == "png" else (max(1, lowest), highest)
    assert sizes[smaller] < sizes[larger]
    same = Resizer(ResizeOptions(encode_format=encode_format, encode_quality=default))(source)
    assert len(same.data) == sizes[None]


def test_jpeg_is_quality_95_with_halved_chroma() -> None:
    shown = decoded(Resizer(ResizeOptions())(encoded(picture(400, 300))).data)
    same = decoded(encoded(picture(9, 9), quality=95, subsampling="4:2:0"))
    assert shown.quantization == same.quantization  # type: ignore[attr-defined]
    assert shown.layer == same.layer  # type: ignore[attr-defined]


def skip(**options: object) -> Resizer:
    return Resizer(ResizeOptions(skip_reencode=True, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resizer", "size"),
    [
        (skip(resize_mode="no"), (300, 200)),
        (skip(), (256, 256)),
        (skip(resize_mode="keep_ratio"), (300, 256)),
        (skip(resize_only_if_bigger=True), (200, 100)),
    ],
)
def test_skip_reencode_returns_the_bytes_when_nothing_would_change(resizer: Resizer, size: tuple[int, int]) -> None:
    body = encoded(picture(*size), quality=30)
    image = resizer(body)
    assert image.data is body
    assert (image.extension, image.width, image.height) == ("jpg", *size)


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(256, 256), exif=exif.tobytes())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(picture(257, 256)), id="another size"),
        pytest.param(encoded(picture(256, 128)), id="a border"),
        pytest.param(encoded(picture(256, 256), "PNG"), id="another format"),
        pytest.param(encoded(picture(256, 256, "L")), id="grey"),
        pytest.param(encoded(picture(256, 256, "CMYK")), id="inks"),
        pytest.param(with_orientation(3), id="upside down"),
    ],
)
def test_skip_reencode_encodes_what_changes(body: bytes) -> None:
    image = skip()(body)
    assert image.data != body
    assert decoded(image.data).format == "JPEG"
    assert decoded(image.data).mode == "RGB"


def test_skip_reencode_still_blurs() -> None:
    body = encoded(picture(256, 256))
    assert skip()(body, [[0.2, 0.2, 0.6, 0.6]]).data != body
    assert skip()(body, []).data is body


def test_skip_reencode_of_an_animation_keeps_the_first_frame_only() -> None:
    frames = [picture(256, 256), Image.new("RGB", (256, 256), "red")]
    body = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    image = skip(encode_format="webp")(body)
    assert getattr(decoded(image.data), "n_frames", 1) == 1


def test_skip_reencode_does_not_keep_damaged_bytes() -> None:
    body = encoded(picture(256, 256))
    with pytest.raises(ResizeError, match=Reason.IMAGE_CUT_SHORT):
        skip()(body[: len(body) // 2])


def test_images_kept_as_they_came_cannot_be_blurred() -> None:
    resizer = Resizer(ResizeOptions(disable_all_reencoding=True))
    body = encoded(picture(20, 20))
    assert resizer(body).data is body
    with pytest.raises(ValueError, match="cannot be blurred"):
        resizer(body, [])


@pytest.mark.parametrize(
    ("options", "passes", "fails", "reason"),
    [
        ({"min_image_size": 100}, (100, 300), (300, 99), Reason.IMAGE_TOO_SMALL),
        ({"max_image_area": 10_000}, (100, 100), (101, 100), Reason.IMAGE_AREA_TOO_LARGE),
        ({"max_aspect_ratio": 2.5}, (100, 250), (251, 100), Reason.ASPECT_RATIO_TOO_LARGE),
    ],
)
def test_filters_by_the_original_size(
    options: dict[str, float], passes: tuple[int, int], fails: tuple[int, int], reason: str
) -> None:
    resizer = Resizer(ResizeOptions(**options))  # type: ignore[arg-type]
    assert resizer(encoded(picture(*passes))).original_width == passes[0]
    with pytest.raises(ResizeError) as refusal:
        resizer(encoded(picture(*fails)))
    assert str(refusal.value) == reason


@cache
def fifty_megapixels() -> bytes:
    noise = Image.effect_noise((1000, 1000), 40)
    sheet = Image.new("L", (8660, 5774))
    for left in range(0, sheet.width, noise.width):
        for top in range(0, sheet.height, noise.height):
            sheet.paste(noise, (left, top))
    return encoded(sheet, quality=60)


def test_filtering_fifty_megapixels_out_takes_under_a_millisecond() -> None:
    body, resizer = fifty_megapixels(), Resizer(ResizeOptions(max_image_area=40e6))
    assert len(body) > 10_000_000

    def seconds() -> float:
        start = time.perf_counter()
        with pytest.raises(ResizeError, match=Reason.IMAGE_AREA_TOO_LARGE):
            resizer(body)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(20)) < 0.001


def test_filters_decide_before_damage_is_looked_for() -> None:
    cut = fifty_megapixels()[:5000]
    with pytest.raises(ResizeError, match=Reason.IMAGE_AREA_TOO_LARGE):
        Resizer(ResizeOptions(max_image_area=40e6))(cut)


@pytest.mark.parametrize("options", [{}, {"disable_all_reencoding": True}])
def test_refuses_more_than_179_megapixels_by_the_header(options: dict[str, bool]) -> None:
    whole = encoded(Image.new("1", (13_400, 13_400)), "PNG")
    with pytest.raises(ResizeError, match=Reason.TOO_MANY_PIXELS):
        Resizer(ResizeOptions(**options))(whole)  # type: ignore[arg-type]


def test_refuses_a_result_of_too_many_pixels() -> None:
    """A line of 60,000 pixels has few; made 256 wide it would have four billion."""
    line = encoded(Image.new("L", (1, 60_000)))
    with pytest.raises(ResizeError, match=Reason.TOO_MANY_PIXELS):
        Resizer(ResizeOptions(resize_mode="keep_ratio"))(line)
    assert Resizer(ResizeOptions(resize_mode="center_crop"))(line).height == 256


def test_refuses_a_result_that_the_format_cannot_hold() -> None:
    stripe = encoded(Image.new("L", (8, 1000)))
    with pytest.raises(ResizeError, match=Reason.TOO_LONG_FOR_FORMAT):
        Resizer(ResizeOptions(resize_mode="keep_ratio", encode_format="webp"))(stripe)
    assert Resizer(ResizeOptions(resize_mode="keep_ratio"))(stripe).height == 32_000


def test_large_images_warn_of_nothing() -> None:
    """Pillow warns of a bomb from 89 megapixels on; up to 179 an image is welcome."""
    body = encoded(Image.new("L", (9500, 9500), 90))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Resizer(ResizeOptions())(body).original_width == 9500
    assert not caught


def test_leaves_the_settings_of_pillow_alone() -> None:
    from PIL import ImageFile

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    Resizer(ResizeOptions())(encoded(picture(300, 300)))
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


def test_the_names_in_the_options_are_those_of_the_tables() -> None:
    assert list(options_module.RESIZE_MODES) == list(RESIZE_MODES)
    assert set(options_module.INTERPOLATIONS) == set(INTERPOLATIONS)
    assert ENCODE_QUALITIES.keys() == ENCODERS.keys()
