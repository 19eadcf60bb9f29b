"""Uncommon formats are decoded in a process beside the worker: what is slow, large or deadly costs its own row."""

from __future__ import annotations

import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hostile
import psutil
import pytest
from pictures import encoded, picture
from test_resizer_damage import flip, flip_in_header

from img2dataset.errors import Reason, ResizeError, ShardError
from img2dataset.images import Resizer, Sandbox, sandbox_process
from img2dataset.images import sandbox as sandbox_module
from img2dataset.options import ResizeOptions

ROOT = Path(__file__).parent.parent


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(ResizeOptions()) as sandbox:
        yield sandbox


def processes() -> list[psutil.Process]:
    """The process of the sandbox, and the child in which it decodes."""
    return psutil.Process().children(recursive=True)


@pytest.mark.parametrize("name", ["AVIF", "BMP", "TIFF", "JPEG2000", "ICO", "PPM"])
def test_an_uncommon_format_comes_out_as_if_it_were_decoded_here(sandbox: Sandbox, name: str) -> None:
    body = encoded(picture(200, 100), name)
    resize = Resizer(ResizeOptions(), sandbox)
    assert resize(body) == Resizer(ResizeOptions())(body)
    assert processes()
    assert resize(body, [[0, 0, 0.5, 0.5]]) == Resizer(ResizeOptions())(body, [[0, 0, 0.5, 0.5]])


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_common_format_needs_no_process(sandbox: Sandbox, name: str) -> None:
    Resizer(ResizeOptions(), sandbox)(encoded(picture(200, 100), name))
    assert processes() == []


def test_what_is_wrong_is_told_as_if_it_were_decoded_here(sandbox: Sandbox) -> None:
    resize = Resizer(ResizeOptions(), sandbox)
    body = encoded(picture(200, 100), "BMP")
    with pytest.raises(ResizeError, match=Reason.IMAGE_CUT_SHORT):
        resize(body[:-1000])
    with pytest.raises(ResizeError, match=Reason.INVALID_BOX):
        resize(body, [[5, 5, 9, 9]])


def test_slow_images_cost_their_budget_and_the_next_is_decoded(sandbox: Sandbox) -> None:
    slow, quick = hostile.tiff_of_strips(), encoded(picture(200, 100), "BMP")
    sandbox(quick)
    began, first = time.monotonic(), processes()[0]
    for _ in range(3):
        with pytest.raises(ResizeError, match=Reason.DECODING_TOO_SLOW):
            sandbox(slow)
        sandbox(quick)
    assert time.monotonic() - began < 3 * (sandbox_process.SECONDS * 3 + 1)  # a busy machine gives half a core
    assert first in processes()


def test_an_image_that_takes_more_memory_than_its_header_says_is_told_so(sandbox: Sandbox) -> None:
    with pytest.raises(ResizeError, match=Reason.IMAGE_MEMORY):
        sandbox(hostile.icon_of_a_large_png())
    sandbox(encoded(picture(200, 100), "BMP"))


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGSEGV, Reason.DECODER_CRASHED), (signal.SIGKILL, Reason.IMAGE_MEMORY)]
)
def test_a_decoder_that_crashes_costs_one_image(sandbox: Sandbox, number: signal.Signals, reason: str) -> None:
    quick = encoded(picture(200, 100), "BMP")
    sandbox(quick)
    parent, child = sorted(processes(), key=lambda process: process.create_time())
    threading.Timer(0.5, child.send_signal, [number]).start()
    with pytest.raises(ResizeError, match=reason):
        sandbox(hostile.tiff_of_strips())
    sandbox(quick)
    assert parent in processes()


def test_the_rest_of_a_body_is_never_taken_for_a_message(sandbox: Sandbox, tmp_path: Path) -> None:
    """A child that is killed in the middle of a body leaves the rest of it to the next."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(tmp_path / "opened"), "w")

    quick = encoded(picture(200, 100), "BMP")
    sandbox(quick)
    frame = pickle.dumps((Bomb(), None))
    assert sandbox._connection
    for part in (struct.pack("!i", len(frame)) + frame, b"rest"):
        os.write(sandbox._connection.fileno(), part)
    with pytest.raises(ResizeError):
        sandbox(quick)
    assert sandbox(quick).original_width == 200
    assert not (tmp_path / "opened").exists()


def test_the_process_is_started_again_after_its_own_end(sandbox: Sandbox) -> None:
    quick = encoded(picture(200, 100), "BMP")
    sandbox(quick)
    for process in processes():
        process.kill()
    with pytest.raises(ResizeError, match=Reason.DECODER_CRASHED):
        sandbox(quick)
    assert sandbox(quick).original_width == 200


def test_a_process_that_does_not_answer_is_ended(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = encoded(picture(200, 100), "BMP")
    sandbox(quick)
    monkeypatch.setattr(sandbox_module, "PATIENCE", 0.5)
    before = processes()
    for process in before:
        process.suspend()
    with pytest.raises(ResizeError, match=Reason.DECODING_TOO_SLOW):
        sandbox(quick)
    assert psutil.wait_procs(before, timeout=2)[1] == []
    assert sandbox(quick).original_width == 200


def test_a_process_that_cannot_be_started_fails_the_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Sandbox(ResizeOptions()) as sandbox, pytest.raises(ShardError, match="no process can be started to decode"):
        sandbox(b"BM")


def test_nothing_is_left_of_a_closed_sandbox() -> None:
    with Sandbox(ResizeOptions()) as sandbox:
        sandbox(encoded(picture(200, 100), "BMP"))
        left = processes()
    assert len(left) == 2
    assert psutil.wait_procs(left, timeout=2)[1] == []


def test_nothing_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded(picture(200, 100), "BMP"))
    code = """
import sys, time
from img2dataset.images import Sandbox
from img2dataset.options import ResizeOptions
sandbox = Sandbox(ResizeOptions())
sandbox(open(sys.argv[1], "rb").read())
print("ready", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "image")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout
        owner.stdout.readline()
        left = psutil.Process(owner.pid).children(recursive=True)
        assert len(left) == 2
        os.kill(owner.pid, signal.SIGKILL)
    assert psutil.wait_procs(left, timeout=3)[1] == []


def test_libtiff_says_nothing_on_the_terminal(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    whole, draw = encoded(picture(60, 40), "TIFF", compression="tiff_lzw"), random.Random(3)
    for number in range(300):
        mutated = (flip, flip_in_header)[number % 2](bytearray(whole), draw, [])
        try:
            sandbox(mutated)
        except ResizeError:
            continue
    assert capfd.readouterr() == ("", "")
