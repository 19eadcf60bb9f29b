"""No host is asked more than it likes, and nothing is taken that its owner does not give."""

from __future__ import annotations

import math
import time

import pytest
from dnsserver import SERVFAIL, DnsServer
from fetching import Stopwatch, asking, fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.fetcher.host import Host
from img2dataset.fetcher.records import FetchResult
from img2dataset.fetcher.retries import PASSING
from img2dataset.fetcher.robots import RobotsTxt, opted_out

# ------------------------------------------------------------------------------------------- connections of a host


@pytest.mark.parametrize("most", [1, 3])
def test_connections_to_a_host_are_limited_over_all_threads(many_hosts: MockServer, engine: str, most: int) -> None:
    hosts = ["127.0.0.21", "127.0.0.22"]
    urls = [many_hosts.url(f"/photo/10x10.jpg?delay=0.02&seed={number}", hosts[number % 2]) for number in range(40)]
    results = fetch_all(urls, http_client=engine, thread_count=32, max_connections_per_host=most)
    assert all(result.body for result in results)
    assert {host: many_hosts.peak_in_flight[host] for host in hosts} == dict.fromkeys(hosts, most)


def test_without_a_limit_all_threads_may_ask_one_host(server: MockServer, engine: str) -> None:
    fetch_all([server.url("/photo/10x10.jpg?delay=0.5")] * 8, http_client=engine, thread_count=8)
    assert server.peak_in_flight["127.0.0.1"] == 8


def test_a_limited_host_idles_no_thread_while_others_have_work(many_hosts: MockServer, engine: str) -> None:
    """20 URLs of a slow host stand first, behind them 40 of others; of four threads one may ask the slow host."""
    slow = [FetchRequest("slow", many_hosts.url("/photo/10x10.jpg?delay=0.05", "127.0.0.31")) for _ in range(20)]
    quick = [FetchRequest("quick", many_hosts.url("/photo/10x10.jpg", f"127.0.1.{n}")) for n in range(1, 41)]
    options = fetch_options(thread_count=4, max_connections_per_host=1, http_client=engine)
    with Fetcher(options) as fetcher:
        order = [result.id for result in fetcher.fetch([*slow, *quick])]
    assert order[:50].count("quick") == 40
    assert many_hosts.peak_in_flight["127.0.0.31"] == 1


def test_the_limit_holds_for_the_target_of_a_redirect(many_hosts: MockServer, engine: str) -> None:
    target = many_hosts.url("/photo/10x10.jpg?delay=0.02", "127.0.0.41").replace("?", "%3F")
    urls = [many_hosts.url(f"/redirect?to={target}", f"127.0.2.{number}") for number in range(1, 21)]
    results = fetch_all(urls, http_client=engine, thread_count=16, max_connections_per_host=1)
    assert all(result.body for result in results)
    assert many_hosts.peak_in_flight["127.0.0.41"] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_is_asked_too_much_is_left_alone_by_all_threads(
    many_hosts: MockServer, engine: str, status: int
) -> None:
    tired, other = "127.0.0.51", "127.0.0.52"
    first = many_hosts.url(f"/retry-after?status={status}&seconds=1", tired)
    with Fetcher(fetch_options(thread_count=8, http_client=engine, retries=1)) as fetcher:

        def requests():  # type: ignore[no-untyped-def]
            yield FetchRequest("first", first)
            while not many_hosts.requests:
                time.sleep(0.005)
            time.sleep(0.1)
            for number in range(20):
                yield FetchRequest("tired", many_hosts.url(f"/photo/10x10.jpg?seed={number}", tired))
                yield FetchRequest("other", many_hosts.url(f"/photo/10x10.jpg?seed={number}", other))

        watch = Stopwatch()
        arrived = [(result.id, watch.seconds, result.error) for result in fetcher.fetch(requests())]
    assert {error for _, _, error in arrived} == {None}
    assert max(seconds for name, seconds, _ in arrived if name == "other") < 0.9
    assert min(seconds for name, seconds, _ in arrived if name != "other") >= 1.0
    assert many_hosts.peak_in_flight[tired] < 8  # it is given threads back one by one


