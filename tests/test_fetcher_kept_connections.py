"""A connection on which something has come that nobody asked for is not used again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trustme
from fetching import fetch_options
from rawserver import RawServer

from img2dataset.fetcher import Fetcher, FetchRequest

COUNT = 12


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _wrong(server: RawServer, engine: str, pause: float, count: int = COUNT) -> list[tuple[str, bytes | None]]:
    """Which of ``/0`` and so on had another body; each is asked for so many seconds after the one before has come."""
    options = fetch_options(http_client=engine, thread_count=1, retries=0, ignore_ssl_certificate=True, timeout=5)
    wrong = []
    with Fetcher(options) as fetcher:
        for path in (f"/{number}" for number in range(count)):
            (result,) = fetcher.fetch([FetchRequest(path, server.url(path))])
            if result.body != path.encode():
                wrong.append((path, result.body))
            time.sleep(pause)
    return wrong


@pytest.mark.parametrize("form", [_answer, _chunked])
@pytest.mark.parametrize("secure", [False, True])
def test_a_second_answer_that_comes_later_is_nobodys(
    engine: str,
    certificate_authority: trustme.CA,
    form: Callable[[bytes], bytes],
    secure: bool,
) -> None:
    """30 ms after each answer comes another one; the next request is made after 80 ms."""
    certificate = certificate_authority.issue_cert("127.0.0.1") if secure else None

    def answer(path: str) -> list[bytes | float]:
        return [form(path.encode()), 0.03, _answer(b"wrong")]

    with RawServer(answer, keep_alive=True, certificate=certificate) as server:
        assert not _wrong(server, engine, pause=0.08)
        assert server.connections >= COUNT - 2


@pytest.mark.parametrize("form", [_answer, _chunked])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size", [5, 12_000, 300_000])
def test_a_second_answer_that_comes_along_is_nobodys(
    engine: str,
    certificate_authority: trustme.CA,
    form: Callable[[bytes], bytes],
    secure: bool,
    size: int,
) -> None:
    certificate = certificate_authority.issue_cert("127.0.0.1") if secure else None
    with RawServer(
        lambda path: form(path.encode()) + _answer(b"w" * size), keep_alive=True, certificate=certificate
    ) as server:
        assert not _wrong(server, engine, pause=0.02)


def test_a_server_that_hangs_up_between_requests_costs_none(engine: str) -> None:
    with RawServer(lambda path: _answer(path.encode())) as server:
        assert not _wrong(server, engine, pause=0.02)


def test_a_good_connection_is_kept(engine: str) -> None:
    with RawServer(lambda path: _answer(path.encode()), keep_alive=True) as server:
        assert not _wrong(server, engine, pause=0.02)
        assert server.connections == 1


def test_a_connection_is_kept_again_when_the_doubt_is_over(engine: str) -> None:
    def answer(path: str) -> list[bytes | float]:
        return [_answer(path.encode()), *([0.02, _answer(b"wrong")] if path in ("/3", "/4") else [])]

    with RawServer(answer, keep_alive=True) as server:
        assert not _wrong(server, engine, pause=0.07, count=30)
        assert server.connections < 25
