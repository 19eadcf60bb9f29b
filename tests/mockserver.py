"""A real web server on loopback with an endpoint for each way the web breaks.

    with MockServer() as server:
        server.images["cat.jpg"] = ("image/jpeg", data)
        fetch(server.url("/image/cat.jpg"))
        server.requests[-1].path            # what it was asked

It speaks HTTP/1.1 with keep-alive, one thread a connection. An endpoint is a function under ``@endpoint``; its
docstring says what it does and which query parameters it reads. Whatever hangs ends when the server closes.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import io
import json
import random
import select
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import trustme
from PIL import Image

LOOPBACK_INTERFACE = b"lo"
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Seen(NamedTuple):
    """A request as the server saw it. Header names are in lower case; `host` is the address it was sent to."""

    path: str
    headers: Mapping[str, str]
    host: str


class MockServer:
    """The server and what it saw. It listens from the constructor on and until `close`.

    `host` is one loopback address. With ``every_loopback_address=True`` it answers on all of 127.0.0.0/8, so that a
    test has as many hosts as it likes; the socket is bound to the loopback interface, nothing outside can reach it.
    `certificate` makes it speak https.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        every_loopback_address: bool = False,
        certificate: trustme.LeafCert | None = None,
    ) -> None:
        self.host = host
        self.scheme = "https" if certificate else "http"
        self.images: dict[str, tuple[str, bytes]] = {}
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.reset()
        bind_to = "" if every_loopback_address else host
        self._http = _Server(self, bind_to, certificate, loopback_only=every_loopback_address)
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name=f"mock {self.port}")
        self._thread.start()

    def reset(self) -> None:
        """Forget what was asked and configured; registered images stay."""
        self.requests: list[Seen] = []
        self.connections = 0
        self.robots: tuple[int, str] = (404, "")
        self.raw_location = b"/"
        self.visits: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.peak_in_flight: Counter[str] = Counter()

    def url(self, path: str = "/", host: str | None = None) -> str:
        """The address of `path` here, on another name or address of this machine if `host` is given."""
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    def paths(self) -> list[str]:
        """The paths that were asked for, queries included, in order of arrival."""
        return [seen.path for seen in self.requests]

    def close(self) -> None:
        """Stop listening, cut every connection and wait until no endpoint runs any more."""
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.close_everything()

    def __enter__(self) -> MockServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self, mock: MockServer, host: str, certificate: trustme.LeafCert | None, *, loopback_only: bool
    ) -> None:
        self.mock = mock
        self.loopback_only = loopback_only
        self.tls = _server_context(certificate) if certificate else None
        self.open: set[socket.socket] = set()
        super().__init__((host, 0), _Handler)

    def server_bind(self) -> None:
        if self.loopback_only:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LOOPBACK_INTERFACE)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "mock", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls:
            # The handshake is left to the connection's own thread: one slow client must not hold up the others.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        self.open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what this server is for; a bug in an endpoint is seen as a missing answer."""

    def close_everything(self, patience: float = 5.0) -> None:
        self.server_close()
        deadline = time.monotonic() + patience
        while self.open and time.monotonic() < deadline:
            for connection in tuple(self.open):
                cut(connection)
            time.sleep(0.005)


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def cut(connection: socket.socket) -> None:
    """End a connection under the feet of the thread that reads or writes it."""
    with contextlib.suppress(OSError):  # it may have ended by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    query: dict[str, list[str]]
    rest_of_path: str

    def setup(self) -> None:
        self.mock = self.server.mock
        self.mock.connections += 1
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client goes away, or the server closes
            super().handle()

    def do_GET(self) -> None:
        if self.path.startswith("http://"):  # as a proxy is asked
            split = urlsplit(self.path)
            self.path = split.path + ("?" + split.query if split.query else "")
        split = urlsplit(self.path)
        self.query = parse_qs(split.query, keep_blank_values=True)
        host = self.connection.getsockname()[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.mock.lock:
            self.mock.requests.append(Seen(self.path, headers, host))
            self.mock.in_flight[host] += 1
            self.mock.peak_in_flight[host] = max(self.mock.peak_in_flight[host], self.mock.in_flight[host])
        try:
            self._answer(split.path)
        finally:
            with self.mock.lock:
                self.mock.in_flight[host] -= 1

    def do_CONNECT(self) -> None:
        """As a proxy: a tunnel to an address of this machine."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.mock.requests.append(Seen(f"CONNECT {self.path}", headers, self.connection.getsockname()[0]))
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        if host != "127.0.0.1":
            self.send(502, b"no such host", "text/plain")
            return
        with socket.create_connection((host, int(port))) as upstream:
            self.head(200)
            _tunnel(self.connection, upstream)

    def _answer(self, path: str) -> None:
        _, _, rest = path.partition("/")
        name, _, self.rest_of_path = rest.partition("/")
        answer = ENDPOINTS.get(name)
        if answer is None:
            self.send(404, b"no such endpoint", "text/plain")
        else:
            answer(self)

    def parameter(self, name: str, default: str) -> str:
        return self.query.get(name, [default])[0]

    def visit(self) -> int:
        """How often this very path was asked for, this time included."""
        with self.mock.lock:
            self.mock.visits[self.path] += 1
            return self.mock.visits[self.path]

    def send(self, status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> None:
        """A whole and honest answer."""
        self.head(status, ("Content-Type", content_type), ("Content-Length", str(len(body))), *headers)
        self.wfile.write(body)

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Only the status line and the header."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """One chunk of a body with ``Transfer-Encoding: chunked``; an empty one is its end."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the server and the connection live."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], left)
            if self.mock.closing.is_set() or readable:
                raise ConnectionAbortedError("the client or the server is gone")

    def hang(self) -> None:
        """Say nothing more until the client or the server ends it."""
        self.pause(3600)

    def drop(self) -> None:
        """End the connection after this answer, as one whose length was not declared must."""
        self.close_connection = True

    def version_string(self) -> str:
        return "mock"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `MockServer.requests` instead."""


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    ends = {one: other, other: one}
    while True:
        readable, _, _ = select.select(list(ends), [], [])
        for end in readable:
            data = end.recv(65536)
            if not data:
                return
            ends[end].sendall(data)


Endpoint = Callable[[_Handler], None]
ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(name: str) -> Callable[[Endpoint], Endpoint]:
    """Register an answer for ``/name`` and ``/name/...``."""

    def register(function: Endpoint) -> Endpoint:
        ENDPOINTS[name] = function
        return function

    return register


@functools.lru_cache(maxsize=256)
def photo(width: int, height: int, extension: str = "jpg", seed: int = 0) -> bytes:
    """An encoded image with smooth colours and some grain, the same for the same arguments."""
    grid = Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(16 * 16 * 3))
    image = grid.resize((width, height), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, FORMATS[extension], quality=90)
    return stream.getvalue()


PHOTO = photo(320, 240)


# ---------------------------------------------------------------------------------------------- good answers


@endpoint("image")
def _image(handler: _Handler) -> None:
    """``/image/<name>``: what the test registered in ``server.images[name] = (content_type, bytes)``."""
    if handler.rest_of_path in handler.mock.images:
        content_type, body = handler.mock.images[handler.rest_of_path]
        handler.send(200, body, content_type)
    else:
        handler.send(404, b"not registered", "text/plain")


@endpoint("photo")
def _photo(handler: _Handler) -> None:
    """``/photo/<width>x<height>.<jpg|png|webp>?seed=n&delay=0&jitter=0``: a generated image, after a while.

    The jitter is the longest time that it may take more, at random.
    """
    size, _, extension = handler.rest_of_path.partition(".")
    width, _, height = size.partition("x")
    body = photo(int(width), int(height), extension, int(handler.parameter("seed", "0")))
    handler.pause(float(handler.parameter("delay", "0")) + random.uniform(0, float(handler.parameter("jitter", "0"))))
    handler.send(200, body, CONTENT_TYPES[extension])


@endpoint("bytes")
def _bytes(handler: _Handler) -> None:
    """``/bytes/<count>?fill=x``: that many bytes, their length declared."""
    fill = handler.parameter("fill", "x").encode()
    handler.send(200, fill * int(handler.rest_of_path), "application/octet-stream")


@endpoint("chunked")
def _chunked(handler: _Handler) -> None:
    """``/chunked?chunks=4``: the photo in chunks, its length not declared."""
    _send_chunked(handler, PHOTO)


@endpoint("chunked-image")
def _chunked_image(handler: _Handler) -> None:
    """``/chunked-image/<name>?chunks=4``: a registered image in chunks."""
    _send_chunked(handler, handler.mock.images[handler.rest_of_path][1])


def _send_chunked(handler: _Handler, body: bytes) -> None:
    count = int(handler.parameter("chunks", "4"))
    handler.head(200, ("Content-Type", "image/jpeg"), ("Transfer-Encoding", "chunked"))
    size = -(-len(body) // count)
    for start in range(0, len(body), size):
        handler.chunk(body[start : start + size])
    handler.chunk(b"")


@endpoint("until-close")
def _until_close(handler: _Handler) -> None:
    """The photo, its end being the end of the connection."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Connection", "close"))
    handler.wfile.write(PHOTO)
    handler.drop()


