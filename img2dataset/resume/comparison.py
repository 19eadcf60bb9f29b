"""Whether runs of finished shards were made from the list that is given now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from img2dataset.reader import Reader
from img2dataset.resume.runs import Run, StatsFiles
from img2dataset.shards import Shard, urls_digest
from img2dataset.stats import ShardStats


class Fit(Enum):
    """How a finished shard compares with what the list has in its place."""

    SAME = "the same rows"
    GROWN = "its rows and more: it is the last of its run, and was as short as the list"
    OTHER = "other rows, or none"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside the list. `fits` has its sampled shards by their numbers."""

    run: Run
    begins_alike: bool  # the list begins with the rows of the run's identity, or the run has none
    fits: Mapping[int, Fit]

    @property
    def is_of_list(self) -> bool:
        """Whether all that is known speaks for this list."""
        return self.begins_alike and not self.others

    @property
    def is_in_part(self) -> bool:
        """Whether some of what is known speaks for this list, and some against it."""
        return not self.is_of_list and len(self.others) < len(self.fits)

    @property
    def has_grown(self) -> bool:
        """Whether the last shard of the run is to be done again, with the rows that were added to the list."""
        return Fit.GROWN in self.fits.values()

    @property
    def others(self) -> list[int]:
        """The numbers of the sampled shards that are not of this list."""
        return [number for number, fit in self.fits.items() if fit is Fit.OTHER]

    def goes_on_with(self, earlier: Comparison) -> bool:
        """Whether this run was begun where `earlier` had ended, by a list that began alike."""
        identity = self.run.identity
        is_one_list = identity is not None and identity == earlier.run.identity
        return is_one_list and self.run.first_index > earlier.run.last_index


def compare(
    runs: Sequence[Run], reader: Reader, first_urls: Sequence[str | None], look: StatsFiles, *, is_vouched_for: bool
) -> list[Comparison]:
    """Each run beside the list, of which one pass reads as much as the sampled shards need.

    Args:
        runs: All of the folder.
        reader: The list.
        first_urls: Those that it begins with, as many as identities need.
        look: The stats files of the folder.
        is_vouched_for: The user says that shards of img2dataset 1.x, which have no digest, are of this list.
    """
    fits = {number: Fit.OTHER for run in runs for number in run.sampled}
    last = {run.ids[-1] for run in runs}
    by_place: dict[int, list[ShardStats]] = defaultdict(list)
    for number in fits:
        by_place[look(number).origin.list_index].append(look(number))
    for shard in _shards_at(reader, set(by_place)):
        for stats in by_place[shard.index]:
            fits[stats.shard_id] = fit_of(stats, shard, look, stats.shard_id in last, is_vouched_for)
    return [
        Comparison(
            run,
            begins_alike=run.identity is None or run.identity.is_of(first_urls),
            fits={number: fits[number] for number in run.sampled},
        )
        for run in runs
    ]


def compare_beginnings(runs: Sequence[Run], first_urls: Sequence[str | None]) -> list[Comparison]:
    """Each run beside a list that is read once: its first rows alone tell before it is read."""
    return [
        Comparison(run, begins_alike=run.identity is not None and run.identity.is_of(first_urls), fits={})
        for run in runs
    ]


def _shards_at(reader: Reader, places: set[int]) -> Iterator[Shard]:
    """Those shards of the list, as far as it has them."""
    for shard in reader.shards(lambda index: index in places):
        yield shard
        if shard.index == max(places):
            break
    reader.rows_read = 0


def fit_of(finished: ShardStats, shard: Shard, look: StatsFiles, is_last: bool, is_vouched_for: bool) -> Fit:
    """How a finished shard compares with the one in its place of the list."""
    if shard.count == finished.count:
        fit = Fit.SAME
    elif shard.count > finished.count and is_last:
        fit = Fit.GROWN
    else:
        return Fit.OTHER
    return fit if _begins_with(shard, finished, look, is_vouched_for) else Fit.OTHER


def _begins_with(shard: Shard, finished: ShardStats, look: StatsFiles, is_vouched_for: bool) -> bool:
    """Whether the first rows of the list's shard are those of the finished one."""
    digest = finished.origin.url_digest
    if digest is None and is_vouched_for:
        return True
    urls = shard.table().column("url").slice(0, finished.count).to_pylist()
    return urls_digest(urls) == (digest or look.digest_of_metadata(finished.shard_id))
