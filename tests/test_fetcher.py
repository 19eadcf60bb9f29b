"""Requests in, results out: the contract that the downloader relies on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetching import Stopwatch, fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer, photo

from img2dataset.errors import Reason
from img2dataset.fetcher import FETCHERS, RESOLVERS, Fetcher, FetchRequest


def test_every_request_comes_back_with_its_id_and_its_bytes(server: MockServer, engine: str) -> None:
    urls = [server.url(f"/photo/{width}x20.png") for width in range(10, 60)]
    results = fetch_all(urls, http_client=engine)
    assert [result.body for result in results] == [photo(width, 20, "png") for width in range(10, 60)]
    assert {(result.error, result.attempts, result.http_status, result.final_url) for result in results} == {
        (None, 1, 200, None)
    }


@pytest.mark.parametrize("path", ["/chunked", "/until-close", "/gzip", "/cookie", "/declared?length=15222&sent=15222"])
def test_a_body_is_whole_however_it_is_sent(server: MockServer, engine: str, path: str) -> None:
    assert len(PHOTO) == 15222
    assert fetch_one(server.url(path), http_client=engine).body == PHOTO


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        ("/status/404", "http 404", 404),
        ("/status/403", "http 403", 403),
        ("/status/500", "http 500", 500),
        ("/status/304", "http 304", 304),
        ("/status/204", Reason.BODY_EMPTY, 204),
        ("/empty", Reason.BODY_EMPTY, 200),
        ("/wrong-length", Reason.BODY_CUT_SHORT, 200),
        ("/cut-chunks", Reason.BODY_CUT_SHORT, 200),
        ("/bad-gzip", Reason.BODY_UNDECODABLE, 200),
        ("/reset", Reason.CONNECTION_RESET, None),
        ("/reset-midway", Reason.CONNECTION_RESET, 200),
        ("/hang-up", Reason.CONNECTION_RESET, None),
        ("/garbage", Reason.PROTOCOL_ERROR, None),
        ("/endless-header", Reason.PROTOCOL_ERROR, None),
        ("/redirect", "http 302", 302),
    ],
)
def test_a_failure_says_why(server: MockServer, engine: str, path: str, error: str, status: int | None) -> None:
    result = fetch_one(server.url(path), http_client=engine)
    assert (result.body, result.error, result.attempts, result.http_status) == (None, error, 1, status)


@pytest.mark.parametrize("end", ["crlf", "lf"])
def test_an_interim_answer_is_not_the_answer(server: MockServer, end: str) -> None:
    """libcurl knows them all; Python's http.client, below requests, only 100."""
    url = server.url(f"/early-hints?end={end}")
    by_curl, by_requests = (fetch_one(url, http_client=name) for name in FETCHERS)
    assert (by_curl.body, by_curl.http_status) == (PHOTO, 200)
    assert by_requests.error == "http 103"


def test_a_closed_port_is_a_refused_connection(engine: str, unused_port: int) -> None:
    result = fetch_one(f"http://127.0.0.1:{unused_port}/", http_client=engine)
    assert (result.error, result.attempts, result.http_status) == (Reason.CONNECTION_REFUSED, 1, None)


def test_a_large_error_page_is_neither_read_nor_too_large(server: MockServer, engine: str) -> None:
    server.images["page"] = ("text/html", b"x" * 2_000_000)
    assert fetch_one(server.url("/error-page/page"), http_client=engine, max_download_bytes=1000).error == "http 404"


def test_a_connection_is_used_again(server: MockServer, engine: str) -> None:
    urls = [server.url("/chunked"), server.url("/status/404"), server.url("/gzip")] * 5
    fetch_all(urls, http_client=engine, thread_count=1)
    assert server.connections == 1


def test_no_cookie_is_kept(server: MockServer, engine: str) -> None:
    fetch_all([server.url("/cookie"), server.url("/cookie")], http_client=engine, thread_count=1)
    assert all("cookie" not in seen.headers for seen in server.requests)


def test_a_blocked_iterable_holds_up_no_result(server: MockServer, engine: str) -> None:
    gate = threading.Event()

    def requests() -> Iterator[FetchRequest]:
        yield FetchRequest("first", server.url("/chunked"))
        assert gate.wait(10)
        yield FetchRequest("second", server.url("/chunked"))

    with Fetcher(fetch_options(http_client=engine)) as fetcher:
        results = fetcher.fetch(requests())
        assert next(results).id == "first"
        gate.set()
        assert [result.id for result in results] == ["second"]


def test_an_error_of_the_iterable_comes_after_the_results_before_it(server: MockServer) -> None:
    def requests() -> Iterator[FetchRequest]:
        yield FetchRequest(1, server.url("/slow-header?delay=0.3"))
        yield FetchRequest(2, "no url")
        raise LookupError("the list is broken")

    with Fetcher(fetch_options()) as fetcher:
        results = fetcher.fetch(requests())
        assert [next(results).id, next(results).id] == [2, 1]
        with pytest.raises(LookupError, match="the list is broken"):
            next(results)


