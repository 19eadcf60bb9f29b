"""EXIF: what cameras write is read, what attackers write costs little."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

from img2dataset.images.exif import MAX_JSON_CHARS, MAX_VALUE_CHARS, orientation_of, read_exif


def block(**extra: str) -> bytes:
    exif = Image.Exif()
    exif.update({0x010F: "Ünï Cämera", 0x0110: extra.get("model", "Model 7"), 0x0112: 6})
    exif.get_ifd(0x8769).update({0x8827: 200, 0x9003: "2026:01:02 03:04:05"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0)})
    return exif.tobytes()


def directory(*entries: tuple[int, int, int, int], tail: bytes = b"") -> bytes:
    """A TIFF of one directory; an entry is tag, type, count and value or offset."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + tail


@pytest.mark.parametrize("pillow_name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_reads_the_tags_of_every_format_that_has_them(pillow_name: str) -> None:
    tags = json.loads(read_exif(encoded(picture(40, 30), pillow_name, exif=block())))
    assert tags["Image Model"] == "Model 7"
    assert tags["EXIF DateTimeOriginal"] == "2026:01:02 03:04:05"
    assert tags["GPS GPSLatitude"] == "[48, 51, 29]"
    assert all(isinstance(value, str) for value in tags.values())


def test_webp_blocks_are_read_with_and_without_the_prefix() -> None:
    body = encoded(picture(40, 30), "WEBP", exif=block())
    start = body.index(b"EXIF") + 8
    assert body[start : start + 2] in (b"II", b"MM")
    size = int.from_bytes(body[start - 4 : start], "little") + 6
    prefixed = body[: start - 4] + size.to_bytes(4, "little") + b"Exif\0\0" + body[start:]
    assert read_exif(prefixed) == read_exif(body) != "{}"


@pytest.mark.parametrize("pillow_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_an_image_without_exif_has_an_empty_object(pillow_name: str) -> None:
    assert read_exif(encoded(picture(40, 30), pillow_name)) == "{}"


def test_images_without_exif_do_not_load_exifread() -> None:
    program = (
        "import sys; from img2dataset.images.exif import read_exif; "
        "read_exif(sys.stdin.buffer.read()); print('exifread' in sys.modules)"
    )
    for body, loads in ((encoded(picture(40, 30)), b"False"), (encoded(picture(40, 30), exif=block()), b"True")):
        run = subprocess.run([sys.executable, "-c", program], input=body, capture_output=True, check=True)
        assert run.stdout.strip() == loads


def test_the_text_is_ascii_whatever_a_tag_holds() -> None:
    text = read_exif(encoded(picture(40, 30), exif=block(model='"\\\x07 ☃')))
    assert text.isascii()
    assert json.loads(text)["Image Model"].startswith('"\\\x07')


def test_a_long_value_is_cut() -> None:
    tags = json.loads(read_exif(encoded(picture(40, 30), exif=block(model="M" * 30_000))))
    assert tags["Image Model"] == "M" * MAX_VALUE_CHARS


def test_many_tags_are_left_out() -> None:
    values = b"".join(bytes((1,)) * 500 for _ in range(400))
    entries = [(0x9300 + number, 2, 500, 8 + 2 + 12 * 400 + 4 + 500 * number) for number in range(400)]
    text = read_exif(directory(*entries, tail=values))
    assert 1000 < len(text) <= MAX_JSON_CHARS
    assert "\\u0001" in text


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(directory(*[(0x8825, 4, 1, 8)] * 5000), id="directories that name themselves"),
        pytest.param(directory(*[(0x9300 + n, 2, 2**31, 8) for n in range(3000)], tail=bytes(60_000)), id="long texts"),
        pytest.param(directory(*[(0x9300 + n, 5, 999, 8) for n in range(3000)], tail=bytes(60_000)), id="long lists"),
        pytest.param(directory((0x8769, 4, 1, 2**32 - 1), (0x8825, 4, 0, 0)), id="offsets to nowhere"),
        pytest.param(b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(65535), id="entries of zeros"),
        pytest.param(b"\xff\xd8\xff\xe1\0\x08Exif\0\0", id="no block behind the name"),
        pytest.param(b"MM", id="two bytes"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_tags_cost_little_and_say_nothing(hostile: bytes, caplog: pytest.LogCaptureFixture) -> None:
    start = time.process_time()
    text = read_exif(hostile)
    assert time.process_time() - start < 0.5
    assert isinstance(json.loads(text), dict)
    assert len(text) <= MAX_JSON_CHARS
    assert not caplog.records


def test_mutated_blocks_never_raise() -> None:
    draw = random.Random(3)
    body = encoded(picture(40, 30), exif=block())
    start = body.index(b"Exif")
    for _ in range(600):
        mutated = bytearray(body)
        for _ in range(draw.choice((1, 3, 10))):
            mutated[start + 6 + draw.randrange(len(block()))] = draw.randrange(256)
        assert len(read_exif(bytes(mutated))) <= MAX_JSON_CHARS


@given(
    st.sampled_from([b"", b"\xff\xd8Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"RIFF....WEBPVP8XEXIF"]),
    st.binary(),
)
def test_any_bytes_give_json(start: bytes, rest: bytes) -> None:
    assert isinstance(json.loads(read_exif(start + rest)), dict)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_found_in_either_byte_order(order: str, prefix: bytes, orientation: int) -> None:
    name = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entries = struct.pack(order + "HHII", 0x0100, 4, 1, 9) + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    assert orientation_of(prefix + name + struct.pack(order + "IH", 8, 2) + entries) == orientation


@pytest.mark.parametrize(
    "wrong", [None, b"", b"Exif\0\0", b"XX*\0", directory((0x0112, 3, 1, 9)), directory((0x0112, 3, 1, 0))]
)
def test_no_valid_orientation_is_upright(wrong: bytes | None) -> None:
    assert orientation_of(wrong) == 1


@given(st.binary())
def test_any_block_has_an_orientation(rest: bytes) -> None:
    assert 1 <= orientation_of(b"II*\0" + rest) <= 8
    assert 1 <= orientation_of(b"Exif\0\0MM\0*" + rest) <= 8
