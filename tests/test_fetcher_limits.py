"""What is too large, too far or not http is refused; what is in memory is bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fetching import Stopwatch, fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.fetcher.memory import Memory


def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(server: MockServer, engine: str) -> None:
    urls = [server.url("/bytes/100000"), server.url("/bytes/100001")]
    fits, does_not = fetch_all(urls, http_client=engine, max_download_bytes=100_000)
    assert fits.body == b"x" * 100_000
    assert (does_not.body, does_not.error, does_not.http_status) == (None, Reason.BODY_TOO_LARGE, 200)


@pytest.mark.parametrize("sent", [0, 1000])
def test_a_declared_length_above_the_limit_is_refused_before_the_body(
    server: MockServer, engine: str, sent: int
) -> None:
    watch = Stopwatch()
    result = fetch_one(server.url(f"/declared?length=70000000&sent={sent}"), http_client=engine)
    assert (result.error, result.http_status) == (Reason.BODY_TOO_LARGE, 200)
    assert watch.seconds < 2


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_an_absurd_length_is_no_crash(server: MockServer, engine: str, length: str) -> None:
    result = fetch_one(server.url(f"/declared?length={length}"), http_client=engine, timeout=2)
    assert result.error in (Reason.BODY_TOO_LARGE, Reason.PROTOCOL_ERROR, Reason.TIMED_OUT)


@pytest.mark.parametrize("path", ["/endless", "/endless?form=raw", "/gzip-bomb?size=50000000"])
def test_a_body_is_counted_while_it_comes(server: MockServer, engine: str, path: str) -> None:
    result = fetch_one(server.url(path), http_client=engine, max_download_bytes=1_000_000)
    assert (result.error, result.http_status) == (Reason.BODY_TOO_LARGE, 200)


def test_five_redirects_are_followed_and_no_sixth(server: MockServer, engine: str) -> None:
    five, six = fetch_all([server.url("/redirect-chain/5"), server.url("/redirect-chain/6")], http_client=engine)
    assert (five.body, five.final_url) == (PHOTO, server.url("/redirect-chain/0?delay=0"))
    assert (six.error, six.attempts) == (Reason.TOO_MANY_REDIRECTS, 1)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(server: MockServer, engine: str, code: int) -> None:
    assert fetch_one(server.url(f"/redirect?to=/chunked&code={code}"), http_client=engine).body == PHOTO


_OTHER_SCHEMES = [
    "file:///etc/passwd",
    "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    "ftp://127.0.0.1/image.jpg",
    "gopher://127.0.0.1:70/1",
    "javascript:alert(1)",
    "ws://127.0.0.1/",
    "blob:http://127.0.0.1/1",
]


def test_only_http_is_fetched(engine: str) -> None:
    results = fetch_all(_OTHER_SCHEMES, http_client=engine)
    assert {(result.error, result.attempts) for result in results} == {(Reason.UNSUPPORTED_SCHEME, 0)}


def test_no_redirect_leads_out_of_http(server: MockServer, engine: str) -> None:
    results = fetch_all([server.url(f"/redirect?to={url}") for url in _OTHER_SCHEMES], http_client=engine)
    assert {(result.error, result.attempts, result.http_status) for result in results} == {
        (Reason.UNSUPPORTED_SCHEME, 1, 302)
    }


def test_received_bytes_are_bounded_and_everything_arrives(server: MockServer, engine: str) -> None:
    """64 threads, bodies of up to the limit, room for four of them, and a consumer that takes its time."""
    limit = 400_000
    urls = [server.url(f"/bytes/{size}") for size in (399_999, 1000, 200_000, 400_000) * 20]
    options = fetch_options(thread_count=64, max_download_bytes=limit, http_client=engine, retries=0)
    with Fetcher(options, memory=4 * limit) as fetcher:
        sizes = []
        for result in fetcher.fetch(FetchRequest(url, url) for url in urls):
            assert result.error is None
            sizes.append(len(result.body or b""))
            if len(sizes) % 20 == 0:
                time.sleep(0.1)
        assert 2 * limit < fetcher.memory.peak <= fetcher.memory.total == 4 * limit
        assert fetcher.memory.used == 0
    assert sorted(sizes) == sorted([399_999, 1000, 200_000, 400_000] * 20)


def test_bodies_of_unknown_length_get_their_room_too(server: MockServer, engine: str) -> None:
    server.images["large.bin"] = ("image/jpeg", bytes(range(256)) * 1500)
    url = server.url("/chunked-image/large.bin")
    options = fetch_options(thread_count=16, max_download_bytes=500_000, http_client=engine, retries=0)
    with Fetcher(options, memory=1_000_000) as fetcher:
        results = list(fetcher.fetch(FetchRequest(number, url) for number in range(30)))
        assert fetcher.memory.peak <= 1_000_000
    assert {(result.error, len(result.body or b""), result.attempts) for result in results} == {(None, 384_000, 1)}


@pytest.mark.usefixtures("quick_retries")
def test_failures_keep_no_room(server: MockServer, engine: str) -> None:
    paths = ["/endless", "/wrong-length", "/reset-midway", "/status/500", "/empty", "/x-robots?value=noai", "/silent"]
    options = fetch_options(timeout=1, max_download_bytes=1_000_000, http_client=engine)
    with Fetcher(options) as fetcher:
        results = list(fetcher.fetch(FetchRequest(path, server.url(path)) for path in paths))
        assert fetcher.memory.used == 0
    assert all(result.error for result in results)


def test_a_consumer_that_stops_reading_stops_the_fetching(server: MockServer, engine: str) -> None:
    options = fetch_options(thread_count=32, max_download_bytes=100_000, http_client=engine)
    with Fetcher(options, memory=1_000_000) as fetcher:
        results = fetcher.fetch(FetchRequest(number, server.url("/bytes/100000")) for number in range(100))
        next(results)
        time.sleep(0.5)
        assert len(server.requests) <= 32 + 10
        assert sum(result.body is not None for result in results) == 99


_HUNGRY = """
import sys
from pathlib import Path
from img2dataset.fetcher import Fetcher, FetchRequest
from img2dataset.options import FetchOptions, Limits

