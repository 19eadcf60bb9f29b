"""What people see."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from dataset import photo, write_list
from mockserver import MockServer

from img2dataset import download
from img2dataset.errors import Reason, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.loggers import Beginning, Counts, Observers, terminal
from img2dataset.loggers.terminal import Hints, Lines, Summary, summary
from img2dataset.stats import RunStats, ShardStats


def shard_stats(shard_id: int = 0, **messages: int) -> ShardStats:
    stats = ShardStats(shard_id=shard_id)
    for message, times in messages.items():
        for _ in range(times):
            stats.record("success" if message == "success" else "failed_to_download", message.replace("_", " "))
    return stats


def beginning(plan: str = "", processes_count: int = 1, oom_shard_count: int = 5) -> Beginning:
    return Beginning(output_folder="out", processes_count=processes_count, oom_shard_count=oom_shard_count, plan=plan)


def test_lines_come_now_and_then_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.happened(Progress(0, 1, 1, 1), Counts(rows_read=50, count=1, successes=1))
    assert stream.getvalue() == ""
    monkeypatch.setattr(terminal, "LINE_EVERY", 0.0)
    lines.happened(Progress(0, 9, 10, 8), Counts(rows_read=50, count=10, successes=8))
    assert stream.getvalue().startswith("10 of 50 images read so far, 80.0% ok, ")


def test_what_was_chosen_for_a_folder_is_said_at_the_beginning() -> None:
    stream = io.StringIO()
    Hints(stream).begun(beginning(plan="out was made from this list"))
    assert stream.getvalue() == "out was made from this list\n"


@pytest.mark.parametrize(
    ("rows", "shards", "says"),
    [
        (2, 1, ""),
        (1000, 1, ""),
        (1001, 1, "1,001 images make only 1 shard for 4 processes; number_sample_per_shard=251 would use them all\n"),
        (1001, 4, ""),
    ],
)
def test_too_few_shards_are_told_where_it_matters(rows: int, shards: int, says: str) -> None:
    stream = io.StringIO()
    hints = Hints(stream)
    hints.begun(beginning(processes_count=4))
    hints.list_ended(shards, rows)
    assert stream.getvalue() == says


def test_a_run_that_failed_before_its_first_shard_does_not_say_that_nothing_was_missing() -> None:
    assert summary(RunStats(output_folder="out")) == "nothing was missing; the dataset is in out"
    assert summary(RunStats(output_folder="out"), failed=True) == "nothing was done; the dataset is in out"


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, True), (ShardError("the list ends in the middle"), True), (KeyboardInterrupt(), False), (OSError(), False)],
)
def test_a_run_that_was_stopped_has_no_summary(error: BaseException | None, said: bool) -> None:
    stream = io.StringIO()
    Summary(stream).ended(RunStats(output_folder="out"), error)
    assert bool(stream.getvalue()) == said


def test_the_summary_calls_a_shard_as_its_files_are() -> None:
    stream = io.StringIO()
    shown = Summary(stream)
    shown.begun(beginning(oom_shard_count=3))
    shown.ended(RunStats(failed_shards=[ShardFailure(7, "disk full")]), None)
    assert "shard 007 failed: disk full" in stream.getvalue()


def test_the_summary_names_the_reasons_most_frequent_first() -> None:
    run = RunStats(output_folder="out", duration=2.0)
    run.add(shard_stats(0, success=6, timed_out=1, http_404=3))
    run.failed_shards.append(ShardFailure(7, "OSError: no space left on device"))
    text = summary(run)
    assert "10 images in 1 shard: 6 (60.0%) saved, 4 (40.0%) failed to download" in text
    assert text.index("http 404") < text.index("timed out")
    assert "5.0 images/s" in text
    assert "shard 00007 failed: OSError: no space left on device" in text
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
    rows = [photo(server, number) for number in range(30)]
    with a_terminal() as (stream, shown):
        monkeypatch.setattr("sys.stderr", stream)
        download(write_list(tmp_path / "list.txt", rows), output_folder=str(tmp_path / "out"), thread_count=4)
    text = b"".join(shown).decode()
    assert "30/30" in text
    assert "100.0% ok" in text
    assert "img/s" in text
    assert text.rindex("30 images in 1 shard") > text.rindex("img/s")


def test_a_line_is_written_above_the_bar() -> None:
    with a_terminal() as (stream, shown):
        observers = Observers(terminal.terminal_observers(stream))
        observers.begun(beginning(processes_count=4))
        observers.happened(Progress(0, 1, 1, 1), Counts(rows_read=2000, count=1, successes=1))
        observers.list_ended(1, 2000)
        observers.ended(RunStats(output_folder="out"), None)
    text = b"".join(shown).decode()
    assert re.search(r"\r {10,}\r2,000 images make only 1 shard for 4 processes; [^\r]*\r\n\r *[0-9]+%.*img", text)


@contextlib.contextmanager
def a_terminal() -> Iterator[tuple[TextIO, list[bytes]]]:
    """A terminal of 100 columns, and what it shows, which is complete when the block has ended."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    reader = threading.Thread(target=read_all, args=(ours, shown))
    reader.start()
    with open(theirs, "w", encoding="utf-8") as stream:
        yield stream, shown
    reader.join(10)


def read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while data := os.read(descriptor, 65536):
            into.append(data)
    except OSError:  # the other side is closed
        os.close(descriptor)
