"""What follows for a shard at which a worker ended before its time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from img2dataset.errors import Reason
from img2dataset.shards import Shard, shard_name

DEADLY_TWICE = 2  # ends after which a row is no longer decoded
MAX_UNEXPLAINED = 3  # ends while no row of a shard was being decoded, before the shard is given up


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended, and at what: `row` is the one of the shard that it was decoding, None if it decoded none."""

    pid: int
    cause: str
    hung: bool  # and was ended for that
    shard: Shard
    row: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, and the words that tell it."""

    again: Shard | None  # the shard as it is done again; None: it has failed
    message: str


class Blame:
    """Judges the ends of workers, and remembers them as long as their shard is open.

    What becomes of the shard, by what the worker was doing:

    ==============  ===================  ===========================  ===========================
                    it ended here first  it ended here again          it hung here
    ==============  ===================  ===========================  ===========================
    decoding a row  done again           done again without that row  done again without that row
    anything else   done again           the third time it fails      it fails
    ==============  ===================  ===========================  ===========================
    """

    def __init__(self, digits: int) -> None:
        self._digits = digits  # of a shard's name
        self._ends: dict[int, Counter[int | None]] = {}  # shard id → row → times

    def forget(self, shard: Shard) -> None:
        """The shard is settled."""
        self._ends.pop(shard.id, None)

    def judge(self, end: End) -> Verdict:
        """What one more end means."""
        if end.row is None:
            return self._of_no_row(end)
        return self._of_a_row(end, end.row)

    def _of_a_row(self, end: End, row: int) -> Verdict:
        where = f"row {row} of shard {self._name(end)}"
        if end.hung:
            without = end.shard.without({row: Reason.DECODING_TOO_SLOW})
            return _verdict(end, without, f"hung at {where}, which is done without that row")
        if self._times(end) < DEADLY_TWICE:
            return _verdict(end, end.shard, f"ended at {where}, which is done again")
        without = end.shard.without({row: Reason.WORKER_DIED})
        return _verdict(end, without, f"ended at {where} again, which is done without that row")

    def _of_no_row(self, end: End) -> Verdict:
        where = f"ended at shard {self._name(end)}"
        if end.hung or self._times(end) >= MAX_UNEXPLAINED:
            return _verdict(end, None, where)
        return _verdict(end, end.shard, f"{where}, which is done again")

    def _times(self, end: End) -> int:
        """How often workers have ended here, this time included."""
        ends = self._ends.setdefault(end.shard.id, Counter())
        ends[end.row] += 1
        return ends[end.row]

    def _name(self, end: End) -> str:
        return shard_name(end.shard.id, self._digits)


def _verdict(end: End, again: Shard | None, what: str) -> Verdict:
    return Verdict(again, f"worker {end.pid} {what}: {end.cause}")
