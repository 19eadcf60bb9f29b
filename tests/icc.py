"""ICC profiles made by hand, whose effect on a colour is known without a colour engine (ICC.1:2001-04)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from PIL import ImageCms

Colour = tuple[float, float, float]

# sRGB's primaries adapted to D50 by Bradford, and the D50 white.
RED, GREEN, BLUE = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)
WHITE = (0.9642, 1.0, 0.8249)


def to_linear(level: float) -> float:
    """The light of an sRGB level, both from 0 to 1 (IEC 61966-2-1)."""
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def to_level(light: float) -> float:
    """The sRGB level of light, both from 0 to 1."""
    return light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def swapped_channels() -> bytes:
    """An RGB profile that is sRGB but for its channels, which mean blue, red and green."""
    curve = _curve([round(65535 * to_linear(step / 1023)) for step in range(1024)])
    primaries = {b"rXYZ": _xyz(BLUE), b"gXYZ": _xyz(RED), b"bXYZ": _xyz(GREEN)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**primaries, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def linear_grey() -> bytes:
    """A grey profile whose levels are proportional to light."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve([])})


def inks(colours: Mapping[tuple[int, int, int, int], tuple[int, int, int]]) -> bytes:
    """A CMYK profile that prints combinations of full and no ink in given sRGB colours of 0 to 255, others in black."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(_lab8(colours.get(corner, (0, 0, 0))) for corner in corners)
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * straight + table + 3 * straight
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _lab8(colour: Sequence[int]) -> bytes:
    red, green, blue = (to_linear(level / 255) for level in colour)
    xyz = (RED[i] * red + GREEN[i] * green + BLUE[i] * blue for i in range(3))
    x, y, z = (_lab_root(value / white) for value, white in zip(xyz, WHITE, strict=True))
    lightness, a, b = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return bytes((round(lightness * 2.55), round(a) + 128, round(b) + 128))


def _lab_root(ratio: float) -> float:
    return ratio ** (1 / 3) if ratio > (6 / 29) ** 3 else ratio / (3 * (6 / 29) ** 2) + 4 / 29


def _xyz(colour: Colour) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in colour))


def _curve(samples: Sequence[int]) -> bytes:
    return b"curv" + bytes(4) + struct.pack(f">I{len(samples)}H", len(samples), *samples)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"made for tests"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(WHITE), **tags}
    offset = 128 + 4 + 12 * len(tags)
    index, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        index += tag + struct.pack(">2I", offset + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", offset + len(data), b"none", 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(65536 * value) for value in WHITE))
    return header.ljust(128, b"\0") + index + data


def slow_profile(elements: int = 6, segments: int = 2000) -> bytes:
    """An sRGB profile with a ``D2B0`` table whose elements are one and the same, of curves of many segments."""
    base = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = int.from_bytes(base[128:132], "big")
    tags = [struct.unpack_from(">4sII", base, 132 + 12 * number) for number in range(count)]
    breaks = struct.pack(f">{segments - 1}f", *(number / segments for number in range(1, segments)))
    segment = b"parf" + bytes(4) + struct.pack(">HH4f", 0, 0, 1, 1, 0, 0)
    curve = b"curf" + bytes(4) + struct.pack(">HH", segments, 0) + breaks + segment * segments
    element = b"cvst" + bytes(4) + struct.pack(">HH", 3, 3) + struct.pack(">II", 36, len(curve)) * 3 + curve
    places = struct.pack(">II", 16 + 8 * elements, len(element)) * elements
    table = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, elements) + places + element
    body = base[132 + 12 * count :] + bytes(-len(base) % 4)
    entries = [(name, offset + 12, size) for name, offset, size in tags]
    entries.append((b"D2B0", 144 + 12 * count + len(body), len(table)))
    listed = struct.pack(">I", count + 1) + b"".join(struct.pack(">4sII", *entry) for entry in entries)
    size = struct.pack(">I", 128 + len(listed) + len(body) + len(table))
    return size + base[4:8] + b"\4" + base[9:128] + listed + body + table