def most_resident():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])

engine, limit, total, *urls = sys.argv[1:]
limits = Limits(max_download_bytes=int(limit), timeout=30)
options = FetchOptions(thread_count=64, http_client=engine, limits=limits)
with Fetcher(options, memory=int(total)) as fetcher:
    list(fetcher.fetch([]))
    before = most_resident()
    for result in fetcher.fetch(FetchRequest(0, url) for url in urls * 64):
        pass
print((most_resident() - before) // 1024)
"""


def _megabytes_used(engine: str, limit: int, total: int, url: str) -> int:
    process = subprocess.run(
        [sys.executable, "-c", _HUNGRY, engine, str(limit), str(total), url],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},  # as a worker process has it
        capture_output=True,
        text=True,
        check=True,
    )
    return int(process.stdout)


def test_memory_does_not_grow_with_threads_times_size(server: MockServer, engine: str) -> None:
    """64 threads fetch bodies of 8 MB: 512 MB, were they not bounded to 32 MB (and what the C library keeps of it)."""
    used = _megabytes_used(engine, 16_000_000, 32_000_000, server.url("/bytes/8000000"))
    assert 16 < used < 256


def test_a_compressed_bomb_is_not_unpacked_beyond_the_limit(server: MockServer, engine: str) -> None:
    used = _megabytes_used(engine, 1_000_000, 32_000_000, server.url("/gzip-bomb"))
    assert used < 128


def test_memory_admits_while_a_quarter_is_left_and_lets_bodies_grow_into_it() -> None:
    memory = Memory(100_000, total=400_000)
    rooms = []
    while (room := memory.admit()) is not None:
        rooms.append(room)
    assert memory.used <= 300_000 < memory.used + rooms[0].size
    usual = rooms[0].size
    assert rooms[0].grow(usual + 400_000 - memory.used)
    assert not rooms[1].grow(usual + 1)
    assert rooms[1].size == usual
    for room in rooms:
        room.free()
        room.free()
    assert memory.used == 0
    assert memory.admit(400_000) is not None
    assert memory.admit(1) is None


def test_memory_expects_what_has_come_lately() -> None:
    memory = Memory(100_000_000, total=256_000_000)
    for _ in range(500):
        room = memory.admit(1_500_000)
        assert room is not None
        room.fit(1_000_000)
        room.hand_over()
        memory.release(1_000_000)
    assert memory.used == 0
    expected = memory.admit()
    assert expected is not None
    assert 990_000 < expected.size <= 1_000_000


def test_memory_is_never_too_small_for_the_largest_body() -> None:
    assert Memory(1_000_000, total=1).total == 2_000_000


@pytest.mark.usefixtures("quick_retries")
def test_everything_at_once_ends(many_hosts: MockServer, engine: str) -> None:
    """Little memory, few connections, retries, pauses, redirects, hung and broken servers: no row is lost."""
    paths = [
        "/bytes/90000",
        "/bytes/100000",
        "/chunked",
        "/redirect-chain/3",
        "/flaky?times=1",
        "/flaky?status=reset&times=1",
        "/status/404",
        "/status/429",
        "/retry-after?seconds=1",
        "/silent",
        "/trickle",
        "/reset",
        "/wrong-length",
        "/endless",
        "/x-robots?value=noai",
        "/redirect-loop",
    ]
    urls = [many_hosts.url(paths[n % len(paths)], f"127.0.9.{1 + n // 7 % 10}") for n in range(120)]
    options = fetch_options(
        thread_count=32,
        timeout=1,
        retries=2,
        max_download_bytes=100_000,
        max_connections_per_host=2,
        respect_robots_txt=True,
        http_client=engine,
    )
    watch = Stopwatch()
    with Fetcher(options, memory=300_000) as fetcher:
        results = list(fetcher.fetch(FetchRequest(number, url) for number, url in enumerate(urls)))
        assert sorted(result.id for result in results) == list(range(120))  # type: ignore[type-var]
        assert fetcher.memory.used == 0
        assert fetcher.memory.peak <= 300_000
    assert watch.seconds < 60