def test_a_host_that_refuses_everything_does_not_last_for_ever(server: MockServer, engine: str) -> None:
    watch = Stopwatch()
    urls = [server.url(f"/status/429?{number}") for number in range(400)]
    results = fetch_all(urls, http_client=engine, thread_count=4, timeout=0.3)
    errors = [result.error for result in results]
    assert errors.count(Reason.HOST_FAILING) > 300
    assert "http 429" in errors
    assert watch.seconds < 20


# ------------------------------------------------------------------------------------------------- failing hosts


def test_urls_of_a_host_that_refuses_fail_fast_after_a_while(server: MockServer, engine: str, unused_port: int) -> None:
    dead = [f"http://127.0.0.61:{unused_port}/{number}" for number in range(30)]
    *results, living = fetch_all([*dead, server.url("/chunked")], http_client=engine, thread_count=1)
    assert living.body == PHOTO
    assert [(result.error, result.attempts) for result in results[:5]] == [(Reason.CONNECTION_REFUSED, 1)] * 5
    assert [(result.error, result.attempts) for result in results[5:]] == [(Reason.HOST_FAILING, 0)] * 25
    assert Reason.HOST_FAILING in PASSING


def test_a_retry_on_a_failing_host_keeps_its_own_reason(engine: str, unused_port: int) -> None:
    dead = [f"http://127.0.0.62:{unused_port}/{number}" for number in range(8)]
    results = fetch_all(dead, http_client=engine, thread_count=8, retries=1, timeout=1)
    assert {result.error for result in results} <= {Reason.CONNECTION_REFUSED, Reason.HOST_FAILING}
    assert all((result.error == Reason.CONNECTION_REFUSED) == (result.attempts > 0) for result in results)


def test_an_answer_in_between_makes_a_host_good_again(server: MockServer, engine: str) -> None:
    dead = f"http://127.0.0.1:{server.port}/hang-up"
    urls = [dead, dead, dead, dead, server.url("/chunked")] * 4
    results = fetch_all(urls, http_client=engine, thread_count=1)
    assert {result.error for result in results} == {Reason.CONNECTION_RESET, None}


def test_urls_of_a_host_that_does_not_resolve_fail_fast_after_a_while(server: MockServer, dns: DnsServer) -> None:
    dns.zone["broken.test"] = SERVFAIL
    errors = []
    others = [FetchRequest(number, server.url(f"/photo/8x8.png?delay=1&{number}")) for number in range(20)]
    with Fetcher(fetch_options(retries=0, max_connections_per_host=1), backend=asking(dns.server)) as fetcher:
        waiting = fetcher.fetch(others)
        next(waiting)
        for _ in range(6):
            errors += [result.error for result in fetcher.fetch([FetchRequest(0, "http://broken.test/")])]
            time.sleep(0.45)  # a temporary failure is not believed for longer
    assert errors == [Reason.DNS_TEMPORARY] * 5 + [Reason.HOST_FAILING]


# --------------------------------------------------------------------------------------------------- X-Robots-Tag

OURS = frozenset({"img2dataset", "examplebot"})
DIRECTIVES = ("noai", "noimageai", "noindex", "noimageindex")


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([], False),
        (["all"], False),
        (["noai"], True),
        (["NoAI"], True),
        (["  noimageai  "], True),
        (["nofollow, noarchive"], False),
        (["nofollow, noimageindex"], True),
        (["nofollow", "noindex"], True),
        (["none"], True),
        (["otherbot: noai"], False),
        (["otherbot: noai, noindex"], False),
        (["otherbot: nofollow, img2dataset: noai"], True),
        (["img2dataset: noai"], True),
        (["IMG2dataset :noai"], True),
        (["examplebot: nofollow, noai"], True),
        (["*: noai"], True),
        (["otherbot: noai", "noindex"], True),
        (["otherbot: noai", "nofollow"], False),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], False),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], True),
        (["max-snippet: 20, max-image-preview: large"], False),
        (["otherbot: unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], False),
        ([""], False),
        ([":,:,,: :"], False),
        (["noaix"], False),
    ],
)
def test_who_is_told_what(values: list[str], refused: bool) -> None:
    assert opted_out(values, DIRECTIVES, OURS) is refused


