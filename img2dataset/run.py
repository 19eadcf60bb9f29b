"""One run: lock the folder, plan what is missing, have it done, add up what comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from img2dataset.dataset_card import write_card
from img2dataset.distributor import distribute
from img2dataset.distributor.base import Event
from img2dataset.downloader import Downloader
from img2dataset.errors import OptionsError, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.filesystem import Folder, open_folder
from img2dataset.filesystem.lock import Lock, locked
from img2dataset.formats import load_format
from img2dataset.loggers import Beginning, Counts, Observer, Observers
from img2dataset.options import ResumeOptions, RunOptions
from img2dataset.reader import Given, Reader
from img2dataset.resume.plan import ResumePlan, make_plan, overwrite
from img2dataset.shards import Shard, shard_count, shard_name
from img2dataset.stats import RunStats, ShardStats

FAILURES_NAMED = 20  # in the error that ends a run

logger = logging.getLogger(__name__)


def run(
    downloader: Downloader,
    resume: ResumeOptions,
    options: RunOptions,
    observers: Iterable[Observer] = (),
    given: Given | None = None,
) -> RunStats:
    """Do what is missing of a dataset, and return what has been done.

    `given` is the url list, where it is more than the path that the options name.

    Raises `OptionsError` when the list cannot be read or the folder cannot be written, with nothing done, and
    `ShardError` when shards could not be finished.
    """
    reader = Reader(downloader.read, given)
    reader.check()
    folder = open_folder(downloader.write.output_folder)
    _make(folder)
    downloader = dataclasses.replace(downloader, output_options=_output_options(downloader))
    with locked(folder) as lock:
        _recover(folder)
        plan = _plan(folder, reader, resume, downloader)
        try:
            return _LockedRun(downloader, options, reader, lock).follow(plan, Observers(observers))
        finally:
            if lock.is_held:
                _sweep(folder)
                if load_format(downloader.write.output_format).has_card(downloader.write):
                    _describe(folder)


class _LockedRun:
    """What is done and counted while the folder is locked."""

    def __init__(self, downloader: Downloader, options: RunOptions, reader: Reader, lock: Lock) -> None:
        self._downloader = downloader
        self._options = options
        self._reader = reader
        self._lock = lock
        self._stats = RunStats(output_folder=downloader.write.output_folder, processes_count=options.processes_count)
        self._open: dict[int, Progress] = {}

    def follow(self, plan: ResumePlan, observer: Observer) -> RunStats:
        """Do what the plan says. Raises `ShardError` when a shard failed."""
        with self._observed(observer, plan.line):
            for shards in plan.stages(self._reader):
                if not plan.done:
                    shards = _counted(shards, lambda count: observer.list_ended(count, self._reader.rows_read))
                self._do(shards, observer)
                self._raise_failures()
        return self._stats

    def _do(self, shards: Iterator[Shard], observer: Observer) -> None:
        with contextlib.closing(distribute(shards, self._downloader, self._options)) as events:
            for event in events:
                self._lock.check()
                self._add(event)
                observer.happened(event, self._counts())

    def _add(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._open[event.shard_id] = event
            return
        self._open.pop(event.shard_id, None)
        if isinstance(event, ShardStats):
            self._stats.add(event)
        else:
            self._stats.failed_shards.append(event)

    def _counts(self) -> Counts:
        return Counts(
            rows_read=self._reader.rows_read,
            count=self._stats.count + sum(progress.count for progress in self._open.values()),
            successes=self._stats.successes + sum(progress.successes for progress in self._open.values()),
        )

    @contextlib.contextmanager
    def _observed(self, observer: Observer, plan: str) -> Iterator[None]:
        """Tell of the beginning and, whatever ends the run, of its end."""
        began = time.monotonic()
        observer.begun(
            Beginning(
                output_folder=self._stats.output_folder,
                processes_count=self._options.processes_count,
                oom_shard_count=self._options.oom_shard_count,
                plan=plan,
            )
        )
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._stats.duration = time.monotonic() - began
            observer.ended(self._stats, error)

    def _raise_failures(self) -> None:
        failed = self._stats.failed_shards
        if failed:
            names = ", ".join(self._name(failure) for failure in failed[:FAILURES_NAMED])
            raise ShardError(
                f"{shard_count(len(failed))} failed ({names}); run the same command again to do what is missing"
            )

    def _name(self, failure: ShardFailure) -> str:
        return shard_name(failure.shard_id, self._options.oom_shard_count)


def _counted(shards: Iterator[Shard], at_the_end: Callable[[int], None]) -> Iterator[Shard]:
    """The same shards; when they are used up, tell how many there were."""
    count = 0
    for shard in shards:
        count += 1
        yield shard
    at_the_end(count)


def _make(folder: Folder) -> None:
    try:
        folder.make()
    except OSError as error:
        raise OptionsError(
            f"output_folder is {str(folder)!r}, which cannot be written: {error.strerror or error}"
        ) from error


def _recover(folder: Folder) -> None:
    """Finish and remove what a run left that was killed."""
    try:
        folder.recover()
    except OSError as error:
        raise OptionsError(f"what a killed run left in {folder} cannot be finished or removed: {error}") from error


def _sweep(folder: Folder) -> None:
    """Finish and remove what workers left that were killed."""
    try:
        folder.recover()
    except (OSError, OptionsError) as error:
        logger.warning("temporary files stay in %s until the next run: %s", folder, error)


def _describe(folder: Folder) -> None:
    """Write the dataset's card, without which the dataset is as whole as with it."""
    try:
        write_card(folder)
    except OSError as error:
        logger.warning("the dataset card of %s could not be written: %s", folder, error)


def _plan(folder: Folder, reader: Reader, resume: ResumeOptions, downloader: Downloader) -> ResumePlan:
    if resume.incremental_mode == "overwrite":
        overwrite(folder)
    try:
        digits = downloader.write.oom_shard_count
        return make_plan(folder, reader, resume.incremental_mode, downloader.output_options, digits)
    except OSError as error:
        raise OptionsError(f"{folder} cannot be read: {error}") from error


def _output_options(downloader: Downloader) -> dict[str, Any]:
    """The options that change what is on disk, as JSON knows them: compared when a run comes back to the folder."""
    read, write = dataclasses.asdict(downloader.read), dataclasses.asdict(downloader.write)
    names = ("number_sample_per_shard", "caption_col", "bbox_col", "save_additional_columns")
    options = {name: read[name] for name in names} | write | dataclasses.asdict(downloader.resize)
    options["column_types"] = [f"{column}: {kind}" for column, kind in sorted(read["column_types"].items())]
    del options["output_folder"], options["max_image_memory"]  # which changes what is left out, as `timeout` does
    if downloader.write.output_format == "files":
        options["dataset_card"] = bool(downloader.write.dataset_card)  # a shard has a file for it
    else:
        del options["dataset_card"]
    plain = {name: None if value == math.inf else value for name, value in options.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
