"""A server on loopback that sends what it is given, byte for byte.

with RawServer(lambda path: b"HTTP/1.1 200 OK\\r\\n\\r\\n") as server:
    fetch(server.url("/1"))
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence

import trustme

Answer = bytes | Sequence[bytes | float]


class RawServer:
    """Answers every request with what `answer` makes of its path: bytes, or bytes and seconds to wait, in turns.

    It closes the connection after an answer unless `keep_alive`. `certificate` makes it speak https. `stop_listening`
    and `listen` make it go away, with all of its connections, and come back on the same port. `paths` are those that it
    was asked for, `cut` counts the connections that it ended so. `host` is any loopback address.
    """

    def __init__(
        self,
        answer: Callable[[str], Answer],
        *,
        host: str = "127.0.0.1",
        keep_alive: bool = False,
        certificate: trustme.LeafCert | None = None,
    ) -> None:
        self._answer = answer
        self._host = host
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._tls and certificate:
            certificate.configure_cert(self._tls)
        self._keep_alive = keep_alive
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = 0
        self.connections = 0
        self.cut = 0
        self.paths: list[str] = []
        self.listen()

    def url(self, path: str, host: str | None = None) -> str:
        """The address of `path` here."""
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}{path}"

    def listen(self) -> None:
        """Take connections, on the port that it had before."""
        self._listener = socket.create_server((self._host, self.port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), name="raw server", daemon=True).start()

    def stop_listening(self) -> None:
        """Refuse connections, and cut those that there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `close` alone does not wake the thread that accepts
        self._listener.close()
        with self._lock:
            self.cut += len(self._open)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it stops listening
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        with contextlib.suppress(OSError), connection:  # the client goes away
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                with self._tls.wrap_socket(connection, server_side=True) as secure:
                    self._serve_requests(secure)
            else:
                self._serve_requests(connection)
        with self._lock:
            self._open.discard(connection)

    def _serve_requests(self, connection: socket.socket) -> None:
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                received = connection.recv(65536)
                if not received:
                    return
                waiting += received
            request, _, waiting = waiting.partition(b"\r\n\r\n")
            path = request.split()[1].decode("latin-1")
            self.paths.append(path)
            self._send(connection, self._answer(path))
            if not self._keep_alive:
                # Closed with a FIN: what has been sent must not be lost to a reset.
                connection.shutdown(socket.SHUT_WR)
                return

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        for part in [answer] if isinstance(answer, bytes) else answer:
            if isinstance(part, bytes):
                connection.sendall(part)
            else:
                time.sleep(part)
