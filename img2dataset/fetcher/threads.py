"""The threads of a fetcher, and what they share."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Iterator

from img2dataset import defects
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.engine import Engine, EngineFactory
from img2dataset.fetcher.engine.settings import engine_settings
from img2dataset.fetcher.guard import Guard
from img2dataset.fetcher.hops import Hops
from img2dataset.fetcher.memory import Memory
from img2dataset.fetcher.preparation import Preparation
from img2dataset.fetcher.proxies import Proxies
from img2dataset.fetcher.records import FetchRequest, FetchResult
from img2dataset.fetcher.resolver import Backend, Resolver
from img2dataset.fetcher.results import Results
from img2dataset.fetcher.robots import PRODUCT_TOKEN, RobotsTxt
from img2dataset.fetcher.schedule import Schedule
from img2dataset.options import FetchOptions

_CLOSE_SECONDS = 0.5
# How far the fetcher is ahead of its threads: a few jobs for each, and as many names as the resolver asks for at once,
# so that hanging ones hold up no other.
_WINDOW_OF_A_THREAD, _SMALLEST_WINDOW = 4, 1024


class Threads:
    """Starts threads as there is work for them, up to ``thread_count``; they live until it is closed."""

    def __init__(self, options: FetchOptions, *, engine_factory: EngineFactory, backend: Backend, memory: int) -> None:
        self._options = options
        self._engine_factory = engine_factory
        self._token = (options.crawler.user_agent_token or PRODUCT_TOKEN).lower()
        self._clock = Clock()
        self._settings = engine_settings(options, self._clock.call_later)
        self.memory = Memory(options.limits.max_download_bytes, total=memory)
        self._resolver = Resolver(backend, self._clock, options.limits.timeout)
        self._schedule = Schedule(
            memory=self.memory,
            clock=self._clock,
            timeout=options.limits.timeout,
            max_connections_per_host=options.courtesy.max_connections_per_host,
            lookahead=2 * options.thread_count,
            send_back=lambda job: self._preparation.prepare(job),  # which is made with the schedule
            need_thread=self._start_thread,
        )
        self._preparation = Preparation(
            limits=options.limits,
            schedule=self._schedule,
            clock=self._clock,
            memory=self.memory,
            resolver=self._resolver,
            guard=Guard(block_private_networks=options.trust.block_private_networks),
            proxies=Proxies(),
            robots=RobotsTxt(self._token) if options.courtesy.respect_robots_txt else None,
            window=max(_WINDOW_OF_A_THREAD * options.thread_count, _SMALLEST_WINDOW),
        )
        self._threads: list[threading.Thread] = []
        self._engine_was_made = False
        self._results: weakref.WeakSet[Results] = weakref.WeakSet()

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """See `Fetcher.fetch`."""
        results = Results(
            requests=requests,
            feed=self._preparation.feed,
            freed=self._freed,
            largest_body=self._options.limits.max_download_bytes,
        )
        self._results.add(results)
        threading.Thread(target=results.read, name="fetcher reader", daemon=True).start()
        return iter(results)

    def close(self) -> None:
        """See `Fetcher.close`."""
        self._schedule.close()
        self._clock.close()
        self._resolver.close()
        self._fail(RuntimeError("the fetcher was closed before all results had come"))
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in tuple(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _freed(self, count: int) -> None:
        self.memory.release(count)
        self._schedule.memory_is_free()

    def _start_thread(self) -> None:
        if len(self._threads) < self._options.thread_count:
            # A daemon, so that a transfer that hangs does not keep the process from its exit.
            thread = threading.Thread(target=self._work, name=f"fetcher {len(self._threads)}", daemon=True)
            try:
                thread.start()
                self._threads.append(thread)
            except RuntimeError as error:  # the system allows no more of them
                if not self._threads:
                    raise
                defects.tell(error, f"thread {len(self._threads) + 1}")

    def _work(self) -> None:
        hops = Hops(
            schedule=self._schedule,
            preparation=self._preparation,
            make_engine=self._make_engine,
            directives=self._options.courtesy.disallowed_header_directives,
            token=self._token,
        )
        try:
            hops.run()
        except BaseException as error:  # noqa: BLE001 - not a run that waits for ever: raised where the results are read
            self._fail(error)

    def _make_engine(self) -> Engine:
        """Raises what the libraries raise; if there never was an engine, whoever reads the results hears of it too."""
        try:
            engine = self._engine_factory(self._settings)
        except Exception as error:
            if not self._engine_was_made:
                self._fail(error)
            raise
        self._engine_was_made = True
        return engine

    def _fail(self, error: BaseException) -> None:
        for results in tuple(self._results):
            results.fail(error)
