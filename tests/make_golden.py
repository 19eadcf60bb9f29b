"""Make the golden corpus: one small file for each thing that can be special about an image, and what it must look like.

    python tests/make_golden.py

Every file shows one of a few pictures that are drawn here pixel by pixel, so what is expected is never what the package
once did. Pillow encodes what it can; the rest is put together by hand.
"""

from __future__ import annotations

import json
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import icc
import pillow_heif
from PIL import Image, ImageChops, ImageCms

from img2dataset.errors import Reason, unsupported_format_reason

GOLDEN = Path(__file__).parent / "golden"
PATCH = 16
COLOURS = ((200, 60, 50), (60, 160, 70), (60, 80, 190), (220, 200, 80), (150, 60, 150), (70, 170, 190))
GREYS = (0, 60, 110, 160, 210, 255)
ALPHAS = (255, 0, 128, 255, 64, 255)
LIGHTS = (0, 40, 90, 150, 200, 255)  # levels of a grey profile that is linear
ORIENTATION = 0x0112
TURNS = {2: (0,), 3: (3,), 4: (1,), 5: (5,), 6: (2,), 7: (6,), 8: (4,)}
"""How `Image.transpose` turns an upright picture into what is stored under an orientation: its inverse."""


def patches(mode: str, colours: Any) -> Image.Image:
    """Three by two patches of 16 × 16 pixels, all different, so that every turn of them is."""
    image = Image.new(mode, (3 * PATCH, 2 * PATCH))
    for number, colour in enumerate(colours):
        image.paste(
            colour, (number % 3 * PATCH, number // 3 * PATCH, (number % 3 + 1) * PATCH, (number // 3 + 1) * PATCH)
        )
    return image


def lay(level: int, alpha: int) -> int:
    """A level laid on white with an alpha."""
    return round(255 + (level - 255) * alpha / 255)


SCENE = patches("RGB", COLOURS)
GREY = patches("L", GREYS)
BITS = patches("1", (0, 1, 1, 1, 0, 0))
ALPHA = patches("L", ALPHAS)
ON_WHITE = patches("RGB", [tuple(lay(level, a) for level in colour) for colour, a in zip(COLOURS, ALPHAS, strict=True)])
CUT_OUT = patches("RGB", (*COLOURS[:1], (255, 255, 255), *COLOURS[2:]))
GREY_ON_WHITE = patches("L", [lay(level, a) for level, a in zip(GREYS, ALPHAS, strict=True)])
GREY_CUT_OUT = patches("L", (*GREYS[:1], 255, *GREYS[2:]))
PICTURES = {
    **{"scene": SCENE, "grey": GREY, "bits": BITS, "on_white": ON_WHITE, "cut_out": CUT_OUT},
    "bright": patches("L", [round(255 * icc.to_level(light / 255)) for light in LIGHTS]),
    **{"grey_on_white": GREY_ON_WHITE, "grey_cut_out": GREY_CUT_OUT},
}


def encoded(image: Image.Image, pillow_name: str, **parameters: Any) -> bytes:
    file = BytesIO()
    if pillow_name == "JPEG":
        parameters = {"quality": 97, "subsampling": "4:4:4", **parameters}
    image.save(file, pillow_name, **parameters)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block.update({ORIENTATION: orientation, 0x010F: "Maker"})
    return block.tobytes()


def orientations() -> dict[str, tuple[bytes, str]]:
    files = {}
    for orientation in range(1, 9):
        stored = SCENE
        for turn in TURNS.get(orientation, ()):
            stored = stored.transpose(Image.Transpose(turn))
        files[f"orientation-{orientation}.jpg"] = encoded(stored, "JPEG", exif=exif(orientation)), "scene"
        files[f"orientation-{orientation}.tif"] = encoded(stored, "TIFF", tiffinfo={ORIENTATION: orientation}), "scene"
    stored = SCENE.transpose(Image.Transpose.ROTATE_90)
    files["orientation-6.png"] = encoded(stored, "PNG", exif=exif(6)), "scene"
    files["orientation-6.webp"] = encoded(stored, "WEBP", lossless=True, exif=exif(6)), "scene"
    files["orientation-6.avif"] = encoded(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif(6)), "scene"
    big_endian = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, ORIENTATION, 3, 1, 6, 0, 0)
    files["orientation-6-big-endian.jpg"] = encoded(stored, "JPEG", exif=big_endian), "scene"
    return files


