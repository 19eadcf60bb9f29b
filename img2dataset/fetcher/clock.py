"""Calls functions when their time has come, so that no thread sleeps for it."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from img2dataset import defects


class Clock:
    """One daemon thread, started with the first call that is asked for.

    What it calls must be short. What that raises is told, and the clock goes on.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._started = False
        self._closed = False

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` from the clock's thread in `seconds`; never, if the clock is closed before."""
        due = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._number), function))
            if not self._started:
                threading.Thread(target=self._run, name="fetcher clock", daemon=True).start()
                self._started = True
            elif self._heap[0][0] == due:
                self._changed.notify()

    def close(self) -> None:
        """Call nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (function := self._next()) is not None:
            self._call(function)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - the others still want to be called
            if not self._closed:
                defects.tell(error, "the clock")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait)
        return None
