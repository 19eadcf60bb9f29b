"""What the fetcher and its engines hand each other for one request."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.memory import ByteBudget

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


class Body:
    """Takes the body of an answer, as much of it as is allowed, wanted and affordable.

    The engine calls `begin`, and then `write` for each piece, already decompressed. `ended` says that the transfer is
    to be ended, and `problem` why, as one of `Reason`. That is None for the body of an error page, which nobody needs,
    for one that is complete enough (`cut_at_limit`), and when the budget was full: then `needs` is the room in bytes
    with which the same fetch is to be done again.
    """

    __slots__ = (
        "_budget",
        "_chunks",
        "_cut_at_limit",
        "_limit",
        "_refuse",
        "_unquestioned",
        "answer",
        "ended",
        "needs",
        "problem",
        "reserved",
        "size",
    )

    def __init__(
        self,
        limit: int,
        budget: ByteBudget,
        reserved: int,
        refuse: Callable[[Answer], str | None],
        *,
        cut_at_limit: bool = False,
    ) -> None:
        self.answer: Answer | None = None
        self.ended = False
        self.needs: int | None = None
        self.problem: str | None = None
        self.reserved = reserved
        self.size = 0
        self._budget = budget
        self._chunks: list[bytes] = []
        self._cut_at_limit = cut_at_limit
        self._limit = limit
        self._refuse = refuse
        self._unquestioned = 0  # a body up to this size needs no thought

    def begin(self, answer: Answer) -> bool:
        """The header has come: say whether the body is wanted."""
        self.answer = answer
        if not answer.is_success:
            return True
        self.problem = self._refuse(answer)
        declared = _declared_size(answer.header)
        if not self.problem and declared > self._limit and not self._cut_at_limit:
            self.problem = Reason.BODY_TOO_LARGE
        self.ended = self.problem is not None or not self._make_room(declared)
        return not self.ended

    def write(self, chunk: bytes) -> bool:
        """A piece of the body has come: say whether more is wanted."""
        self.size += len(chunk)
        if self.size <= self._unquestioned:
            self._chunks.append(chunk)
        else:
            self.ended = not self._keep(chunk)
        return not self.ended

    def _keep(self, chunk: bytes) -> bool:
        if self.answer is not None and not self.answer.is_success:
            return self.size <= _DRAIN_BYTES
        if self.size > self._limit and not self._cut_at_limit:
            self.problem = Reason.BODY_TOO_LARGE
            return False
        if self.size > self.reserved and not self._make_room(max(self.size, self.reserved + _GROW_BYTES)):
            return False
        self._chunks.append(chunk)
        return self.size < self._limit or not self._cut_at_limit

    def _make_room(self, wanted: int) -> bool:
        more = min(wanted, self._limit) - self.reserved
        if more > 0:
            if not self._budget.grow(more):
                declared = _declared_size(self.answer.header) if self.answer else 0
                self.needs = declared if declared >= self.size else self._limit
                return False
            self.reserved += more
        self._unquestioned = 0 if self._cut_at_limit else min(self.reserved, self._limit)
        return True

    def take(self) -> bytes:
        """The whole body; the room that it did not need is given back, the rest is `reserved` for it."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._budget.settle(self.reserved, len(data))
        self.reserved = len(data)
        return data

    def hand_over(self) -> None:
        """From now on whoever has the bytes gives their room back."""
        self.reserved = 0

    def give_up(self) -> None:
        """Forget what has come, and give back all of its room."""
        self._chunks.clear()
        self._budget.release(self.reserved)
        self.reserved = 0


def _declared_size(header: Header) -> int:
    """The size of the body in bytes as its header tells it; 0 when it does not, or when it will be decompressed."""
    length = header.first(b"content-length")
    if length is None or not length.isdecimal() or header.first(b"content-encoding"):
        return 0
    return int(length[:18])  # beyond that it is too large in any case, and int() refuses thousands of digits


class Engine(Protocol):
    """Sends requests for one thread; it keeps connections to use them again."""

    def get(self, hop: Hop, body: Body) -> Answer:
        """Fetch `hop.url`; the body is whole when this returns, or was ended by `body`.

        Raises `DownloadError` when there is no whole answer; `body.problem` stands above that.
        """

    def close(self) -> None:
        """Close the connections. Only the thread that fetches may call this."""


EngineFactory = Callable[[EngineSettings], Engine]
