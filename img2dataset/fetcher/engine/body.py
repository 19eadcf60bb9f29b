"""The body of an answer, as much of it as is allowed, wanted and affordable."""

from __future__ import annotations

from collections.abc import Callable

from img2dataset.errors import Reason
from img2dataset.fetcher.engine.answer import Answer
from img2dataset.fetcher.memory import Room

# An error page up to this size is read to its end, so that the connection can be used again.
_DRAIN_BYTES = 64 * 1024
_GROW_BYTES = 256 * 1024


class Body:
    """What an engine writes an answer into: it calls `begin`, then `write` for each piece, already decompressed.

        begin ─┬─► an image: its pieces are kept ─► whole
               ├─► an error page: nothing of it is kept
               └─► ended (False is returned: the transfer is to be given up)
                     with a `problem`: it is refused, or larger than `limit`
                     with `needs`: there was no room; with so many bytes the same fetch is to be done again
                     with neither: nobody needs more of it, an error page or a file that is cut (`cut_at_limit`)

    A `problem` is one of `Reason`. `refuse` says, of the header, why an image must not be taken.
    """

    def __init__(
        self, limit: int, room: Room, refuse: Callable[[Answer], str | None], *, cut_at_limit: bool = False
    ) -> None:
        self.answer: Answer | None = None
        self.ended = False
        self.needs: int | None = None
        self.problem: str | None = None
        self.size = 0
        self._room = room
        self._chunks: list[bytes] = []
        self._cut_at_limit = cut_at_limit
        self._limit = limit
        self._refuse = refuse

    def begin(self, answer: Answer) -> bool:
        """The header has come: say whether the body is wanted."""
        self.answer = answer
        if answer.is_success:
            self.problem = self._refuse(answer)
            if not self.problem and self._is_too_large(answer.declared_size):
                self.problem = Reason.BODY_TOO_LARGE
            self.ended = self.problem is not None or not self._has_room(answer.declared_size)
        return not self.ended

    def write(self, chunk: bytes) -> bool:
        """A piece of the body has come: say whether more is wanted."""
        self.size += len(chunk)
        if self.answer is not None and not self.answer.is_success:
            self.ended = self.size > _DRAIN_BYTES
        elif self._is_too_large(self.size):
            self.problem = Reason.BODY_TOO_LARGE
            self.ended = True
        elif self.size > self._room.size and not self._has_room(max(self.size, self._room.size + _GROW_BYTES)):
            self.ended = True
        else:
            self._chunks.append(chunk)
            self.ended = self._cut_at_limit and self.size >= self._limit
        return not self.ended

    def whole(self) -> bytes:
        """All that has come, up to the limit; the room that it did not need is given back."""
        data = b"".join(self._chunks)[: self._limit]
        self._chunks.clear()
        self._room.fit(len(data))
        return data

    def _is_too_large(self, size: int) -> bool:
        return size > self._limit and not self._cut_at_limit

    def _has_room(self, wanted: int) -> bool:
        if self._room.grow(min(wanted, self._limit)):
            return True
        declared = self.answer.declared_size if self.answer else 0
        self.needs = declared if declared >= self.size else self._limit
        return False
