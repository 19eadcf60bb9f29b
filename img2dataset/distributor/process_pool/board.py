"""What a worker is doing right now, in memory it shares with its parent: told for each row, without a system call."""

from __future__ import annotations

import mmap
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from img2dataset.events import Progress

# Turn, shard, row (-1: none), rows counted, successes, and the turn again: a slot whose turns differ is half written.
_SLOT = struct.Struct("<6q")
_SLOTS = 2  # written in turns, so that a process killed in the middle of one leaves the one before
_NO_ROW = -1
_NO_SHARD = -1


class Board:
    """A page that one process writes on and another reads. What is written outlives the process that wrote it."""

    def __init__(self, file_descriptor: int) -> None:
        self._memory = mmap.mmap(file_descriptor, mmap.PAGESIZE)
        self._turn = 0  # of the writer: the last one written; of the reader: the last one seen

    def write(self, progress: Progress) -> None:
        """Replace what is written."""
        row = _NO_ROW if progress.row is None else progress.row
        self._write(progress.shard_id, row, progress.count, progress.successes)

    def clear(self) -> None:
        """Write that nothing is being done."""
        self._write(_NO_SHARD, _NO_ROW, 0, 0)

    def has_changed(self) -> bool:
        """Whether something has been written since the last time this was asked."""
        turn = max(turn for turn, *_ in self._slots())
        changed, self._turn = turn != self._turn, turn
        return changed

    def read(self) -> Progress | None:
        """What was written last; None if nothing is being done."""
        _, shard_id, row, count, successes, _ = max(self._slots())
        return None if shard_id == _NO_SHARD else Progress(shard_id, None if row == _NO_ROW else row, count, successes)

    def _write(self, *what: int) -> None:
        self._turn += 1
        _SLOT.pack_into(self._memory, self._turn % _SLOTS * _SLOT.size, self._turn, *what, self._turn)

    def _slots(self) -> list[tuple[int, ...]]:
        """The slots that are whole. An empty board reads as one where nothing is being done."""
        slots = [_SLOT.unpack_from(self._memory, number * _SLOT.size) for number in range(_SLOTS)]
        return [slot for slot in slots if 0 < slot[0] == slot[-1]] or [(0, _NO_SHARD, _NO_ROW, 0, 0, 0)]


@contextmanager
def new_page() -> Iterator[int]:
    """The descriptor of an empty page for two `Board`s: it is handed to a child and closed here, the boards stay."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(mmap.PAGESIZE))  # a page that is only promised could not be had later, when the disk is full
        yield file.fileno()
