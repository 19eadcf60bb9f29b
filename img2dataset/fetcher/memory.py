"""The memory that received bytes may take, for all of a process's threads together."""

from __future__ import annotations

import threading

# Fetches start only while this share of the budget is free of bytes, so that those under way find room to grow.
_ADMIT_SHARE = 0.75
# What a fetch of unknown size is expected to need at least: less would mean asking for more in most fetches.
_SMALLEST_ROOM = 64 * 1024
# How fast the expectation follows the sizes that come.
_LEARNING_RATE = 1 / 64


class ByteBudget:
    """Counts bytes that are in flight, waiting to be handed out, or at the consumer. Thread-safe.

    A fetch is admitted with the room that a body has needed lately. A body that grows beyond asks for more; when there
    is none its fetch ends and is admitted again when all of its size is free. A body of the largest allowed size fits
    into half of the budget, so everything gets its turn.
    """

    def __init__(self, largest_body: int, total: int) -> None:
        self.total = max(total, 2 * largest_body)
        self.used = 0
        self.peak = 0
        self._expected = float(_SMALLEST_ROOM)
        self._largest_body = largest_body
        self._lock = threading.Lock()

    def admit(self, room: int | None) -> int | None:
        """Reserve room for a fetch, of a known size or (None) of what is usual. None: there is none now."""
        with self._lock:
            wanted = room if room is not None else min(max(int(self._expected), _SMALLEST_ROOM), self._largest_body)
            limit = self.total if room is not None else self.total * _ADMIT_SHARE
            if self.used + wanted > limit:
                return None
            self._use(wanted)
            return wanted

    def grow(self, by: int) -> bool:
        """Reserve more for a body that is coming. False: there is no room."""
        with self._lock:
            if self.used + by > self.total:
                return False
            self._use(by)
            return True

    def _use(self, count: int) -> None:
        self.used += count
        self.peak = max(self.peak, self.used)

    def release(self, count: int) -> None:
        """Give back what was reserved."""
        with self._lock:
            self.used -= count

    def settle(self, reserved: int, size: int) -> None:
        """A body is whole: give back what it did not need, and learn from its size."""
        with self._lock:
            self.used -= reserved - size
            self._expected += (size - self._expected) * _LEARNING_RATE
