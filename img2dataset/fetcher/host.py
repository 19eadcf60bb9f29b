"""How hard a host may be asked."""

from __future__ import annotations

import math
from collections import deque

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.job import Job

# So many failures to resolve or connect in a row, and a host is down: its jobs wait for it to come back, so long at
# most, then fail for so long without being asked for.
_FAILURES_IN_A_ROW = 5
_WAIT_SECONDS = 60.0
_SKIP_SECONDS = 60.0
# When one job may try a host that is down: after the first pause, then each pause is twice as long.
_FIRST_PROBE, _LONGEST_PROBE_PAUSE = 0.5, 8.0
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

        UP ── 5 failures in a row ──► DOWN ── the wait ──► SKIPPED ── 60 s ──► UP, one failure away from SKIPPED
        ▲                             jobs are away,       jobs fail at once,
        └─ a probe is answered ◄───── one probes           now and then one probes

    The wait is of 60 s in all until the next answer for a host that has answered before. One that never has is waited
    for until jobs of other hosts wait, and for the `patience` that is given to `unreachable` at most; where others wait
    it is skipped at once, and not probed. Skipped at once is also one that is asked too much for too long.

    `waiting` are jobs that are ready to be taken: of a host that is down only probes. `away` are those that wait for it
    to come back, to be prepared then. `parked` counts turns that were taken out of the queue, `spare` those in it that
    are not needed. `most_connections` is the user's limit. Times are in seconds of `time.monotonic`.
    """

    def __init__(self, most_connections: float) -> None:
        self.waiting: deque[Job] = deque()
        self.away: deque[Job] = deque()
        self.parked = 0
        self.spare = 0
        self.running = 0
        self.is_sound = True  # it has not been down since its last probe
        self._most_connections = most_connections
        self._ceiling = math.inf
        self._paused_until = 0.0
        self._pauses = 0.0
        self._failures = 0
        self._last_lookup: object = None
        self._has_answered = False
        self._down_since: float | None = None
        self._skipped_from = self._skipped_until = 0.0
        self._probe_at = self._probe_pause = 0.0

    def free_turns(self, now: float) -> float:
        """How many more jobs may be taken."""
        return 0 if now < self._paused_until else min(self._ceiling, self._most_connections) - self.running

    def is_down(self, now: float) -> bool:
        """Whether jobs try it only now and then, one at a time."""
        return now < self._skipped_until

    def is_skipped(self, now: float) -> bool:
        """Whether the host failed so often that its URLs fail without being asked for."""
        return self._skipped_from <= now < self._skipped_until

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost by forgetting this host."""
        return not (self.waiting or self.away or self.running or self.is_down(now) or now < self._paused_until)

    def admit(self, job: Job, now: float) -> bool:
        """Whether the job may go on: the host is up, or the job is its probe. If not, it is `away` from now on.

        Raises `DownloadError` (host failing) when the host is skipped.
        """
        if job.is_probe or not self.is_down(now):
            return True
        if now >= self._probe_at:
            job.is_probe = True
            self._probe_pause = min(2 * self._probe_pause, _LONGEST_PROBE_PAUSE)
            self._probe_at = now + self._probe_pause
            return True
        if self.is_skipped(now):
            raise DownloadError(Reason.HOST_FAILING)
        if job.retries:
            self.away.appendleft(job)
        else:
            self.away.append(job)  # the next to probe: it has a retry left
        return False

    def send_away(self) -> int:
        """It is down: its jobs, but for probes, are away from now on. Returns how many turns they had."""
        leaving = [job for job in self.waiting if not job.is_probe]
        turns = len(leaving) - min(self.parked, len(leaving))
        self.parked -= len(leaving) - turns
        self.away.extend(leaving)
        self.waiting = deque(job for job in self.waiting if job.is_probe)
        return turns

    def returning(self, now: float) -> list[Job]:
        """The jobs that are away no more: all of a host that is up or skipped, or the one that may probe."""
        if self.is_down(now) and not self.is_skipped(now):
            return [self.away.pop()] if self.away and now >= self._probe_at else []
        jobs = list(self.away)
        self.away.clear()
        return jobs

    def until_probe(self, now: float) -> float:
        """The seconds until jobs of a host that is down return: one to probe it, or all of them to fail."""
        wait_ends = self._skipped_from if now < self._skipped_from else math.inf
        return max(0.0, min(self._probe_at, wait_ends) - now)

    def reached(self, *, by_probe: bool = False) -> None:
        """It answered, and not that it is asked too much; to a question from before it was down, if not `by_probe`."""
        self._failures = 0
        self._has_answered = True
        self._down_since = None
        if by_probe:
            self._skipped_until = 0.0
            self.is_sound = True
        self._pauses = max(0.0, self._pauses - _PAUSE_FORGOTTEN)
        if self._ceiling < math.inf:
            self._ceiling = self._ceiling + 1 / self._ceiling if self._ceiling < _FULL_SPEED else math.inf

    def unreachable(self, now: float, lookup: object = None, *, patience: float = 0.0) -> bool:
        """It could not be resolved (by `lookup`, which many jobs may have shared) or connected to.

        `patience` is how long to wait for a host that never answered. Returns whether its jobs wait from now on.
        """
        is_worth_waiting = self._has_answered or patience > 0
        if lookup is not None and lookup is self._last_lookup and not is_worth_waiting:
            return False  # one failure is not enough to skip all of its jobs
        self._last_lookup = lookup
        self._failures += 1
        if self._failures < _FAILURES_IN_A_ROW or (self.is_down(now) and is_worth_waiting):
            return False
        if self._down_since is None:
            self._down_since = now
            # Counted as a pause: a host that answers now and then is not waited for for ever.
            self._pauses = min(self._pauses, _MOST_PAUSES) + 1
        if is_worth_waiting and self._pauses <= _MOST_PAUSES:
            wait = _WAIT_SECONDS if self._has_answered else min(patience, _WAIT_SECONDS)
            self._is_down_from(now, max(now, self._down_since + wait))
            return True
        self._skip(now)
        return False

    def others_have_come(self, now: float) -> None:
        """Jobs of other hosts wait from now on: a host that never answered is waited for no more."""
        if not self._has_answered and now < self._skipped_from:
            self._skip(now)

    def throttled(self, now: float, retry_after: float | None, longest: float) -> float:
        """It answered 429 or 503: pause, then go on with half of the connections. Returns the seconds of the pause.

        Answers to requests that were under way when the pause began say nothing new. `retry_after` is the pause that
        the host asks for, `longest` the longest that it gets.
        """
        if now < self._paused_until or self.is_down(now):
            return max(0.0, self._paused_until - now)
        self._pauses += 1
        if self._pauses > _MOST_PAUSES:
            self._is_down_from(now, skipped_from=now)
            # One more after that is enough to skip it again.
            self._pauses = _MOST_PAUSES - 1
            return 0.0
        pause = min(retry_after or _FIRST_PAUSE * 2.0 ** (self._pauses - 1), longest)
        self._ceiling = max(1.0, min(self._ceiling, self.running) / 2)
        self._paused_until = now + pause
        return pause

    def _skip(self, now: float) -> None:
        self._is_down_from(now, skipped_from=now)
        self._probe_at = math.inf  # of many dead hosts each probe may cost a thread its `timeout`

    def _is_down_from(self, now: float, skipped_from: float) -> None:
        self.is_sound = False
        self._skipped_from = skipped_from
        self._skipped_until = skipped_from + _SKIP_SECONDS
        self._probe_pause = _FIRST_PROBE if skipped_from > now else _LONGEST_PROBE_PAUSE
        self._probe_at = now + self._probe_pause
