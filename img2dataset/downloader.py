"""Shards → finished shards: fetch, resize, write, count."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from img2dataset.errors import ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.fetcher import Fetcher, FetchRequest, FetchResult
from img2dataset.images import Sandbox
from img2dataset.open_shard import OpenShard
from img2dataset.options import FetchOptions, ReadOptions, ResizeOptions, WriteOptions
from img2dataset.sample_maker import SampleMaker
from img2dataset.shards import Rows, Shard, shard_name, urls_digest
from img2dataset.stats import Origin, ShardStats

logger = logging.getLogger(__name__)

MAX_OPEN_SHARDS = 2


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Does shards: an iterator of `Shard` in, an iterator of `Progress`, `ShardStats` and `ShardFailure` out.

    It is only options, so that it travels to a process of the pool, a Spark partition or a Ray actor; what it needs
    to work is made there, once, and lives across the shards.
    """

    read: ReadOptions
    fetch: FetchOptions
    resize: ResizeOptions
    write: WriteOptions
    output_options: dict[str, Any] = field(default_factory=dict)  # recorded in the stats file, compared on resume

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Progress | ShardStats | ShardFailure]:
        with Fetcher(self.fetch) as fetcher, Sandbox(self.resize) as sandbox:
            yield from _TakenShards(self, fetcher, sandbox).events(shards)


@dataclass(slots=True, eq=False)
class _Taken:
    """A shard that was taken from the list: what it is open as, or what kept it from opening."""

    shard: Shard
    opened: OpenShard | Exception
    outstanding: int = 0  # requests whose result has not been worked on
    is_over: bool = False  # done, or failed: no result is of use to it


class _TakenShards:
    """The shards that one process has taken.

    Two threads share the work. The fetcher's feeder takes shards from the list, opens them and asks for their rows
    (`_requests`). The thread that iterates over `events` works on the results, and it alone tells what happens. So that
    it hears of every shard at once, also of one that has nothing to fetch or that cannot be opened, the first request
    of a shard has no rows and no URL: the fetcher gives it back right away.
    """

    def __init__(self, options: Downloader, fetcher: Fetcher, sandbox: Sandbox) -> None:
        self._options = options
        self._fetcher = fetcher
        self._maker = SampleMaker(options.read, options.resize, options.write, sandbox)
        self._taken: set[_Taken] = set()  # not by number: a shard that failed may be back before its last result
        self._unsettled = 0  # requests whose result has not been worked on
        self._closed = False
        self._changed = threading.Condition()

    def events(self, shards: Iterable[Shard]) -> Iterator[Progress | ShardStats | ShardFailure]:
        """Work until the shards are used up."""
        try:
            waiting_since = time.perf_counter()
            for result in self._fetcher.fetch(self._requests(shards)):
                waited = time.perf_counter() - waiting_since
                taken, rows = cast("tuple[_Taken, list[int]]", result.id)  # as _requests put it there
                if not taken.is_over:
                    yield from self._work_on(taken, rows, result, waited)
                self._settled(taken)
                waiting_since = time.perf_counter()
        finally:
            self._close()

    # The feeder's thread

    def _requests(self, shards: Iterable[Shard]) -> Iterator[FetchRequest]:
        for shard in shards:
            taken, wanted = self._take(shard)
            taken.outstanding = 1 + len(wanted)
            with self._changed:
                self._taken.add(taken)
                self._unsettled += taken.outstanding
            yield FetchRequest((taken, []), "")
            for place, (url, rows) in enumerate(wanted):
                if taken.is_over:
                    self._settled(taken, len(wanted) - place)
                    break
                yield FetchRequest((taken, rows), url)
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._may_take_another())
                if self._closed:
                    return

    def _take(self, shard: Shard) -> tuple[_Taken, list[tuple[str, list[int]]]]:
        """Open a shard. Returns what it is open as, and what it wants to have fetched."""
        try:
            rows = Rows.of(shard, self._options.read)
            opened = OpenShard(
                shard, rows, _origin(shard, rows, self._options), self._options.read, self._options.write
            )
            return _Taken(shard, opened), opened.to_fetch()
        except Exception as error:  # noqa: BLE001 - raised again in the other thread, where it fails this shard
            return _Taken(shard, error), []

    def _may_take_another(self) -> bool:
        """Another shard is taken as soon as threads would be idle without it."""
        return len(self._taken) < MAX_OPEN_SHARDS and self._unsettled < self._options.fetch.thread_count

    # The other thread

    def _work_on(
        self, taken: _Taken, rows: list[int], result: FetchResult, waited: float
    ) -> Iterator[Progress | ShardStats | ShardFailure]:
        """Work on the rows of one URL; whatever is raised fails this shard, is told, and fails no other."""
        try:
            if isinstance(taken.opened, Exception):
                raise taken.opened
            taken.opened.seconds["waiting"] += waited
            yield from self._settle(taken.opened, rows, result)
            if taken.opened.is_complete:
                yield from taken.opened.commit()
                taken.is_over = True
                yield taken.opened.stats
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            taken.is_over = True
            if isinstance(taken.opened, OpenShard):
                taken.opened.fail(error)
            yield ShardFailure(taken.shard.id, _told(error, self._name(taken.shard)))

    def _settle(self, shard: OpenShard, rows: list[int], result: FetchResult) -> Iterator[Progress]:
        yield from shard.fill()
        if not rows:
            return
        shard.count_fetch(result.attempts, len(result.body or b""))
        yield shard.progress(rows[0])
        samples = list(self._maker.samples(shard, rows, result))
        yield shard.progress(None)  # what happens from here on is not the row's fault
        for sample in samples:
            shard.keep(sample)

    def _name(self, shard: Shard) -> str:
        return shard_name(shard.id, self._options.write.oom_shard_count)

    def _settled(self, taken: _Taken, requests: int = 1) -> None:
        with self._changed:
            self._unsettled -= requests
            taken.outstanding -= requests
            if not taken.outstanding:
                self._taken.remove(taken)
            self._changed.notify()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        for taken in list(self._taken):
            if isinstance(taken.opened, OpenShard):
                taken.opened.close()


def _told(error: Exception, name: str) -> str:
    """What is said of a shard that failed; where the error does not say it all, its traceback is logged."""
    if isinstance(error, ShardError):
        return str(error)
    logger.warning("shard %s failed", name, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _origin(shard: Shard, rows: Rows, options: Downloader) -> Origin:
    """What makes a stats file tell its own story: resume needs nothing else."""
    return Origin(
        list_index=shard.index,
        list_identity=shard.identity,
        input_file=shard.source,
        first_row=shard.first_row,
        url_digest=urls_digest(rows.urls),
        options=options.output_options,
    )
