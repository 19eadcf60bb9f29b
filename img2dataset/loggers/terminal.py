"""What people see at a terminal: the progress bar or lines, the hints and the summary."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

from img2dataset.distributor.base import Event
from img2dataset.errors import ShardError
from img2dataset.loggers import Beginning, Counts, Observer
from img2dataset.shards import SHARD_DIGITS, shard_count, shard_name
from img2dataset.stats import SUCCESS, RunStats
from img2dataset.streams import unfailing

LINE_EVERY = 30.0  # seconds between two lines of progress where there is no terminal
REASONS_SHOWN = 8
LIMIT_AFTER = 10.0  # seconds of work, less say nothing about what limits a run
SMALL_LIST = 1000  # rows; up to here it does not matter how many processes have something to do


def terminal_observers(stream: TextIO | None = None) -> list[Observer]:
    """What shows a run on a stream, which is stderr if none is given."""
    stream = unfailing(sys.stderr if stream is None else stream)
    return [Hints(stream), Bar(stream) if stream.isatty() else Lines(stream), Summary(stream)]


def say(line: str, stream: TextIO) -> None:
    """Write one line, above the bar where there is one."""
    if stream.isatty():
        from tqdm import tqdm

        tqdm.write(line, file=stream)
    else:
        print(line, file=stream, flush=True)


class Bar(Observer):
    """A tqdm bar over images."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None

    def begun(self, beginning: Beginning) -> None:
        """Show the bar."""
        del beginning
        from tqdm import tqdm

        self._bar = tqdm(file=self._stream, unit="img", dynamic_ncols=True, smoothing=0.1, total=0)

    def happened(self, event: Event, counts: Counts) -> None:
        """Move the bar, back too: a shard may have to be done again."""
        del event
        self._bar.total = max(counts.rows_read, counts.count)
        self._bar.set_postfix_str(_share_ok(counts), refresh=False)
        self._bar.update(counts.count - self._bar.n)

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        """Leave the bar where it is."""
        del stats, error
        self._bar.close()


class Lines(Observer):
    """A line now and then, where there is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = self._last_line = time.monotonic()

    def happened(self, event: Event, counts: Counts) -> None:
        """Write a line when the last one is old."""
        del event
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY:
            return
        self._last_line = now
        rate = counts.count / (now - self._began)
        done = f"{counts.count:,} of {counts.rows_read:,} images read so far"
        say(f"{done}, {_share_ok(counts)}, {rate:.0f} images/s", self._stream)


class Hints(Observer):
    """What was chosen for a folder that has shards, and what would make better use of the machine."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._processes_count = 1

    def begun(self, beginning: Beginning) -> None:
        """Say what is going to be done in a folder that has shards."""
        self._processes_count = beginning.processes_count
        if beginning.plan:
            say(beginning.plan, self._stream)

    def list_ended(self, shards: int, rows: int) -> None:
        """Say so when there were too few shards to give every process one, and it matters."""
        if rows > SMALL_LIST and shards < self._processes_count:
            only = f"{rows:,} images make only {shard_count(shards)} for {self._processes_count} processes"
            better = f"number_sample_per_shard={-(-rows // self._processes_count)} would use them all"
            say(f"{only}; {better}", self._stream)


class Summary(Observer):
    """The end of a run that was not stopped, in a few lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._digits = SHARD_DIGITS

    def begun(self, beginning: Beginning) -> None:
        """Note how shards are called."""
        self._digits = beginning.oom_shard_count

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        """Write the summary."""
        if error is None or isinstance(error, ShardError):
            say(summary(stats, self._digits, failed=error is not None), self._stream)


def summary(stats: RunStats, digits: int = SHARD_DIGITS, *, failed: bool = False) -> str:
    """The end of a run in a few lines; `digits` are those of a shard's name."""
    if not stats.shards and not stats.failed_shards:
        return f"{'nothing was done' if failed else 'nothing was missing'}; the dataset is in {stats.output_folder}"
    lines = [
        f"{stats.count:,} images in {shard_count(stats.shards)}: {_share(stats.successes, stats)} saved, "
        f"{_share(stats.failed_to_download, stats)} failed to download, "
        f"{_share(stats.failed_to_resize, stats)} failed to resize",
        f"took {stats.duration:.1f} s, {stats.count / max(stats.duration, 1e-9):.1f} images/s",
        *_reasons(stats),
        *_advice(stats),
        *(f"shard {shard_name(failure.shard_id, digits)} failed: {failure.message}" for failure in stats.failed_shards),
        f"the dataset is in {stats.output_folder}",
    ]
    return "\n".join(lines)


def _reasons(stats: RunStats) -> list[str]:
    """Why images failed, the most frequent reason first."""
    reasons = [(reason, times) for reason, times in stats.status_dict.most_common() if reason != SUCCESS]
    if not reasons:
        return []
    lines = [f"  {times:>10,}  {reason}" for reason, times in reasons[:REASONS_SHOWN]]
    rest = sum(times for _, times in reasons[REASONS_SHOWN:])
    return ["why images failed:", *lines, *([f"  {rest:>10,}  for other reasons"] if rest else [])]


def _advice(stats: RunStats) -> list[str]:
    lines = []
    if stats.dns_suffering_shards:
        lines.append(
            f"in {shard_count(stats.dns_suffering_shards)} more than 5 % of the names could not be looked up for now: "
            "a local caching resolver helps, see the README's section on it"
        )
    if limit := _limit(stats):
        lines.append(limit)
    return lines


def _limit(stats: RunStats) -> str | None:
    """Which resource the run was limited by: where the processes' main threads spent their time."""
    total = sum(stats.seconds.values())
    if total < LIMIT_AFTER:
        return None
    share = {stage: seconds / total for stage, seconds in stats.seconds.items()}
    where = ", ".join(f"{part:.0%} {stage}" for stage, part in share.items())
    if share["waiting"] > 0.5:
        advice = "the network is the limit: more threads (thread_count) may help"
    elif share["writing"] > 0.5:
        advice = "the disk is the limit: a faster one or output_format=webdataset may help"
    elif stats.processes_count < (cores := os.cpu_count() or 1):
        advice = f"the CPU is the limit: more processes (processes_count) help, up to {cores} here"
    else:
        advice = "the CPU is the limit, and there is a process for every core"
    return f"processes spent their time {where}; {advice}"


def _share(part: int, stats: RunStats) -> str:
    return f"{part:,} ({_percent(part, stats.count)})"


def _share_ok(counts: Counts) -> str:
    return f"{_percent(counts.successes, counts.count)} ok" if counts.count else "starting"


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100.0% is all of them."""
    return f"{1000 * part // max(whole, 1) / 10:.1f}%"
