"""Questions that many ask and one answer settles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cachetools import TLRUCache

Answer = TypeVar("Answer")


class Answers(Generic[Answer]):
    """What is known, by key, and who waits for what is being found out. Thread-safe.

    `known_for` says for how many seconds an answer holds, `cost` how much of `most` it takes; those that nobody has
    asked for lately make room.
    """

    def __init__(
        self, most: float, known_for: Callable[[Answer], float], cost: Callable[[Answer], float] = lambda _: 1
    ) -> None:
        self._lock = threading.Lock()
        self._known: TLRUCache[str, Answer, float] = TLRUCache(
            most, lambda _, answer, now: now + known_for(answer), time.monotonic, cost
        )
        self._waiting: dict[str, list[Callable[[Answer], None]]] = {}

    @property
    def asked(self) -> int:
        """How many questions are open."""
        return len(self._waiting)

    def ask(self, key: str, done: Callable[[Answer], None], find: Callable[[str], None]) -> Answer | None:
        """The answer; if it is not there, `done` is called with it later. `find` is called for the first who asks."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                return known
            is_first = key not in self._waiting
            self._waiting.setdefault(key, []).append(done)
        if is_first:
            find(key)
        return None

    def learn(self, key: str, answer: Answer) -> None:
        """The answer has been found: all who wait for it are called."""
        with self._lock:
            self._known[key] = answer
            waiting = self._waiting.pop(key, [])
        for done in waiting:
            done(answer)
