"""Names to addresses: once, cached, bounded, and with an answer that says what is wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dnsserver import NODATA, NXDOMAIN, REFUSED, SERVFAIL, SWALLOW, DnsServer
from fetching import Stopwatch, asking, fetch_all, run_in_namespaces
from mockserver import PHOTO, MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import resolver as resolver_module
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.resolver import Backend, Resolution, Resolver, known_for


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.close()


def ask(resolver: Resolver, *hosts: str, patience: float = 10) -> list[Resolution]:
    """What the resolver says of each host, in their order."""
    found: dict[int, Resolution] = {}
    all_there = threading.Semaphore(0)

    def note(number: int) -> Callable[[Resolution], None]:
        def done(resolution: Resolution) -> None:
            found[number] = resolution
            all_there.release()

        return done

    for number, host in enumerate(hosts):
        known = resolver.resolve(host, note(number))
        if known:
            note(number)(known)
    for _ in hosts:
        assert all_there.acquire(timeout=patience)
    return [found[number] for number in range(len(hosts))]


@pytest.mark.parametrize(
    ("answer", "addresses", "error"),
    [
        (["127.0.0.5"], {"127.0.0.5"}, None),
        (["127.0.0.5", "127.0.0.6"], {"127.0.0.5", "127.0.0.6"}, None),
        (["::1"], {"::1"}, None),
        (["127.0.0.5", "::1"], {"127.0.0.5", "::1"}, None),
        (NXDOMAIN, set(), Reason.DNS_NOT_FOUND),
        (NODATA, set(), Reason.DNS_NOT_FOUND),
        (SERVFAIL, set(), Reason.DNS_TEMPORARY),
        (REFUSED, set(), Reason.DNS_TEMPORARY),
        (SWALLOW, set(), Reason.DNS_NO_ANSWER),
    ],
)
def test_what_is_wrong_is_told_apart(
    clock: Clock, dns: DnsServer, answer: str | list[str], addresses: set[str], error: str | None
) -> None:
    dns.zone["a.test"] = answer
    resolver = Resolver(asking(dns.server), clock, timeout=1.5)
    (resolution,) = ask(resolver, "a.test")
    assert (set(resolution.addresses), resolution.error) == (addresses, error)
    resolver.close()


@pytest.mark.parametrize("host", ["a..test", "x" * 64 + ".test", "a." * 130, "-", "under_score.test", "xn--a.test"])
def test_names_that_cannot_exist_are_not_found(clock: Clock, dns: DnsServer, host: str) -> None:
    resolver = Resolver(asking(dns.server), clock, timeout=5)
    assert ask(resolver, host)[0].error == Reason.DNS_NOT_FOUND
    resolver.close()


def test_a_server_that_is_not_there_is_a_temporary_failure(clock: Clock, unused_port: int) -> None:
    resolver = Resolver(asking(f"127.0.0.1:{unused_port}"), clock, timeout=5)
    assert ask(resolver, "a.test")[0].error in (Reason.DNS_TEMPORARY, Reason.DNS_NO_ANSWER)
    resolver.close()


def test_the_hosts_file_comes_first(clock: Clock, dns: DnsServer) -> None:
    resolver = Resolver(asking(dns.server), clock, timeout=5)
    assert set(ask(resolver, "localhost")[0].addresses) <= {"127.0.0.1", "::1"}
    assert dns.queries.total() == 0
    resolver.close()


def test_a_slow_name_is_waited_for_though_the_server_is_quick(clock: Clock, dns: DnsServer) -> None:
    asked: list[float] = []

    def slow() -> list[str]:
        """As a caching server: it finds out once, 2.5 seconds after the first question, and tells all who ask."""
        asked.append(time.monotonic())
        time.sleep(max(0.0, asked[0] + 2.5 - time.monotonic()))
        return ["127.0.0.5"]

    dns.zone.update({f"quick{number}.test": ["127.0.0.1"] for number in range(20)})
    dns.zone["slow.test"] = slow
    resolver = Resolver(asking(dns.server), clock, timeout=10)
    ask(resolver, *dns.zone.keys() - {"slow.test"})
    (resolution,) = ask(resolver, "slow.test")
    assert (resolution.addresses, resolution.error) == (("127.0.0.5",), None)
    resolver.close()


class CountingBackend:
    """Answers after a while, and counts what it is asked for."""

    def __init__(self, reply: Resolution, delay: float = 0.05) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = 0
        self.most_at_once = 0
        self._reply = reply
        self._delay = delay
        self._lock = threading.Lock()

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        with self._lock:
            self.asked[host] += 1
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        timer = threading.Timer(self._delay, self._answer, (done,))
        timer.daemon = True
        timer.start()

    def _answer(self, done: Callable[[Resolution], None]) -> None:
        with self._lock:
            self.at_once -= 1
        done(self._reply)

    def close(self) -> None:
        pass


FOUND = Resolution(("127.0.0.1",), ttl=300)


def test_many_who_ask_for_one_host_cost_one_lookup(clock: Clock) -> None:
    backend = CountingBackend(FOUND)
    resolver = Resolver(backend, clock, timeout=5)
    assert len(ask(resolver, *["a.test"] * 100)) == 100
    assert len(ask(resolver, *["a.test"] * 100)) == 100
    assert backend.asked == {"a.test": 1}
    assert resolver._known.get("a.test") is not None
    assert resolver._known.get("b.test") is None


def test_so_many_lookups_are_under_way_and_no_more(clock: Clock) -> None:
    backend = CountingBackend(FOUND)
    resolver = Resolver(backend, clock, timeout=5)
    ask(resolver, *(f"{number}.test" for number in range(200)))
    assert backend.most_at_once <= 64
    assert backend.asked.total() == 200


@pytest.mark.parametrize(
    ("error", "at_least", "at_most"),
    [
        (Reason.DNS_NOT_FOUND, 10, 120),
        (Reason.DNS_NO_ANSWER, 10, 120),
        (Reason.DNS_TEMPORARY, 0.2, 0.5),  # shorter than the back-off of a retry, which must ask anew
        (None, 60, 60),
    ],
)
def test_refusals_are_believed_briefly(error: str | None, at_least: float, at_most: float) -> None:
    assert at_least <= known_for(Resolution(error=error, ttl=0)) <= at_most


def test_what_is_believed_no_more_is_asked_again(clock: Clock) -> None:
    backend = CountingBackend(Resolution(error=Reason.DNS_TEMPORARY), 0)
    resolver = Resolver(backend, clock, timeout=5)
    first, again = ask(resolver, "a.test") + ask(resolver, "a.test")
    assert first is again  # by which a host tells one failure from two
    time.sleep(0.5)
    assert resolver._known.get("a.test") is None
    assert ask(resolver, "a.test") != [first]
    assert backend.asked == {"a.test": 2}


def test_the_cache_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "_CACHED_HOSTS", 50)
    resolver = Resolver(CountingBackend(FOUND, 0), clock, timeout=5)
    ask(resolver, *(f"{number}.test" for number in range(60)))
    known = [number for number in range(60) if resolver._known.get(f"{number}.test")]
    assert len(known) == 50


def test_a_lookup_takes_no_longer_than_the_timeout(clock: Clock) -> None:
    late = CountingBackend(FOUND, delay=1.2)
    resolver = Resolver(late, clock, timeout=0.4)
    watch = Stopwatch()
    (resolution,) = ask(resolver, "late.test")
    assert (resolution.error, resolution.addresses) == (Reason.DNS_NO_ANSWER, ())
    assert 0.3 < watch.seconds < 1
    time.sleep(1.2)  # the answer that came too late is good for those who ask later
    known = resolver._known.get("late.test")
    assert known is not None
    assert known.addresses == ("127.0.0.1",)


def test_a_lookup_says_how_long_it_took(clock: Clock) -> None:
    resolver = Resolver(CountingBackend(FOUND, delay=0.3), clock, timeout=5)
    (resolution,) = ask(resolver, "a.test")
    assert 0.25 < resolution.seconds < 1.5


def test_one_lookup_serves_all_threads(server: MockServer, dns: DnsServer, engine: str) -> None:
    dns.zone["popular.test"] = ["127.0.0.1"]
    urls = [server.url("/chunked", "popular.test")] * 40
    results = fetch_all(urls, backend=asking(dns.server), http_client=engine, thread_count=20)
    assert {result.body for result in results} == {PHOTO}
    assert dns.queries["popular.test"] == 2  # A and AAAA


@pytest.mark.parametrize("name", ["c-ares", "system"])
def test_names_are_resolved_as_the_system_does(name: str, tmp_path: Path) -> None:
    """In namespaces of its own, with a name server on port 53, a hosts file and a search domain: see the script."""
    assert run_in_namespaces("own_system.py", name, folder=tmp_path) == ("all held\n", "")


def test_a_backend_is_what_the_fetcher_needs() -> None:
    backend: Backend = CountingBackend(FOUND)
    assert callable(backend.start)