def profiles() -> dict[str, tuple[bytes, str]]:
    red, green, blue = SCENE.split()
    swapped = Image.merge("RGB", (blue, red, green))
    linear = patches("L", LIGHTS)
    corners = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (1, 1, 0, 0), (1, 0, 1, 0), (0, 1, 1, 0))
    printed = patches("CMYK", [tuple(255 * ink for ink in corner) for corner in corners])
    paper = {(0, 0, 0, 0): (255, 255, 255), **dict(zip(corners, COLOURS, strict=True))}
    return {
        "icc-swapped.jpg": (encoded(swapped, "JPEG", icc_profile=icc.swapped_channels()), "scene"),
        "icc-swapped.png": (encoded(swapped, "PNG", icc_profile=icc.swapped_channels()), "scene"),
        "icc-swapped.webp": (encoded(swapped, "WEBP", lossless=True, icc_profile=icc.swapped_channels()), "scene"),
        "icc-swapped-palette.png": (
            encoded(swapped.quantize(6, dither=Image.Dither.NONE), "PNG", icc_profile=icc.swapped_channels()),
            "scene",
        ),
        "icc-rgb-on-grey.jpg": (encoded(GREY, "JPEG", icc_profile=icc.swapped_channels()), "grey"),
        "icc-grey.png": (encoded(linear, "PNG", icc_profile=icc.linear_grey()), "bright"),
        "icc-grey-on-rgb.jpg": (encoded(SCENE, "JPEG", icc_profile=icc.linear_grey()), "scene"),
        "icc-cmyk.jpg": (encoded(printed, "JPEG", icc_profile=icc.inks(paper)), "scene"),
        "icc-broken.jpg": (encoded(SCENE, "JPEG", icc_profile=icc.swapped_channels()[:200]), "scene"),
    }


def lab() -> Image.Image:
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    return ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(SCENE)


