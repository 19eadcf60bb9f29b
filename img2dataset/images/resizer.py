"""The bytes of an image as it was fetched become the bytes of the image that is saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from img2dataset.errors import Reason, ResizeError
from img2dataset.images.blurrer import BoundingBoxBlurrer, checked_boxes
from img2dataset.images.colors import WHITE, flatten, to_srgb, transform_to_srgb
from img2dataset.images.decoder import load
from img2dataset.images.encoder import Encoder
from img2dataset.images.interpolation import INTERPOLATIONS, Interpolation
from img2dataset.images.memory import check_memory
from img2dataset.images.modes import RESIZE_MODES, Layout, Size, keep
from img2dataset.images.orientation import Window, stored_size, stored_window, upright
from img2dataset.images.resized import ResizedImage
from img2dataset.images.sniff import sniff
from img2dataset.images.source import MAX_PIXELS, Source, ignore_warnings_of_pillow, open_source
from img2dataset.options import ResizeOptions

if TYPE_CHECKING:
    from img2dataset.images.sandbox import Sandbox


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
        layout = self._layout(source.width, source.height)
        if self._options.skip_reencode and not windows and self._would_change_nothing(source, layout):
            self._load(source, layout)  # tells damage
            return _as_it_came(source)
        image = self._content(source, layout)
        self._blur(image, windows, layout.shown)
        image = _lay_on_white(image, layout.canvas)
        return ResizedImage(self._encode(image), self._encode.extension, *layout.canvas, source.width, source.height)

    def _filter(self, width: int, height: int) -> None:
        options = self._options
        shorter, longer = sorted((width, height))
        if shorter < options.min_image_size:
            raise ResizeError(Reason.IMAGE_TOO_SMALL)
        if width * height > options.max_image_area:
            raise ResizeError(Reason.IMAGE_AREA_TOO_LARGE)
        if longer > options.max_aspect_ratio * shorter:
            raise ResizeError(Reason.ASPECT_RATIO_TOO_LARGE)

    def _layout(self, width: int, height: int) -> Layout:
        layout = self._mode(width, height, self._options.image_size)
        if self._options.resize_only_if_bigger and layout.fixed_side <= self._options.image_size:
            layout = keep(width, height, self._options.image_size)
        if layout.canvas[0] * layout.canvas[1] > MAX_PIXELS:
            raise ResizeError(Reason.TOO_MANY_PIXELS)
        self._encode.check_size(layout.canvas)
        return layout

    def _would_change_nothing(self, source: Source, layout: Layout) -> bool:
        image = source.image
        return (
            layout.canvas == (source.width, source.height) == layout.content
            and source.format.name == self._encode.pillow_name
            and image.mode == "RGB"
            and source.orientation == 1
            and image.info.get("transparency") is None
            and not getattr(image, "is_animated", False)
            and transform_to_srgb(image.info.get("icc_profile")) is None
        )

    def _content(self, source: Source, layout: Layout) -> Image.Image:
        """The kept part of the picture at its final size: upright, sRGB."""
        profile = source.image.info.get("icc_profile")
        interpolation = self._interpolation(source, layout)
        scaled, content = (stored_size(size, source.orientation) for size in (layout.scaled, layout.content))
        extent = _draft(source, scaled, interpolation.reduction_gap)
        self._load(source, layout)
        image = flatten(source.image)
        if not image.size == scaled == content:
            box = _part_of(extent, stored_window(layout.shown, source.orientation))
            filter = interpolation.filter_for(extent[0] / scaled[0])
            image = image.resize(content, filter, box, interpolation.reduction_gap)
        return to_srgb(upright(image, source.orientation), profile)

    def _interpolation(self, source: Source, layout: Layout) -> Interpolation:
        width, height = layout.scaled
        return self._downscale if width < source.width or height < source.height else self._upscale

    def _load(self, source: Source, layout: Layout) -> None:
        check_memory(source, source.image.size, layout.content, layout.canvas, self._options.max_image_memory)
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


def _part_of(extent: tuple[float, float], window: Window) -> tuple[float, float, float, float]:
    """Where in a picture of that width and height the part `window` lies, in pixels."""
    (width, height), (left, top, right, bottom) = extent, window
    return left * width, top * height, right * width, bottom * height


def _lay_on_white(image: Image.Image, size: Size) -> Image.Image:
    if image.size == size:
        return image
    canvas = Image.new("RGB", size, WHITE)
    canvas.paste(image, ((size[0] - image.size[0]) // 2, (size[1] - image.size[1]) // 2))
    return canvas


def _as_it_came(source: Source) -> ResizedImage:
    size = (source.width, source.height)
    return ResizedImage(source.body, source.format.extension, *size, *size)
