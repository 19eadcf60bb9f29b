"""What people see of a run: observers, which are told of it and have no part in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from img2dataset.distributor.base import Event
from img2dataset.stats import RunStats

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is known when a run begins."""

    output_folder: str
    processes_count: int
    oom_shard_count: int  # digits of a shard's name
    plan: str  # in one line, what was chosen for a folder that has shards, and why; "" for a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Where a run stands. Shards that are open are counted as far as they have come."""

    rows_read: int  # of the list, so far
    count: int  # rows settled
    successes: int


class Observer:
    """Follows a run. It owns no count, and no failure of it decides what is done.

    Each method does nothing unless an observer has one of its own.
    """

    def begun(self, beginning: Beginning) -> None:
        """The run begins."""

    def happened(self, event: Event, counts: Counts) -> None:
        """A worker has told something."""

    def list_ended(self, shards: int, rows: int) -> None:
        """The whole list is read, and its shards, which were all to be done, are handed out."""

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        """The run has ended, by an error if there is one. `stats` are what it has done."""


class Observers(Observer):
    """Several observers as one, told in their order; whoever raises is dropped, with one warning."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)

    def begun(self, beginning: Beginning) -> None:
        """Tell each."""
        self._tell(lambda observer: observer.begun(beginning))

    def happened(self, event: Event, counts: Counts) -> None:
        """Tell each."""
        self._tell(lambda observer: observer.happened(event, counts))

    def list_ended(self, shards: int, rows: int) -> None:
        """Tell each."""
        self._tell(lambda observer: observer.list_ended(shards, rows))

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        """Tell each."""
        self._tell(lambda observer: observer.ended(stats, error))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        self._observers = [observer for observer in self._observers if _is_told(observer, what)]


def _is_told(observer: Observer, what: Callable[[Observer], None]) -> bool:
    """Whether an observer has taken what it was told."""
    try:
        what(observer)
    except Exception:  # whatever it is, it is not the run's affair
        logger.warning("%s shows no more of this run", type(observer).__name__, exc_info=True)
        return False
    return True