@endpoint("gzip")
def _gzip(handler: _Handler) -> None:
    """The photo with ``Content-Encoding: gzip``."""
    handler.send(200, gzip.compress(PHOTO), "image/jpeg", ("Content-Encoding", "gzip"))


@endpoint("echo")
def _echo(handler: _Handler) -> None:
    """The request's path and header as JSON: ``[path, [[name, value], ...]]``."""
    handler.send(200, json.dumps([handler.path, handler.headers.items()]).encode(), "application/json")


@endpoint("cookie")
def _cookie(handler: _Handler) -> None:
    """The photo and a cookie that nobody should send back."""
    handler.send(200, PHOTO, "image/jpeg", ("Set-Cookie", "tracker=1; Path=/"))


@endpoint("robots.txt")
def _robots(handler: _Handler) -> None:
    """``server.robots = (status, text)``; a status of 0 never answers, with 302 the text is the location."""
    status, text = handler.mock.robots
    if status == 0:
        handler.hang()
    location = [("Location", text)] if status == 302 else []
    handler.send(status, text.encode(), "text/plain", *location)


@endpoint("x-robots")
def _x_robots(handler: _Handler) -> None:
    """``/x-robots?value=noai&value=otherbot: noindex``: the photo with an ``X-Robots-Tag`` header for each value."""
    tags = [("X-Robots-Tag", value) for value in handler.query.get("value", [])]
    handler.send(200, PHOTO, "image/jpeg", *tags)


