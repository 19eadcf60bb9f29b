"""Failed shards are handed out again: after the others, so often, and not when all fail."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator

from img2dataset.distributor.base import Event
from img2dataset.errors import Img2datasetError, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard, shard_name
from img2dataset.stats import ShardStats

MAX_WAITING = 20  # failed shards, with their rows, that wait for another try
HOPELESS = 20  # shards in a row that fail at their first try: the cause is no shard

logger = logging.getLogger(__name__)


class Retries:
    """Hands out the shards of a list, and again those that failed, in constant memory."""

    def __init__(self, shards: Iterable[Shard], options: RunOptions) -> None:
        self._list = iter(shards)
        self._list_ended = False
        self._options = options
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
        if failures == self._options.max_shard_retry:
            return False
        self._failures[shard.id] = failures + 1
        self._waiting.append((shard.without(event.poisoned), event))
        name = shard_name(shard.id, self._options.oom_shard_count)
        logger.warning("shard %s failed and is tried again later: %s", name, event.message)
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
