"""A shard under way, from its first row to its files."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from typing import Any

from img2dataset._version import __version__
from img2dataset.events import Progress
from img2dataset.filesystem import open_folder
from img2dataset.formats import load_format
from img2dataset.metadata import Sample
from img2dataset.options import ReadOptions, WriteOptions
from img2dataset.poisoned import PoisonedRows
from img2dataset.resume.refill import FinishedVersion
from img2dataset.shards import Rows, Shard, sample_key, shard_name
from img2dataset.spool import Spool
from img2dataset.stats import Origin, ShardStats

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class OpenShard:
    """A shard that is open: its rows, its counts, and the spool that holds what became of its rows.

    ::

        opened ── fill ──► keep, keep, … ──► is_complete ── commit ──► visible
          └──────────────────┴── fail or close ──┘   and the next to open it goes on
    """

    def __init__(self, shard: Shard, rows: Rows, origin: Origin, read: ReadOptions, write: WriteOptions) -> None:
        self.shard = shard
        self.rows = rows
        self.stats = ShardStats(shard_id=shard.id, start_time=time.time(), origin=origin)
        self.seconds = dict.fromkeys(("waiting", "resizing", "writing"), 0.0)
        self._read = read
        self._write = write
        self._folder = open_folder(write.output_folder)
        name = shard_name(shard.id, write.oom_shard_count)
        self._poisoned = PoisonedRows(self._folder, name, origin.url_digest or "")
        self.poisoned = self._poisoned.together_with(shard.poisoned)  # row → why it is not decoded
        self._finished = FinishedVersion(shard, self._folder, read, write) if shard.retry else None
        self._is_filled = False
        self._spool = Spool(self._folder.spools(), name, _header(shard, origin), shard.count)
        try:
            self._count_settled()
        except BaseException:
            self._spool.close()
            raise

    def to_fetch(self) -> list[tuple[str, list[int]]]:
        """The URLs to fetch, each once, with the rows that want its bytes."""
        by_url: dict[str | None, list[int]] = {}
        for row in range(self.shard.count) if self._finished is None else sorted(self._finished.to_retry):
            if row not in self._spool:
                by_url.setdefault(self.rows.urls[row], []).append(row)
        return [(url or "", rows) for url, rows in by_url.items()]

    def _count_settled(self) -> None:
        for row in filter(self._spool.__contains__, range(self.shard.count)):
            outcome = self._spool.outcome(row)
            self.stats.record(outcome["status"], outcome["error_message"])

    def identity(self, row: int) -> dict[str, Any]:
        """What the list says of a row, by the names of `Sample`."""
        key = sample_key(self.shard.id, row, self._read.number_sample_per_shard, self._write.oom_shard_count)
        caption = None if self.rows.captions is None else self.rows.captions[row]
        return {"index": row, "key": key, "url": self.rows.urls[row], "caption": caption}

    def progress(self, row: int | None) -> Progress:
        """What is announced before `row` is decoded and, None, when no row is."""
        return Progress(self.shard.id, row, self.stats.count, self.stats.successes)

    def count_fetch(self, attempts: int, received: int) -> None:
        """Count what the next rows have cost: requests, and bytes."""
        self._spool.tally.attempts += attempts
        self._spool.tally.bytes_downloaded += received

    def fill(self) -> Iterator[Progress]:
        """When failed rows are tried again, take over all others from the finished version; done once."""
        if self._finished is None or self._is_filled:
            return
        started = time.perf_counter()
        for sample in self._finished.fill(self._spool):
            if len(self._spool) > self.stats.count:
                self.stats.record(sample.status, sample.error_message)
            yield self.progress(None)
        self._is_filled = True
        self.seconds["writing"] += time.perf_counter() - started

    def keep(self, sample: Sample) -> None:
        """Settle a row."""
        started = time.perf_counter()
        self._spool.append(sample)
        self.stats.record(sample.status, sample.error_message)
        self.seconds["writing"] += time.perf_counter() - started

    @property
    def is_complete(self) -> bool:
        """Whether every row is settled."""
        return len(self._spool) == self.shard.count

    def commit(self) -> Iterator[Progress]:
        """Replay the rows in key order through the format, and make the shard visible. Then `stats` are final."""
        started = time.perf_counter()
        extensions = self._spool.extensions
        kind = load_format(self._write.output_format)
        with kind(self.shard, self.rows, self._folder, self._write, extensions) as files:
            for row in range(self.shard.count):
                files.write(Sample(**self.identity(row), **self._spool.outcome(row)))
                yield self.progress(None)
            self.seconds["writing"] += time.perf_counter() - started
            self._complete_stats()
            if self.poisoned:
                self._poisoned.forget()
            files.commit(self.stats)
        self._spool.remove()

    def _complete_stats(self) -> None:
        self.stats.attempts = self._spool.tally.attempts
        self.stats.bytes_downloaded = self._spool.tally.bytes_downloaded
        self.stats.end_time = time.time()
        self.stats.seconds = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}

    def fail(self, error: Exception) -> None:
        """Let go of the shard. Its spool stays for the next try, unless the disk is full."""
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._spool.remove()
        self.close()

    def close(self) -> None:
        """Let go of the shard; whoever opens it next goes on from here."""
        self._spool.close()


def _header(shard: Shard, origin: Origin) -> bytes:
    """What a spool is known by: it is not used for other rows, with other options, or by another version."""
    known = {"img2dataset_version": __version__, "rows": shard.count, "retry": shard.retry}
    return json.dumps(known | origin.to_json(), sort_keys=True).encode()
