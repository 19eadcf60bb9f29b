"""Images whose parts are many, or whose pixels are more than their bytes can hold, are refused at once."""

from __future__ import annotations

import time

import hostile
import icc
import pytest
from pictures import decoded, encoded, picture
from PIL import Image

from img2dataset.errors import Reason, ResizeError
from img2dataset.images import Resizer
from img2dataset.images.structure import check_structure
from img2dataset.options import ResizeOptions


@pytest.mark.parametrize("name", hostile.refused_files())
def test_a_hostile_file_is_refused_at_once(name: str) -> None:
    body, reason = hostile.refused_files()[name]
    began = time.process_time()
    with pytest.raises(ResizeError, match=f"^{reason}$"):
        Resizer(ResizeOptions())(body)
    assert time.process_time() - began < 0.3


def test_two_hundred_of_them_cost_two_percent_of_ten_thousand_photos_at_most() -> None:
    resize, photo = Resizer(ResizeOptions()), encoded(picture(1600, 1200))
    bodies = [body for body, _ in hostile.refused_files().values()]
    began = time.process_time()
    for body in bodies:
        with pytest.raises(ResizeError):
            resize(body)
    hostile_seconds = (time.process_time() - began) / len(bodies)
    began = time.process_time()
    for _ in range(50):
        resize(photo)
    photo_seconds = (time.process_time() - began) / 50
    assert 200 * hostile_seconds < 0.02 * 10_000 * photo_seconds


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_a_look_takes_time_in_proportion_to_the_bytes(name: str) -> None:
    body = encoded(picture(40, 30), name) + bytes(64_000_000)
    began = time.process_time()
    check_structure(name, body)
    assert time.process_time() - began < 0.5


def test_a_jpeg_with_large_metadata_is_whole() -> None:
    """Phones keep depth maps in extended XMP: a hundred segments and more."""
    body = encoded(picture(400, 300))
    segment = b"\xff\xe1\xff\xffhttp://ns.adobe.com/xmp/extension/\0" + bytes(65_535 - 2 - 35)
    assert decoded(Resizer(ResizeOptions())(body[:2] + segment * 150 + body[2:]).data).size == (256, 256)


def test_a_png_in_small_pieces_is_whole() -> None:
    body = encoded(picture(400, 300), "PNG")
    start = body.index(b"IDAT") - 4
    length = int.from_bytes(body[start : start + 4], "big")
    data = body[start + 8 : start + 8 + length]
    pieces = b"".join(hostile.chunk(b"IDAT", data[place : place + 10]) for place in range(0, length, 10))
    assert len(data) // 10 > 100
    resize = Resizer(ResizeOptions())
    assert resize(body[:start] + pieces + body[start + 12 + length :]).data == resize(body).data


@pytest.mark.parametrize("name", ["WEBP", "AVIF"])
def test_a_container_that_says_it_is_longer_than_the_file_is_cut_short(name: str) -> None:
    """Bytes are missing somewhere in the middle: the decoder may still make a picture of what is left."""
    body = encoded(picture(400, 300), name)
    middle = len(body) // 2
    with pytest.raises(ResizeError, match=Reason.IMAGE_CUT_SHORT):
        Resizer(ResizeOptions())(body[:middle] + body[middle + 50 :])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [500, 5000])
def test_a_jpeg_that_has_lost_bytes_is_cut_short(progressive: bool, missing: int) -> None:
    """libjpeg fills the rest with grey, as it does with all of a picture that lost its first bytes."""
    body = encoded(picture(1600, 1200), progressive=progressive)
    start = body.index(b"\xff\xda") + 14
    for place in (start, start + (len(body) - start) // 3, len(body) - missing - 100):
        with pytest.raises(ResizeError, match=f"{Reason.IMAGE_CUT_SHORT}|{Reason.IMAGE_DAMAGED}"):
            Resizer(ResizeOptions())(body[:place] + body[place + missing :])


@pytest.mark.parametrize("pillow_name", ["PNG", "JPEG"])
def test_a_profile_that_is_slow_to_apply_takes_no_time(pillow_name: str) -> None:
    body = encoded(picture(300, 300), pillow_name, icc_profile=icc.slow_profile())
    began = time.process_time()
    shown = Resizer(ResizeOptions())(body)
    assert time.process_time() - began < 0.3
    assert shown.data == Resizer(ResizeOptions())(encoded(picture(300, 300), pillow_name)).data


def test_a_jpeg_of_many_frames_is_refused() -> None:
    body = encoded(picture(400, 300))
    frame = b"\xff\xc0\xff\xff\x08" + bytes(65_532)
    with pytest.raises(ResizeError, match=Reason.DECODING_TOO_SLOW):
        Resizer(ResizeOptions())(body[:2] + frame * 100 + body[2:])


@pytest.mark.parametrize("colour", [(127, 127, 127), (255, 255, 255), (10, 20, 30)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_of_one_colour_is_no_damage(colour: tuple[int, int, int], progressive: bool) -> None:
    body = encoded(Image.new("RGB", (700, 500), colour), progressive=progressive)
    shown = decoded(Resizer(ResizeOptions())(body).data)
    assert max(abs(one - other) for one, other in zip(shown.getpixel((128, 128)), colour, strict=True)) <= 2  # type: ignore[arg-type]
