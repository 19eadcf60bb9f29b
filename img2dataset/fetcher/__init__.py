"""URLs to bytes: every request in, in whatever order, comes out as a result."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from img2dataset.fetcher.records import FetchRequest, FetchResult
from img2dataset.options import FetchOptions
from img2dataset.tables import load

if TYPE_CHECKING:
    from img2dataset.fetcher.memory import Memory
    from img2dataset.fetcher.resolver import Backend

__all__ = ["FETCHERS", "RESOLVERS", "FetchRequest", "FetchResult", "Fetcher"]

# The values of the options `http_client` and `resolver`.
FETCHERS = {
    "curl": "img2dataset.fetcher.engine.curl:CurlEngine",
    "requests": "img2dataset.fetcher.engine.requests:RequestsEngine",
}
RESOLVERS = {
    "c-ares": "img2dataset.fetcher.cares:CaresBackend",
    "system": "img2dataset.fetcher.resolver:SystemBackend",
}


class Fetcher:
    """The threads, connections and caches that fetch, made once a process and kept from shard to shard.

    Works from any thread, several in one process too. Use it in a ``with`` block, or call `close`. `backend` takes the
    place of the resolver that the options name; `memory` is how many received bytes may be held at once, but it is at
    least twice ``max_download_bytes``. Raises `OptionsError` when ``SSL_CERT_FILE`` cannot be read.
    """

    def __init__(
        self, options: FetchOptions, *, backend: Backend | None = None, memory: int = 128 * 1024 * 1024
    ) -> None:
        from img2dataset.fetcher.threads import Threads

        self._threads = Threads(
            options,
            engine_factory=load(FETCHERS, options.http_client),
            backend=backend or load(RESOLVERS, options.resolver)(),
            memory=memory,
        )
        # Also when nobody closes it, and before the interpreter ends: threads of C libraries must not outlive that.
        self._close = weakref.finalize(self, self._threads.close)

    @property
    def memory(self) -> Memory:
        """The received bytes that are in memory now (`used`), were at most (`peak`), and may be (`total`)."""
        return self._threads.memory

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Fetch every request; the results come as they are ready, in no order.

        `requests` is read by a thread of the fetcher, a few jobs ahead of its threads; it may block while results come.
        Requests whose host may not be asked now are not counted in that. What it raises is raised here, after the
        results of the requests before. A result's body counts as memory in use until the next result is asked for, and
        fetches wait when too much is in use.
        """
        yield from self._threads.fetch(requests)  # not returned: while results come, this fetcher is in use

    def close(self) -> None:
        """End, within a second, whatever hangs. Iterators of `fetch` that are not at their end raise `RuntimeError`."""
        self._close()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
