"""Every run ends: no server and no name server keeps a URL longer than `timeout`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from dnsserver import SWALLOW, DnsServer
from fetching import Stopwatch, asking, fetch_all, fetch_one, fetch_options
from mockserver import MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest

# What a loaded test machine may add to a deadline.
SLACK = 1.5


def test_no_server_costs_more_than_the_timeout(server: MockServer, engine: str) -> None:
    paths = [
        "/silent",
        "/header-trickle?every=0.2",
        "/trickle?every=0.2",
        "/trickle?every=0.01",
        "/stall?after=0",
        "/stall?after=50000",
        "/declared?length=20000",
        "/redirect?to=/silent",
        "/redirect?to=/trickle",
        "/redirect-chain/4?delay=0.4",
    ]
    watch = Stopwatch()
    options = fetch_options(http_client=engine, timeout=1, retries=3)
    with Fetcher(options) as fetcher:
        found = {
            result.id: (result.error, result.body, result.attempts, watch.seconds)
            for result in fetcher.fetch(FetchRequest(path, server.url(path)) for path in paths)
        }
    assert {path: fate[:3] for path, fate in found.items()} == dict.fromkeys(paths, (Reason.TIMED_OUT, None, 1))
    assert all(0.9 < fate[3] < 1 + SLACK for fate in found.values())


@pytest.mark.parametrize("form", ["chunked", "raw"])
@pytest.mark.parametrize("redirect", [False, True])
def test_a_body_without_end_ends(server: MockServer, engine: str, form: str, redirect: bool) -> None:
    path = f"/endless?chunk=1000&form={form}"
    path = f"/redirect?to={path.replace('&', '%26')}" if redirect else path
    watch = Stopwatch()
    result = fetch_one(server.url(path), http_client=engine, timeout=1, max_download_bytes=1_000_000)
    assert result.error in (Reason.TIMED_OUT, Reason.BODY_TOO_LARGE)
    assert watch.seconds < 1 + SLACK


def test_a_circle_of_redirects_ends_after_five(server: MockServer, engine: str) -> None:
    result = fetch_one(server.url("/redirect-loop"), http_client=engine)
    assert (result.error, result.http_status) == (Reason.TOO_MANY_REDIRECTS, 302)
    assert len(server.requests) == 6


def test_a_tls_handshake_that_nobody_answers_costs_no_more_than_the_timeout(engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch = Stopwatch()
        result = fetch_one(f"https://127.0.0.1:{listener.getsockname()[1]}/", http_client=engine, timeout=1)
    assert result.error == Reason.TIMED_OUT
    assert watch.seconds < 1 + SLACK


def test_a_connection_that_is_not_taken_costs_no_more_than_the_timeout(engine: str, full_port: int) -> None:
    watch = Stopwatch()
    result = fetch_one(f"http://127.0.0.1:{full_port}/", http_client=engine, timeout=1)
    assert result.error == Reason.TIMED_OUT
    assert watch.seconds < 1 + SLACK


@pytest.fixture
def full_port() -> Iterator[int]:
    """A TCP port that listens and whose queue is full, so that connection attempts to it are not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.1)
        yield address[1]
        for filler in fillers:
            filler.close()


def test_hung_names_hold_up_no_other_host(server: MockServer, dns: DnsServer, engine: str) -> None:
    """Sixty names that nobody answers for, four threads: the healthy hosts behind them in the list do not wait."""
    dns.default = SWALLOW
    dns.zone["healthy.test"] = ["127.0.0.1"]
    hung = [FetchRequest("hung", f"http://hung{number}.test/") for number in range(60)]
    healthy = [FetchRequest("named", server.url("/photo/10x10.jpg", "healthy.test")) for _ in range(10)]
    healthy += [FetchRequest("literal", server.url("/photo/10x10.jpg")) for _ in range(10)]
    options = fetch_options(thread_count=4, timeout=2.5, http_client=engine)
    with Fetcher(options, backend=asking(dns.server)) as fetcher:
        watch = Stopwatch()
        results = fetcher.fetch([*hung, *healthy])
        first = [next(results) for _ in healthy]
        assert {result.id for result in first} == {"named", "literal"}
        assert all(result.body for result in first)
        assert watch.seconds < 1.5
        assert {result.error for result in results} == {Reason.DNS_NO_ANSWER}
        assert watch.seconds < 2.5 + SLACK


def test_names_beyond_the_places_of_the_resolver_are_looked_up_while_others_hang(dns: DnsServer) -> None:
    dns.default = SWALLOW
    dns.zone["last.test"] = ["127.0.0.1"]
    urls = [*(f"http://hung{number}.test/" for number in range(100)), "http://last.test:1/"]
    watch = Stopwatch()
    results = fetch_all(urls, backend=asking(dns.server), timeout=2)
    assert results[-1].error == Reason.CONNECTION_REFUSED
    assert {result.error for result in results[:-1]} == {Reason.DNS_NO_ANSWER}
    assert watch.seconds < 2 + 1 + SLACK  # a place is given on after a second


def test_the_time_of_a_slow_lookup_counts(server: MockServer, dns: DnsServer, engine: str) -> None:
    def slow() -> list[str]:
        time.sleep(0.8)
        return ["127.0.0.1"]

    dns.zone["slow.test"] = slow
    watch = Stopwatch()
    url = server.url("/slow-header?delay=1.5", "slow.test")
    result = fetch_one(url, backend=asking(dns.server), http_client=engine, timeout=2)
    assert result.error == Reason.TIMED_OUT
    assert watch.seconds < 2 + SLACK


def test_a_list_with_many_silent_urls_ends_in_time(server: MockServer, engine: str) -> None:
    """As in the main job's proof, in small: 5 % never answer or trickle."""
    slow = {7: "/silent", 33: "/trickle", 58: "/silent", 91: "/trickle"}
    urls = [server.url(slow.get(number % 100, "/photo/20x20.jpg")) for number in range(200)]
    watch = Stopwatch()
    results = fetch_all(urls, http_client=engine, thread_count=16, timeout=1)
    assert [result.error for result in results].count(Reason.TIMED_OUT) == 8
    assert sum(result.body is not None for result in results) == 192
    assert watch.seconds < 1 + 2 * SLACK
