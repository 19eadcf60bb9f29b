"""The board: what a worker was doing last is known, whatever cut its writing short."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from img2dataset.distributor.process_pool.board import Board, new_page
from img2dataset.events import Progress

FIRST, SECOND, THIRD = Progress(7, 0, 0, 0), Progress(7, 1, 1, 1), Progress(8, None, 10, 9)
SLOT = 48  # bytes


@pytest.fixture
def page() -> Iterator[int]:
    with new_page() as descriptor:
        yield descriptor


def test_what_was_written_last_is_read(page: int) -> None:
    worker, parent = Board(page), Board(page)
    assert parent.read() is None
    for progress in (FIRST, SECOND, THIRD):
        worker.write(progress)
        assert parent.read() == progress
    worker.clear()
    assert parent.read() is None


def test_news_are_news_once(page: int) -> None:
    worker, parent = Board(page), Board(page)
    assert not parent.has_changed()
    worker.write(FIRST)
    worker.write(SECOND)
    assert parent.has_changed()
    assert not parent.has_changed()
    worker.write(SECOND)
    assert parent.has_changed()


@pytest.mark.parametrize("written", range(8, SLOT, 8))
def test_a_slot_that_is_half_written_is_not_read(page: int, written: int) -> None:
    worker, parent = Board(page), Board(page)
    worker.write(FIRST)
    worker.write(SECOND)
    cut = struct.pack("<6q", 3, 8, 2, 2, 2, 3)[:written].ljust(SLOT, b"\0")
    with mmap.mmap(page, mmap.PAGESIZE) as memory:
        memory[SLOT : 2 * SLOT] = cut
    assert parent.read() == SECOND
    worker.write(THIRD)
    assert parent.read() == THIRD


def test_it_outlives_the_page_and_a_killed_writer() -> None:
    with new_page() as page:
        parent = Board(page)
        code = (
            "import os; from img2dataset.distributor.process_pool.board import Board; "
            "from img2dataset.events import Progress; "
            f"Board({page}).write(Progress(7, 1, 1, 1)); os.kill(os.getpid(), {int(signal.SIGKILL)})"
        )
        assert subprocess.run([sys.executable, "-c", code], pass_fds=[page], check=False).returncode == -signal.SIGKILL
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(page)
    assert parent.read() == SECOND
