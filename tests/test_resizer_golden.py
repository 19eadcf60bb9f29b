"""Every file of `golden/` looks like the picture it was made from, or fails with the message it should fail with."""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, features

from img2dataset.errors import ResizeError, unsupported_format_reason
from img2dataset.images import ResizedImage, Resizer
from img2dataset.options import ResizeOptions

GOLDEN = Path(__file__).parent / "golden"
INDEX = json.loads((GOLDEN / "index.json").read_text())
EXACT = {".png", ".tif", ".gif", ".bmp", ".ppm", ".psd", ".ico", ".cur"}
ROUNDED = {"icc-swapped.png": 1, "icc-swapped-palette.png": 1, "icc-grey.png": 1, "lab.tif": 8}
"""Files without loss whose colours go through a transform in 8 bits: levels of 255 that they may be off."""
LOSSY = 4
LACKING = {f".{name}" for name in ("avif", "webp") if not features.check(name)}
LACKING |= {".heic"} if find_spec("pillow_heif") is None else set()


def resized(name: str, **options: object) -> ResizedImage:
    resizer = Resizer(ResizeOptions(**{"resize_mode": "no", "encode_format": "png", **options}))  # type: ignore[arg-type]
    return resizer((GOLDEN / name).read_bytes())


def largest_difference(shown: Image.Image, expected: Image.Image) -> int:
    return max(high for _, high in ImageChops.difference(shown, expected).getextrema())  # type: ignore[misc]


def centres(image: Image.Image) -> Image.Image:
    """The middle of each of the six patches, as chroma of lossy files bleeds over edges."""
    boxes = [(16 * column + 4, 16 * row + 4, 16 * column + 12, 16 * row + 12) for row in (0, 1) for column in (0, 1, 2)]
    sheet = Image.new("RGB", (48, 8))
    for number, box in enumerate(boxes):
        sheet.paste(image.crop(box), (8 * number, 0))
    return sheet


@pytest.mark.parametrize("name", INDEX["shown"])
def test_shows_the_right_pixels(name: str) -> None:
    if Path(name).suffix in LACKING:
        with pytest.raises(ResizeError, match=unsupported_format_reason(Path(name).suffix[1:].upper())):
            resized(name)
        return
    image = resized(name)
    shown = Image.open(BytesIO(image.data))
    expected = Image.open(GOLDEN / INDEX["shown"][name])
    assert shown.mode == "RGB"
    assert (image.width, image.height, image.original_width, image.original_height) == (48, 32, 48, 32)
    if Path(name).suffix in EXACT:
        assert largest_difference(shown, expected) <= ROUNDED.get(name, 0)
    else:
        assert largest_difference(centres(shown), centres(expected)) <= LOSSY


@pytest.mark.parametrize("name", INDEX["refused"])
def test_refuses_in_one_of_a_few_messages(name: str) -> None:
    if Path(name).suffix in LACKING:
        pytest.skip("this Pillow does not read the format")
    with pytest.raises(ResizeError) as refusal:
        resized(name)
    assert str(refusal.value) == INDEX["refused"][name]


@pytest.mark.parametrize("name", [name for name in INDEX["shown"] if Path(name).suffix not in LACKING])
def test_saves_nothing_of_the_file_but_its_pixels(name: str) -> None:
    """A profile, an orientation or a transparent colour that were left in would be applied a second time."""
    for encode_format in ("jpg", "png"):
        saved = Image.open(BytesIO(resized(name, encode_format=encode_format).data))
        assert saved.mode == "RGB"
        assert not {"icc_profile", "exif", "transparency", "comment", "xmp"} & saved.info.keys()


@pytest.mark.parametrize("name", [name for name in INDEX["shown"] if Path(name).suffix not in LACKING])
def test_keeps_the_original_bytes_with_their_true_extension(name: str) -> None:
    image = resized(name, encode_format="jpg", disable_all_reencoding=True)
    true_extension = {".mpo": "jpg"}.get(Path(name).suffix, Path(name).suffix[1:])
    assert image.data == (GOLDEN / name).read_bytes()
    assert (image.extension, image.width, image.height) == (true_extension, 48, 32)


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "film.mp4", "bare-signature.png", "cut-in-header.jpg"])
def test_keeps_no_bytes_that_are_no_image(name: str) -> None:
    with pytest.raises(ResizeError):
        resized(name, encode_format="jpg", disable_all_reencoding=True)
