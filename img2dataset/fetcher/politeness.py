"""How hard a host may be asked."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from img2dataset.fetcher.job import Job

# So many failures to resolve or connect in a row, and a host is left alone for so long.
_FAILURES_IN_A_ROW = 5
_SKIP_SECONDS = 60.0
# The first pause after a 429 or 503 that names none; each further one in a row doubles it.
_FIRST_PAUSE = 0.5
# So many pauses, and the host is left alone as if it were down: a host that answers every other request would otherwise
# hold up its shard for hours. Ten good answers make up for a pause.
_MOST_PAUSES = 8
_PAUSE_FORGOTTEN = 0.1
# A host that was slowed down and takes this many connections again is slow no more.
_FULL_SPEED = 256


class Host:
    """What a process knows of a host name, and the jobs that wait for it. Guarded by the lock of the schedule.

    `most_connections` is the user's limit. Times are in seconds of `time.monotonic`.
    """

    __slots__ = (
        "_ceiling",
        "_failures",
        "_last_lookup",
        "_most_connections",
        "_paused_until",
        "_pauses",
        "_skipped_until",
        "parked",
        "running",
        "waiting",
    )

    def __init__(self, most_connections: float) -> None:
        self.waiting: deque[Job] = deque()
        self.parked = 0
        self.running = 0
        self._most_connections = most_connections
        self._ceiling = math.inf
        self._paused_until = 0.0
        self._pauses = 0.0
        self._failures = 0
        self._last_lookup: object = None
        self._skipped_until = 0.0

    def free_turns(self, now: float) -> float:
        """How many more jobs may be taken; all those of a skipped host, for they end at once."""
        if now < self._skipped_until:
            return math.inf
        if now < self._paused_until:
            return 0
        return min(self._ceiling, self._most_connections) - self.running

    def is_skipped(self, now: float) -> bool:
        """Whether the host failed so often that its URLs fail without being asked for."""
        return now < self._skipped_until

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost by forgetting this host."""
        return not (self.waiting or self.running or self.is_skipped(now) or now < self._paused_until)

    def reached(self) -> None:
        """It answered, and not that it is asked too much."""
        self._failures = 0
        self._pauses = max(0.0, self._pauses - _PAUSE_FORGOTTEN)
        if self._ceiling < math.inf:
            self._ceiling = self._ceiling + 1 / self._ceiling if self._ceiling < _FULL_SPEED else math.inf

    def unreachable(self, now: float, lookup: object = None) -> None:
        """It could not be resolved (by `lookup`, which many jobs may have shared) or connected to."""
        if lookup is not None and lookup is self._last_lookup:
            return
        self._last_lookup = lookup
        self._failures += 1
        if self._failures >= _FAILURES_IN_A_ROW:
            self._skip(now)

    def throttled(self, now: float, retry_after: float | None, longest: float) -> float:
        """It answered 429 or 503: pause, then go on with half of the connections. Returns the seconds of the pause.

        Answers to requests that were under way when the pause began say nothing new. `retry_after` is the pause that
        the host asks for, `longest` the longest that it gets.
        """
        if now < self._paused_until:
            return self._paused_until - now
        self._pauses += 1
        if self._pauses > _MOST_PAUSES:
            self._skip(now)
            return 0.0
        pause = min(retry_after or _FIRST_PAUSE * 2.0 ** (self._pauses - 1), longest)
        self._ceiling = max(1.0, min(self._ceiling, self.running) / 2)
        self._paused_until = now + pause
        return pause

    def _skip(self, now: float) -> None:
        self._skipped_until = now + _SKIP_SECONDS
        # One more failure after that is enough to skip it again.
        self._failures = _FAILURES_IN_A_ROW - 1
        self._pauses = _MOST_PAUSES - 1
