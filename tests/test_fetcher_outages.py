"""A host that goes away is waited for, as long as that is worth something."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from dnsserver import SERVFAIL, DnsServer
from fetching import Stopwatch, asking, fetch_all
from mockserver import MockServer
from rawserver import RawServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest, politeness
from img2dataset.fetcher.job import Finish, Job
from img2dataset.fetcher.politeness import Host
from img2dataset.fetcher.urls import parse
from img2dataset.options import FetchOptions

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nimage"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage"


def paths(count: int) -> list[str]:
    return [f"/{number}" for number in range(count)]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_outage_of_two_seconds_costs_no_row(engine: str, keep_alive: bool) -> None:
    """3,000 rows of one host, which goes away in their middle and comes back on the same port."""
    options = FetchOptions(http_client=engine, thread_count=32, timeout=5)
    with RawServer(lambda _: KEPT if keep_alive else OK, keep_alive=keep_alive) as server, Fetcher(options) as fetcher:
        errors: Counter[str | None] = Counter()
        watch = Stopwatch()
        for result in fetcher.fetch(FetchRequest(number, server.url(f"/{number}")) for number in range(3000)):
            errors[result.error] += 1
            if errors.total() == 1000:
                server.stop_listening()
                threading.Timer(2, server.listen).start()
    assert errors.total() == 3000
    assert errors[Reason.HOST_FAILING] == 0
    assert 3000 - errors[None] <= 5, errors
    assert 2 < watch.seconds < 15


def test_an_outage_of_the_name_server_costs_no_row(server: MockServer, dns: DnsServer, engine: str) -> None:
    """All rows share a lookup, which fails for two seconds."""
    good_from = time.monotonic() + 2
    dns.zone["image.test"] = lambda: ["127.0.0.1"] if time.monotonic() > good_from else SERVFAIL
    urls = [server.url(f"/photo/8x8.png?{number}", "image.test") for number in range(300)]
    results = fetch_all(urls, backend=asking(dns.server), http_client=engine, retries=1)
    errors = Counter(result.error for result in results)
    assert errors[Reason.HOST_FAILING] == 0
    assert errors[None] >= 295, errors


def test_a_dead_host_among_living_ones_costs_no_wait(many_hosts: MockServer, engine: str, unused_port: int) -> None:
    """Three dead hosts of 100 rows each, before, among and behind those of living ones."""
    dead = [f"http://127.0.6.{1 + number % 3}:{unused_port}/{number}" for number in range(300)]
    living = [many_hosts.url(f"/photo/8x8.png?{number}", f"127.0.7.{1 + number % 9}") for number in range(100)]
    watch = Stopwatch()
    results = fetch_all([*living[:1], *dead[:200], *living[1:], *dead[200:]], http_client=engine, retries=1)
    assert sum(result.body is not None for result in results) == 100
    assert {result.error for result in results} == {None, Reason.CONNECTION_REFUSED, Reason.HOST_FAILING}
    assert watch.seconds < 5


def test_a_host_that_comes_up_late_is_waited_for_when_the_others_are_done(many_hosts: MockServer, engine: str) -> None:
    """It has never answered in this process, and does so after two seconds."""
    with RawServer(lambda _: OK) as late:
        late.stop_listening()
        living = [many_hosts.url(f"/photo/8x8.png?{number}", f"127.0.7.{1 + number % 9}") for number in range(100)]
        threading.Timer(2, late.listen).start()
        results = fetch_all([*living, *map(late.url, paths(300))], http_client=engine, thread_count=32, retries=1)
    assert Counter(result.error for result in results) == {None: 400}


@pytest.mark.parametrize("dead_hosts", [1, 3])
@pytest.mark.parametrize("living_rows", [0, 100])
def test_dead_hosts_at_the_end_of_a_list_cost_no_more_than_a_timeout(
    many_hosts: MockServer, engine: str, unused_port: int, living_rows: int, dead_hosts: int
) -> None:
    living = [many_hosts.url(f"/photo/8x8.png?{number}", "127.0.7.1") for number in range(living_rows)]
    dead = [f"http://127.0.6.{9 + number % dead_hosts}:{unused_port}/{number}" for number in range(300)]
    watch = Stopwatch()
    results = fetch_all([*living, *dead], http_client=engine, timeout=2, retries=1)
    assert watch.seconds < 4
    errors = Counter(result.error for result in results)
    assert set(errors) == {Reason.CONNECTION_REFUSED, Reason.HOST_FAILING} | ({None} if living else set())
    assert errors[None] == living_rows
    assert errors[Reason.HOST_FAILING] > 230


def test_while_a_host_is_waited_for_the_others_go_on(many_hosts: MockServer, engine: str) -> None:
    options = FetchOptions(http_client=engine, thread_count=4, timeout=5)
    with RawServer(lambda _: OK) as server, Fetcher(options) as fetcher:
        list(fetcher.fetch([FetchRequest("warm", server.url("/"))]))
        server.stop_listening()

        def requests() -> Iterator[FetchRequest]:
            for number in range(100):
                yield FetchRequest("down", server.url(f"/{number}"))
                yield FetchRequest("up", many_hosts.url(f"/photo/8x8.png?{number}", "127.0.8.1"))

        watch = Stopwatch()
        order = []
        for result in fetcher.fetch(requests()):
            order.append((result.id, result.error))
            if order.count(("up", None)) == 100 and not server_is_back(server):
                assert watch.seconds < 3
                server.listen()
    assert order.count(("up", None)) == 100
    assert order.count(("down", None)) >= 95
    assert all(error != Reason.HOST_FAILING for _, error in order)


def server_is_back(server: RawServer) -> bool:
    return server._listener.fileno() >= 0


def test_a_host_that_does_not_come_back_ends_the_wait(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has answered before, so the wait is longer than the timeout."""
    monkeypatch.setattr(politeness, "_WAIT_SECONDS", 3.0)
    options = FetchOptions(http_client=engine, thread_count=8, timeout=1)
    with RawServer(lambda _: OK) as server, Fetcher(options) as fetcher:
        list(fetcher.fetch([FetchRequest("warm", server.url("/"))]))
        server.stop_listening()
        watch = Stopwatch()
        errors = Counter(result.error for result in fetcher.fetch(FetchRequest(p, server.url(p)) for p in paths(200)))
    assert set(errors) == {Reason.CONNECTION_REFUSED, Reason.HOST_FAILING}
    assert errors[Reason.HOST_FAILING] > 180
    assert 3 <= watch.seconds < 6


