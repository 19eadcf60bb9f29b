"""One request to one server: what the fetcher and its engines hand each other."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.memory import Room

# What the system says when a connection fails, in our words, for all engines.
ERRNO_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.EPIPE: Reason.CONNECTION_RESET,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reason.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
}

# An error page up to this size is read to its end, so that the connection can be used again.
_DRAIN_BYTES = 64 * 1024
_GROW_BYTES = 256 * 1024


class ConnectError(DownloadError):
    """No connection to the host, or to the proxy, could be made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """What holds for every request of a run. Sizes are in bytes.

    `headers` go to every server, `private_headers` only to the servers that the url list names. `ca_file` is a PEM
    bundle; None switches the check of certificates off. `tls_context` gives the bundle as an SSLContext, the same one
    each time. `kept_connections` may stay open in an engine for later requests. `call_later` calls a short function in
    so many seconds, from another thread.
    """

    max_download_bytes: int
    kept_connections: int
    headers: Mapping[str, str]
    private_headers: Mapping[str, str]
    ca_file: str | None
    tls_context: Callable[[], ssl.SSLContext]
    call_later: Callable[[float, Callable[[], None]], None]


class Hop(NamedTuple):
    """One request to one server: no redirect is followed.

    `addresses` are the literal addresses to connect to, best first; they are empty when `proxy`, a URL, is to be used.
    `timeout` is in seconds, for all of it.
    """

    url: str
    port: int
    addresses: tuple[str, ...]
    proxy: str | None
    send_private_headers: bool
    timeout: float

    @property
    def request_target(self) -> str:
        """What stands in the request line: the path and query, byte for byte as in the URL; all of it for a proxy."""
        start = self.url.index("//") + 2
        end = self.url.index("/", start)
        path = self.url[end:]
        if self.proxy and self.proxy.startswith("http") and self.url.startswith("http:"):
            return f"http://{self.url[start:end].rpartition('@')[2]}{path}"
        return path


class Header:
    """The header of an answer, from its lines with their ends. Names are asked for in lower case."""

    __slots__ = ("_lower", "_text")

    def __init__(self, lines: Sequence[bytes]) -> None:
        # Searched as one text: for the few names that are asked for, that is quicker than to take all lines apart.
        self._text = b"\n" + b"".join(lines)
        self._lower = self._text.lower()

    def first(self, name: bytes) -> str | None:
        """The value of the first line with this name."""
        return next(self._values(name), None)

    def all(self, name: bytes) -> list[str]:
        """The values of every line with this name, in order."""
        return list(self._values(name))

    def _values(self, name: bytes) -> Iterator[str]:
        wanted = b"\n" + name + b":"
        found = self._lower.find(wanted)
        while found >= 0:
            start = found + len(wanted)
            end = self._text.find(b"\n", start)
            yield self._text[start : end if end >= 0 else None].strip().decode("latin-1")
            found = self._lower.find(wanted, start)


class Answer(NamedTuple):
    """The beginning of a server's answer."""

    status: int
    header: Header

    @property
    def is_success(self) -> bool:
        """Whether the body is what was asked for."""
        return 200 <= self.status < 300

    @property
    def declared_size(self) -> int:
        """The size of the body in bytes as its header tells it; 0 when it does not, or when it will be decompressed."""
        length = self.header.first(b"content-length")
        if length is None or not length.isdecimal() or self.header.first(b"content-encoding"):
            return 0
        return int(length[:18])  # beyond that it is too large in any case, and int() refuses thousands of digits


@dataclass(slots=True, eq=False)
class Body:
    """What an engine writes an answer into: it calls `begin`, then `write` for each piece, already decompressed.

        begin ─┬─► an image: its pieces are kept ─► finish: they are `data`
               ├─► an error page: nothing of it is kept
               └─► ended (False is returned: the transfer is to be given up)
                     with a `problem`: it is refused, or larger than `limit`
                     with `needs`: there was no room; with so many bytes the same fetch is to be done again
                     with neither: nobody needs more of it, an error page or a file that is cut (`cut_at_limit`)

    A `problem` is one of `Reason`, and why there is no answer, too; `unreachable` then says that no connection could be
    made. `refuse` says, of the header, why an image must not be taken.
    """

    limit: int
    room: Room
    refuse: Callable[[Answer], str | None]
    cut_at_limit: bool = False
    answer: Answer | None = None
    ended: bool = False
    needs: int | None = None
    problem: str | None = None
    unreachable: bool = False
    size: int = 0
    data: bytes = b""
    _chunks: list[bytes] = field(default_factory=list)

    def begin(self, answer: Answer) -> bool:
        """The header has come: say whether the body is wanted."""
        self.answer = answer
        if answer.is_success:
            self.problem = self.refuse(answer)
            if not self.problem and self._is_too_large(answer.declared_size):
                self.problem = Reason.BODY_TOO_LARGE
            self.ended = self.problem is not None or not self._has_room(answer.declared_size)
        return not self.ended

    def write(self, chunk: bytes) -> bool:
        """A piece of the body has come: say whether more is wanted."""
        self.size += len(chunk)
        if self.answer is not None and not self.answer.is_success:
            self.ended = self.size > _DRAIN_BYTES
        elif self._is_too_large(self.size):
            self.problem = Reason.BODY_TOO_LARGE
            self.ended = True
        elif self.size > self.room.size and not self._has_room(max(self.size, self.room.size + _GROW_BYTES)):
            self.ended = True
        else:
            self._chunks.append(chunk)
            self.ended = self.cut_at_limit and self.size >= self.limit
        return not self.ended

    def finish(self) -> None:
        """The transfer has ended. An image is `data` from now on; the room that it did not need is given back."""
        if self._chunks and self.problem is None and self.needs is None:
            self.data = b"".join(self._chunks)[: self.limit]
            self.room.fit(len(self.data))
        self._chunks.clear()

    def _is_too_large(self, size: int) -> bool:
        return size > self.limit and not self.cut_at_limit

    def _has_room(self, wanted: int) -> bool:
        if self.room.grow(min(wanted, self.limit)):
            return True
        declared = self.answer.declared_size if self.answer else 0
        self.needs = declared if declared >= self.size else self.limit
        return False


class Engine(Protocol):
    """Sends requests for one thread; it keeps connections to use them again."""

    def get(self, hop: Hop, body: Body) -> None:
        """Fetch `hop.url` into `body`, which is whole when this returns, or has ended the transfer.

        Raises `DownloadError` when there is no whole answer; `body.problem` stands above that.
        """

    def close(self) -> None:
        """Close the connections. Only the thread that fetches may call this."""


EngineFactory = Callable[[EngineSettings], Engine]
