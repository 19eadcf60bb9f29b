"""Damaged and hostile files end in one of a few messages, in bounded time and memory."""

from __future__ import annotations

import json
import random
import resource
import struct
import time
from collections import Counter
from pathlib import Path

import pytest
from fuzzing import draw, fuzz, tries
from pictures import decoded, encoded, picture
from PIL import Image, ImageChops

from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer, Sandbox
from img2dataset.images.exif import read_exif
from img2dataset.options import ResizeOptions

GOLDEN = Path(__file__).parent / "golden"
INDEX = json.loads((GOLDEN / "index.json").read_text())
MESSAGES = {Reason.NOT_AN_IMAGE, Reason.IMAGE_DAMAGED, Reason.IMAGE_CUT_SHORT, Reason.TOO_MANY_PIXELS}
MESSAGES |= {Reason.IMAGE_MEMORY, Reason.DECODING_TOO_SLOW}
MUTATIONS = 2000


def flip(body: bytearray, draw: random.Random, _: list[bytes]) -> bytes:
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(body)


def flip_in_header(body: bytearray, draw: random.Random, _: list[bytes]) -> bytes:
    for _ in range(draw.choice((1, 2, 4))):
        body[draw.randrange(min(len(body), 200))] = draw.randrange(256)
    return bytes(body)


def blank(body: bytearray, draw: random.Random, _: list[bytes]) -> bytes:
    start = draw.randrange(len(body))
    body[start : start + draw.choice((1, 16, 500))] = b""
    return bytes(body)


def cut(body: bytearray, draw: random.Random, _: list[bytes]) -> bytes:
    return bytes(body[: draw.randrange(len(body))])


def concatenate(body: bytearray, draw: random.Random, others: list[bytes]) -> bytes:
    other = draw.choice(others)
    return bytes(body[: draw.randrange(len(body))]) + other[draw.choice((0, len(other) // 2)) :]


MUTATORS = (flip, flip_in_header, blank, cut, concatenate)


@fuzz
def test_a_mutated_image_is_an_image_or_a_message(capfd: pytest.CaptureFixture[str]) -> None:
    bodies = [(GOLDEN / name).read_bytes() for name in INDEX["shown"]]
    bodies += [encoded(picture(400, 300), name, **options) for name, options in (("JPEG", {}), ("PNG", {}))]
    bodies += [encoded(picture(400, 300), "JPEG", progressive=True)] * 5
    chance, outcomes, slowest, count = draw("images"), Counter[str](), 0.0, tries(MUTATIONS)
    memory = peak_megabytes()
    with Sandbox(ResizeOptions()) as sandbox:
        resize = Resizer(ResizeOptions(), sandbox)
        for number in range(count):
            mutated = MUTATORS[number % len(MUTATORS)](bytearray(chance.choice(bodies)), chance, bodies)
            start = time.process_time()
            outcomes[outcome(resize, mutated)] += 1
            assert isinstance(json.loads(read_exif(mutated)), dict)
            slowest = max(slowest, time.process_time() - start)
    assert capfd.readouterr() == ("", "")
    assert sum(outcomes.values()) == count
    assert {name for name in outcomes if not name.startswith("unsupported format: ")} <= MESSAGES | {"resized"}
    assert outcomes["resized"] > count / 10
    assert outcomes[Reason.IMAGE_DAMAGED] > count / 10
    assert outcomes[Reason.IMAGE_CUT_SHORT] > count / 10
    assert slowest < 3
    assert peak_megabytes() - memory < 700  # `max_image_memory`, and its encoded form


def outcome(resize: Resizer, body: bytes) -> str:
    try:
        image = resize(body)
    except ResizeError as error:
        return str(error)
    assert decoded(image.data).size == (256, 256)
    return "resized"


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(
    ("pillow_name", "parameters"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("AVIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG2000", {}),
    ],
)
def test_a_cut_image_is_refused_or_whole(
    pillow_name: str, parameters: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    """What was cut off may have been no more than the end mark; a picture that differs is never saved."""
    body = encoded(picture(300, 200), pillow_name, **parameters)
    resize = Resizer(ResizeOptions(resize_mode="no", encode_format="png"))
    whole = resize(body).data
    lengths = {*range(20, len(body), len(body) // 60), *range(len(body) - 30, len(body))}
    outcomes = Counter(whole_or_message(resize, body[:length], whole) for length in lengths)
    capfd.readouterr()
    refused = (Reason.IMAGE_CUT_SHORT, Reason.IMAGE_DAMAGED, "unsupported format: TIFF")  # half a TIFF's directory
    assert outcomes.keys() <= {"whole", *refused}
    assert sum(outcomes[message] for message in refused) > 50


def whole_or_message(resize: Resizer, body: bytes, whole: bytes) -> str:
    try:
        return "whole" if resize(body).data == whole else "another picture"
    except ResizeError as error:
        return str(error)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_with_another_one_behind_it_is_damaged(progressive: bool) -> None:
    """libjpeg would fill the rest with grey and warn; Pillow passes no warning on."""
    body = encoded(picture(300, 200), progressive=progressive)
    with pytest.raises(ResizeError, match=Reason.IMAGE_DAMAGED):
        Resizer(ResizeOptions())(body[: len(body) * 3 // 4] + body)


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    """Cameras put previews there, servers put pages."""
    body = encoded(picture(300, 200))
    resize = Resizer(ResizeOptions())
    assert resize(body + body).data == resize(body + b"<html>\xff\xd8\xff\xc0").data == resize(body).data


def test_restart_markers_are_no_damage() -> None:
    body = encoded(picture(300, 200), restart_marker_rows=1)
    assert b"\xff\xd3" in body
    shown = decoded(Resizer(ResizeOptions(resize_mode="no", encode_format="png"))(body).data)
    difference = ImageChops.difference(shown, picture(300, 200))
    assert max(high for _, high in difference.getextrema()) < 60  # type: ignore[misc]


def test_a_jpeg_of_thousands_of_scans_is_refused_at_once() -> None:
    """A few bytes a scan, each of which costs a pass over all coefficients."""
    body = encoded(Image.new("RGB", (4000, 4000)), progressive=True)
    last = body.rindex(b"\xff\xda")
    scan = body[last : body.rindex(b"\xff\xd9")]
    bomb = body[:last] + scan * 3000 + b"\xff\xd9"
    start = time.process_time()
    with pytest.raises(ResizeError, match=Reason.TOO_MANY_PIXELS):
        Resizer(ResizeOptions())(bomb)
    assert time.process_time() - start < 0.5


def test_an_icon_that_holds_a_bomb_is_refused() -> None:
    png = encoded(Image.new("1", (13_400, 13_400)), "PNG")
    icon = struct.pack("<3HBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(png), 22) + png
    with pytest.raises(ResizeError, match=Reason.TOO_MANY_PIXELS):
        Resizer(ResizeOptions())(icon)


def test_the_largest_image_takes_bounded_memory() -> None:
    before = peak_megabytes()
    body = encoded(Image.new("1", (13_370, 13_380)), "PNG")
    assert Resizer(ResizeOptions())(body).original_height == 13_380
    assert peak_megabytes() - before < 1500
