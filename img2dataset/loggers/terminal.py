"""What people see: the progress bar, the hints and the summary."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from img2dataset.errors import ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.shards import shard_count
from img2dataset.stats import SUCCESS, RunStats, ShardStats
from img2dataset.streams import unfailing

if TYPE_CHECKING:
    from types import TracebackType

LINE_EVERY = 30.0  # seconds between two lines of progress where there is no terminal
REASONS_SHOWN = 8
LIMIT_AFTER = 10.0  # seconds of work, less say nothing about what limits a run


class ProgressLogger:
    """Follows a run: a tqdm bar over images on a terminal, a line now and then elsewhere, a summary at the end.

    `total` tells how many rows have been read so far; it grows while the list is read.
    """

    def __init__(self, total: Callable[[], int], stream: TextIO | None = None) -> None:
        self.stats = RunStats()
        self._total = total
        self._stream = unfailing(sys.stderr if stream is None else stream)
        self._open: dict[int, Progress] = {}
        self._started = time.monotonic()
        self._last_line = self._started
        self._bar: Any = None

    def __enter__(self) -> ProgressLogger:
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(file=self._stream, unit="img", dynamic_ncols=True, smoothing=0.1, total=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stats.duration = time.monotonic() - self._started
        if self._bar is not None:
            self._show()
            self._bar.close()
            self._bar = None
        if error is None or isinstance(error, ShardError):
            self.say(summary(self.stats))

    def add(self, event: Progress | ShardStats | ShardFailure) -> None:
        """Take in an event of the run."""
        if isinstance(event, Progress):
            self._open[event.shard_id] = event
        else:
            self._open.pop(event.shard_id, None)
            if isinstance(event, ShardStats):
                self.stats.add(event)
            else:
                self.stats.failed_shards.append(event)
        self._show()

    def say(self, line: str) -> None:
        """Write one line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def hint(self, shards: int, processes_count: int) -> None:
        """Say so when there were too few shards to give every process one."""
        rows = self._total()
        if 0 < shards < processes_count and rows > shards:
            only = f"{rows:,} images make only {shard_count(shards)} for {processes_count} processes"
            self.say(f"{only}; number_sample_per_shard={-(-rows // processes_count)} would use them all")

    def _show(self) -> None:
        count = self.stats.count + sum(progress.count for progress in self._open.values())
        successes = self.stats.successes + sum(progress.successes for progress in self._open.values())
        share = f"{_percent(successes, count)} ok" if count else "starting"
        if self._bar is not None:
            self._bar.total = max(self._total(), count)
            self._bar.set_postfix_str(share, refresh=False)
            self._bar.update(count - self._bar.n)
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            rate = count / (self._last_line - self._started)
            self.say(f"{count:,} of {self._total():,} images read so far, {share}, {rate:.0f} images/s")


def summary(stats: RunStats) -> str:
    """The end of a run in a few lines."""
    if not stats.shards and not stats.failed_shards:
        return f"nothing was missing; the dataset is in {stats.output_folder}"
    lines = [
        f"{stats.count:,} images in {shard_count(stats.shards)}: {_share(stats.successes, stats)} saved, "
        f"{_share(stats.failed_to_download, stats)} failed to download, "
        f"{_share(stats.failed_to_resize, stats)} failed to resize",
        f"took {stats.duration:.1f} s, {stats.count / max(stats.duration, 1e-9):.1f} images/s",
    ]
    reasons = [(reason, times) for reason, times in stats.status_dict.most_common() if reason != SUCCESS]
    if reasons:
        lines.append("why images failed:")
        lines += [f"  {times:>10,}  {reason}" for reason, times in reasons[:REASONS_SHOWN]]
        rest = sum(times for _, times in reasons[REASONS_SHOWN:])
        lines += [f"  {rest:>10,}  for other reasons"] if rest else []
    if stats.dns_suffering_shards:
        lines.append(
            f"in {shard_count(stats.dns_suffering_shards)} more than 5 % of the names could not be looked up for now: "
            "a local caching resolver helps, see the README's section on it"
        )
    lines += [limit] if (limit := _limit(stats)) else []
    lines += [f"shard {failure.shard_id} failed: {failure.message}" for failure in stats.failed_shards]
    lines.append(f"the dataset is in {stats.output_folder}")
    return "\n".join(lines)


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


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100.0% is all of them."""
    return f"{1000 * part // max(whole, 1) / 10:.1f}%"
