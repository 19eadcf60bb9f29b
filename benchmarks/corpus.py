"""Make a corpus like what image links of the web lead to, out of photos that scikit-image and scikit-learn ship.

    python benchmarks/corpus.py FOLDER --count 1000 --seed 0

Sizes are log-normal from 150 to 4,000 pixels; a file has 133 KB in the mean and 39 KB in the median, about. 90 % are
JPEG, of which a third progressive, 5 % PNG, 3 % WebP, 2 % GIF and AVIF. The same count, seed and Pillow make the same
bytes. Photos are never enlarged to make a large picture, as that has no detail: it is laid out of mirrored copies.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

PHOTOS = {
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
    "skimage.data": (
        *("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png"),
        *("motorcycle_left.png", "retina.jpg", "rocket.jpg"),
    ),
}
SMALLEST, MEDIAN, LARGEST = 150, 440, 4000
SPREAD = 0.86
"""Standard deviation of the logarithm of the longer side."""

LOSSLESS = ("png", "gif")
"""Formats that are rarely used for large photos, or the mean file would be one of theirs."""

FORMATS = {"jpg": 0.60, "progressive.jpg": 0.30, "png": 0.05, "webp": 0.03, "gif": 0.01, "avif": 0.01}


@dataclass(frozen=True, slots=True)
class CorpusImage:
    """One file of the corpus; ``kind`` is a name of `FORMATS`."""

    kind: str
    body: bytes

    @property
    def extension(self) -> str:
        return self.kind.rpartition(".")[2]


@cache
def photos() -> tuple[Image.Image, ...]:
    """Ten colour photos, 300 to 1,411 pixels."""
    paths = [files(package) / name for package, names in PHOTOS.items() for name in names]
    return tuple(Image.open(BytesIO(path.read_bytes())).convert("RGB") for path in paths)


def crop(width: int, height: int, draw: random.Random) -> Image.Image:
    """A part of a photo, in mirrored copies where the photo is smaller than what is asked for."""
    photo = draw.choice(photos())
    across, down = -(-width // photo.width), -(-height // photo.height)
    sheet = Image.new("RGB", (across * photo.width, down * photo.height))
    for row in range(down):
        for column in range(across):
            tile = ImageOps.mirror(photo) if column % 2 else photo
            tile = ImageOps.flip(tile) if row % 2 else tile
            sheet.paste(tile, (column * photo.width, row * photo.height))
    left, top = draw.randint(0, sheet.width - width), draw.randint(0, sheet.height - height)
    return sheet.crop((left, top, left + width, top + height))


def corpus(count: int, seed: int = 0) -> Iterator[CorpusImage]:
    """`count` encoded images."""
    draw = random.Random(seed)
    kinds, weights = list(FORMATS), list(FORMATS.values())
    for _ in range(count):
        kind = draw.choices(kinds, weights)[0]
        yield CorpusImage(kind, _encode(crop(*drawn_size(kind, draw), draw), kind, draw))


def drawn_size(kind: str, draw: random.Random) -> tuple[int, int]:
    """Width and height of a picture of a kind."""
    while True:
        longer = draw.lognormvariate(0, SPREAD) * MEDIAN * (0.5 if kind in LOSSLESS else 1)
        shorter = longer * draw.choice((1.0, 3 / 4, 3 / 4, 2 / 3, 2 / 3, 9 / 16))
        if shorter >= SMALLEST and longer <= LARGEST:
            size = round(longer), round(shorter)
            return size if draw.random() < 0.65 else size[::-1]


def _encode(image: Image.Image, kind: str, draw: random.Random) -> bytes:
    file = BytesIO()
    if kind.endswith("jpg"):
        image.convert("L" if draw.random() < 0.03 else "RGB").save(
            file,
            "JPEG",
            quality=round(draw.triangular(60, 96, 85)),
            subsampling=draw.choice(("4:2:0", "4:2:0", "4:2:0", "4:4:4")),
            progressive=kind.startswith("progressive"),
            **_metadata(draw),
        )
    elif kind == "png":
        image.convert(draw.choice(("RGB", "RGB", "RGBA", "P"))).save(file, "PNG")
    elif kind == "webp":
        image.save(file, "WEBP", quality=round(draw.triangular(60, 95, 80)))
    elif kind == "gif":
        image.convert("P", palette=Image.Palette.ADAPTIVE).save(file, "GIF")
    else:
        image.save(file, "AVIF", quality=round(draw.triangular(50, 80, 65)), max_threads=1)
    return file.getvalue()


def _metadata(draw: random.Random) -> dict[str, bytes]:
    """A fifth of the web's photos name sRGB, a sixth keep the camera's EXIF."""
    kept: dict[str, bytes] = {}
    if draw.random() < 0.2:
        kept["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if draw.random() < 0.17:
        exif = Image.Exif()
        exif.update({0x010F: "Maker", 0x0110: "Model", 0x0112: draw.choice((1, 1, 1, 6, 8, 3)), 0x0132: "2026:01:02"})
        exif.get_ifd(0x8769).update({0x829A: 0.01, 0x829D: 2.8, 0x8827: 200, 0x920A: 35.0})
        kept["exif"] = exif.tobytes()
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(corpus(arguments.count, arguments.seed)):
        (arguments.folder / f"{number:06d}.{image.kind}").write_bytes(image.body)


if __name__ == "__main__":
    main()
