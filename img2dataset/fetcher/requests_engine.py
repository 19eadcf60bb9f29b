"""Requests by the requests library, for where libcurl cannot be installed."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.exchange import Answer, Body, ConnectError, EngineSettings, Header, Hop

_CHUNK_BYTES = 64 * 1024
_MOST_ADDRESSES = 4
_KEPT_HOSTS = 8

_ERRNO_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.EPIPE: Reason.CONNECTION_RESET,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reason.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
}
# The first that is found in the chain of causes says what happened, so the most telling come first.
_TYPE_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.ProxyError, Reason.PROXY_FAILED),
    (ssl.SSLCertVerificationError, Reason.TLS_CERTIFICATE),
    (urllib3.exceptions.IncompleteRead, Reason.BODY_CUT_SHORT),
    (http.client.IncompleteRead, Reason.BODY_CUT_SHORT),
    (urllib3.exceptions.InvalidChunkLength, Reason.BODY_CUT_SHORT),
    (urllib3.exceptions.DecodeError, Reason.BODY_UNDECODABLE),
    (urllib3.exceptions.LocationParseError, Reason.INVALID_URL),
    (TimeoutError, Reason.TIMED_OUT),
    (ConnectionError, Reason.CONNECTION_RESET),
    (ssl.SSLError, Reason.TLS_FAILED),
    (http.client.HTTPException, Reason.PROTOCOL_ERROR),
)


class RequestsEngine:
    """An adapter with its connections. Its TLS context, and so the parsed CA bundle, is that of all engines."""

    def __init__(self, settings: EngineSettings) -> None:
        self._call_later = settings.call_later
        shared = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", **settings.headers}
        self._headers = {False: shared, True: _merged(shared, settings.private_headers)}
        self._adapter = _PinnedAdapter(settings)

    def get(self, hop: Hop, body: Body) -> Answer:
        """See `Engine.get`."""
        deadline = _Deadline(hop)
        self._call_later(hop.timeout, deadline.expire)
        _this_thread.deadline = deadline
        try:
            return self._exchange(hop, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            raise deadline.error(error) from error
        finally:
            deadline.over()

    def close(self) -> None:
        """See `Engine.close`."""
        self._adapter.close()

    def _exchange(self, hop: Hop, body: Body) -> Answer:
        response = self._adapter.send(
            self._request(hop),
            stream=True,
            timeout=hop.timeout,
            proxies={"http": hop.proxy, "https": hop.proxy} if hop.proxy else None,
        )
        raw: urllib3.HTTPResponse = response.raw
        answer = Answer(response.status_code, Header([_line(*item) for item in raw.headers.iteritems()]))
        if body.begin(answer) and all(body.write(chunk) for chunk in _chunks(raw)):
            _this_thread.deadline.check()
            raw.release_conn()
        else:
            raw.close()
        return answer

    def _request(self, hop: Hop) -> requests.PreparedRequest:
        # Not `prepare`, which would rewrite the URL that has been normalised.
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.url = hop.url
        request.prepare_headers(self._headers[hop.send_private_headers])
        request.prepare_cookies({})
        request.prepare_body(None, None)
        request.headers.update(_authorization(hop.url))
        return request


def _authorization(url: str) -> dict[str, str]:
    """The credentials of a URL, in any character; the library takes only those of Latin-1."""
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    if not userinfo:
        return {}
    user, _, password = userinfo.partition(":")
    return {"Authorization": f"Basic {b64encode(unquote_to_bytes(user) + b':' + unquote_to_bytes(password)).decode()}"}


def _merged(shared: Mapping[str, str], private: Mapping[str, str]) -> dict[str, str]:
    names = {name.lower() for name in private}
    return {**{name: value for name, value in shared.items() if name.lower() not in names}, **private}


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}".encode("latin-1", "replace")


def _chunks(raw: urllib3.HTTPResponse) -> Iterator[bytes]:
    while chunk := raw.read(_CHUNK_BYTES, decode_content=True):
        yield chunk


class _Deadline:
    """Cuts the connection of one request when its time is over.

    The socket's own timeout would begin anew with each byte that comes.
    """

    def __init__(self, hop: Hop) -> None:
        self.addresses = hop.addresses[:_MOST_ADDRESSES]
        self.request_target = hop.request_target
        self.connected = False
        self._proxied = hop.proxy is not None
        self._end = time.monotonic() + hop.timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._over = False
        self._expired = False

    def left(self) -> float:
        """The seconds that are left, a little at least."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, twin: socket.socket) -> None:
        """Cut this one; it is a duplicate of the connection's own, which TLS takes away from us."""
        with self._lock:
            self.connected = True
            self._socket = twin
            if self._expired:
                _cut(twin)

    def expire(self) -> None:
        """The time is over."""
        with self._lock:
            if self._over:
                return
            self._expired = True
            if self._socket is not None:
                _cut(self._socket)

    def over(self) -> None:
        """The request has ended."""
        with self._lock:
            self._over = True

    def check(self) -> None:
        """Raise if the end that has been read was made by us: a body without a length looks whole then."""
        if self._expired:
            raise TimeoutError

    def error(self, error: Exception) -> DownloadError:
        """What to raise for what the library raised."""
        reason = Reason.TIMED_OUT if self._expired else _reason(error)
        return DownloadError(reason) if self.connected else ConnectError(reason)


