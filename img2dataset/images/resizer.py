"""The bytes of an image as it was fetched become the bytes of the image that is saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.blurrer import BoundingBoxBlurrer, checked_boxes
from img2dataset.images.colors import WHITE, flatten, to_srgb, transform_to_srgb
from img2dataset.images.decoder import MAX_PIXELS, Source, ignore_warnings_of_pillow, load, open_source
from img2dataset.images.encoder import Encoder
from img2dataset.images.memory import check_memory
from img2dataset.images.orientation import WHOLE, Window, stored_size, stored_window, upright
from img2dataset.images.resized import ResizedImage
from img2dataset.images.sniff import sniff
from img2dataset.options import ResizeOptions

if TYPE_CHECKING:
    from img2dataset.images.sandbox import Sandbox

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mode does to an image: scale all of it to `scaled`, keep `crop` of that, lay it on a white `canvas`.

    `fixed_side` is the side of the original that the mode brings to ``image_size``.
    """

    scaled: Size
    crop: tuple[int, int, int, int]
    canvas: Size
    fixed_side: int

    @property
    def shown(self) -> Window:
        """The part of the original that is kept."""
        if self.crop == (0, 0, *self.scaled):
            return WHOLE
        (width, height), (left, top, right, bottom) = self.scaled, self.crop
        return left / width, top / height, right / width, bottom / height

    @property
    def content(self) -> Size:
        """The size of what is kept, before it is laid on the canvas."""
        return self.crop[2] - self.crop[0], self.crop[3] - self.crop[1]


def _keep(width: int, height: int, image_size: int) -> Plan:
    return Plan((width, height), (0, 0, width, height), (width, height), image_size)


def _border(width: int, height: int, image_size: int) -> Plan:
    scaled = _scale(width, height, max(width, height), image_size)
    return Plan(scaled, (0, 0, *scaled), (image_size, image_size), max(width, height))


def _keep_ratio(width: int, height: int, image_size: int) -> Plan:
    scaled = _scale(width, height, min(width, height), image_size)
    return Plan(scaled, (0, 0, *scaled), scaled, min(width, height))


def _keep_ratio_largest(width: int, height: int, image_size: int) -> Plan:
    scaled = _scale(width, height, max(width, height), image_size)
    return Plan(scaled, (0, 0, *scaled), scaled, max(width, height))


def _center_crop(width: int, height: int, image_size: int) -> Plan:
    scaled = _scale(width, height, min(width, height), image_size)
    left, top = (scaled[0] - image_size) // 2, (scaled[1] - image_size) // 2
    square = (left, top, left + image_size, top + image_size)
    return Plan(scaled, square, (image_size, image_size), min(width, height))


