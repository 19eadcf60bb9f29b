"""Pictures that several test modules draw, encode and compare."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw


def encoded(image: Image.Image, pillow_name: str = "JPEG", **parameters: object) -> bytes:
    file = BytesIO()
    image.save(file, pillow_name, **parameters)
    return file.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A diagonal gradient with a frame: no two places alike, and edges that a crop would lose."""
    image = Image.linear_gradient("L").rotate(45).resize((width, height)).convert(mode)
    ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=0)
    return image


def decoded(body: bytes) -> Image.Image:
    image = Image.open(BytesIO(body))
    image.load()
    return image


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Levels of 255 by which two images of equal size and mode differ in the mean."""
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / len(one.tobytes())