def test_a_fetcher_serves_many_calls_and_several_at_once(server: MockServer, engine: str) -> None:
    with Fetcher(fetch_options(thread_count=4, http_client=engine)) as fetcher:
        found: list[set[object]] = [set(), set(), set()]

        def consume(number: int) -> None:
            for _ in range(2):
                requests = [FetchRequest((number, index), server.url("/photo/10x10.jpg")) for index in range(20)]
                found[number] |= {result.id for result in fetcher.fetch(requests) if result.body}

        threads = [threading.Thread(target=consume, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [{(number, index) for index in range(20)} for number in range(3)]


def test_several_fetchers_live_in_one_process(server: MockServer) -> None:
    with Fetcher(fetch_options(thread_count=2)) as first, Fetcher(fetch_options(thread_count=2)) as second:
        for fetcher in (first, second, first):
            (result,) = fetcher.fetch([FetchRequest(0, server.url("/chunked"))])
            assert result.body == PHOTO


def test_no_more_threads_than_work(server: MockServer) -> None:
    before = _worker_threads()
    with Fetcher(fetch_options(thread_count=256)) as fetcher:
        assert _worker_threads() == before
        for _ in range(5):
            list(fetcher.fetch([FetchRequest(0, server.url("/chunked")), FetchRequest(1, server.url("/chunked"))]))
        assert 1 <= _worker_threads() - before <= 4
    assert _worker_threads() == before


def _worker_threads() -> int:
    return sum(thread.name.startswith("fetcher ") and thread.name[8:].isdigit() for thread in threading.enumerate())


def test_results_that_nobody_wants_are_dropped(server: MockServer) -> None:
    with Fetcher(fetch_options(thread_count=2)) as fetcher:
        results = fetcher.fetch(FetchRequest(index, server.url("/bytes/1000?fill=a")) for index in range(200))
        next(results)
        results.close()  # type: ignore[attr-defined]
        (result,) = fetcher.fetch([FetchRequest("after", server.url("/chunked"))])
        assert result.id == "after"
        assert len(server.requests) < 200
        give_up_at = time.monotonic() + 10
        while fetcher.memory.used and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert fetcher.memory.used == 0


def test_a_fetcher_may_be_made_for_one_loop(server: MockServer) -> None:
    requests = [FetchRequest(index, server.url("/chunked")) for index in range(20)]
    assert len([result for result in Fetcher(fetch_options(thread_count=2)).fetch(requests) if result.body]) == 20
    assert _worker_threads() == 0


@pytest.mark.parametrize("path", ["/silent", "/trickle", "/stall", "/header-trickle"])
def test_closing_is_prompt_whatever_hangs(server: MockServer, engine: str, path: str) -> None:
    fetcher = Fetcher(fetch_options(timeout=30, http_client=engine))
    failed: list[BaseException] = []

    def consume() -> None:
        try:
            list(fetcher.fetch([FetchRequest(0, server.url(path))]))
        except RuntimeError as error:
            failed.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    while not server.requests:
        time.sleep(0.01)
    watch = Stopwatch()
    fetcher.close()
    consumer.join(1)
    assert watch.seconds < 1
    assert "closed" in str(failed[0])


_HANGING_PROCESS = """
import sys, threading
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.fetcher.cares import CaresBackend
from img2dataset.options import FetchOptions, Limits

options = FetchOptions(limits=Limits(timeout=60), http_client=sys.argv[1])
fetcher = Fetcher(options, backend=CaresBackend(servers=[sys.argv[2]]))
results = fetcher.fetch([FetchRequest(0, "http://hangs.test/"), FetchRequest(1, sys.argv[3]), FetchRequest(2, "")])
assert next(results).id == 2
print("leaving", flush=True)
"""


def test_a_process_that_forgets_to_close_ends_anyway(server: MockServer, engine: str, swallowing_port: int) -> None:
    watch = Stopwatch()
    process = subprocess.run(
        [sys.executable, "-c", _HANGING_PROCESS, engine, f"127.0.0.1:{swallowing_port}", server.url("/silent")],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "leaving\n", "")
    assert watch.seconds < 10


def test_the_tables_name_what_the_options_may_say() -> None:
    assert list(FETCHERS) == ["curl", "requests"]
    assert list(RESOLVERS) == ["c-ares", "system"]
    assert fetch_options().http_client in FETCHERS
    assert fetch_options().resolver in RESOLVERS


def test_importing_the_tables_loads_no_engine() -> None:
    code = "import sys, img2dataset.fetcher; print([n for n in ('pycurl', 'requests', 'pycares', 'ada_url', 'protego')"
    process = subprocess.run(
        [sys.executable, "-c", code + " if n in sys.modules])"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "[]\n"
