"""Which raster format a file is of, by its first bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from img2dataset.errors import Reason, ResizeError, unsupported_format_reason


@dataclass(frozen=True, slots=True)
class RasterFormat:
    """A format this package decodes, and the class of Pillow (or of a plugin to it) that does it.

    `is_common` says that its decoder takes time and memory that can be told beforehand: a look at the bytes is enough
    to decode it in any process.
    """

    name: str
    extension: str
    module: str
    class_name: str
    is_common: bool = False


FORMATS = {
    made.name: made
    for made in (
        RasterFormat("JPEG", "jpg", "PIL.JpegImagePlugin", "JpegImageFile", is_common=True),
        RasterFormat("PNG", "png", "PIL.PngImagePlugin", "PngImageFile", is_common=True),
        RasterFormat("WEBP", "webp", "PIL.WebPImagePlugin", "WebPImageFile", is_common=True),
        RasterFormat("GIF", "gif", "PIL.GifImagePlugin", "GifImageFile", is_common=True),
        RasterFormat("AVIF", "avif", "PIL.AvifImagePlugin", "AvifImageFile"),
        RasterFormat("HEIC", "heic", "pillow_heif.as_plugin", "HeifImageFile"),
        RasterFormat("BMP", "bmp", "PIL.BmpImagePlugin", "BmpImageFile"),
        RasterFormat("TIFF", "tif", "PIL.TiffImagePlugin", "TiffImageFile"),
        RasterFormat("JPEG2000", "jp2", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
        RasterFormat("ICO", "ico", "PIL.IcoImagePlugin", "IcoImageFile"),
        RasterFormat("CUR", "cur", "PIL.CurImagePlugin", "CurImageFile"),
        RasterFormat("ICNS", "icns", "PIL.IcnsImagePlugin", "IcnsImageFile"),
        RasterFormat("PPM", "ppm", "PIL.PpmImagePlugin", "PpmImageFile"),
        RasterFormat("PSD", "psd", "PIL.PsdImagePlugin", "PsdImageFile"),
        RasterFormat("DDS", "dds", "PIL.DdsImagePlugin", "DdsImageFile"),
    )
}

# The first bytes of a file, most frequent first. Kept apart from Pillow's own tests, which ask some forty plugins.
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\xff\xd8\xff", "JPEG"),
        (rb"\x89PNG\r\n\x1a\n", "PNG"),
        (rb"RIFF....WEBP", "WEBP"),
        (rb"GIF8[79]a", "GIF"),
        (rb"....ftypavi[fs]", "AVIF"),
        (rb"....ftyp(?:mif1|msf1|miaf)(?:....)*?avi[fs]", "AVIF"),
        (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC"),
        (rb"BM(?!.{12}[^\x0c].{15}[\x01\x02]\0\0\0)", "BMP"),
        (rb"II(?:\*\0|\+\0)|MM(?:\0\*|\0\+)", "TIFF"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG2000"),
        (rb"\x00\x00\x01\x00[^\x00]", "ICO"),
        (rb"\x00\x00\x02\x00[^\x00]\x00", "CUR"),
        (rb"icns", "ICNS"),
        (rb"P[4-6f][\s#]", "PPM"),
        (rb"8BPS\x00\x01", "PSD"),
        (rb"DDS \x7c\0\0\0.{72}[\x04-\x07\x0c-\x0f]\0\0\0", "DDS"),
    )
)
_SIGNATURE_BYTES = 96
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"

# Formats that this package does not draw, counted under their names: what people link to as images, and kinds that no
# web page serves and whose decoders are slow, as they are written in Python or take a byte at a time.
_REFUSED = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"%PDF-", "PDF"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "WMF"),
        (rb"AT&TFORM", "DjVu"),
        (rb"P[1-3][\s#]", "plain PNM"),
        (rb"BM", "BMP RLE"),
        (rb"DDS \x7c\0\0\0", "DDS without compression"),
        (rb"qoif", "QOI"),
        (rb"\x01\xda[\x00\x01][\x01\x02]", "SGI"),
        (rb"\n[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", "PCX"),
    )
)
_TEXT_BYTES = 4096


def sniff(body: bytes) -> RasterFormat:
    """The format of an encoded image by its signature.

    Raises:
        ResizeError: ``not an image``, or ``unsupported format: SVG`` for the likes of it.
    """
    head = body[:_SIGNATURE_BYTES]
    for pattern, name in _SIGNATURES:
        if pattern.match(head):
            return FORMATS[name]
    for pattern, name in _REFUSED:
        if pattern.match(head):
            raise ResizeError(unsupported_format_reason(name))
    if body.endswith(_TGA_FOOTER):
        raise ResizeError(unsupported_format_reason("TGA"))
    if _is_svg(body[:_TEXT_BYTES]):
        raise ResizeError(unsupported_format_reason("SVG"))
    raise ResizeError(Reason.NOT_AN_IMAGE)


def _is_svg(head: bytes) -> bool:
    """Whether a text is a vector drawing, and not a page with one in it."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<") and b"<svg" in text and b"<html" not in text
