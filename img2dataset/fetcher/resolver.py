"""Names to addresses, without a thread that waits for them."""

from __future__ import annotations

import functools
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from img2dataset import defects
from img2dataset.errors import Reason
from img2dataset.fetcher.answers import Answers
from img2dataset.fetcher.clock import Clock

_CACHED_HOSTS = 50_000
MOST_ADDRESSES = 16  # of a host that are kept: an answer may have thousands
_SHORTEST_TTL, _LONGEST_TTL = 60.0, 3600.0
# How long a refusal is believed, in seconds. A temporary failure is forgotten before its first retry comes.
_NEGATIVE_TTL = {
    Reason.DNS_NOT_FOUND: 60.0,
    Reason.DNS_NO_ANSWER: 30.0,
    Reason.DNS_TEMPORARY: 0.4,
    Reason.INTERNAL_ERROR: 0.4,
}
# A lookup holds one of the places for a second at most: names that nobody answers for must not keep others waiting,
# and a home router must not get a thousand questions at once.
_PLACES = 64
_PLACE_SECONDS = 1.0
_MOST_AT_ONCE = 1024
_SYSTEM_THREADS = 32


@dataclass(frozen=True, slots=True)
class Resolution:
    """The literal addresses of a host, best first, or the `Reason` why there are none.

    `ttl` in seconds is how long the addresses hold, `seconds` how long it took to find out: a backend leaves that open.
    """

    addresses: tuple[str, ...] = ()
    error: str | None = None
    ttl: float = 0.0
    seconds: float = 0.0


_NO_ANSWER = Resolution(error=Reason.DNS_NO_ANSWER)


class Backend(Protocol):
    """Asks for one name at a time, in the background."""

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        """Look `host` up and call `done` once, soon and from any thread; it returns at once and does not raise."""

    def close(self) -> None:
        """Forget what is under way."""


def known_for(resolution: Resolution) -> float:
    """The seconds for which an answer, or a refusal, is believed."""
    if resolution.error:
        return _NEGATIVE_TTL[resolution.error]
    return min(max(resolution.ttl, _SHORTEST_TTL), _LONGEST_TTL)


class _Lookup(NamedTuple):
    host: str
    started: float


class Resolver(Answers[Resolution]):
    """One lookup for a host at a time, for all of a process's threads; answers and refusals are cached.

        in the queue ──► asked, with a place ── a second ──► asked, without ── an answer, or `timeout` ──► finished
                                            └── an answer ──► finished

    `timeout` in seconds is the longest that a lookup may take. An answer that comes later is good for those who ask
    later.
    """

    def __init__(self, backend: Backend, clock: Clock, timeout: float) -> None:
        super().__init__(_CACHED_HOSTS, known_for)
        self._backend = backend
        self._clock = clock
        self._timeout = timeout
        self._lookups_lock = threading.Lock()
        self._queue: deque[str] = deque()
        self._under_way: dict[_Lookup, bool] = {}  # in the order in which they began
        self._closed = False

    def resolve(self, host: str, done: Callable[[Resolution], None]) -> Resolution | None:
        """What is known of `host`; if that is nothing, `done` is called with it later, from any thread.

        It is called within `timeout`; the time in the queue, when many lookups are under way, is not counted.
        """
        return self.ask(host, done, self._look_up)

    def close(self) -> None:
        """Ask nothing any more; who waits is not called."""
        self._closed = True
        with self._lookups_lock:
            self._queue.clear()
        with self._lock:
            self._waiting.clear()
        self._backend.close()

    def _look_up(self, host: str) -> None:
        self._queue.append(host)
        self._start_lookups()

    def _start_lookups(self) -> None:
        while (lookup := self._next_lookup()) is not None:
            self._clock.call_later(_PLACE_SECONDS, self._start_lookups)
            self._clock.call_later(self._timeout, functools.partial(self._finish, lookup, _NO_ANSWER))
            self._ask(lookup)

    def _next_lookup(self) -> _Lookup | None:
        with self._lookups_lock:
            if not self._queue or len(self._under_way) >= _MOST_AT_ONCE:
                return None
            now = time.monotonic()
            last_with_place = next(itertools.islice(reversed(self._under_way), _PLACES - 1, None), None)
            if last_with_place and now - last_with_place.started < _PLACE_SECONDS:
                return None
            lookup = _Lookup(self._queue.popleft(), now)
            self._under_way[lookup] = True
            return lookup

    def _ask(self, lookup: _Lookup) -> None:
        try:
            self._backend.start(lookup.host, functools.partial(self._replied, lookup))
        except Exception as error:  # noqa: BLE001 - somebody waits for an answer
            if not self._closed:
                defects.tell(error, lookup.host)
            self._replied(lookup, Resolution(error=Reason.INTERNAL_ERROR))

    def _replied(self, lookup: _Lookup, resolution: Resolution) -> None:
        # Backends call this while they hold locks of their own, so nothing may be asked from here.
        self._clock.call_later(0, functools.partial(self._finish, lookup, resolution))

    def _finish(self, lookup: _Lookup, resolution: Resolution) -> None:
        with self._lookups_lock:
            in_time = self._under_way.pop(lookup, False)
        if in_time or not resolution.error:
            self.learn(lookup.host, replace(resolution, seconds=time.monotonic() - lookup.started))
        self._start_lookups()


class SystemBackend:
    """The C library's getaddrinfo in a few threads. A name that hangs holds one of them.

    It cannot tell a server's failure from silence: both are temporary failures.
    """

    def __init__(self) -> None:
        self._questions: SimpleQueue[tuple[str, Callable[[Resolution], None]] | None] = SimpleQueue()
        self._threads = 0

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        """See `Backend.start`."""
        self._questions.put((host, done))
        if self._threads < _SYSTEM_THREADS:
            self._threads += 1
            threading.Thread(target=self._answer, name="fetcher getaddrinfo", daemon=True).start()

    def _answer(self) -> None:
        for host, done in iter(self._questions.get, None):
            done(resolution_of(host, functools.partial(_getaddrinfo, host)))

    def close(self) -> None:
        """See `Backend.close`."""
        for _ in range(self._threads):
            self._questions.put(None)


def resolution_of(host: str, find: Callable[[], Resolution]) -> Resolution:
    """What `find` returns. What it raises is an answer, too, for somebody waits for one."""
    try:
        return find()
    except Exception as error:  # noqa: BLE001 - a thread of the backend must outlive it
        defects.tell(error, host)
        return Resolution(error=Reason.INTERNAL_ERROR)


_NOT_FOUND = {socket.EAI_NONAME, socket.EAI_NODATA}


def _getaddrinfo(host: str) -> Resolution:
    try:
        # As bytes, for the codec that Python would apply to a str refuses names that DNS allows.
        found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return Resolution(error=Reason.DNS_NOT_FOUND if error.errno in _NOT_FOUND else Reason.DNS_TEMPORARY)
    return Resolution(tuple(dict.fromkeys(str(entry[4][0]) for entry in found[:MOST_ADDRESSES])), ttl=_SHORTEST_TTL)