def inks() -> dict[str, tuple[bytes, str]]:
    """CMYK without black: the complement of the scene, which a JPEG stores inverted, as Adobe does.

    Pillow writes no YCCK, so that is CMYK whose first three channels hold luma and chroma, and whose marker says so.
    """
    complement = ImageChops.invert(SCENE)
    no_black = Image.new("L", SCENE.size, 0)
    cmyk = Image.merge("CMYK", (*complement.split(), no_black))
    luma_chroma = ImageChops.invert(Image.merge("RGB", complement.convert("YCbCr").split()))
    ycck = bytearray(encoded(Image.merge("CMYK", (*luma_chroma.split(), no_black)), "JPEG"))
    ycck[ycck.index(b"Adobe") + 11] = 2
    return {
        "cmyk.jpg": (encoded(cmyk, "JPEG"), "scene"),
        "cmyk.tif": (encoded(cmyk, "TIFF"), "scene"),
        "lab.tif": (encoded(lab(), "TIFF"), "scene"),
        "ycck.jpg": (bytes(ycck), "scene"),
    }


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of any depth and colour type; `rows` with their filter bytes."""
    header = struct.pack(">2I5B", width, height, depth, colour_type, 0, 0, 0)
    chunks = (b"IHDR", header), *(((b"tRNS", extra),) if extra else ()), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def depths() -> dict[str, tuple[bytes, str]]:
    colour_alpha = SCENE.copy()
    colour_alpha.putalpha(ALPHA)
    grey_alpha = Image.merge("LA", (GREY, ALPHA))
    wide = [b"\0" + b"".join(struct.pack(">H", 257 * GREY.getpixel((x, y))) for x in range(48)) for y in range(32)]  # type: ignore[operator]
    wide_alpha = b"".join(
        b"\0" + b"".join(bytes((v, v)) for x in range(48) for v in colour_alpha.getpixel((x, y)))  # type: ignore[union-attr]
        for y in range(32)
    )
    palette = SCENE.quantize(6, dither=Image.Dither.NONE)
    hole = palette.getpixel((PATCH, 0))
    wider = GREY.convert("I").point(lambda level: level * 257)
    floats = GREY.convert("F").point(lambda level: level * (1 / 255) + 0)
    return {
        "grey.jpg": (encoded(GREY, "JPEG"), "grey"),
        "grey-16.png": (png(48, 32, 16, 0, b"".join(wide)), "grey"),
        "grey-16.tif": (encoded(wider.convert("I;16"), "TIFF"), "grey"),
        "integers-32.tif": (encoded(wider, "TIFF"), "grey"),
        "float.tif": (encoded(floats, "TIFF"), "grey"),
        "float-255.tif": (encoded(GREY.convert("F"), "TIFF"), "grey"),
        "colour-16-alpha.png": (png(48, 32, 16, 6, wide_alpha), "on_white"),
        "bits.png": (encoded(BITS, "PNG"), "bits"),
        "bits.tif": (encoded(BITS, "TIFF", compression="group4"), "bits"),
        "palette.png": (encoded(palette, "PNG"), "scene"),
        "palette-hole.png": (encoded(palette, "PNG", transparency=hole), "cut_out"),
        "palette-alpha.png": (encoded(colour_alpha.quantize(6), "PNG"), "on_white"),
        "grey-alpha.png": (encoded(grey_alpha, "PNG"), "grey_on_white"),
        "grey-hole.png": (encoded(GREY, "PNG", transparency=GREYS[1]), "grey_cut_out"),
        "colour-alpha.png": (encoded(colour_alpha, "PNG"), "on_white"),
        "colour-hole.png": (encoded(SCENE, "PNG", transparency=COLOURS[1]), "cut_out"),
        "colour-alpha.webp": (encoded(colour_alpha, "WEBP", lossless=True), "on_white"),
        "colour-alpha.avif": (encoded(colour_alpha, "AVIF", quality=100, subsampling="4:4:4"), "on_white"),
        "colour-alpha.tif": (encoded(colour_alpha, "TIFF", compression="tiff_lzw"), "on_white"),
    }


def formats() -> dict[str, tuple[bytes, str]]:
    heif = pillow_heif.from_pillow(SCENE)
    heic = BytesIO()
    heif.save(heic, quality=-1, chroma=444)
    palette = SCENE.quantize(6, dither=Image.Dither.NONE)
    other = [ImageChops.invert(SCENE), GREY.convert("RGB")]
    animated = {"save_all": True, "append_images": other, "duration": 100}
    files = {
        "baseline.jpg": encoded(SCENE, "JPEG"),
        "progressive.jpg": encoded(SCENE, "JPEG", progressive=True),
        "lossy.webp": encoded(SCENE, "WEBP", quality=100),
        "animated.gif": encoded(palette, "GIF", save_all=True, append_images=[image.quantize(6) for image in other]),
        "animated.webp": encoded(SCENE, "WEBP", lossless=True, **animated),
        "animated.png": encoded(SCENE, "PNG", **animated),
        "animated.avif": encoded(SCENE, "AVIF", quality=100, subsampling="4:4:4", **animated),
        "two-pages.tif": encoded(SCENE, "TIFF", save_all=True, append_images=other),
        "scene.avif": encoded(SCENE, "AVIF", quality=100, subsampling="4:4:4"),
        "scene.heic": heic.getvalue(),
        "scene.jp2": encoded(SCENE, "JPEG2000"),
        "scene.cur": b"\0\0\2\0" + encoded(SCENE, "ICO", sizes=[SCENE.size], bitmap_format="bmp")[4:],
        "scene.ico": encoded(SCENE, "ICO", sizes=[SCENE.size]),
        "scene.mpo": encoded(SCENE, "MPO", quality=97, subsampling="4:4:4", save_all=True, append_images=other),
        "scene.psd": psd(),
    }
    for name in ("BMP", "PPM"):
        files[f"scene.{name.lower()}"] = encoded(SCENE, name)
    return {name: (body, "scene") for name, body in files.items()}


def psd() -> bytes:
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, SCENE.height, SCENE.width, 8, 3)
    return header + bytes(4 * 3) + bytes(2) + b"".join(band.tobytes() for band in SCENE.split())


def run_length_bmp() -> bytes:
    palette = bytes(4 * 256)
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, 1, 4, 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", 58 + len(palette), 0, 0, 54 + len(palette)) + header + palette + b"\4\1\0\1"


def refusals() -> dict[str, tuple[bytes, str]]:
    jpg, whole_png = encoded(SCENE, "JPEG"), encoded(SCENE.resize((96, 64)), "PNG")
    webp, gif, avif = (encoded(SCENE, name) for name in ("WEBP", "GIF", "AVIF"))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    cut, damaged, no_image = Reason.IMAGE_CUT_SHORT, Reason.IMAGE_DAMAGED, Reason.NOT_AN_IMAGE
    unserved = {"tga": "TGA", "sgi": "SGI", "pcx": "PCX", "qoi": "QOI", "dds": "DDS without compression"}
    return {
        **{
            f"scene.{end}": (encoded(SCENE, end.upper()), unsupported_format_reason(name))
            for end, name in unserved.items()
        },
        "plain.ppm": (b"P3\n1 1\n255\n1 2 3\n", unsupported_format_reason("plain PNM")),
        "rle.bmp": (run_length_bmp(), unsupported_format_reason("BMP RLE")),
        "drawing.svg": (svg, unsupported_format_reason("SVG")),
        "drawing-with-xml.svg": (
            b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made -->\n' + svg,
            unsupported_format_reason("SVG"),
        ),
        "page.html": (b"<!DOCTYPE html>\n<html><body>" + svg + b"</body></html>", no_image),
        "page.pdf": (b"%PDF-1.7\n1 0 obj\n", unsupported_format_reason("PDF")),
        "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", unsupported_format_reason("EPS")),
        "photo.jxl": (b"\xff\x0a" + bytes(40), unsupported_format_reason("JPEG XL")),
        "text.txt": (b"404 page not found\n", no_image),
        "film.mp4": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", no_image),
        "cut.jpg": (jpg[: len(jpg) * 2 // 3], cut),
        "cut-in-header.jpg": (jpg[:100], cut),
        "cut-progressive.jpg": (encoded(SCENE, "JPEG", progressive=True)[:-90], cut),
        "cut.png": (whole_png[: len(whole_png) // 2], cut),
        "cut.webp": (webp[: len(webp) // 2], cut),
        "cut.gif": (gif[: len(gif) * 2 // 3], cut),
        "cut.avif": (avif[: len(avif) - 40], cut),
        "joined.jpg": (jpg[: len(jpg) * 2 // 3] + jpg, damaged),
        "corrupt.png": (whole_png[:60] + bytes(20) + whole_png[80:], damaged),
        "bare-signature.png": (whole_png[:8], cut),
        "bomb.png": (png(60_000, 60_000, 8, 2, b""), Reason.TOO_MANY_PIXELS),
    }


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    shown = {**orientations(), **profiles(), **inks(), **depths(), **formats()}
    refused = refusals()
    for name, (body, _) in {**shown, **refused}.items():
        (GOLDEN / name).write_bytes(body)
    for name, picture in PICTURES.items():
        picture.convert("RGB").save(GOLDEN / f"expected-{name}.png")
    index = {
        "shown": {name: f"expected-{picture}.png" for name, (_, picture) in sorted(shown.items())},
        "refused": {name: message for name, (_, message) in sorted(refused.items())},
    }
    (GOLDEN / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
