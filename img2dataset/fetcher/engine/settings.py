"""What the engines of a run have in common, from the options and the environment."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable

import certifi

from img2dataset._version import __version__
from img2dataset.errors import OptionsError
from img2dataset.fetcher.engine import EngineSettings
from img2dataset.fetcher.robots import PRODUCT_TOKEN
from img2dataset.options import Crawler, FetchOptions

logger = logging.getLogger(__name__)

_MOST_KEPT = 5
_PER_CONNECTION = 2  # a socket, and what watches over it
_PER_THREAD = 4  # the connection in use, and what libcurl wakes a handle with
_RESERVED = 64  # files, pipes and sockets of the rest of the process


def engine_settings(options: FetchOptions, call_later: Callable[[float, Callable[[], None]], None]) -> EngineSettings:
    """The settings of a fetcher's engines. Raises `OptionsError` when ``SSL_CERT_FILE`` cannot be read."""
    return EngineSettings(
        max_download_bytes=options.limits.max_download_bytes,
        kept_connections=_connections_to_keep(options.thread_count),
        headers={"User-Agent": user_agent(options.crawler)},
        private_headers=options.crawler.headers,
        ca_file=None if options.trust.ignore_ssl_certificate else _ca_file(),
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


def _connections_to_keep(thread_count: int) -> int:
    """Idle connections that a thread may keep for later requests, at least one.

    The soft limit of the process is raised as far as that needs and the hard limit allows: 256 threads reach the usual
    1,024 open files long before the list ends, and every connection after that would fail.
    """
    allowed = _raise_limit(_needed(thread_count, _MOST_KEPT))
    if allowed < _needed(thread_count, 1):
        logger.warning("thread_count %d needs more open files than the %d of `ulimit -Hn`", thread_count, allowed)
    spare = (allowed - _RESERVED) // thread_count - _PER_THREAD
    return max(1, min(_MOST_KEPT, spare // _PER_CONNECTION))


def _needed(thread_count: int, kept: int) -> int:
    return thread_count * (kept * _PER_CONNECTION + _PER_THREAD) + _RESERVED


def _raise_limit(wanted: int) -> int:
    """Allow the process so many open files, or as many as it may have; returns how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
