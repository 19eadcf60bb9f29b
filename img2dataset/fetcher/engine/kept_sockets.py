"""Whether a server has said something that nobody asked for."""

from __future__ import annotations

import select
import time
from collections import OrderedDict

# libcurl looks at its idle connections once a second, at the beginning of a request, and closes those on which
# something has come. In between it would take what has come for the next answer.
_UNTIL_LIBCURL_LOOKS = 1.05


class KeptSockets:
    """The sockets that a libcurl handle may use again: the last ones, for it closes the oldest, too."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last_used: OrderedDict[int, None] = OrderedDict()
        self._poll = select.poll()
        self._in_doubt_until = 0.0

    def add(self, descriptor: int) -> None:
        """A request has ended and left this socket open."""
        if descriptor not in self._last_used:
            self._poll.register(descriptor, select.POLLIN)
        self._last_used[descriptor] = None
        self._last_used.move_to_end(descriptor)
        if len(self._last_used) > self._most:
            self._forget(next(iter(self._last_used)))

    def in_doubt(self) -> bool:
        """Whether the next request must not use them: something has come on one, or its end, and libcurl has not seen.

        A number that is another thread's socket by now is forgotten for the same reason, which does no harm.
        """
        now = time.monotonic()
        for descriptor, event in self._poll.poll(0) if self._last_used else ():
            self._forget(descriptor)
            if event != select.POLLNVAL:
                self._in_doubt_until = now + _UNTIL_LIBCURL_LOOKS
        return now < self._in_doubt_until

    def _forget(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._last_used[descriptor]
