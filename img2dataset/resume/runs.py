"""Which finished shards of a folder belong together: found by reading few of its stats files."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from img2dataset.errors import OptionsError, ShardError
from img2dataset.filesystem import Folder
from img2dataset.resume.finished import UNREADABLE, FinishedShard
from img2dataset.shards import STATS_SUFFIX, ListIdentity, urls_digest
from img2dataset.stats import ShardStats

SAMPLED = 16  # finished shards of a run that speak for all of it


@dataclass(frozen=True, slots=True)
class Run:
    """Finished shards of one list whose numbers are all `base` more than their places in it.

    No shard of another list has a number between theirs: a list that comes back after another one begins a new run.
    """

    identity: ListIdentity | None  # of the list; None: begun before there were identities
    base: int  # the number that the first shard of the list has, or would have
    first_free: int  # the number after the run before this one
    ids: Sequence[int]  # sorted

    @property
    def first_index(self) -> int:
        """The place in the list of the first of them."""
        return self.ids[0] - self.base

    @property
    def last_index(self) -> int:
        """The place in the list of the last of them."""
        return self.ids[-1] - self.base

    @property
    def sampled(self) -> Sequence[int]:
        """At most `SAMPLED` of their numbers, the first and the last included."""
        if len(self.ids) <= SAMPLED:
            return self.ids
        return [self.ids[round(place * (len(self.ids) - 1) / (SAMPLED - 1))] for place in range(SAMPLED)]

    def number(self, index: int) -> int | None:
        """The number of a place in the list; None behind the last shard, and where other lists have the numbers."""
        number = self.base + index
        return number if self.first_free <= number <= self.ids[-1] else None


class StatsFiles:
    """The stats files of a folder, each read at most once. `names` has them by the numbers of their shards."""

    def __init__(self, folder: Folder, names: Mapping[int, str]) -> None:
        self._folder = folder
        self._names = names
        self._known: dict[int, ShardStats] = {}

    def __call__(self, shard_id: int) -> ShardStats:
        """What one says. Raises `OptionsError` with the way out where it says nothing."""
        if shard_id not in self._known:
            try:
                self._known[shard_id] = self._shard(shard_id).stats()
            except ShardError as error:
                raise OptionsError(f"in {self._folder}, {error}; {_way_out(error)}") from error
        return self._known[shard_id]

    def digest_of_metadata(self, shard_id: int) -> str | None:
        """The digest of a shard that was made by img2dataset 1.x; None without metadata."""
        try:
            return urls_digest(self._shard(shard_id).urls())
        except ShardError:
            return None  # not kept, or not img2dataset's: nothing says that the lists are the same

    def runs(self) -> list[Run]:
        """The finished shards by the runs that they are of. As those are intervals, bisection finds their ends."""
        ids = sorted(self._names)
        runs: list[Run] = []
        start = 0
        while start < len(ids):
            end = self._end_of_run(ids, start)
            identity, base = self._origin(ids[start])
            runs.append(Run(identity, base, ids[start - 1] + 1 if start else 0, ids[start:end]))
            start = end
        return runs

    def _end_of_run(self, ids: Sequence[int], start: int) -> int:
        origin = self._origin(ids[start])
        if self._origin(ids[-1]) == origin:
            return len(ids)
        return bisect_left(range(len(ids)), True, lo=start, key=lambda place: self._origin(ids[place]) != origin)

    def _origin(self, shard_id: int) -> tuple[ListIdentity | None, int]:
        """What the shards of a run have in common: its `identity` and its `base`."""
        origin = self(shard_id).origin
        return origin.list_identity, shard_id - origin.list_index

    def _shard(self, shard_id: int) -> FinishedShard:
        return FinishedShard(self._folder, self._names[shard_id].removesuffix(STATS_SUFFIX))


def _way_out(error: ShardError) -> str:
    if str(error).startswith(UNREADABLE):
        return "run again when it can be read"
    return "img2dataset verify --repair removes its shard, and the next run does it again"
