"""Names and robots.txt are found out before a job is queued, a few jobs ahead; what hangs there holds up no other."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from dnsserver import SWALLOW, DnsServer
from fetching import Stopwatch, asking, fetch_all, fetch_options
from mockserver import MockServer
from rawserver import RawServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest, resolver
from img2dataset.fetcher.threads import _SMALLEST_WINDOW

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage"


class Counted:
    """An endless list of URLs that knows how many have been read of it."""

    def __init__(self, server: MockServer) -> None:
        self.count = 0
        self._server = server

    def __iter__(self) -> Iterator[FetchRequest]:
        for self.count in itertools.count(1):
            host = f"127.0.10.{1 + self.count % 200}"
            yield FetchRequest(self.count, self._server.url(f"/photo/8x8.png?delay=0.01&{self.count}", host))


def _readers() -> int:
    return sum(thread.name == "fetcher reader" for thread in threading.enumerate())


def test_a_list_is_read_a_few_jobs_ahead_of_the_threads(many_hosts: MockServer, engine: str) -> None:
    requests = Counted(many_hosts)
    with Fetcher(fetch_options(thread_count=4, http_client=engine)) as fetcher:
        results = fetcher.fetch(requests)
        for _ in range(50):
            assert next(results).error is None
        time.sleep(0.3)
        assert requests.count <= _SMALLEST_WINDOW + len(many_hosts.requests) + 10
        results.close()  # type: ignore[attr-defined]
        watch = Stopwatch()
        while _readers():
            assert watch.seconds < 5
            time.sleep(0.01)


def test_a_fetcher_that_is_closed_reads_no_further(many_hosts: MockServer, engine: str) -> None:
    requests = Counted(many_hosts)
    fetcher = Fetcher(fetch_options(thread_count=4, http_client=engine))
    results = fetcher.fetch(requests)
    next(results)
    fetcher.close()
    watch = Stopwatch()
    while _readers():
        assert watch.seconds < 5
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match="closed"):
        list(results)


def test_a_host_that_is_asked_slowly_is_passed_however_many_urls_it_has(many_hosts: MockServer, engine: str) -> None:
    slow = [FetchRequest("slow", many_hosts.url(f"/photo/8x8.png?delay=0.5&{n}", "127.0.10.1")) for n in range(3000)]
    quick = [FetchRequest("quick", many_hosts.url("/photo/8x8.png", f"127.0.11.{n}")) for n in range(1, 41)]
    options = fetch_options(thread_count=4, max_connections_per_host=1, http_client=engine)
    with Fetcher(options) as fetcher:
        results = fetcher.fetch([*slow, *quick])
        watch = Stopwatch()
        names = [next(results).id for _ in range(45)]
        assert watch.seconds < 10
    assert names.count("quick") == 40


@pytest.mark.parametrize("hangs", ["name", "robots.txt"])
def test_what_hangs_for_one_host_is_passed_however_many_urls_it_has(
    many_hosts: MockServer, dns: DnsServer, engine: str, hangs: str
) -> None:
    dns.zone["hung.test"] = SWALLOW
    options = fetch_options(thread_count=4, timeout=3, http_client=engine, retries=0, respect_robots_txt=True)
    with RawServer(lambda _: [5.0]) as silent, Fetcher(options, backend=asking(dns.server)) as fetcher:
        hung_url = "http://hung.test/{}" if hangs == "name" else silent.url("/{}")
        hung = [FetchRequest("hung", hung_url.format(number)) for number in range(3000)]
        healthy = [FetchRequest("healthy", many_hosts.url("/photo/8x8.png", f"127.0.12.{n}")) for n in range(1, 41)]
        results = fetcher.fetch([*hung, *healthy])
        watch = Stopwatch()
        first = [next(results) for _ in healthy]
        assert watch.seconds < 2.5
        assert {(result.id, result.error) for result in first} == {("healthy", None)}


def test_a_host_that_comes_back_at_another_address_is_found(
    dns: DnsServer, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are prepared while the host is down; a probe is prepared anew, and the others are when it has an answer."""
    monkeypatch.setattr(resolver, "_SHORTEST_TTL", 0.2)
    dns.ttl = 0
    dns.zone["moving.test"] = ["127.0.0.98"]
    with RawServer(lambda _: OK) as server:  # on 127.0.0.1 only
        threading.Timer(1.5, dns.zone.__setitem__, ("moving.test", ["127.0.0.1"])).start()
        urls = [server.url(f"/{number}", "moving.test") for number in range(200)]
        results = fetch_all(urls, backend=asking(dns.server), http_client=engine, retries=1, timeout=5)
    assert sum(result.error is None for result in results) >= 190


def test_urls_of_a_host_that_is_skipped_are_not_even_looked_up(dns: DnsServer, engine: str, unused_port: int) -> None:
    dns.zone["dead.test"] = ["127.0.0.1"]
    urls = [f"http://dead.test:{unused_port}/{number}" for number in range(200)]
    results = fetch_all(urls, backend=asking(dns.server), http_client=engine, timeout=1)
    assert {result.error for result in results} == {Reason.CONNECTION_REFUSED, Reason.HOST_FAILING}
    assert dns.queries["dead.test"] == 2  # A and AAAA