def _scale(width: int, height: int, side: int, image_size: int) -> Size:
    """The size at which `side` of the image is `image_size`: nearest integers, halves up, never below 1."""
    nearest = (max(1, (2 * length * image_size + side) // (2 * side)) for length in (width, height))
    return next(nearest), next(nearest)


RESIZE_MODES: dict[str, Callable[[int, int, int], Plan]] = {
    "no": _keep,
    "border": _border,
    "keep_ratio": _keep_ratio,
    "keep_ratio_largest": _keep_ratio_largest,
    "center_crop": _center_crop,
}


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A filter, and how many times the target size an image must at least keep when it is cheaply reduced before.

    `slight` is the filter for a reduction by less than `SLIGHT`, where it is another one.
    """

    filter: Image.Resampling
    reduction_gap: float | None
    slight: Image.Resampling | None = None

    def filter_for(self, factor: float) -> Image.Resampling:
        """The filter with which an image becomes `factor` times smaller."""
        return self.slight if self.slight is not None and 1 < factor < SLIGHT else self.filter


SLIGHT = 1.4
"""Reduction below which a triangle is nearer to the exact area filter than HAMMING is."""

_AREA = Interpolation(Image.Resampling.HAMMING, 2.0, slight=Image.Resampling.BILINEAR)
_LINEAR = Interpolation(Image.Resampling.BILINEAR, 2.0)
_CUBIC = Interpolation(Image.Resampling.BICUBIC, 3.0)
_LANCZOS = Interpolation(Image.Resampling.LANCZOS, 3.0)

INTERPOLATIONS = {
    "nearest": Interpolation(Image.Resampling.NEAREST, None),
    "linear": _LINEAR,
    "bilinear": _LINEAR,
    "cubic": _CUBIC,
    "bicubic": _CUBIC,
    "area": _AREA,
    "lanczos": _LANCZOS,
    "lanczos4": _LANCZOS,
}


class Resizer:
    """Decodes, filters, resizes, blurs and encodes one image at a time. Made once a process.

    With a `sandbox`, what is none of the common formats is left to that.
    """

    def __init__(self, options: ResizeOptions, sandbox: Sandbox | None = None) -> None:
        self._options = options
        self._sandbox = sandbox
        self._mode = RESIZE_MODES[options.resize_mode]
        self._upscale = INTERPOLATIONS[options.upscale_interpolation]
        self._downscale = INTERPOLATIONS[options.downscale_interpolation]
        self._encode = Encoder(options.encode_format, options.encode_quality)
        self._blur = BoundingBoxBlurrer()
        ignore_warnings_of_pillow()

    def __call__(self, body: bytes, boxes: Sequence[Sequence[float]] | None = None) -> ResizedImage:
        """Resize an encoded image.

        Args:
            body: the file's bytes.
            boxes: parts to blur, as `checked_boxes` wants them: ``[x_min, y_min, x_max, y_max]`` from 0 to 1.

        Raises:
            ResizeError: no image, of an unsupported format, damaged, filtered out, or too large.
            ValueError: boxes are given and `disable_all_reencoding` is set, so that they could not be blurred.
        """
        if self._sandbox and not sniff(body).is_common:
            return self._sandbox(body, boxes)
        return self.resize(open_source(body), boxes)

    def resize(self, source: Source, boxes: Sequence[Sequence[float]] | None) -> ResizedImage:
        """As calling this, with an image whose header has been read."""
        self._filter(source.width, source.height)
        if self._options.disable_all_reencoding:
            if boxes is not None:
                raise ValueError("boxes cannot be blurred in images that are kept as they came")
            return _as_it_came(source)
        windows = checked_boxes(boxes)
        plan = self._plan(source.width, source.height)
        if self._options.skip_reencode and not windows and self._would_change_nothing(source, plan):
            self._load(source, plan)  # tells damage
            return _as_it_came(source)
        image = self._content(source, plan)
        self._blur(image, windows, plan.shown)
        image = _lay_on_white(image, plan.canvas)
        return ResizedImage(self._encode(image), self._encode.extension, *plan.canvas, source.width, source.height)

    def _filter(self, width: int, height: int) -> None:
        options = self._options
        shorter, longer = sorted((width, height))
        if shorter < options.min_image_size:
            raise ResizeError(Reason.IMAGE_TOO_SMALL)
        if width * height > options.max_image_area:
            raise ResizeError(Reason.IMAGE_AREA_TOO_LARGE)
        if longer > options.max_aspect_ratio * shorter:
            raise ResizeError(Reason.ASPECT_RATIO_TOO_LARGE)

    def _plan(self, width: int, height: int) -> Plan:
        plan = self._mode(width, height, self._options.image_size)
        if self._options.resize_only_if_bigger and plan.fixed_side <= self._options.image_size:
            plan = _keep(width, height, self._options.image_size)
        if plan.canvas[0] * plan.canvas[1] > MAX_PIXELS:
            raise ResizeError(Reason.TOO_MANY_PIXELS)
        self._encode.check_size(plan.canvas)
        return plan

    def _would_change_nothing(self, source: Source, plan: Plan) -> bool:
        image = source.image
        return (
            plan.canvas == (source.width, source.height) == plan.content
            and source.format.name == self._encode.pillow_name
            and image.mode == "RGB"
            and source.orientation == 1
            and image.info.get("transparency") is None
            and not getattr(image, "is_animated", False)
            and transform_to_srgb(image.info.get("icc_profile")) is None
        )

    def _content(self, source: Source, plan: Plan) -> Image.Image:
        """The kept part of the picture at its final size: upright, sRGB."""
        profile = source.image.info.get("icc_profile")
        scaled = stored_size(plan.scaled, source.orientation)
        interpolation = self._downscale if plan.scaled < (source.width, source.height) else self._upscale
        extent = _draft(source, scaled, interpolation.reduction_gap)
        self._load(source, plan)
        image = flatten(source.image)
        if scaled != source.image.size or plan.content != plan.scaled:
            left, top, right, bottom = stored_window(plan.shown, source.orientation)
            box = (left * extent[0], top * extent[1], right * extent[0], bottom * extent[1])
            size = stored_size(plan.content, source.orientation)
            resampling = interpolation.filter_for(extent[0] / scaled[0])
            image = image.resize(size, resampling, box, interpolation.reduction_gap)
        return to_srgb(upright(image, source.orientation), profile)

    def _load(self, source: Source, plan: Plan) -> None:
        check_memory(source, source.image.size, plan.content, plan.canvas, self._options.max_image_memory)
        load(source)


def _draft(source: Source, scaled: Size, gap: float | None) -> tuple[float, float]:
    """Have a JPEG decoded smaller, but not below `gap` times `scaled`.

    Returns:
        Width and height of the picture in the pixels that will be decoded: a fraction where it does not divide.
    """
    if source.format.name == "JPEG" and gap:
        drafted = source.image.draft(None, (round(scaled[0] * gap), round(scaled[1] * gap)))
        if drafted:
            return drafted[1][2], drafted[1][3]
    return source.image.size


def _lay_on_white(image: Image.Image, size: Size) -> Image.Image:
    if image.size == size:
        return image
    canvas = Image.new("RGB", size, WHITE)
    canvas.paste(image, ((size[0] - image.size[0]) // 2, (size[1] - image.size[1]) // 2))
    return canvas


def _as_it_came(source: Source) -> ResizedImage:
    size = (source.width, source.height)
    return ResizedImage(source.body, source.format.extension, *size, *size)
