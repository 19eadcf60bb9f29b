"""The shards of a list that is read once: finished ones are compared as they pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from img2dataset.errors import ShardError
from img2dataset.resume.comparison import Fit, fit_of
from img2dataset.resume.places import Places
from img2dataset.resume.runs import StatsFiles
from img2dataset.shards import Shard


class Passing:
    """What of such a list is to be done, in stages: one ends with a shard where the list has grown."""

    def __init__(self, shards: Iterator[Shard], places: Places, look: StatsFiles, retry: Collection[int]) -> None:
        self._shards = shards
        self._places = places
        self._look = look
        self._retry = retry
        self._is_over = False

    def stages(self) -> Iterator[Iterator[Shard]]:
        """The shards to do, under the places they have in the list. Raises `ShardError` where one has other rows."""
        while not self._is_over:
            yield self._stage()

    def _stage(self) -> Iterator[Shard]:
        passed = -1
        for shard in self._shards:
            passed = shard.index
            fit = self._fit(shard)
            if fit is not Fit.SAME or shard.index in self._retry:
                yield shard
            if fit is Fit.GROWN:
                return
        self._is_over = True
        if passed >= 0 and passed < max(self._places.whole, default=-1):
            raise ShardError("the list has ended before all finished shards have passed: it is another one, or was cut")

    def _fit(self, shard: Shard) -> Fit | None:
        """How it fits what is finished in its place; None where nothing is."""
        run = self._places.whole.get(shard.index)
        if run is None:
            return None
        number = run.base + shard.index
        fit = fit_of(self._look(number), shard, self._look, number == run.ids[-1], is_vouched_for=False)
        if fit is Fit.OTHER:
            raise ShardError(
                f"shard {number} was made from other rows than the list has there; what was done before it stays"
            )
        return fit
