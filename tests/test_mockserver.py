"""The mock server keeps what its docstring promises, or the tests that use it prove nothing."""

from __future__ import annotations

import contextlib
import http.client
import io
import ssl
import threading
import time
from pathlib import Path

from mockserver import PHOTO, MockServer, photo
from PIL import Image


def get(server: MockServer, path: str, timeout: float = 5) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_registered_images_and_generated_photos_are_served(server: MockServer) -> None:
    server.images["a.jpg"] = ("image/jpeg", b"bytes")
    assert get(server, "/image/a.jpg") == (200, b"bytes")
    status, body = get(server, "/photo/30x20.png?seed=3")
    assert status == 200
    assert Image.open(io.BytesIO(body)).size == (30, 20)
    assert body == photo(30, 20, "png", 3) != photo(30, 20, "png", 4)


def test_it_tells_what_it_was_asked(server: MockServer) -> None:
    get(server, "/status/404?x=1")
    assert server.paths() == ["/status/404?x=1"]
    assert server.requests[0].host == "127.0.0.1"
    assert server.requests[0].headers["host"].startswith("127.0.0.1:")


def test_a_connection_is_kept_for_the_next_request(server: MockServer) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/chunked")
        assert connection.getresponse().read() == PHOTO
    connection.close()
    assert server.connections == 1


def test_it_answers_on_every_loopback_address(many_hosts: MockServer) -> None:
    for host in ("127.0.0.1", "127.9.8.7"):
        connection = http.client.HTTPConnection(host, many_hosts.port, timeout=5)
        connection.request("GET", "/echo")
        assert connection.getresponse().status == 200
        connection.close()
    assert [seen.host for seen in many_hosts.requests] == ["127.0.0.1", "127.9.8.7"]


def test_it_speaks_https(https_server: MockServer, ca_bundle: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca_bundle))
    connection = http.client.HTTPSConnection("127.0.0.1", https_server.port, timeout=5, context=context)
    connection.request("GET", "/echo")
    assert connection.getresponse().status == 200
    connection.close()


def test_closing_ends_whatever_hangs() -> None:
    server = MockServer()
    threads = [
        threading.Thread(target=_ignore_the_end, args=(server, path))
        for path in ("/silent", "/trickle", "/header-trickle", "/stall", "/endless", "/slow-header?delay=60")
    ]
    for thread in threads:
        thread.start()
    while len(server.requests) < len(threads):
        time.sleep(0.01)
    started = time.monotonic()
    server.close()
    for thread in threads:
        thread.join(2)
    assert not any(thread.is_alive() for thread in threads)
    assert time.monotonic() - started < 1


def _ignore_the_end(server: MockServer, path: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        get(server, path, timeout=30)