def test_a_skipped_host_that_came_back_is_noticed(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(politeness, "_LONGEST_PROBE_PAUSE", 0.3)
    options = FetchOptions(http_client=engine, thread_count=4, timeout=5, retries=0)
    with RawServer(lambda _: OK) as server, Fetcher(options) as fetcher:
        rows = [FetchRequest(number, server.url(f"/{number}")) for number in range(50)]
        assert {result.error for result in fetcher.fetch(rows)} == {None}
        server.stop_listening()
        assert Reason.HOST_FAILING in {result.error for result in fetcher.fetch(rows)}
        server.listen()
        watch = Stopwatch()
        while Reason.HOST_FAILING in {result.error for result in fetcher.fetch(rows[:3])}:
            assert watch.seconds < 10
            threading.Event().wait(0.1)
        assert {result.error for result in fetcher.fetch(rows)} == {None}


# -------------------------------------------------------------------------------------------------- one host alone


def _jobs(host: Host, count: int) -> list[Job]:
    jobs = [Job(parse("http://127.0.0.1/"), 1, Finish(lambda _: None)) for _ in range(count)]
    host.waiting.extend(jobs)
    return jobs


def _went_down(host: Host, now: float, *, patience: float = 0.0) -> bool:
    return [host.unreachable(now, patience=patience) for _ in range(5)][-1]


def test_a_host_that_has_answered_is_probed_by_one_job_at_a_time() -> None:
    host = Host(math.inf)
    host.reached()
    _jobs(host, 100)
    assert _went_down(host, 100.0)
    taken = []
    now = 100.0
    while not host.is_skipped(now):
        if host.free_turns(now):
            assert host.free_turns(now) == 1
            assert host.next_job(now).is_probe
            assert not host.unreachable(now)
            taken.append(now - 100)
        now += 0.25
    assert taken == [0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5, 39.5, 47.5, 55.5]
    assert now == 160


def test_a_host_that_never_answered_is_skipped_at_once_if_others_wait() -> None:
    host = Host(math.inf)
    assert not _went_down(host, 100.0)
    assert host.is_skipped(100.0)
    assert not host.is_skipped(161.0)
    _jobs(host, 3)
    assert [host.next_job(now).skipped for now in (101.0, 159.0)] == [True, True]


def test_a_host_that_never_answered_is_waited_for_until_others_wait() -> None:
    host = Host(math.inf)
    assert _went_down(host, 100.0, patience=10)
    host.unreachable(100.5, patience=10)
    assert not host.is_skipped(100.5)
    host.others_have_come(101.0)
    assert host.is_skipped(101.0)


def test_a_host_that_never_answered_is_waited_for_once_as_long_as_there_is_patience() -> None:
    host = Host(math.inf)
    assert _went_down(host, 100.0, patience=10)
    assert not host.is_skipped(109.9)
    assert host.until_probe(109.0) == 0  # nobody has tried yet
    assert host.is_skipped(110.0)
    assert not host.is_down(170.0)
    host.unreachable(170.0, patience=10)
    assert host.is_skipped(170.0)


def test_the_longest_patience_is_a_minute() -> None:
    host = Host(math.inf)
    assert _went_down(host, 100.0, patience=1000)
    assert host.is_skipped(160.0)


def test_the_end_of_the_wait_is_not_missed_between_two_probes() -> None:
    host = Host(math.inf)
    jobs = _jobs(host, 4)
    assert _went_down(host, 100.0, patience=10)
    for now in (100.5, 101.5, 103.5, 107.5):
        assert host.next_job(now) is jobs.pop()
    assert host.until_probe(107.5) == 2.5


def test_a_host_that_has_answered_is_waited_for_though_others_wait() -> None:
    host = Host(math.inf)
    host.reached()
    assert _went_down(host, 100.0)
    host.others_have_come(101.0)
    assert not host.is_skipped(101.0)


def test_the_wait_for_a_host_is_a_minute_in_all() -> None:
    host = Host(math.inf)
    host.reached()
    assert _went_down(host, 100.0)
    assert host.is_skipped(161.0)
    assert not host.is_down(221.0)
    host.unreachable(221.0)
    assert host.is_skipped(221.0)
    host.reached(by_probe=True)
    assert not host.is_down(222.0)
    assert _went_down(host, 300.0)
    assert not host.is_skipped(301.0)


def test_a_host_that_answers_once_a_minute_is_not_waited_for_for_ever() -> None:
    host = Host(math.inf)
    host.reached()
    waits = []
    for minute in range(20):
        now = 100.0 + 1000 * minute
        _went_down(host, now)
        waits.append(not host.is_skipped(now))
        host.reached(by_probe=True)
    assert waits[:8] == [True] * 8
    assert sum(waits) < 12
    for _ in range(100):
        host.reached()
    assert _went_down(host, 90_000.0)
    assert not host.is_skipped(90_000.0)


def test_only_the_answer_to_a_probe_says_that_a_host_is_back() -> None:
    host = Host(math.inf)
    host.reached()
    assert _went_down(host, 100.0)
    host.reached()
    assert host.free_turns(100.1) == 0
    host.reached(by_probe=True)
    assert host.free_turns(100.1) == math.inf


def test_a_probe_that_had_to_wait_for_its_address_goes_on_at_once() -> None:
    host = Host(math.inf)
    host.reached()
    (job, _) = _jobs(host, 2)
    assert _went_down(host, 100.0)
    host.waiting.rotate(1)
    assert host.next_job(100.5) is job
    assert host.free_turns(100.6) == 0
    host.resume_probe()
    host.waiting.append(job)
    assert host.next_job(100.6) is job
    assert job.is_probe
