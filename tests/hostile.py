"""Files that were made to cost whoever decodes them: each is small, and slow or large once it is taken apart."""

from __future__ import annotations

import struct
import zlib
from functools import cache

from pictures import encoded, picture
from PIL import Image

from img2dataset.errors import Reason, unsupported_format_reason

SLOW, MEMORY, PIXELS = Reason.DECODING_TOO_SLOW, Reason.IMAGE_MEMORY, Reason.TOO_MANY_PIXELS
CUT, DAMAGED = Reason.IMAGE_CUT_SHORT, Reason.IMAGE_DAMAGED
PARTS = 100_000


@cache
def refused_files() -> dict[str, tuple[bytes, str]]:
    """By name, files that are refused after a look at them, and the error message."""
    return {
        **jpegs(),
        **pngs(),
        **gifs(),
        **memory_hogs(),
        "comments.ppm": (
            b"P3\n1000 1000\n255\n" + b"1 2 3 #aaaaaaaa\n" * 70_000,
            unsupported_format_reason("plain PNM"),
        ),
        "run-lengths.bmp": (bmp_of_run_lengths(10_000), unsupported_format_reason("BMP RLE")),
        "runs.qoi": (
            b"qoif" + struct.pack(">II", 8000, 8000) + b"\3\0" + b"\xfd" * 99,
            unsupported_format_reason("QOI"),
        ),
        "masks.dds": (dds_by_masks(), unsupported_format_reason("DDS without compression")),
    }


def jpegs() -> dict[str, tuple[bytes, str]]:
    body = encoded(picture(400, 300))
    before = {
        "empty-app1": b"\xff\xe1\0\2",
        "empty-comments": b"\xff\xfe\0\2",
        "restarts": b"\xff\xd0",
        "tables": b"\xff\xdb\0\x43\0" + bytes(range(1, 65)),
        "exif": b"\xff\xe1\0\x0aExif\0\0zz",
        "fill": b"\xff\xff\xff\xff",
        "escapes": b"\xff\0\xff\0",
    }
    end = body.rindex(b"\xff\xd9")
    files = {f"{name}.jpg": (body[:2] + part * PARTS + body[2:], SLOW) for name, part in before.items()}
    return {**files, "late-comments.jpg": (body[:end] + b"\xff\xfe\0\2" * PARTS + body[end:], SLOW)}


def pngs() -> dict[str, tuple[bytes, str]]:
    body = encoded(picture(400, 300), "PNG")
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    parts = {
        "texts.png": (chunk(b"tEXt", b"a\0b") * PARTS, SLOW),
        "pieces.png": (chunk(b"IDAT", b"") * PARTS, SLOW),
        "profiles.png": (profile * 1000, SLOW),
        "inflated-texts.png": (text * 1000, DAMAGED),
    }
    return {name: (body[:33] + part + body[33:], reason) for name, (part, reason) in parts.items()}


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def gifs() -> dict[str, tuple[bytes, str]]:
    body = encoded(picture(400, 300), "GIF")
    header = 13 + (3 << (body[10] & 7) + 1)
    parts = {
        "comment.gif": b"!\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0",
        "comments.gif": b"!\xfe\1c\0" * PARTS,
        "junk.gif": b"\1" * PARTS,
    }
    return {name: (body[:header] + part + body[header:], SLOW) for name, part in parts.items()}


def memory_hogs() -> dict[str, tuple[bytes, str]]:
    side = 13_370
    return {
        "grey16.png": (flat_png(side, 16, 0), MEMORY),
        "alpha.png": (flat_png(side, 8, 6), MEMORY),
        "flat.jp2": (encoded(Image.new("L", (6000, 6000)), "JPEG2000"), PIXELS),
        "promise.webp": (webp_of_a_promise(13_000, 13_000), PIXELS),
        "promise.jpg": (jpeg_of_a_promise(13_000, 13_000), PIXELS),
    }


def flat_png(side: int, depth: int, colour_type: int) -> bytes:
    """A black square, of a thousandth of its size."""
    channels = {0: 1, 2: 3, 6: 4}[colour_type]
    compress = zlib.compressobj(9)
    row = bytes(1 + side * channels * depth // 8)
    data = b"".join(compress.compress(row) for _ in range(side)) + compress.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp_of_a_promise(width: int, height: int) -> bytes:
    """A lossless WebP of one colour that needs no bit a pixel."""
    small = bytearray(encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    start = small.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", small, start)
    struct.pack_into("<I", small, start, bits & ~0xFFFFFFF | (width - 1) | (height - 1) << 14)
    return bytes(small)


def jpeg_of_a_promise(width: int, height: int) -> bytes:
    """A JPEG whose header claims more than follows."""
    small = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    struct.pack_into(">HH", small, small.index(b"\xff\xc0") + 5, height, width)
    return bytes(small)


def bmp_header(side: int, height: int) -> bytes:
    return struct.pack("<IiiHHIIiiII", 40, side, height, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(4 * 256)


def bmp_of_run_lengths(side: int) -> bytes:
    """Jumps and runs, which Pillow's decoder in Python takes one at a time."""
    header = bmp_header(side, side)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(header)) + header + b"\0\2\1\1" * 12_000 + b"\0\1"


def tiff_of_strips(count: int = 1_500_000) -> bytes:
    """Strips of a pixel, two bytes each in the file and microseconds each in Pillow: only decoding it tells."""
    entries = [(256, 4, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 3, count, 8 + 2 + 12 * 8 + 4), (277, 3, 1, 1), (278, 4, 1, 1)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + struct.pack("<H", 8) * count


def icon_of_a_large_png(side: int = 11_000) -> bytes:
    """An icon of 32 pixels whose frame has a hundred million."""
    image = flat_png(side, 8, 6)
    return struct.pack("<3H4B2H2I", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(image), 22) + image


def dds_by_masks() -> bytes:
    header = struct.pack("<7I", 124, 0x1007, 2000, 1000, 0, 0, 0) + bytes(44)
    masks = struct.pack("<8I", 32, 0x40, 0, 32, 0xFF, 0xFF00, 0xFF0000, 0) + bytes(20)
    return b"DDS " + header + masks + bytes(2_000_000)
