"""What people see."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
import threading
from pathlib import Path

import pytest
from dataset import photo, write_list
from mockserver import MockServer

from img2dataset import download
from img2dataset.errors import Reason
from img2dataset.events import Progress, ShardFailure
from img2dataset.loggers import terminal as logger
from img2dataset.loggers.terminal import ProgressLogger, summary
from img2dataset.stats import RunStats, ShardStats


def shard_stats(shard_id: int = 0, **messages: int) -> ShardStats:
    stats = ShardStats(shard_id=shard_id)
    for message, times in messages.items():
        for _ in range(times):
            stats.record("success" if message == "success" else "failed_to_download", message.replace("_", " "))
    return stats


def test_lines_come_now_and_then_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with ProgressLogger(lambda: 50, stream) as progress:
        progress.add(Progress(0, 1, 1, 1))
        assert stream.getvalue() == ""
        monkeypatch.setattr(logger, "LINE_EVERY", 0.0)
        progress.add(Progress(0, 9, 10, 8))
    assert stream.getvalue().startswith("10 of 50 images read so far, 80.0% ok, ")


def test_a_shard_that_is_done_again_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "LINE_EVERY", 0.0)
    stream = io.StringIO()
    with ProgressLogger(lambda: 20, stream) as progress:
        progress.add(Progress(3, 9, 9, 9))
        progress.add(Progress(3, 0, 0, 0))  # its worker died
        progress.add(Progress(4, 5, 5, 5))
        progress.add(shard_stats(3, success=10))
    counts = [line.split(" of ")[0] for line in stream.getvalue().splitlines()[:4]]
    assert counts == ["9", "0", "5", "15"]


def test_the_summary_names_the_reasons_most_frequent_first() -> None:
    run = RunStats(output_folder="out", duration=2.0)
    run.add(shard_stats(0, success=6, timed_out=1, http_404=3))
    run.failed_shards.append(ShardFailure(7, "OSError: no space left on device"))
    text = summary(run)
    assert "10 images in 1 shard: 6 (60.0%) saved, 4 (40.0%) failed to download" in text
    assert text.index("http 404") < text.index("timed out")
    assert "5.0 images/s" in text
    assert "shard 7 failed: OSError: no space left on device" in text
    assert text.endswith("the dataset is in out")
    assert "resolver" not in text


def test_the_summary_points_to_the_resolver_when_names_cannot_be_looked_up() -> None:
    run = RunStats()
    failing = ShardStats(shard_id=0)
    for number in range(100):
        failing.record(*(("failed_to_download", Reason.DNS_TEMPORARY) if number < 6 else ("success", None)))
    run.add(failing)
    assert "in 1 shard more than 5 % of the names could not be looked up" in summary(run)


@pytest.mark.parametrize(
    ("seconds", "advice"),
    [
        ({"waiting": 90.0, "resizing": 5.0, "writing": 5.0}, "the network is the limit"),
        ({"waiting": 5.0, "resizing": 90.0, "writing": 5.0}, "the CPU is the limit"),
        ({"waiting": 5.0, "resizing": 5.0, "writing": 90.0}, "the disk is the limit"),
    ],
)
def test_the_summary_says_which_resource_was_the_limit(seconds: dict[str, float], advice: str) -> None:
    run = RunStats()
    run.add(ShardStats(shard_id=0, seconds=seconds))
    assert advice in summary(run)


def test_a_hundred_per_cent_is_all_of_them() -> None:
    assert "2,999 (99.9%) saved" in summary(RunStats(shards=1, count=3000, successes=2999, failed_to_download=1))
    assert "3,000 (100.0%) saved" in summary(RunStats(shards=1, count=3000, successes=3000))


@pytest.mark.parametrize(
    ("processes_count", "advice"), [(3, "more processes (processes_count) help, up to 4 here"), (4, "for every core")]
)
def test_more_processes_are_advised_up_to_the_number_of_cores(
    monkeypatch: pytest.MonkeyPatch, processes_count: int, advice: str
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    run = RunStats(processes_count=processes_count)
    run.add(ShardStats(shard_id=0, seconds={"waiting": 5.0, "resizing": 90.0, "writing": 5.0}))
    assert advice in summary(run)


def test_a_terminal_gets_a_bar(server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    reader = threading.Thread(target=read_all, args=(ours, shown))
    reader.start()
    with open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        rows = [photo(server, number) for number in range(30)]
        download(write_list(tmp_path / "list.txt", rows), output_folder=str(tmp_path / "out"), thread_count=4)
    reader.join(10)
    text = b"".join(shown).decode()
    assert "30/30" in text
    assert "100.0% ok" in text
    assert "img/s" in text


def read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while data := os.read(descriptor, 65536):
            into.append(data)
    except OSError:  # the other side is closed
        os.close(descriptor)
