"""Shards → finished shards: fetch, resize, write, count."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from img2dataset import defects
from img2dataset.carried import Carried
from img2dataset.errors import DownloadError, Reason, ResizeError, SampleError, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.fetcher import Fetcher, FetchRequest, FetchResult
from img2dataset.filesystem import open_folder
from img2dataset.formats import load_writer
from img2dataset.images import ResizedImage, Resizer, Sandbox, read_exif
from img2dataset.metadata import Sample, digest
from img2dataset.options import FetchOptions, ReadOptions, ResizeOptions, WriteOptions
from img2dataset.poisoned import PoisonedRows
from img2dataset.shards import Rows, Shard, sample_key, shard_name, urls_digest
from img2dataset.stats import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, SUCCESS, Origin, ShardStats

if TYPE_CHECKING:
    from img2dataset.formats import SampleWriter

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
            yield from _Run(self, fetcher, sandbox).events(shards)


class _Run:
    """The shards that are open in one process.

    The fetcher's feeder thread opens shards (`_requests`), the thread that iterates over `events` does the rest.
    """

    def __init__(self, plan: Downloader, fetcher: Fetcher, sandbox: Sandbox) -> None:
        self._plan = plan
        self._fetcher = fetcher
        self._work = _RowWork(plan, sandbox)
        self._open: set[_OpenShard] = set()  # not by number: a shard that failed may be back before its last result
        self._unsettled = 0  # requests whose result has not been worked on
        self._failures: deque[ShardFailure] = deque()  # of shards that could not be opened
        self._closed = False
        self._changed = threading.Condition()

    def events(self, shards: Iterable[Shard]) -> Iterator[Progress | ShardStats | ShardFailure]:
        """Work until the shards are used up."""
        try:
            waiting_since = time.perf_counter()
            for result in self._fetcher.fetch(self._requests(shards)):
                shard, rows = self._claim(result)
                shard.seconds["waiting"] += time.perf_counter() - waiting_since
                if rows:
                    yield from self._settle(shard, rows, result)
                self._settled(shard)
                yield from self._unopened()
                waiting_since = time.perf_counter()
            yield from self._unopened()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify()
            for shard in list(self._open):
                shard.abort()

    def _requests(self, shards: Iterable[Shard]) -> Iterator[FetchRequest]:
        for shard in shards:
            try:
                opened = _OpenShard(shard, self._plan)
                groups = opened.groups()
            except (ShardError, OSError) as error:
                self._failures.append(ShardFailure(shard.id, str(error)))
                continue
            except Exception as error:  # whatever it is, it fails this shard, is reported, and fails no other
                logger.warning("shard %s cannot be opened", shard.id, exc_info=True)
                self._failures.append(ShardFailure(shard.id, f"{type(error).__name__}: {error}"))
                continue
            with self._changed:
                self._open.add(opened)
                self._unsettled += len(groups)
            for place, rows in enumerate(groups):
                if opened.failed:
                    self._settled(opened, len(groups) - place)
                    break
                yield FetchRequest((opened, rows), opened.rows.urls[rows[0]] or "")
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._may_open_another())
                if self._closed:
                    return

    def _unopened(self) -> Iterator[ShardFailure]:
        while self._failures:
            yield self._failures.popleft()

    def _may_open_another(self) -> bool:
        """Another shard is opened as soon as threads would be idle without it."""
        return len(self._open) < MAX_OPEN_SHARDS and self._unsettled < self._plan.fetch.thread_count

    def _claim(self, result: FetchResult) -> tuple[_OpenShard, list[int]]:
        shard, rows = cast("tuple[_OpenShard, list[int]]", result.id)  # as _requests put it there
        return shard, [] if shard.failed else rows

    def _settle(
        self, shard: _OpenShard, rows: list[int], result: FetchResult
    ) -> Iterator[Progress | ShardStats | ShardFailure]:
        """Work on the rows of one URL; complete the shard when they are its last."""
        try:
            shard.stats.attempts += result.attempts
            shard.stats.bytes_downloaded += len(result.body or b"")
            yield shard.progress(rows[0])
            samples = list(self._work.samples(shard, rows, result))
            yield shard.progress(None)  # what happens from here on is not the row's fault
            for sample in samples:
                shard.keep(sample)
            if shard.is_complete:
                yield shard.commit()
        except Exception as error:  # whatever it is, it fails this shard, is reported, and fails no other
            logger.warning("shard %s failed", shard.shard.id, exc_info=True)
            shard.abort()
            yield ShardFailure(shard.shard.id, f"{type(error).__name__}: {error}")

    def _settled(self, shard: _OpenShard, requests: int = 1) -> None:
        with self._changed:
            self._unsettled -= requests
            shard.outstanding -= requests
            if not shard.outstanding:
                self._open.remove(shard)
            self._changed.notify()


class _OpenShard:
    """A shard under way: its rows, its writer and its counts."""

    def __init__(self, shard: Shard, plan: Downloader) -> None:
        self.shard = shard
        self.rows = Rows.of(shard, plan.read)
        self.stats = ShardStats(shard_id=shard.id, start_time=time.time(), origin=_origin(shard, self.rows, plan))
        self.seconds = dict.fromkeys(("waiting", "resizing", "writing"), 0.0)
        self.failed = False
        self.outstanding = 0
        self._plan = plan
        self._folder = open_folder(plan.write.output_folder)
        self._poisoned = PoisonedRows(
            self._folder, shard_name(shard.id, plan.write.oom_shard_count), self.stats.origin.url_digest or ""
        )
        self.poisoned = self._poisoned.together_with(shard.poisoned)
        self._carried = Carried(shard, self._folder, plan.read, plan.write) if shard.retry else None
        self._writer: SampleWriter | None = None

    def groups(self) -> list[list[int]]:
        """The rows that want the same bytes: a URL that stands more than once is fetched once."""
        by_url: dict[str | None, list[int]] = {}
        for row, url in enumerate(self.rows.urls):
            if self._carried is None or row in self._carried.to_retry:
                by_url.setdefault(url, []).append(row)
        if not by_url:
            raise ShardError("its stats promise rows to retry and its metadata has none; verify --repair removes it")
        self.outstanding = len(by_url)
        return list(by_url.values())

    def progress(self, row: int | None) -> Progress:
        """What is announced before `row` is decoded and, None, after."""
        return Progress(self.shard.id, row, self.stats.count, self.stats.successes)

    def keep(self, sample: Sample) -> None:
        """Write a sample and count it."""
        started = time.perf_counter()
        if self._writer is None:
            options = self._plan.write
            self._writer = load_writer(options.output_format)(self.shard, self.rows, self._folder, options)
            for carried in self._carried.samples() if self._carried else ():
                self._write(self._writer, carried)
        self._write(self._writer, sample)
        self.seconds["writing"] += time.perf_counter() - started

    def _write(self, writer: SampleWriter, sample: Sample) -> None:
        writer.write(sample)
        self.stats.record(sample.status, sample.error_message)

    @property
    def is_complete(self) -> bool:
        """Whether every row has been counted."""
        return self.stats.count == self.shard.count

    def commit(self) -> ShardStats:
        """Make the shard visible."""
        if self._writer is None:
            raise ShardError("nothing was written")
        self.stats.end_time = time.time()
        self.stats.seconds = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        if self.poisoned:
            self._poisoned.forget()
        with self._writer:
            self._writer.commit(self.stats)
        self._writer = None
        return self.stats

    def abort(self) -> None:
        """Leave nothing of the shard behind."""
        self.failed = True
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._writer = None


class _RowWork:
    """Fetched bytes → samples."""

    def __init__(self, plan: Downloader, sandbox: Sandbox) -> None:
        self._plan = plan
        self._resizer = Resizer(plan.resize, sandbox)

    def samples(self, shard: _OpenShard, rows: list[int], result: FetchResult) -> Iterator[Sample]:
        """A sample for each of the rows that asked for these bytes; the picture is made once where it is the same."""
        made: dict[Any, Sample] = {}
        poisoned = shard.poisoned.get(rows[0])  # the row that stands for them all when it is announced
        for row in rows:
            ask = repr((_at(shard.rows.boxes, row), _at(shard.rows.expected_digests, row)))
            if ask not in made:
                made[ask] = self._sample(shard, row, result, poisoned)
            yield replace(made[ask], **self._identity(shard, row))

    def _identity(self, shard: _OpenShard, row: int) -> dict[str, Any]:
        read, write = self._plan.read, self._plan.write
        return {
            "index": row,
            "key": sample_key(shard.shard.id, row, read.number_sample_per_shard, write.oom_shard_count),
            "url": shard.rows.urls[row],
            "caption": _at(shard.rows.captions, row),
        }

    def _sample(self, shard: _OpenShard, row: int, result: FetchResult, poisoned: str | None) -> Sample:
        """The one place where a failed row is recorded."""
        sample = Sample(
            **self._identity(shard, row),
            status=SUCCESS,
            http_status=result.http_status,
            final_url=result.final_url,
            attempts=result.attempts,
        )
        started = time.perf_counter()
        try:
            self._fill(sample, shard, result, poisoned)
        except DownloadError as error:
            sample.status, sample.error_message = FAILED_TO_DOWNLOAD, str(error)
        except SampleError as error:
            sample.status, sample.error_message = FAILED_TO_RESIZE, str(error)
        except MemoryError:
            sample.status, sample.error_message = FAILED_TO_RESIZE, Reason.IMAGE_MEMORY
        except ShardError:
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of ours that a file has found costs the file's row
            sample.status, sample.error_message = FAILED_TO_RESIZE, Reason.INTERNAL_ERROR
            defects.tell(error, sample.url or "")
        shard.seconds["resizing"] += time.perf_counter() - started
        return sample

    def _fill(self, sample: Sample, shard: _OpenShard, result: FetchResult, poisoned: str | None) -> None:
        if result.body is None:
            raise DownloadError(result.error)
        self._check_digest(result.body, _at(shard.rows.expected_digests, sample.index))
        if self._plan.write.compute_hash:
            sample.digest = digest(result.body, self._plan.write.compute_hash)
        if poisoned:
            raise ResizeError(poisoned)
        image = self._resizer(result.body, _at(shard.rows.boxes, sample.index))
        _take(sample, image)
        if self._plan.write.extract_exif:
            sample.exif = read_exif(result.body)

    def _check_digest(self, body: bytes, expected: str | None) -> None:
        if self._plan.read.verify_hash is None:
            return
        if expected is None or digest(body, self._plan.read.verify_hash[1]) != expected.lower():
            raise DownloadError(Reason.HASH_MISMATCH)


def _take(sample: Sample, image: ResizedImage) -> None:
    sample.image, sample.extension = image.data, image.extension
    sample.width, sample.height = image.width, image.height
    sample.original_width, sample.original_height = image.original_width, image.original_height


def _at(values: list[Any] | None, row: int) -> Any:
    return None if values is None else values[row]


def _origin(shard: Shard, rows: Rows, plan: Downloader) -> Origin:
    """What makes a stats file tell its own story: resume needs nothing else."""
    return Origin(
        list_index=shard.index,
        list_identity=shard.identity,
        input_file=shard.source,
        first_row=shard.first_row,
        url_digest=urls_digest(rows.urls),
        options=plan.output_options,
    )
