"""Connections of urllib3 that go to the addresses they are told, and end when they are told."""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from img2dataset.fetcher.engine import EngineSettings, Hop

_MOST_ADDRESSES = 4


class Deadline:
    """Cuts the connection of one request when its time is over.

        made ─► watch: there is a connection ─┬─► over: the request has ended, nothing is cut any more
                                              └─► expire: cut, also one that comes later

    The socket's own timeout would begin anew with each byte that comes.
    """

    def __init__(self, hop: Hop) -> None:
        self.addresses = hop.addresses[:_MOST_ADDRESSES]
        self.request_target = hop.request_target
        self.connected = False
        self._end = time.monotonic() + hop.timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.expired = False

    def left(self) -> float:
        """The seconds that are left, a little at least."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, connection: socket.socket) -> None:
        """This is the connection to cut."""
        with self._lock:
            self.connected = True
            self._socket = connection
            if self.expired:
                _cut(connection)

    def expire(self) -> None:
        """The time is over."""
        with self._lock:
            self.expired = True
            if self._socket is not None:
                _cut(self._socket)

    def over(self) -> None:
        """The request has ended."""
        with self._lock:
            self._socket = None


class _ThisThread(threading.local):
    """How a request's deadline and addresses reach its connection: the libraries between them hand on neither."""

    deadline: Deadline


this_thread = _ThisThread()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        # Not the method of an SSLSocket, which would take the cipher away from under the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Pinned(urllib3.connection.HTTPConnection):
    """A connection to one of the addresses that the deadline of this thread's request names."""

    _address: str | None = None

    @property
    def is_connected(self) -> bool:
        """Kept connections to what is not this request's address, or with bytes on them, are not used again."""
        addresses = this_thread.deadline.addresses
        # Bytes that the TLS layer has read are not seen at the socket.
        holds_bytes = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
        return super().is_connected and not holds_bytes and (not addresses or self._address in addresses)

    def _new_conn(self) -> socket.socket:
        deadline = this_thread.deadline
        connection = self._connect(deadline) if deadline.addresses else super()._new_conn()
        deadline.watch(connection)
        connection.settimeout(deadline.left())  # for the TLS handshake, which keeps it as a whole
        return connection

    def _connect(self, deadline: Deadline) -> socket.socket:
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
                return connection
        raise urllib3.exceptions.NewConnectionError(self, "no address answered") from error

    def putrequest(self, method: str, url: str, *skip: bool, **skips: bool) -> None:  # noqa: ARG002
        deadline = this_thread.deadline
        if self.sock is not None:
            deadline.watch(self.sock)
        # Not `url`, whose percent-encodings have been changed on the way here.
        super().putrequest(method, deadline.request_target, *skip, **skips)


class _PinnedTls(_Pinned, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls: Any = _Pinned


class _TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls: Any = _PinnedTls

    def _validate_conn(self, conn: Any) -> None:
        # The library's own would warn for each connection that the certificate is not checked, which the user knows.
        if conn.is_closed:
            conn.connect()


_reading_certificates = threading.Lock()  # or each thread would, as they start together


@functools.lru_cache(maxsize=4)
def _tls_context(settings: EngineSettings) -> ssl.SSLContext:
    """The same one for all engines of a fetcher, of which a process may have a few."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class PinnedAdapter(requests.adapters.HTTPAdapter):
    """Sends requests to the addresses that `this_thread.deadline` has, by connections that it can cut.

    send ─► the pool of the URL's host ─┬─► a kept connection: `is_connected` says whether its address still counts
                                        └─► a new one: `_new_conn` tries the addresses
                                            either way `putrequest` lets the deadline watch it
    """

    def __init__(self, settings: EngineSettings) -> None:
        with _reading_certificates:
            self._tls: dict[str, Any] = {"ssl_context": _tls_context(settings)}
        if settings.ca_file is None:
            self._tls.update(cert_reqs="CERT_NONE")
        super().__init__(pool_connections=settings.kept_connections, pool_maxsize=1, max_retries=0)
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