# ------------------------------------------------------------------------------------- statuses and redirects


@endpoint("status")
def _status(handler: _Handler) -> None:
    """``/status/<code>``: that status with a short body."""
    status = int(handler.rest_of_path)
    if status in (204, 304):
        handler.head(status)
    else:
        handler.send(status, b"status", "text/plain")


@endpoint("error-page")
def _error_page(handler: _Handler) -> None:
    """``/error-page/<name>``: a registered body with status 404."""
    content_type, body = handler.mock.images[handler.rest_of_path]
    handler.send(404, body, content_type)


@endpoint("flaky")
def _flaky(handler: _Handler) -> None:
    """``/flaky?status=503&times=1``: that status the first `times` times, then the photo. ``status=reset`` resets."""
    if handler.visit() > int(handler.parameter("times", "1")):
        handler.send(200, PHOTO, "image/jpeg")
    elif handler.parameter("status", "503") == "reset":
        reset(handler)
    else:
        handler.send(int(handler.parameter("status", "503")), b"come back", "text/plain")


@endpoint("retry-after")
def _retry_after(handler: _Handler) -> None:
    """``/retry-after?status=503&seconds=1&times=1&form=seconds``: as flaky, and says when to come back.

    ``form=date`` says it as an HTTP date, ``form=<anything else>`` verbatim.
    """
    if handler.visit() > int(handler.parameter("times", "1")):
        handler.send(200, PHOTO, "image/jpeg")
        return
    seconds, form = handler.parameter("seconds", "1"), handler.parameter("form", "seconds")
    forms = {"seconds": seconds, "date": formatdate(time.time() + float(seconds), usegmt=True)}
    value = forms.get(form, form)
    handler.send(int(handler.parameter("status", "503")), b"come back", "text/plain", ("Retry-After", value))


