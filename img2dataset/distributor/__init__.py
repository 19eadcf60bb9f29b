"""Shards → events, on the engine the user chose: a failed shard is tried again here, once for all engines."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from importlib import import_module
from typing import TypeAlias

from img2dataset.errors import Img2datasetError, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard, shard_name
from img2dataset.stats import ShardStats

MAX_WAITING = 20  # failed shards, with their rows, that wait for another try
HOPELESS = 20  # shards in a row that fail at their first try: the cause is no shard

Event: TypeAlias = Progress | ShardStats | ShardFailure
Downloader: TypeAlias = Callable[[Iterable[Shard]], Iterator[Event]]  # it is pickled: made from frozen option groups
Engine: TypeAlias = Callable[[Iterable[Shard], Downloader, RunOptions], Generator[Event, None, None]]

logger = logging.getLogger(__name__)


def _run_of(module: str) -> Engine:
    engine: Engine = import_module(f"{__name__}.{module}").run
    return engine


# What loads the engine. It settles every shard once, by its ShardStats or a ShardFailure, and tries none again.
DISTRIBUTORS: dict[str, Callable[[], Engine]] = {
    "multiprocessing": partial(_run_of, "process_pool.pool"),
}


def distribute(shards: Iterable[Shard], downloader: Downloader, options: RunOptions) -> Generator[Event, None, None]:
    """Run the downloader on every shard, on ``options.distributor``.

    Shards are pulled when a worker has room for one. A `ShardFailure` comes out only when the tries of its shard
    (1 + ``max_shard_retry``) are used up. A `Progress` comes out now and then, not for every row; that of a shard which
    is done again starts from 0. Closing the generator, or an exception in it, ends all workers: hold it with
    ``contextlib.closing``.

    Raises `ShardError` when so many shards fail in a row that their cause must be elsewhere. An error of the list of
    shards (`Img2datasetError` or `OSError`) is raised when the shards that came before it are settled.
    """
    engine = DISTRIBUTORS[options.distributor]()
    retries = _Retries(shards, options.max_shard_retry)
    while retries.remain:
        with closing(engine(retries.shards(), downloader, options)) as events:
            for event in events:
                if not retries.postpone(event):
                    yield event
    yield from retries.abandoned()
    retries.raise_error()


class _Retries:
    """Hands out the shards of a list, and again those that failed, in constant memory."""

    def __init__(self, shards: Iterable[Shard], max_shard_retry: int) -> None:
        self._list = iter(shards)
        self._list_ended = False
        self._max_shard_retry = max_shard_retry
        self._open: dict[int, Shard] = {}
        self._failures: dict[int, int] = {}  # of the shards that have failed and are not settled
        self._waiting: deque[tuple[Shard, ShardFailure]] = deque()
        self._failed_in_a_row = 0
        self._last_message = ""
        self._error: Img2datasetError | OSError | None = None

    @property
    def remain(self) -> bool:
        """Whether there may be shards to hand out."""
        return not self._hopeless and (not self._list_ended or bool(self._waiting))

    def shards(self) -> Iterator[Shard]:
        """The shards of the list, then those that failed; these come earlier only when too many of them wait."""
        while not self._hopeless and (shard := self._next()):
            self._open[shard.id] = shard
            yield shard

    def postpone(self, event: Event) -> bool:
        """Whether the event is a failure that is not final; its shard is kept for another try."""
        if isinstance(event, Progress):
            return False
        shard = self._open.pop(event.shard_id)
        failures = self._failures.pop(shard.id, 0)
        if isinstance(event, ShardStats):
            self._failed_in_a_row = 0
            return False
        self._last_message = event.message
        self._failed_in_a_row += not failures
        if failures == self._max_shard_retry:
            return False
        self._failures[shard.id] = failures + 1
        self._waiting.append((shard.without(event.poisoned), event))
        logger.warning("shard %s failed and is tried again later: %s", shard_name(shard.id), event.message)
        return True

    def abandoned(self) -> Iterator[ShardFailure]:
        """The failures of the shards that were to be tried again, and are not, because there is no hope."""
        return (failure for _, failure in self._waiting)

    def raise_error(self) -> None:
        """Raise what stopped the run early, if anything did."""
        if self._error:
            raise self._error
        if self._hopeless and (self._waiting or not self._list_ended):
            raise ShardError(
                f"stopped early: {HOPELESS} shards in a row failed, so the cause is none of them; "
                f"the last reason: {self._last_message}"
            )

    @property
    def _hopeless(self) -> bool:
        return self._failed_in_a_row >= HOPELESS

    def _next(self) -> Shard | None:
        shard = self._read() if len(self._waiting) < MAX_WAITING else None
        if shard is None and self._waiting:
            shard, _ = self._waiting.popleft()
        return shard

    def _read(self) -> Shard | None:
        if self._list_ended:
            return None
        shard = None
        try:
            shard = next(self._list, None)
        except (Img2datasetError, OSError) as error:
            self._error = error
        self._list_ended = shard is None
        return shard
