"""An exception that nobody expected costs its row and nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from fetching import fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer
from rawserver import RawServer

from img2dataset import defects
from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.engine import Body
from img2dataset.fetcher.resolver import Resolution
from img2dataset.fetcher.retries import PASSING
from img2dataset.fetcher.robots import Protego, RobotsRules
from img2dataset.fetcher.schedule import Schedule

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nimage\r\n0\r\n"


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defects, "_told", set())


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"\n",
        b"\r\n\r\n" + OK,
        OK.replace(b"HTTP", b"http"),
        OK.replace(b"200 OK", b"200: OK"),
        OK.replace(b"200 OK", b"200OK"),
        OK.replace(b"200 OK", b"20 OK"),
    ],
)
def test_an_odd_answer_is_a_protocol_error_and_no_more(engine: str, answer: bytes) -> None:
    with RawServer(lambda path: answer if path == "/odd" else OK) as server:
        rows = [server.url(path) for path in ("/odd", "/1", "/odd", "/2")]
        results = fetch_all(rows, http_client=engine, thread_count=1)
    assert [result.error for result in results] == [Reason.PROTOCOL_ERROR, None] * 2


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"\r\nContent", b"\r\nHTTP/x: 1\r\nContent"),
        CHUNKED + b"HTTP/x: 1\r\n\r\n",
        CHUNKED + b"HTTP/1.1: 1\r\nX-Robots-Tag: noai\r\n\r\n",
        CHUNKED + b"HTTP/1.1 404 Not: Found\r\n\r\n",
    ],
)
def test_a_header_or_trailer_may_be_named_as_it_likes(engine: str, answer: bytes) -> None:
    with RawServer(lambda _: answer) as server:
        result = fetch_one(server.url("/"), http_client=engine)
    assert (result.body, result.http_status) == (b"image", 200)


@pytest.mark.parametrize("size", [b"-7", b"zz", b"", b"f" * 40])
def test_a_chunk_of_an_odd_size_fails_its_row(engine: str, size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\nsomething\r\n0\r\n\r\n" % size
    with RawServer(lambda _: answer) as server:
        error = fetch_one(server.url("/"), http_client=engine).error
    assert error in (Reason.PROTOCOL_ERROR, Reason.BODY_CUT_SHORT)  # the latter for `requests`


def test_trailers_of_an_empty_body_are_no_answer(engine: str) -> None:
    answer = b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHTTP/1.1 200 OK: x\r\n\r\n"
    with RawServer(lambda _: answer) as server:
        assert fetch_one(server.url("/"), http_client=engine).error == "http 404"


# ------------------------------------------------------------------------------------------ mistakes of our own


def _raises(*_: object, **__: object) -> object:
    raise ZeroDivisionError("a mistake")


def _break_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Body, "begin", _raises)


def _break_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Body, "write", _raises)


def _break_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Body, "finish", _raises)


def _break_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2dataset.fetcher.guard.Guard.allowed", _raises)


def _break_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2dataset.fetcher.results.parse", _raises)


def _break_robots_txt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protego, "parse", _raises)


def _break_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RobotsRules, "refusal", _raises)


def _break_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schedule, "add", _raises)


@pytest.mark.parametrize(
    "mistake",
    [
        _break_header,
        _break_body,
        _break_end,
        _break_guard,
        _break_parsing,
        _break_robots_txt,
        _break_rules,
        _break_queue,
    ],
)
def test_a_mistake_costs_the_rows_that_meet_it(
    server: MockServer,
    engine: str,
    mistake: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.robots = (200, "User-agent: *\nDisallow: /private")
    rows = [FetchRequest(number, server.url(f"/bytes/100000?{number}")) for number in range(50)]
    options = fetch_options(http_client=engine, thread_count=4, respect_robots_txt=True)
    with Fetcher(options) as fetcher:
        with monkeypatch.context() as context, caplog.at_level(logging.WARNING):
            mistake(context)
            results = list(fetcher.fetch(rows))
            assert [result.error for result in results] == [Reason.INTERNAL_ERROR] * 50
            assert sorted(result.id for result in results) == list(range(50))  # type: ignore[type-var]
            assert fetcher.memory.used == 0
        fresh = [FetchRequest(0, server.url("/chunked", "localhost"))] * 20
        assert [result.body for result in fetcher.fetch(fresh)] == [PHOTO] * 20
        assert fetcher.memory.used == 0
        assert all(not host.running for host in fetcher._threads._schedule._hosts.values())
    told = [record for record in caplog.records if "internal error" in record.message]
    assert 1 <= len(told) <= 2
    assert all(record.exc_info and server.url("/") in record.message for record in told)
    assert capfd.readouterr() == ("", "")


def test_an_engine_that_has_met_a_mistake_is_not_used_again(
    server: MockServer, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fetcher(fetch_options(http_client=engine, thread_count=1)) as fetcher:
        list(fetcher.fetch([FetchRequest(0, server.url("/chunked"))] * 3))
        assert server.connections == 1
        with monkeypatch.context() as context:
            context.setattr(Body, "begin", _raises)
            (result,) = fetcher.fetch([FetchRequest(0, server.url("/chunked"))])
            assert result.error == Reason.INTERNAL_ERROR
        list(fetcher.fetch([FetchRequest(0, server.url("/chunked"))] * 3))
        assert server.connections == 2


def test_an_engine_that_cannot_be_made_anew_costs_one_row_at_a_time(
    server: MockServer, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fetcher(fetch_options(http_client=engine, thread_count=1)) as fetcher:
        list(fetcher.fetch([FetchRequest(0, server.url("/chunked"))]))
        with monkeypatch.context() as context:
            context.setattr(Body, "begin", _raises)
            context.setattr(fetcher._threads, "_engine_factory", _raises)
            results = list(fetcher.fetch([FetchRequest(0, server.url("/chunked"))] * 3))
            assert [result.error for result in results] == [Reason.INTERNAL_ERROR] * 3
        assert [result.body for result in fetcher.fetch([FetchRequest(0, server.url("/chunked"))])] == [PHOTO]


def test_a_fetcher_that_can_make_no_engine_at_all_says_so(server: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fetcher(fetch_options()) as fetcher:
        monkeypatch.setattr(fetcher._threads, "_engine_factory", _raises)
        with pytest.raises(ZeroDivisionError, match="a mistake"):
            list(fetcher.fetch([FetchRequest(0, server.url("/chunked"))]))


class RaisingBackend:
    """Raises where it is asked, or answers with nonsense where it calls back."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        if self._at_once:
            raise ZeroDivisionError(host)
        done(Resolution(("no address",)))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("at_once", [True, False])