@endpoint("redirect")
def _redirect(handler: _Handler) -> None:
    """``/redirect?to=<location>&code=302``: a redirect; without ``to`` it names no location."""
    locations = [("Location", quote(to, safe="%/:=&?~#+!$,;'@()*[]")) for to in handler.query.get("to", [])]
    handler.send(int(handler.parameter("code", "302")), b"", "text/plain", *locations)


@endpoint("raw-redirect")
def _raw_redirect(handler: _Handler) -> None:
    """A redirect to ``server.raw_location``, bytes that no standard may allow in a header."""
    handler.send(302, b"", "text/plain", ("Location", handler.mock.raw_location.decode("latin-1")))


@endpoint("redirect-loop")
def _redirect_loop(handler: _Handler) -> None:
    """A redirect to itself."""
    handler.send(302, b"", "text/plain", ("Location", handler.path))


@endpoint("redirect-chain")
def _redirect_chain(handler: _Handler) -> None:
    """``/redirect-chain/<n>?delay=0``: n redirects, each after a while, then the photo."""
    left = int(handler.rest_of_path)
    delay = handler.parameter("delay", "0")
    handler.pause(float(delay))
    if left:
        handler.send(302, b"", "text/plain", ("Location", f"/redirect-chain/{left - 1}?delay={delay}"))
    else:
        handler.send(200, PHOTO, "image/jpeg")


# -------------------------------------------------------------------------------------- slow and never ending


@endpoint("slow-header")
def _slow_header(handler: _Handler) -> None:
    """``/slow-header?delay=1``: the photo, after a while."""
    handler.pause(float(handler.parameter("delay", "1")))
    handler.send(200, PHOTO, "image/jpeg")


@endpoint("silent")
def _silent(handler: _Handler) -> None:
    """Not a word."""
    handler.hang()


@endpoint("header-trickle")
def _header_trickle(handler: _Handler) -> None:
    """``/header-trickle?every=0.3``: a header that comes byte by byte and has no end."""
    _trickle(handler, b"HTTP/1.1 200 OK\r\nX-Filler: ")


@endpoint("trickle")
def _trickle_body(handler: _Handler) -> None:
    """``/trickle?every=0.3``: a header, then a body byte by byte."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", "1000000"))
    _trickle(handler, b"")


def _trickle(handler: _Handler, first: bytes) -> None:
    handler.wfile.write(first)
    while True:
        handler.pause(float(handler.parameter("every", "0.3")))
        handler.wfile.write(b"x")


@endpoint("stall")
def _stall(handler: _Handler) -> None:
    """``/stall?after=1000``: that many bytes of a longer body, then nothing."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", "1000000"))
    handler.wfile.write(bytes(int(handler.parameter("after", "1000"))))
    handler.hang()


