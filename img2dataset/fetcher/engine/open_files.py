"""How many connections the system's limit of open files leaves to each thread."""

from __future__ import annotations

import logging
import resource

MOST_KEPT = 5
_PER_CONNECTION = 2  # a socket, and what watches over it
_PER_THREAD = 4  # the connection in use, and what libcurl wakes a handle with
_RESERVED = 64  # files, pipes and sockets of the rest of the process

logger = logging.getLogger(__name__)


def connections_to_keep(thread_count: int) -> int:
    """Idle connections that a thread may keep for later requests, at least one.

    The soft limit of the process is raised as far as that needs and the hard limit allows: 256 threads reach the usual
    1,024 open files long before the list ends, and every connection after that would fail.
    """
    allowed = _raise_limit(_needed(thread_count, MOST_KEPT))
    if allowed < _needed(thread_count, 1):
        logger.warning("thread_count %d needs more open files than the %d of `ulimit -Hn`", thread_count, allowed)
    spare = (allowed - _RESERVED) // thread_count - _PER_THREAD
    return max(1, min(MOST_KEPT, spare // _PER_CONNECTION))


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
