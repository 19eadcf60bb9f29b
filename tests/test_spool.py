"""The settled rows of an open shard outlive the process that wrote them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from img2dataset.filesystem.names import spool_name
from img2dataset.metadata import Sample
from img2dataset.spool import Spool, Tally
from img2dataset.stats import FAILED_TO_DOWNLOAD, SUCCESS

HEADER = b'{"of": "this shard"}'
ROWS = 5
NAME = spool_name("00012")


def sample(row: int, image: bytes | None = None) -> Sample:
    status, extension = (SUCCESS, "jpg") if image else (FAILED_TO_DOWNLOAD, None)
    message = None if image else "http 404 \ud800"
    identity = {"index": row, "key": f"{row}", "url": "http://a/", "caption": None}
    return Sample(**identity, status=status, error_message=message, image=image, extension=extension)  # type: ignore[arg-type]


def opened(folder: Path, header: bytes = HEADER) -> Spool:
    return Spool(str(folder), "00012", header, ROWS)


def rows(spool: Spool) -> list[int]:
    return [row for row in range(ROWS) if row in spool]


def test_rows_come_back_as_they_were_settled(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for row, image in ((3, b"three"), (0, None), (4, b"four" * 10_000)):
        spool.append(sample(row, image))
    assert (rows(spool), len(spool), spool.extensions) == ([0, 3, 4], 3, {"jpg"})
    assert spool.outcome(3)["image"] == b"three"
    assert spool.outcome(4)["image"] == b"four" * 10_000
    outcome = spool.outcome(0)
    assert (outcome["image"], outcome["status"]) == (None, FAILED_TO_DOWNLOAD)
    assert outcome["error_message"] == "http 404 \ud800"
    spool.remove()
    assert os.listdir(tmp_path) == []


def test_a_spool_that_is_closed_is_gone_on_with(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.tally = Tally(attempts=7, bytes_downloaded=2**40)
    spool.append(sample(1, b"one"))
    spool.close()
    again = opened(tmp_path)
    assert (rows(again), again.extensions, again.tally) == ([1], {"jpg"}, Tally(7, 2**40))
    again.append(sample(2, b"two"))
    assert [again.outcome(row)["image"] for row in (1, 2)] == [b"one", b"two"]
    again.remove()


@pytest.mark.parametrize("header", [b'{"of": "another"}', HEADER + b" "])
def test_a_spool_of_another_shard_is_begun_anew(tmp_path: Path, header: bytes) -> None:
    spool = opened(tmp_path)
    spool.append(sample(1, b"one"))
    spool.close()
    other = opened(tmp_path, header)
    assert (rows(other), other.tally) == ([], Tally())
    other.close()
    assert rows(opened(tmp_path)) == []


def whole(tmp_path: Path) -> tuple[bytes, list[int]]:
    """The bytes of a spool of three rows, and where its header and each of its rows end."""
    spool = opened(tmp_path)
    ends = [(tmp_path / NAME).stat().st_size]
    for row in range(3):
        spool.append(sample(row, b"image %d" % row))
        ends.append((tmp_path / NAME).stat().st_size)
    spool.close()
    return (tmp_path / NAME).read_bytes(), ends


def test_cut_anywhere_it_has_the_rows_that_were_written_whole(tmp_path: Path) -> None:
    data, ends = whole(tmp_path)
    for cut in range(len(data) + 1):
        (tmp_path / NAME).write_bytes(data[:cut])
        spool = opened(tmp_path)
        assert rows(spool) == list(range(sum(end <= cut for end in ends[1:]))), cut
        spool.append(sample(4, b"four"))
        spool.close()
        again = opened(tmp_path)
        assert 4 in again
        assert again.outcome(4)["image"] == b"four"
        again.close()


def test_no_damage_gives_a_row_that_was_not_written(tmp_path: Path) -> None:
    data, ends = whole(tmp_path)
    dice = random.Random(5)
    for _ in range(300):
        damaged = bytearray(data)
        place = dice.randrange(len(data))
        damaged[place] ^= 1 << dice.randrange(8)
        (tmp_path / NAME).write_bytes(damaged)
        spool = opened(tmp_path)
        assert rows(spool) == list(range(sum(end <= place for end in ends[1:])))
        spool.close()


HOLDER = """
import sys, time
from test_spool import opened, sample
from pathlib import Path
spool = opened(Path(sys.argv[1]))
spool.append(sample(1, b"one"))
print("ready", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_owns_it(tmp_path: Path) -> None:
    """While another has it, the rows go into a file of one's own; when it is killed, its rows are there."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        mine = opened(tmp_path)
        assert rows(mine) == []
        mine.append(sample(2, b"two"))
        assert mine.outcome(2)["image"] == b"two"
        assert os.listdir(tmp_path) == [NAME]
        mine.remove()
        assert os.listdir(tmp_path) == [NAME]
        process.send_signal(signal.SIGKILL)
    taken_over = opened(tmp_path)
    assert rows(taken_over) == [1]
    taken_over.remove()
    assert os.listdir(tmp_path) == []


def link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.symlink_to("precious")


def hard_link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.hardlink_to(path.parent / "precious")


@pytest.mark.parametrize("make", [link, hard_link, Path.mkdir, os.mkfifo])
def test_what_else_has_its_name_is_neither_waited_for_nor_written_into(tmp_path: Path, make: object) -> None:
    make(tmp_path / NAME)  # type: ignore[operator]
    before = sorted(os.listdir(tmp_path))
    spool = opened(tmp_path)
    spool.append(sample(1, b"one"))
    assert spool.outcome(1)["image"] == b"one"
    spool.remove()
    assert sorted(os.listdir(tmp_path)) == before
    assert "precious" not in before or (tmp_path / "precious").read_text() == "precious"


def test_a_disk_that_does_not_take_a_row_takes_a_smaller_one(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from test_spool import *
spool = opened(Path({str(tmp_path)!r}))
spool.append(sample(1, b"one"))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    spool.append(sample(2, b"2" * 10_000))
except OSError as error:
    print(error.strerror, rows(spool))
spool.append(sample(3, b"three"))
print(rows(spool), spool.outcome(3)["image"])
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "File too large [1]\n[1, 3] b'three'\n"