def test_opted_out_images_are_not_taken(server: MockServer, engine: str) -> None:
    values = ["noai", "noimageai", "noindex", "noimageindex", "img2dataset: noai", "nofollow&value=noai"]
    results = fetch_all([server.url(f"/x-robots?value={value}") for value in values], http_client=engine)
    assert {(result.body, result.error, result.attempts, result.http_status) for result in results} == {
        (None, Reason.DISALLOWED_BY_X_ROBOTS_TAG, 1, 200)
    }


def test_what_is_said_to_others_does_not_concern_us(server: MockServer, engine: str) -> None:
    url = server.url("/x-robots?value=otherbot: noai&value=examplebot: noindex")
    assert fetch_one(url, http_client=engine).body == PHOTO
    told = fetch_one(url, http_client=engine, user_agent_token="ExampleBot")
    assert told.error == Reason.DISALLOWED_BY_X_ROBOTS_TAG


def test_the_directives_that_count_can_be_changed(server: MockServer, engine: str) -> None:
    urls = [server.url("/x-robots?value=noai"), server.url("/x-robots?value=nofollow")]
    changed = fetch_all(urls, http_client=engine, disallowed_header_directives=["NoFollow"])
    assert [result.error for result in changed] == [None, Reason.DISALLOWED_BY_X_ROBOTS_TAG]
    switched_off = fetch_all(urls, http_client=engine, disallowed_header_directives=[])
    assert [result.error for result in switched_off] == [None, None]


# ------------------------------------------------------------------------------------------------------ robots.txt


def test_robots_txt_is_not_asked_for_unless_it_is_respected(server: MockServer, engine: str) -> None:
    server.robots = (200, "User-agent: *\nDisallow: /")
    assert fetch_one(server.url("/chunked"), http_client=engine).body == PHOTO
    assert server.paths() == ["/chunked"]


def test_robots_txt_is_read_once_for_a_host_and_obeyed(server: MockServer, engine: str) -> None:
    server.robots = (200, "User-agent: *\nDisallow: /photo/\nAllow: /photo/10x10.jpg$")
    urls = [server.url(path) for path in ("/photo/11x10.jpg", "/chunked", "/photo/10x10.jpg")] * 20
    results = fetch_all(urls, http_client=engine, respect_robots_txt=True)
    assert [(result.error, result.attempts) for result in results] == [
        (Reason.DISALLOWED_BY_ROBOTS_TXT, 0),
        (None, 1),
        (None, 1),
    ] * 20
    assert server.paths().count("/robots.txt") == 1
    assert "img2dataset" in server.requests[0].headers["user-agent"]


def test_each_origin_has_its_own_robots_txt(many_hosts: MockServer, engine: str) -> None:
    urls = [many_hosts.url("/chunked", f"127.0.0.{number}") for number in (71, 72, 73)] * 3
    fetch_all(urls, http_client=engine, respect_robots_txt=True)
    asked = [seen.host for seen in many_hosts.requests if seen.path == "/robots.txt"]
    assert sorted(asked) == ["127.0.0.71", "127.0.0.72", "127.0.0.73"]


@pytest.mark.parametrize(
    ("token", "path", "error"),
    [
        (None, "/chunked", Reason.DISALLOWED_BY_ROBOTS_TXT),
        (None, "/gzip", None),
        ("ExampleBot", "/chunked", None),
        ("ExampleBot", "/gzip", Reason.DISALLOWED_BY_ROBOTS_TXT),
        ("thirdbot", "/gzip", Reason.DISALLOWED_BY_ROBOTS_TXT),
    ],
)
def test_the_group_of_our_token_counts(
    server: MockServer, engine: str, token: str | None, path: str, error: str | None
) -> None:
    server.robots = (
        200,
        "User-agent: img2dataset\nDisallow: /chunked\n\n"
        "User-agent: examplebot\nDisallow: /gzip\n\n"
        "User-agent: *\nDisallow: /",
    )
    result = fetch_one(server.url(path), http_client=engine, respect_robots_txt=True, user_agent_token=token)
    assert result.error == error


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, None),
        (403, None),
        (429, None),
        (500, Reason.ROBOTS_TXT_UNREACHABLE),
        (503, Reason.ROBOTS_TXT_UNREACHABLE),
        (0, Reason.ROBOTS_TXT_UNREACHABLE),
    ],
)
def test_a_missing_file_allows_everything_and_a_broken_server_nothing(
    server: MockServer, engine: str, status: int, error: str | None
) -> None:
    server.robots = (status, "User-agent: *\nDisallow: /")
    result = fetch_one(server.url("/chunked"), http_client=engine, respect_robots_txt=True, timeout=1)
    assert (result.error, result.attempts) == (error, 0 if error else 1)


