"""URLs to bytes: every request in, in whatever order, comes out as a result."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from img2dataset.options import FetchOptions

if TYPE_CHECKING:
    from img2dataset.fetcher.engine.contract import EngineFactory
    from img2dataset.fetcher.memory import ByteBudget
    from img2dataset.fetcher.resolver import Backend

__all__ = ["FETCHERS", "RESOLVERS", "FetchRequest", "FetchResult", "Fetcher"]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A URL as it stands in the list: any string, the empty one included. `id` is the caller's, and handed back."""

    id: object
    url: str


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of a request: `body`, or `error`, which is one of `errors.Reason` or ``http <status>``.

    `attempts` counts the attempts in which a request was sent, 0 if none was; redirects are part of an attempt.
    `http_status` is the status of the last answer, if there was one. `final_url` is the address that redirects led to,
    None when there was no redirect.
    """

    id: object
    body: bytes | None
    error: str | None
    attempts: int
    http_status: int | None
    final_url: str | None


class Fetcher:
    """The threads, connections and caches that fetch, made once a process and kept from shard to shard.

    Works from any thread, several in one process too. Use it in a ``with`` block, or call `close`. `backend` takes the
    place of the resolver that the options name; `memory` is how many received bytes may be held at once, but it is at
    least twice ``max_download_bytes``. Raises `OptionsError` when ``SSL_CERT_FILE`` cannot be read.
    """

    def __init__(
        self, options: FetchOptions, *, backend: Backend | None = None, memory: int = 128 * 1024 * 1024
    ) -> None:
        from img2dataset.fetcher.threads import Pool

        self._pool = Pool(
            options,
            engine_factory=FETCHERS[options.http_client](),
            backend=backend or RESOLVERS[options.resolver](),
            memory=memory,
        )
        # Also when nobody closes it, and before the interpreter ends: threads of C libraries must not outlive that.
        self._close = weakref.finalize(self, self._pool.close)

    @property
    def budget(self) -> ByteBudget:
        """The received bytes that are in memory now (`used`), were at most (`peak`), and may be (`total`)."""
        return self._pool.budget

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Fetch every request; the results come as they are ready, in no order.

        `requests` is read by a thread of the fetcher, as far as it gives; it may block while results come. What it
        raises is raised here, after the results of the requests before. A result's body counts as memory in use until
        the next result is asked for, and fetches wait when too much is in use.
        """
        yield from self._pool.fetch(requests)  # not returned: while results come, this fetcher is in use

    def close(self) -> None:
        """End, within a second, whatever hangs. Iterators of `fetch` that are not at their end raise `RuntimeError`."""
        self._close()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()


def _curl() -> EngineFactory:
    from img2dataset.fetcher.engine.curl import CurlEngine

    return CurlEngine


def _requests() -> EngineFactory:
    from img2dataset.fetcher.engine.requests import RequestsEngine

    return RequestsEngine


def _c_ares() -> Backend:
    from img2dataset.fetcher.cares import CaresBackend

    return CaresBackend()


def _system() -> Backend:
    from img2dataset.fetcher.resolver import SystemBackend

    return SystemBackend()


# The values of the options `http_client` and `resolver`.
FETCHERS: dict[str, Callable[[], EngineFactory]] = {"curl": _curl, "requests": _requests}
RESOLVERS: dict[str, Callable[[], Backend]] = {"c-ares": _c_ares, "system": _system}
