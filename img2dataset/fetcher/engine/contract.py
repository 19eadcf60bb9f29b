"""What an engine does, and what it is given for that."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from img2dataset.errors import DownloadError
from img2dataset.fetcher.engine.answer import Answer
from img2dataset.fetcher.engine.body import Body


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


class Engine(Protocol):
    """Sends requests for one thread; it keeps connections to use them again."""

    def get(self, hop: Hop, body: Body) -> Answer:
        """Fetch `hop.url`; the body is whole when this returns, or was ended by `body`.

        Raises `DownloadError` when there is no whole answer; `body.problem` stands above that.
        """

    def close(self) -> None:
        """Close the connections. Only the thread that fetches may call this."""


EngineFactory = Callable[[EngineSettings], Engine]