def test_a_host_that_cannot_be_reached_says_so_and_not_robots_txt(dns: DnsServer, engine: str) -> None:
    url = "http://nowhere.test/image.jpg"
    result = fetch_one(url, backend=asking(dns.server), http_client=engine, respect_robots_txt=True)
    assert result.error == Reason.DNS_NOT_FOUND


def test_the_target_of_a_redirect_is_asked_too(many_hosts: MockServer, engine: str) -> None:
    many_hosts.robots = (200, "User-agent: *\nDisallow: /chunked")
    url = many_hosts.url(f"/redirect?to={many_hosts.url('/chunked', '127.0.0.82')}", "127.0.0.81")
    result = fetch_one(url, http_client=engine, respect_robots_txt=True)
    assert (result.error, result.attempts) == (Reason.DISALLOWED_BY_ROBOTS_TXT, 1)
    assert [(seen.host, seen.path) for seen in many_hosts.requests][-1] == ("127.0.0.82", "/robots.txt")


def test_a_redirected_robots_txt_is_followed(server: MockServer, engine: str) -> None:
    server.images["rules"] = ("text/plain", b"User-agent: *\nDisallow: /chunked")
    server.robots = (302, "/image/rules")
    result = fetch_one(server.url("/chunked"), http_client=engine, respect_robots_txt=True)
    assert result.error == Reason.DISALLOWED_BY_ROBOTS_TXT


def test_of_a_huge_robots_txt_the_beginning_is_read(server: MockServer, engine: str) -> None:
    server.robots = (200, "User-agent: *\nDisallow: /chunked\n" + "Disallow: /filler\n" * 60_000)
    urls = [server.url("/chunked"), server.url("/gzip")]
    results = fetch_all(urls, http_client=engine, respect_robots_txt=True)
    assert [result.error for result in results] == [Reason.DISALLOWED_BY_ROBOTS_TXT, None]


def test_robots_txt_keeps_no_room(many_hosts: MockServer, engine: str) -> None:
    many_hosts.robots = (200, "User-agent: *\nDisallow: /private" + "\nDisallow: /filler" * 5000)
    urls = [many_hosts.url("/chunked", f"127.0.4.{number}") for number in range(1, 21)]
    with Fetcher(fetch_options(respect_robots_txt=True, http_client=engine)) as fetcher:
        results = list(fetcher.fetch(FetchRequest(url, url) for url in urls))
        assert fetcher.memory.used == 0
    assert all(result.body for result in results)


def test_a_host_that_answers_now_and_then_is_not_waited_for_long() -> None:
    """Half of its answers are 429: it gets its pauses, each longer than the last, and then is skipped."""
    host = Host(math.inf)
    now = spent = 0.0
    answers = 0
    while not host.is_skipped(now):
        pause = host.throttled(now, None, longest=10)
        spent, now = spent + pause, now + pause
        host.reached()
        answers += 1
    assert answers < 12
    assert spent < 80


def test_a_few_refusals_among_many_answers_are_forgotten() -> None:
    host = Host(math.inf)
    now = 0.0
    for _ in range(200):
        now += host.throttled(now, None, longest=10) + 1
        for _ in range(20):
            host.reached()
    assert not host.is_skipped(now)


def test_what_is_remembered_of_robots_txt_is_bounded() -> None:
    robots = RobotsTxt()
    text = b"User-agent: *\nDisallow: /" + b"x" * 400_000
    for number in range(100):
        assert robots.ask(f"http://{number}", lambda _: None, lambda _: None) is None
        robots.read(f"http://{number}", FetchResult(None, text, None))
    known = [number for number in range(100) if robots._known.get(f"http://{number}")]
    assert 20 < len(known) < 60
    assert known[-1] == 99