class _ThisThread(threading.local):
    deadline: _Deadline


_this_thread = _ThisThread()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _reason(error: BaseException) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _ERRNO_REASONS:
            return _ERRNO_REASONS[cause.errno]
    for kind, reason in _TYPE_REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return Reason.PROTOCOL_ERROR


def _causes(error: object, depth: int = 8) -> Iterator[BaseException]:
    """The exceptions that an exception of requests is wrapped around, in all the ways in which it wraps."""
    if isinstance(error, BaseException) and depth:
        yield error
        for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
            yield from _causes(inner, depth - 1)


class _Pinned(urllib3.connection.HTTPConnection):
    """A connection to one of the addresses that the deadline of this thread's request names."""

    _twin: socket.socket | None = None
    _address: str | None = None

    @property
    def is_connected(self) -> bool:
        """Kept connections to what is not this request's address are not used again."""
        addresses = _this_thread.deadline.addresses
        return super().is_connected and (not addresses or self._address in addresses)

    def _new_conn(self) -> socket.socket:
        deadline = _this_thread.deadline
        connection = self._connect(deadline) if deadline.addresses else super()._new_conn()
        self._close_twin()
        self._twin = connection.dup()
        deadline.watch(self._twin)
        return connection

    def _connect(self, deadline: _Deadline) -> socket.socket:
        error: OSError | None = None
        for tried, address in enumerate(deadline.addresses):
            share = deadline.left() / (len(deadline.addresses) - tried)
            try:
                connection = urllib3.util.connection.create_connection(
                    (address, self.port), share, socket_options=self.socket_options
                )
            except OSError as refused:
                error = refused
            else:
                self._address = address
                connection.settimeout(deadline.left())
                return connection
        raise urllib3.exceptions.NewConnectionError(self, "no address answered") from error

    def request(self, method: str, _: str, *arguments: Any, **options: Any) -> None:
        deadline = _this_thread.deadline
        if self._twin is not None:
            deadline.watch(self._twin)
        # The URL that comes here has had its percent-encodings changed on the way.
        super().request(method, deadline.request_target, *arguments, **options)

    def close(self) -> None:
        super().close()
        self._close_twin()

    def _close_twin(self) -> None:
        if self._twin is not None:
            self._twin.close()
            self._twin = None


class _PinnedTls(_Pinned, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Pinned


class _TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _PinnedTls

    def _validate_conn(self, conn: Any) -> None:
        # The library's own would warn for each connection that the certificate is not checked, which the user knows.
        if conn.is_closed:
            conn.connect()


class _PinnedAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, settings: EngineSettings) -> None:
        self._tls: dict[str, Any] = {"ssl_context": settings.tls_context()}
        if settings.ca_file is None:
            self._tls.update(cert_reqs="CERT_NONE", assert_hostname=False)
        super().__init__(pool_connections=_KEPT_HOSTS, pool_maxsize=1, max_retries=0)
        self._prepare(self.poolmanager)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: object,  # noqa: ARG002 - the library's signature
        proxies: Mapping[str, str] | None = None,
        cert: object = None,  # noqa: ARG002
    ) -> urllib3.connectionpool.HTTPConnectionPool:
        """The pool for a request; the library would load the CA bundle for each new one."""
        manager = self._prepare(self.proxy_manager_for(proxies["http"])) if proxies else self.poolmanager
        return manager.connection_from_url(request.url or "")

    def _prepare(self, manager: urllib3.PoolManager) -> urllib3.PoolManager:
        manager.connection_pool_kw.update(self._tls)
        if manager.pool_classes_by_scheme["http"] is urllib3.connectionpool.HTTPConnectionPool:  # not so for SOCKS
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager

    def cert_verify(self, *_: object, **__: object) -> None:
        """Done by the TLS context."""
