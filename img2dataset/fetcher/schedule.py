"""Which job may run next."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.host import Host
from img2dataset.fetcher.job import Job
from img2dataset.fetcher.memory import Memory, Room

_HOSTS_REMEMBERED = 10_000  # of a kilobyte each


class Turn(NamedTuple):
    """A job that a thread has taken: it holds a connection of its host until it is released, and room in memory."""

    job: Job
    room: Room


class Schedule:
    """A queue that knows hosts, pauses and memory. Thread-safe.

        admit ─► (preparation) ─► add ─► take ─► release
          └─► away: the host is down ──► `send_back`, when it is worth another try

    Jobs come out in their order, but for two things: a job whose host may not be asked now lets the others pass, and a
    thread is given another job of the host that it has a connection to, if that one is not far ahead (`lookahead` jobs)
    of its turn. `send_back` begins anew with a job whose host was down; `need_thread` is called when there is work that
    no thread waits for.
    """

    def __init__(
        self,
        memory: Memory,
        clock: Clock,
        *,
        max_connections_per_host: int | None,
        lookahead: int,
        send_back: Callable[[Job], None],
        need_thread: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._most_connections = max_connections_per_host or math.inf
        self._lookahead = lookahead
        self._send_back = send_back
        self._need_thread = need_thread
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._hosts: dict[str, Host] = {}
        self._forget_at = _HOSTS_REMEMBERED
        self._waiting = 0  # jobs of all hosts, those that are away and the large ones too
        self._waited_for: set[Host] = set()  # which may never have answered: while no job of another waits
        # A host stands here once for each of its waiting jobs, but for those that must pause, which are `Host.parked`,
        # and once more for each job that was taken out of turn: those turns are `Host.spare`, and passed over.
        self._turns: deque[Host] = deque()
        self._spare = 0
        # Jobs whose size is known to be above the usual: each waits until all of its size is free, and all others wait
        # for it.
        self._large: deque[Job] = deque()
        self._starved = False
        self._added = 0
        self._taken = 0
        self._closed = False

    @property
    def ready(self) -> int:
        """How many jobs could be taken, as far as is known."""
        return len(self._turns) - self._spare

    def admit(self, job: Job) -> bool:
        """Whether the job may be prepared. If not, its host is down, and it is sent back when that is over.

        Raises `DownloadError` (host failing) when the host has been down for too long.
        """
        with self._lock:
            return self._admit(self._host(job), job)

    def add(self, job: Job) -> None:
        """Queue a job that has been prepared: at the end when it is new, before all others if it was under way.

        Raises `DownloadError` as `admit` does, for the host may have gone down meanwhile.
        """
        is_new = not (job.number or job.is_robots_txt)
        with self._lock:
            host = self._host(job)
            if self._admit(host, job):
                self._waiting += 1
                self._queue(job, host, is_new)
                self._work_has_come()
        if is_new:
            self._there_is_work_of(host)

    def take(self, last: str | None) -> Turn | None:
        """Wait for the next job, preferably on the host `last`; None once the schedule is closed."""
        with self._lock:
            while not self._closed:
                turn = self._next(last, time.monotonic())
                if turn is not None:
                    if self._turns or self._large:
                        self._work_has_come()  # what woke this thread may be work for another one, too
                    return turn
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        return None

    def release(self, job: Job, *, reached: bool) -> None:
        """The job uses its host no more, which has answered if `reached`."""
        with self._lock:
            host = self._host(job)
            host.running -= 1
            if reached:
                host.reached(by_probe=job.is_probe)
            returning = self._freed(host)
        self._send_back_all(returning)

    def unreachable(self, job: Job, longest: float, lookup: object = None) -> None:
        """The job's host could not be resolved, by `lookup`, or connected to.

        While no job of another host waits there is no hurry: one that never answered is waited for, too, for `longest`
        seconds.
        """
        with self._lock:
            host = self._host(job)
            others_wait = self._waiting > len(host.waiting) + len(host.away)
            if host.unreachable(time.monotonic(), lookup, patience=0.0 if others_wait else longest):
                self._waited_for.add(host)
                self._wait_for_probe(host)
            returning = self._freed(host)
        self._send_back_all(returning)

    def throttled(self, job: Job, retry_after: float | None, longest: float) -> None:
        """The job's host has answered that it is asked too much; all threads leave it alone for a while."""
        with self._lock:
            host = self._host(job)
            pause = host.throttled(time.monotonic(), retry_after, longest)
        self._clock.call_later(pause, functools.partial(self._time_has_passed, host))

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

    # ------------------------------------------------------------------------------------------- what is next

    def _queue(self, job: Job, host: Host, is_new: bool) -> None:
        if job.needs is not None:
            self._large.append(job)
        elif is_new:
            self._added += 1
            job.number = self._added
            host.waiting.append(job)
            self._turns.append(host)
        else:
            host.waiting.appendleft(job)
            self._turns.appendleft(host)

    def _next(self, last: str | None, now: float) -> Turn | None:
        large = self._large[0] if self._large else None
        if large and self._host(large).free_turns(now) >= 1:
            room = self._room(large.needs)
            return self._start(self._large.popleft(), room) if room else None
        room = self._room(None)
        if room is None:
            return None
        host = self._host_with_turn(last, now)
        if host is None:
            room.free()
            return None
        return self._start(host.waiting.popleft(), room)

    def _room(self, size: int | None) -> Room | None:
        self._starved = True  # before the question: whoever gives memory back after a refusal sees it
        room = self._memory.admit(size)
        self._starved = room is None
        return room

    def _start(self, job: Job, room: Room) -> Turn:
        self._host(job).running += 1
        self._waiting -= 1
        self._taken += 1
        return Turn(job, room)

    def _host_with_turn(self, last: str | None, now: float) -> Host | None:
        known = self._hosts.get(last) if last is not None else None
        if known and known.waiting and self._is_near(known.waiting[0]) and known.free_turns(now) >= 1:
            if known.parked:
                known.parked -= 1
            else:
                self._spare_turns(known, 1)
            return known
        while self._turns:
            host = self._turns.popleft()
            if host.spare:
                self._spare_turns(host, -1)
            elif host.free_turns(now) >= 1:
                return host
            else:
                host.parked += 1
        return None

    def _spare_turns(self, host: Host, count: int) -> None:
        host.spare += count
        self._spare += count

    def _is_near(self, job: Job) -> bool:
        return job.number - self._taken < self._lookahead

    def _work_has_come(self) -> None:
        if self._idle:
            self._changed.notify()
        else:
            self._need_thread()

    # ------------------------------------------------------------------------------------------ what hosts do

    def _admit(self, host: Host, job: Job) -> bool:
        if host.is_sound or host.admit(job, time.monotonic()):
            if job.is_probe:
                self._wait_for_probe(host)
            return True
        self._waiting += 1
        return False

    def _freed(self, host: Host) -> list[Job]:
        """Let those of a host's jobs go on that may. Returns those that were away, to be sent back without the lock."""
        now = time.monotonic()
        if not host.is_sound and host.is_down(now):
            self._spare_turns(host, host.send_away())
        returning = host.returning(now) if host.away else []
        self._waiting -= len(returning)
        turns = min(host.parked, host.free_turns(now)) if host.parked else 0
        if turns >= 1 or self._large or self._starved:
            self._work_has_come()
        while turns >= 1:
            turns -= 1
            host.parked -= 1
            self._turns.appendleft(host)
        return returning

    def _send_back_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._send_back(job)

    def _wait_for_probe(self, host: Host) -> None:
        wait = host.until_probe(time.monotonic())
        self._clock.call_later(wait, functools.partial(self._time_has_passed, host))

    def _time_has_passed(self, host: Host) -> None:
        with self._lock:
            returning = self._freed(host)
        self._send_back_all(returning)

    def _there_is_work_of(self, busy: Host) -> None:
        for host in self._waited_for - {busy} if self._waited_for else ():
            with self._lock:
                self._waited_for.discard(host)
                host.others_have_come(time.monotonic())
            self._time_has_passed(host)

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