def test_a_resolver_that_breaks_costs_the_rows_that_need_it(server: MockServer, engine: str, at_once: bool) -> None:
    rows = [*(f"http://name{number}.test/" for number in range(100)), server.url("/chunked")]
    results = fetch_all(rows, backend=RaisingBackend(at_once=at_once), http_client=engine)
    assert [result.error for result in results] == [Reason.INTERNAL_ERROR] * 100 + [None]


@pytest.mark.parametrize("resolver", ["c-ares", "system"])
def test_a_backend_that_breaks_in_its_own_thread_answers(
    resolver: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("img2dataset.fetcher.resolver._getaddrinfo", _raises)
    monkeypatch.setattr("img2dataset.fetcher.cares._Channel._reply", _raises)
    results = fetch_all([f"http://localhost:1/{number}" for number in range(3)], resolver=resolver)
    assert {result.error for result in results} == {Reason.INTERNAL_ERROR}
    assert capfd.readouterr().err == ""


def test_the_clock_goes_on() -> None:
    clock = Clock()
    rang = threading.Event()
    clock.call_later(0, _raises)  # type: ignore[arg-type]
    clock.call_later(0.01, rang.set)
    assert rang.wait(5)
    clock.close()


def test_a_system_without_threads_is_served_by_those_there_are(
    server: MockServer, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("fetcher ") and thread.name[8:].isdigit() and thread.name != "fetcher 0":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert {result.body for result in fetch_all([server.url("/chunked")] * 20, http_client=engine)} == {PHOTO}


def test_many_kinds_of_mistakes_are_told_a_bounded_number_of_times(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        kind = type(f"Mistake{number}", (Exception,), {})
        for _ in range(10):
            defects.tell(kind(), "http://example.test/")
    assert len(caplog.records) == 20


def test_an_error_of_the_iterable_is_no_internal_error(server: MockServer, engine: str) -> None:
    def requests() -> Iterator[FetchRequest]:
        yield FetchRequest(1, server.url("/chunked"))
        raise LookupError("the list is broken")

    with Fetcher(fetch_options(http_client=engine)) as fetcher, pytest.raises(LookupError, match="the list is broken"):
        list(fetcher.fetch(requests()))


def test_an_internal_error_is_nothing_that_passes() -> None:
    assert Reason.INTERNAL_ERROR not in PASSING
