"""The threads of a fetcher, and what they share."""

from __future__ import annotations

import os
import ssl
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType

import certifi

from img2dataset import defects
from img2dataset._version import __version__
from img2dataset.errors import OptionsError
from img2dataset.fetcher import FetchRequest, FetchResult
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.engine.contract import Engine, EngineFactory, EngineSettings
from img2dataset.fetcher.engine.open_files import connections_to_keep
from img2dataset.fetcher.guard import Guard
from img2dataset.fetcher.hops import Worker, Workshop
from img2dataset.fetcher.memory import ByteBudget
from img2dataset.fetcher.proxies import Proxies
from img2dataset.fetcher.resolver import Backend, Resolver
from img2dataset.fetcher.results import Stream
from img2dataset.fetcher.robots import PRODUCT_TOKEN, RobotsTxt
from img2dataset.fetcher.schedule import Schedule
from img2dataset.options import FetchOptions

_CLOSE_SECONDS = 0.5


class Pool:
    """Starts threads as there is work for them, up to ``thread_count``; they live until it is closed."""

    def __init__(self, options: FetchOptions, *, engine_factory: EngineFactory, backend: Backend, memory: int) -> None:
        self._options = options
        self._engine_factory = engine_factory
        self._clock = Clock()
        self._settings = _engine_settings(options, self._clock)
        self.budget = ByteBudget(options.max_download_bytes, total=memory)
        self._schedule = Schedule(
            self.budget,
            self._clock,
            max_connections_per_host=options.max_connections_per_host,
            lookahead=2 * options.thread_count,
            need_thread=self._start_thread,
        )
        self._workshop = self._make_workshop(backend)
        self._threads: list[threading.Thread] = []
        self._engine_was_made = False
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()

    def _make_workshop(self, backend: Backend) -> Workshop:
        token = (self._options.user_agent_token or PRODUCT_TOKEN).lower()
        return Workshop(
            options=self._options,
            schedule=self._schedule,
            budget=self.budget,
            resolver=Resolver(backend, self._clock, self._options.timeout),
            guard=Guard(block_private_networks=self._options.block_private_networks),
            proxies=Proxies(),
            robots=RobotsTxt(token),
            robots_token=token,
            our_tokens=frozenset({PRODUCT_TOKEN, token}),
        )

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """See `Fetcher.fetch`."""
        largest = self._options.max_download_bytes
        stream = Stream(requests, queue=self._schedule.add, freed=self._freed, largest_body=largest)
        self._streams.add(stream)
        threading.Thread(target=stream.feed, name="fetcher feeder", daemon=True).start()
        return stream.results()

    def close(self) -> None:
        """See `Fetcher.close`."""
        self._schedule.close()
        self._clock.close()
        self._workshop.resolver.close()
        self._end_streams(RuntimeError("the fetcher was closed before all results had come"))
        deadline = time.monotonic() + _CLOSE_SECONDS
        for thread in tuple(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _freed(self, count: int) -> None:
        self.budget.release(count)
        self._schedule.memory_is_free()

    def _start_thread(self) -> None:
        if len(self._threads) < self._options.thread_count:
            # A daemon, so that a transfer that hangs does not keep the process from its exit.
            thread = threading.Thread(target=self._work, name=f"fetcher {len(self._threads)}", daemon=True)
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError as error:  # the system allows no more of them
                self._threads.remove(thread)
                if not self._threads:
                    raise
                defects.tell(error, f"thread {len(self._threads) + 1}")

    def _work(self) -> None:
        with _Watched(self):
            Worker(self._workshop, self._make_engine).run()

    def _make_engine(self) -> Engine:
        """Raises what the libraries raise; if there never was an engine, whoever reads the results hears of it too."""
        try:
            engine = self._engine_factory(self._settings)
        except Exception as error:
            if not self._engine_was_made:
                self._end_streams(error)
            raise
        self._engine_was_made = True
        return engine

    def _end_streams(self, error: BaseException) -> None:
        for stream in tuple(self._streams):
            stream.fail(error)


class _Watched:
    """A mistake in a thread must not become a run that waits for ever: it is raised where the results are read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> bool:
        if error is not None:
            self._pool._end_streams(error)
        return True


def _engine_settings(options: FetchOptions, clock: Clock) -> EngineSettings:
    ca_file = None if options.ignore_ssl_certificate else _ca_file()
    return EngineSettings(
        max_download_bytes=options.max_download_bytes,
        kept_connections=connections_to_keep(options.thread_count),
        headers={"User-Agent": user_agent(options)},
        private_headers=options.headers,
        ca_file=ca_file,
        tls_context=TlsContext(ca_file),
        call_later=clock.call_later,
    )


def user_agent(options: FetchOptions) -> str:
    """How we introduce ourselves to servers."""
    if options.user_agent:
        return options.user_agent
    token = f"; {options.user_agent_token}" if options.user_agent_token else ""
    return f"Mozilla/5.0 (compatible; {PRODUCT_TOKEN}/{__version__}{token})"


def _ca_file() -> str:
    path = os.environ.get("SSL_CERT_FILE") or certifi.where()
    if not os.access(path, os.R_OK):
        raise OptionsError(f"SSL_CERT_FILE is {path!r}; it must be a readable file of certificates in PEM form")
    return path


class TlsContext:
    """Reads the CA bundle when the first thread needs it, once for all of them."""

    def __init__(self, ca_file: str | None) -> None:
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = ssl.create_default_context(cafile=self._ca_file)
                if self._ca_file is None:
                    self._context.check_hostname = False
                    self._context.verify_mode = ssl.CERT_NONE
            return self._context
