"""The way from one iterable of requests to one iterator of results."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from img2dataset import defects
from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.job import Job
from img2dataset.fetcher.records import FetchRequest, FetchResult
from img2dataset.fetcher.urls import parse


@dataclass(kw_only=True, eq=False)
class Results:
    """Counts what went in and what came out, so that it knows its end.

    `feed` takes a job for each request that is a URL, `freed` is told how many bytes the consumer is done with.
    """

    requests: Iterable[FetchRequest]
    feed: Callable[[Job], None]
    freed: Callable[[int], None]
    largest_body: int

    def __post_init__(self) -> None:
        self._outbox: SimpleQueue[FetchResult | None] = SimpleQueue()  # None is the end
        self._lock = threading.Lock()
        self._outstanding = 1  # the reading itself, so that the end is not seen before its end
        self._error: BaseException | None = None
        self._abandoned = False

    def read(self) -> None:
        """Read all requests and feed them: the work of a thread."""
        try:
            for request in self.requests:
                if self._abandoned or self._error:
                    break
                self._accept(request)
        except BaseException as error:  # noqa: BLE001 - the caller's: raised again where the results are read
            self._error = self._error or error
        self._one_less()

    def __iter__(self) -> Iterator[FetchResult]:
        """Every result, as it comes. An exception of the requests, or of a thread, is raised after the last."""
        try:
            while (result := self._outbox.get()) is not None:
                try:
                    yield result
                finally:
                    self._free(result)
        finally:
            self._abandoned = True
            self._free_the_rest()
        if self._error is not None:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """End now, by raising `error`: a thread has broken, what is outstanding will not come."""
        self._error = error
        self._outbox.put(None)

    def _accept(self, request: FetchRequest) -> None:
        with self._lock:
            self._outstanding += 1
        try:
            job = Job(request.id, parse(request.url), self.largest_body, self._ended, lambda: not self._abandoned)
        except DownloadError as error:
            self._ended(FetchResult(request.id, None, str(error)))
        except Exception as error:  # noqa: BLE001 - a row that we cannot handle is one row
            defects.tell(error, str(request.url))
            self._ended(FetchResult(request.id, None, Reason.INTERNAL_ERROR))
        else:
            self.feed(job)

    def _ended(self, result: FetchResult) -> None:
        self._outbox.put(result)
        self._one_less()
        if self._abandoned:
            self._free_the_rest()

    def _one_less(self) -> None:
        with self._lock:
            self._outstanding -= 1
            if self._outstanding == 0:
                self._outbox.put(None)

    def _free(self, result: FetchResult | None) -> None:
        if result is not None and result.body is not None:
            self.freed(len(result.body))

    def _free_the_rest(self) -> None:
        """Give back the memory of results that nobody will ask for."""
        with contextlib.suppress(Empty):
            while True:
                self._free(self._outbox.get_nowait())
