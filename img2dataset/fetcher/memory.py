"""The memory that received bytes may take, for all of a process's threads together."""

from __future__ import annotations

import threading
from dataclasses import dataclass

# Fetches start only while this share of the memory is free of bytes, so that those under way find room to grow.
_ADMIT_SHARE = 0.75
# What a fetch of unknown size is expected to need at least: less would mean asking for more in most fetches.
_SMALLEST_ROOM = 64 * 1024
# How fast the expectation follows the sizes that come.
_LEARNING_RATE = 1 / 64


class Memory:
    """Counts bytes that are in flight, waiting to be handed out, or at the consumer. Thread-safe.

    A fetch is admitted with the room that a body has needed lately. A body that grows beyond asks for more; when there
    is none its fetch ends and is admitted again when all of its size is free. A body of the largest allowed size fits
    into half of the memory, so everything gets its turn.
    """

    def __init__(self, largest_body: int, total: int) -> None:
        self.total = max(total, 2 * largest_body)
        self.used = 0
        self.peak = 0
        self._expected = float(_SMALLEST_ROOM)
        self._largest_body = largest_body
        self._lock = threading.Lock()

    def admit(self, size: int | None = None) -> Room | None:
        """Room for a body of a known size or (None) of the usual one. Returns None when there is none now."""
        with self._lock:
            wanted = size if size is not None else min(max(int(self._expected), _SMALLEST_ROOM), self._largest_body)
            limit = self.total if size is not None else self.total * _ADMIT_SHARE
            return Room(self, wanted) if self._use(wanted, limit) else None

    def _use(self, count: int, limit: float) -> bool:
        if self.used + count > limit:
            return False
        self.used += count
        self.peak = max(self.peak, self.used)
        return True

    def release(self, count: int) -> None:
        """Count bytes as free that whoever got them is done with."""
        with self._lock:
            self.used -= count

    def resize(self, room: Room, size: int) -> bool:
        """Give a room another size. False: there is no more memory."""
        with self._lock:
            if not self._use(size - room.size, self.total):
                return False
            room.size = size
            return True

    def expect(self, size: int) -> None:
        """A body had this size: the next ones may have it too."""
        with self._lock:
            self._expected += (size - self._expected) * _LEARNING_RATE


@dataclass(slots=True, eq=False)
class Room:
    """What of the memory is kept for one body: `size` bytes. Only one thread has it at a time."""

    _memory: Memory
    size: int

    def grow(self, size: int) -> bool:
        """Have `size` bytes, or more. False: there are no more."""
        return size <= self.size or self._memory.resize(self, size)

    def fit(self, size: int) -> None:
        """The body is whole: give back what it does not need."""
        self._memory.resize(self, size)
        self._memory.expect(size)

    def hand_over(self) -> None:
        """Whoever has the bytes from now on calls `Memory.release`."""
        self.size = 0

    def free(self) -> None:
        """Give back what is left of it."""
        if self.size:
            self._memory.resize(self, 0)
