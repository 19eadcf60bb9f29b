"""What the engines of a run have in common, from the options and the environment."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable

import certifi

from img2dataset._version import __version__
from img2dataset.errors import OptionsError
from img2dataset.fetcher.engine import EngineSettings
from img2dataset.fetcher.engine.open_files import connections_to_keep
from img2dataset.fetcher.robots import PRODUCT_TOKEN
from img2dataset.options import Crawler, FetchOptions


def engine_settings(options: FetchOptions, call_later: Callable[[float, Callable[[], None]], None]) -> EngineSettings:
    """The settings of a fetcher's engines. Raises `OptionsError` when ``SSL_CERT_FILE`` cannot be read."""
    ca_file = None if options.trust.ignore_ssl_certificate else _ca_file()
    return EngineSettings(
        max_download_bytes=options.limits.max_download_bytes,
        kept_connections=connections_to_keep(options.thread_count),
        headers={"User-Agent": user_agent(options.crawler)},
        private_headers=options.crawler.headers,
        ca_file=ca_file,
        tls_context=TlsContext(ca_file),
        call_later=call_later,
    )


def user_agent(crawler: Crawler) -> str:
    """How we introduce ourselves to servers."""
    if crawler.user_agent:
        return crawler.user_agent
    token = f"; {crawler.user_agent_token}" if crawler.user_agent_token else ""
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