@endpoint("endless")
def _endless(handler: _Handler) -> None:
    """``/endless?chunk=65536&form=chunked``: a body without end, ``chunked`` or ``raw``."""
    chunk = bytes(int(handler.parameter("chunk", "65536")))
    chunked = handler.parameter("form", "chunked") == "chunked"
    length = ("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")
    handler.head(200, ("Content-Type", "image/jpeg"), length)
    while True:
        if chunked:
            handler.chunk(chunk)
        else:
            handler.wfile.write(chunk)


@endpoint("endless-header")
def _endless_header(handler: _Handler) -> None:
    """Header lines as fast as they are taken."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")


# ------------------------------------------------------------------------------------------------ wrong bodies


@endpoint("gzip-bomb")
def _gzip_bomb(handler: _Handler) -> None:
    """``/gzip-bomb?size=100000000``: a small answer that unpacks to that many zeros."""
    with _packing:
        body = _packed_zeros(int(handler.parameter("size", "100000000")))
    handler.send(200, body, "image/jpeg", *_GZIP)


_packing = threading.Lock()
_GZIP = (("Content-Encoding", "gzip"),)


@functools.lru_cache(maxsize=8)
def _packed_zeros(size: int) -> bytes:
    return b"".join(_pack_zeros(size))


def _pack_zeros(size: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        yield packer.compress(block)
    yield packer.compress(bytes(size & 0xFFFFF)) + packer.flush()


@endpoint("bad-gzip")
def _bad_gzip(handler: _Handler) -> None:
    """A body that says gzip and is none."""
    handler.send(200, b"this is not gzip", "image/jpeg", *_GZIP)


@endpoint("declared")
def _declared(handler: _Handler) -> None:
    """``/declared?length=n&sent=1000``: says n bytes will come; sends some of them and hangs."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", handler.parameter("length", "1000000")))
    handler.wfile.write(PHOTO[: int(handler.parameter("sent", "1000"))])
    handler.hang()


@endpoint("wrong-length")
def _wrong_length(handler: _Handler) -> None:
    """Promises more bytes than it sends before it closes."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", str(len(PHOTO) + 1000)))
    handler.wfile.write(PHOTO)
    handler.drop()


@endpoint("cut-chunks")
def _cut_chunks(handler: _Handler) -> None:
    """A chunked body that ends without its last chunk."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Transfer-Encoding", "chunked"))
    handler.chunk(PHOTO)
    handler.drop()


@endpoint("early-hints")
def _early_hints(handler: _Handler) -> None:
    """An interim answer, its lines ended by ``end``, then the photo."""
    lines = ("HTTP/1.1 103 Early Hints", "Link: </style.css>; rel=preload", "X-Robots-Tag: noai", "", "")
    handler.wfile.write({"crlf": "\r\n", "lf": "\n"}[handler.parameter("end", "crlf")].join(lines).encode())
    handler.send(200, PHOTO, "image/jpeg")


@endpoint("empty")
def _empty(handler: _Handler) -> None:
    """A success with nothing in it."""
    handler.send(200, b"", "image/jpeg")


# ------------------------------------------------------------------------------------------ broken connections


@endpoint("reset")
def reset(handler: _Handler) -> None:
    """Reset the connection instead of an answer."""
    _reset(handler)


@endpoint("reset-midway")
def _reset_midway(handler: _Handler) -> None:
    """Reset the connection in the middle of the body."""
    handler.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", "1000000"))
    handler.wfile.write(PHOTO)
    time.sleep(0.1)  # the client has read what was sent, so that it sees the reset and not a refused write
    _reset(handler)


def _reset(handler: _Handler) -> None:
    # Closing a socket that lingers for no time sends RST instead of FIN.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()
    raise ConnectionAbortedError("reset, as asked")


@endpoint("hang-up")
def _hang_up(handler: _Handler) -> None:
    """Close the connection, politely, without an answer."""
    handler.drop()


@endpoint("garbage")
def _garbage(handler: _Handler) -> None:
    """An answer in no protocol at all."""
    handler.wfile.write(b"\x16\x03\x01 I am not a web server\r\n\r\n")
    handler.drop()
