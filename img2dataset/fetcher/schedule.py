"""Which job may run next."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from img2dataset.fetcher.budget import ByteBudget
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.job import Job
from img2dataset.fetcher.politeness import Host

_HOSTS_REMEMBERED = 10_000  # of a kilobyte each


class Schedule:
    """A queue that knows hosts, pauses and memory. Thread-safe.

    Jobs come out in their order, but for two things: a job whose host may not be asked now lets the others pass, and a
    thread is given another job of the host that it has a connection to, if that one is not far ahead (`lookahead` jobs)
    of its turn. A job that comes out holds a connection of its host and memory until it is released.
    """

    def __init__(
        self,
        budget: ByteBudget,
        clock: Clock,
        *,
        max_connections_per_host: int | None,
        lookahead: int,
        need_thread: Callable[[], None],
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._most_connections = max_connections_per_host or math.inf
        self._lookahead = lookahead
        self._need_thread = need_thread
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._hosts: dict[str, Host] = {}
        self._waiting = 0  # jobs of all hosts, the large ones too
        self._waited_for: set[Host] = set()  # which may never have answered: while no job of another waits
        self._forget_at = _HOSTS_REMEMBERED
        # A host stands here once for each of its waiting jobs, or more often; those that must pause are taken out, and
        # counted in `Host.parked` to be put back.
        self._turns: deque[Host] = deque()
        # Jobs whose size is known to be above the usual: each waits until all of its size is free, and all others wait
        # for it.
        self._large: deque[Job] = deque()
        self._starved = False
        self._added = 0
        self._taken = 0
        self._closed = False

    def add(self, job: Job) -> None:
        """Queue a new job at the end."""
        with self._lock:
            self._added += 1
            job.number = self._added
            host = self._host(job)
            self._there_is_work_of(host)
            host.waiting.append(job)
            self._waiting += 1
            self._turns.append(host)
            self._work_has_come()

    def resume(self, job: Job) -> None:
        """Queue a job that has been under way before all others."""
        with self._lock:
            self._waiting += 1
            if job.room is not None:
                self._large.append(job)
            else:
                host = self._host(job)
                if job.is_probe:
                    host.resume_probe()
                    host.waiting.append(job)
                else:
                    host.waiting.appendleft(job)
                self._turns.appendleft(host)
            self._work_has_come()

    def resume_later(self, job: Job, seconds: float) -> None:
        """As `resume`, in `seconds`."""
        self._clock.call_later(seconds, functools.partial(self.resume, job))

    def take(self, last: str | None) -> Job | None:
        """Wait for the next job, preferably on the host `last`; None once the schedule is closed."""
        with self._lock:
            while not self._closed:
                job = self._next(last, time.monotonic())
                if job is not None:
                    if self._turns or self._large:
                        self._work_has_come()  # what woke this thread may be work for another one, too
                    return job
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        return None

    def release(self, job: Job, *, reached: bool = False) -> None:
        """The job uses its host no more, which has answered if `reached`; memory that it still holds is free.

        Only the thread that has taken the job can release it, and only once.
        """
        with self._lock:
            if job.holder != threading.get_ident():
                return
            job.holder = None
            host = self._host(job)
            host.running -= 1
            self._budget.release(job.reserved)
            job.reserved = 0
            was_down = host.is_down(time.monotonic())
            if reached:
                host.reached(by_probe=job.is_probe)
            self._unpark(host, most=math.inf if was_down else 1)

    def unreachable(self, job: Job, longest: float, lookup: object = None) -> None:
        """The job's host could not be resolved, by `lookup`, or connected to.

        While no job of another host waits there is no hurry: one that never answered is waited for, too, for `longest`
        seconds.
        """
        with self._lock:
            host = self._host(job)
            others_wait = self._waiting > len(host.waiting)
            if host.unreachable(time.monotonic(), lookup, patience=0.0 if others_wait else longest):
                self._waited_for.add(host)
                self._wait_for_probe(host)
            self._unpark(host)

    def throttled(self, job: Job, retry_after: float | None, longest: float) -> None:
        """The job's host has answered that it is asked too much; all threads leave it alone for a while."""
        with self._lock:
            host = self._host(job)
            pause = host.throttled(time.monotonic(), retry_after, longest)
        self._clock.call_later(pause, functools.partial(self._pause_is_over, host))

    def memory_is_free(self) -> None:
        """Some memory has become free. Cheap while there is enough of it."""
        if self._starved:
            with self._lock:
                self._work_has_come()

    @property
    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def close(self) -> None:
        """Hand out nothing any more."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def _next(self, last: str | None, now: float) -> Job | None:
        large = self._large[0] if self._large else None
        if large and self._host(large).free_turns(now) >= 1:
            reserved = self._admit(large.room)
            return None if reserved is None else self._start_large(reserved, now)
        reserved = self._admit(None)
        if reserved is None:
            return None
        host = self._host_with_turn(last, now)
        if host is None:
            self._budget.release(reserved)
            return None
        return self._started(host, host.next_job(now), reserved)

    def _admit(self, room: int | None) -> int | None:
        self._starved = True  # before the question: whoever gives memory back after a refusal sees it
        reserved = self._budget.admit(room)
        self._starved = reserved is None
        return reserved

    def _start_large(self, reserved: int, now: float) -> Job:
        job = self._large.popleft()
        host = self._host(job)
        host.start(job, now)
        return self._started(host, job, reserved)

    def _started(self, host: Host, job: Job, reserved: int) -> Job:
        self._waiting -= 1
        job.holder = threading.get_ident()
        job.reserved = reserved
        self._taken += 1
        if job.is_probe:
            self._wait_for_probe(host)
        return job

    def _there_is_work_of(self, busy: Host) -> None:
        if self._waited_for:
            for host in self._waited_for - {busy}:
                host.others_have_come(time.monotonic())
                self._unpark(host)
            self._waited_for &= {busy}

    def _wait_for_probe(self, host: Host) -> None:
        self._clock.call_later(host.until_probe(time.monotonic()), functools.partial(self._pause_is_over, host))

    def _host_with_turn(self, last: str | None, now: float) -> Host | None:
        known = self._hosts.get(last) if last is not None else None
        if known and known.waiting and self._is_near(known.waiting[0]) and known.free_turns(now) >= 1:
            return known
        while self._turns:
            host = self._turns.popleft()
            if not host.waiting:
                continue
            if host.free_turns(now) >= 1:
                return host
            host.parked += 1
        return None

    def _is_near(self, job: Job) -> bool:
        return job.number - self._taken < self._lookahead

    def _pause_is_over(self, host: Host) -> None:
        with self._lock:
            self._unpark(host)

    def _unpark(self, host: Host, most: float = math.inf) -> None:
        """Give a host turns back, as many as may be used now."""
        turns = min(host.parked, most, host.free_turns(time.monotonic())) if host.parked else 0
        while turns >= 1:
            turns -= 1
            host.parked -= 1
            self._turns.appendleft(host)
        self._work_has_come()

    def _work_has_come(self) -> None:
        if self._idle:
            self._changed.notify()
        else:
            self._need_thread()

    def _host(self, job: Job) -> Host:
        host = self._hosts.get(job.target.host)
        if host is None:
            if len(self._hosts) >= self._forget_at:
                self._forget_idle_hosts()
            host = self._hosts[job.target.host] = Host(self._most_connections)
        return host

    def _forget_idle_hosts(self) -> None:
        now = time.monotonic()
        self._hosts = {name: host for name, host in self._hosts.items() if not host.is_idle(now)}
        self._forget_at = max(_HOSTS_REMEMBERED, 2 * len(self._hosts))
