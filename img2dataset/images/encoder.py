"""An RGB image becomes the bytes of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from img2dataset.errors import OptionsError, Reason, ResizeError
from img2dataset.options import ENCODE_QUALITIES


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """How Pillow writes one of the formats. `longest_side` is in pixels."""

    pillow_name: str
    longest_side: int
    parameters: Callable[[int], Mapping[str, object]]


# webp and avif at their fastest: slower settings save 4 to 8 % of the bytes for up to ten times the CPU, see docs.
ENCODERS = {
    "jpg": ImageFormat("JPEG", 65_500, lambda quality: {"quality": quality, "subsampling": "4:2:0"}),
    "png": ImageFormat("PNG", 2**31 - 1, lambda level: {"compress_level": level}),
    "webp": ImageFormat("WEBP", 16_383, lambda quality: {"quality": quality, "method": 0}),
    "avif": ImageFormat("AVIF", 65_536, lambda quality: {"quality": quality, "speed": 10, "max_threads": 1}),
}


class Encoder:
    """Encodes to one format (a name in `ENCODERS`) at one quality; None is the format's default."""

    def __init__(self, name: str, quality: int | None = None) -> None:
        self.extension = name
        self._format = ENCODERS[name]
        default = ENCODE_QUALITIES[name].default
        self._parameters = dict(self._format.parameters(default if quality is None else quality))
        self._require_support()

    @property
    def pillow_name(self) -> str:
        """What Pillow calls the format: equal to the name of the `RasterFormat` that reads it."""
        return self._format.pillow_name

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise `ResizeError` if the format cannot hold ``(width, height)`` pixels."""
        if max(size) > self._format.longest_side:
            raise ResizeError(Reason.TOO_LONG_FOR_FORMAT)

    def __call__(self, image: Image.Image) -> bytes:
        """The file of an ``RGB`` image, without comment, profile, EXIF or anything else of its source."""
        image.info = {}
        file = BytesIO()
        image.save(file, self._format.pillow_name, **self._parameters)
        return file.getvalue()

    def _require_support(self) -> None:
        """Load the few plugins that have our formats, or else all of Pillow's, and refuse what none of them writes."""
        for load_plugins in (Image.preinit, Image.init):
            if self._format.pillow_name not in Image.SAVE:
                load_plugins()
        if self._format.pillow_name not in Image.SAVE:
            raise OptionsError(f"encode_format is {self.extension!r}, which this Pillow cannot write; use jpg or png")
