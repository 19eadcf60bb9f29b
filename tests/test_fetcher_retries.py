"""What may pass within seconds is tried again, politely; nothing else is."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from dnsserver import SERVFAIL, Answer, DnsServer
from fetching import Stopwatch, asking, fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.fetcher.retries import back_off, retry_after_seconds


@pytest.mark.usefixtures("quick_retries")
def test_a_failure_that_may_pass_is_tried_again(many_hosts: MockServer, engine: str) -> None:
    failures = ["429", "500", "502", "503", "504", "reset"]
    urls = [many_hosts.url(f"/flaky?status={failure}", f"127.0.3.{n}") for n, failure in enumerate(failures, 1)]
    results = fetch_all(urls, http_client=engine, retries=1)
    fates = [(result.body, result.error, result.attempts, result.http_status) for result in results]
    assert fates == [(PHOTO, None, 2, 200)] * len(failures)


@pytest.mark.usefixtures("quick_retries")
def test_a_failure_that_stays_is_reported_after_the_last_attempt(many_hosts: MockServer, engine: str) -> None:
    urls = [many_hosts.url("/status/500", "127.0.3.11"), many_hosts.url("/reset", "127.0.3.12")]
    failed, reset = fetch_all(urls, http_client=engine, retries=2)
    assert (failed.error, failed.attempts, failed.http_status) == ("http 500", 3, 500)
    assert (reset.error, reset.attempts, reset.http_status) == (Reason.CONNECTION_RESET, 3, None)
    assert sorted(many_hosts.paths()) == ["/reset"] * 3 + ["/status/500"] * 3


@pytest.mark.usefixtures("quick_retries")
def test_a_refused_connection_is_tried_again(engine: str, unused_port: int) -> None:
    result = fetch_one(f"http://127.0.0.1:{unused_port}/", http_client=engine, retries=1)
    assert (result.error, result.attempts) == (Reason.CONNECTION_REFUSED, 2)


def test_no_retries_means_one_attempt(server: MockServer, engine: str) -> None:
    result = fetch_one(server.url("/flaky"), http_client=engine, retries=0)
    assert (result.error, result.attempts) == ("http 503", 1)


def test_what_does_not_pass_is_not_tried_again(server: MockServer, engine: str) -> None:
    paths = [
        "/silent",
        "/status/404",
        "/status/403",
        "/status/410",
        "/status/501",
        "/x-robots?value=noai",
        "/empty",
        "/bad-gzip",
        "/declared?length=99999999",
        "/redirect?to=ftp://127.0.0.1/",
        "/wrong-length",
    ]
    results = fetch_all([server.url(path) for path in paths], http_client=engine, retries=3, timeout=1.5)
    assert {(result.body, result.attempts) for result in results} == {(None, 1)}
    assert sorted(server.paths()) == sorted(paths)


@pytest.mark.usefixtures("quick_retries")
def test_a_retry_begins_again_at_the_first_url(server: MockServer, engine: str) -> None:
    result = fetch_one(server.url("/redirect?to=/flaky"), http_client=engine, retries=1)
    assert (result.body, result.attempts, result.final_url) == (PHOTO, 2, server.url("/flaky"))
    assert server.paths() == ["/redirect?to=/flaky", "/flaky"] * 2


def test_a_temporary_dns_failure_is_tried_again(server: MockServer, dns: DnsServer, engine: str) -> None:
    broken_until = time.monotonic() + 0.3

    def recovering() -> Answer:
        return SERVFAIL if time.monotonic() < broken_until else ["127.0.0.1"]

    dns.zone["recovering.test"] = recovering
    url = server.url("/chunked", "recovering.test")
    result = fetch_one(url, backend=asking(dns.server), http_client=engine, retries=1)
    assert (result.body, result.error, result.attempts) == (PHOTO, None, 1)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed_when_it_fits(server: MockServer, engine: str, form: str) -> None:
    watch = Stopwatch()
    url = server.url(f"/retry-after?seconds=2&form={form}")
    result = fetch_one(url, http_client=engine, retries=1, timeout=5)
    assert (result.body, result.attempts) == (PHOTO, 2)
    # A date has no fraction of a second, so it may name a time up to a second earlier.
    assert (1 if form == "date" else 2) <= watch.seconds < 4


def test_a_retry_after_that_does_not_fit_means_no_retry(server: MockServer, engine: str) -> None:
    watch = Stopwatch()
    result = fetch_one(server.url("/retry-after?seconds=60"), http_client=engine, retries=5, timeout=5)
    assert (result.error, result.attempts) == ("http 503", 1)
    assert watch.seconds < 2


@pytest.mark.usefixtures("quick_retries")
def test_a_retry_after_that_cannot_be_read_is_no_crash(server: MockServer, engine: str) -> None:
    urls = [server.url(f"/retry-after?form={form}") for form in ("soon", "-1", "1e9", "%F0%9F%95%90", "Thu, 32 Foo")]
    assert {result.body for result in fetch_all(urls, http_client=engine, retries=1)} == {PHOTO}


def test_the_others_go_on_while_one_waits_for_its_retry(many_hosts: MockServer, engine: str) -> None:
    requests = [
        FetchRequest("waits", many_hosts.url("/retry-after?seconds=2", "127.0.0.9")),
        *(FetchRequest(number, many_hosts.url("/photo/10x10.jpg")) for number in range(30)),
    ]
    with Fetcher(fetch_options(thread_count=1, http_client=engine)) as fetcher:
        watch = Stopwatch()
        order = []
        for result in fetcher.fetch(requests):
            assert result.error is None
            order.append((result.id, watch.seconds))
    assert order[-1][0] == "waits"
    assert order[-2][1] < 1.5 < order[-1][1]


def test_the_back_off_doubles_with_jitter() -> None:
    for retries, base in ((0, 1), (1, 2), (2, 4), (30, 60)):
        waits = [back_off(retries) for _ in range(200)]
        assert base / 2 <= min(waits) < max(waits) <= base
        assert len(set(waits)) > 100


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("120", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("9" * 400, 999_999_999)],
)
def test_retry_after_is_read(value: str, seconds: float) -> None:
    assert retry_after_seconds(value) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    seconds = retry_after_seconds(formatdate(time.time() + 3600, usegmt=True))
    assert seconds is not None
    assert 3595 < seconds <= 3600


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "Mon, 99 Foo 2024 00:00:00 GMT"])
def test_what_is_no_retry_after_is_none(value: str | None) -> None:
    assert retry_after_seconds(value) is None
