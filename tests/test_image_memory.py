"""What an image takes of the memory is known before it is decoded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from dataset import write_list
from mockserver import MockServer
from pictures import encoded, picture
from PIL import Image

from img2dataset import download
from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer
from img2dataset.options import OptionsError, ResizeOptions

MEASURE = """
import sys
from img2dataset.images import Resizer
from img2dataset.options import ResizeOptions

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

body, warm_up = (open(path, "rb").read() for path in sys.argv[1:3])
resize = Resizer(ResizeOptions(resize_mode=sys.argv[3]))
resize(warm_up)
before = peak()
resize(body)
print(peak() - before)
"""

COLOUR = picture(3000, 2000)
PALETTE = COLOUR.quantize(64)
FILES = {
    "baseline": ("JPEG", COLOUR, {}),
    "progressive": ("JPEG", COLOUR, {"progressive": True}),
    "progressive, full chroma": ("JPEG", COLOUR, {"progressive": True, "subsampling": "4:4:4"}),
    "progressive, grey": ("JPEG", COLOUR.convert("L"), {"progressive": True}),
    "inks": ("JPEG", COLOUR.convert("CMYK"), {}),
    "bits": ("PNG", COLOUR.convert("1"), {}),
    "grey": ("PNG", COLOUR.convert("L"), {}),
    "grey with a hole": ("PNG", COLOUR.convert("L"), {"transparency": 3}),
    "grey with alpha": ("PNG", COLOUR.convert("LA"), {}),
    "grey, 16 bits": ("PNG", Image.new("I;16", COLOUR.size, 1234), {}),
    "colour": ("PNG", COLOUR, {}),
    "colour with a hole": ("PNG", COLOUR, {"transparency": (1, 2, 3)}),
    "colour with alpha": ("PNG", COLOUR.convert("RGBA"), {}),
    "palette": ("PNG", PALETTE, {}),
    "palette with a hole": ("PNG", PALETTE, {"transparency": 3}),
    "gif": ("GIF", PALETTE, {}),
    "gif with a hole": ("GIF", PALETTE, {"transparency": 3}),
    "webp": ("WEBP", COLOUR, {"method": 0}),
    "webp with alpha": ("WEBP", COLOUR.convert("RGBA"), {"method": 0}),
    "webp without loss": ("WEBP", COLOUR, {"lossless": True, "method": 0}),
}


@pytest.mark.parametrize("mode", ["border", "no"])
@pytest.mark.parametrize("name", FILES)
def test_the_estimate_holds(name: str, mode: str, tmp_path: Path) -> None:
    """An image that takes so much is decoded with that limit, and not with half of it."""
    pillow_name, image, parameters = FILES[name]
    body = encoded(image, pillow_name, **parameters)
    (tmp_path / "large").write_bytes(body)
    (tmp_path / "small").write_bytes(encoded(image.resize((30, 20)), pillow_name, **parameters))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "large"), str(tmp_path / "small"), mode]
    taken = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    slack = 4_000_000  # buffers that do not grow with the image, and the encoded result
    Resizer(ResizeOptions(resize_mode=mode, max_image_memory=2 * taken + slack))(body)
    if taken > 2 * slack:
        with pytest.raises(ResizeError, match=Reason.IMAGE_MEMORY):
            Resizer(ResizeOptions(resize_mode=mode, max_image_memory=taken // 2))(body)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_picture_of_one_column_takes_more_than_its_pixels(mode: str) -> None:
    body = encoded(Image.new(mode, (1, 6_000_000)), "PNG", transparency=0)
    with pytest.raises(ResizeError, match=Reason.IMAGE_MEMORY):
        Resizer(ResizeOptions(max_image_memory=100_000_000))(body)


def test_the_limit_is_an_option() -> None:
    body = hostile.flat_png(6000, 16, 0)
    assert Resizer(ResizeOptions())(body).original_width == 6000
    with pytest.raises(ResizeError, match=Reason.IMAGE_MEMORY):
        Resizer(ResizeOptions(max_image_memory=100_000_000))(body)


def test_another_limit_goes_on_with_the_same_dataset(server: MockServer, tmp_path: Path) -> None:
    server.images["large"] = ("image/png", hostile.flat_png(6000, 16, 0))
    url_list = write_list(tmp_path / "list.txt", [server.url("/image/large"), server.url("/photo/64x64.jpg")])
    options = {"output_folder": str(tmp_path / "out"), "image_size": 64}
    first = download(url_list, **options, max_image_memory=100_000_000)
    assert first.status_dict == {"success": 1, Reason.IMAGE_MEMORY: 1}
    retry = {"incremental_mode": "retry_failed", "retry_statuses": [Reason.IMAGE_MEMORY]}
    assert download(url_list, **options, **retry).successes == 2


def test_enlarging_counts_too() -> None:
    resize = Resizer(ResizeOptions(image_size=10_000, resize_mode="keep_ratio"))
    with pytest.raises(ResizeError, match=Reason.IMAGE_MEMORY):
        resize(encoded(picture(200, 200)))


def test_no_image_may_take_no_memory() -> None:
    with pytest.raises(OptionsError, match="max_image_memory is 0; it must be a whole number of at least 1"):
        ResizeOptions(max_image_memory=0)
