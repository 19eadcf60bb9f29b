"""Mistakes of our own, told to whoever can mend them and not to whoever fetches a million rows."""

from __future__ import annotations

import logging
import threading

_MOST_KINDS = 20

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_told: set[tuple[type[BaseException], str, int]] = set()


def tell(error: Exception, subject: str) -> None:
    """Log an exception that nobody expected, with its traceback, once for each kind, and of 20 kinds at most.

    A kind is a class of exception and the line that raised it; `subject` is the URL or the host it came with.
    """
    kind = _kind(error)
    with _lock:
        if kind in _told or len(_told) >= _MOST_KINDS:
            return
        _told.add(kind)
    logger.warning("internal error with %s; please report it, others like it are not shown", subject, exc_info=error)


def _kind(error: Exception) -> tuple[type[BaseException], str, int]:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return (type(error), place.tb_frame.f_code.co_filename if place else "", place.tb_lineno if place else 0)
