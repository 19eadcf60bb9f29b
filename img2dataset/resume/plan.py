"""Coming back to a folder: which shards of the list are to be done, and in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from img2dataset.dataset_card import CARD, is_card
from img2dataset.errors import OptionsError
from img2dataset.fetcher.retries import is_to_retry
from img2dataset.filesystem import Folder
from img2dataset.formats import names_in
from img2dataset.reader import Reader
from img2dataset.resume.comparison import Comparison, compare, compare_beginnings
from img2dataset.resume.passing import Passing
from img2dataset.resume.places import Places
from img2dataset.resume.runs import Run, StatsFiles
from img2dataset.shards import (
    IDENTITY_ROWS,
    SHARD_DIGITS,
    STATS_SUFFIX,
    ListIdentity,
    Shard,
    is_stats_file,
    parse_shard_file,
    shard_count,
    shard_name,
)


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What is to be done. `line` says in one line what was chosen and why."""

    line: str
    places: Places
    retry: Collection[int] = ()  # places whose shard is finished, and has rows to try again
    look: StatsFiles | None = None  # what a list that is read once is compared with as it passes

    @property
    def done(self) -> int:
        """How many shards of the list are finished."""
        return len(self.places.whole) + len(self.places.short)

    def stages(self, reader: Reader) -> Iterator[Iterator[Shard]]:
        """The shards to do, under their numbers; those of one stage must be finished before the next begins.

        The shard where a list has grown comes first: while it is short it is the last of its run, and found there.
        """
        if reader.reads_once and self.look:
            yield from map(self._numbered, Passing(reader.shards(), self.places, self.look, self.retry).stages())
            return
        whole, short = self.places.whole, self.places.short
        if short:
            yield self._numbered(reader.shards(lambda index: index in short))
        finished = (whole.keys() | short.keys()).difference(self.retry)
        yield self._numbered(reader.shards(lambda index: index not in finished))

    def _numbered(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        for shard in shards:
            yield replace(self.places.numbered(shard), retry=shard.index in self.retry)


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a folder holds, by the numbers of shards."""

    folder: Folder
    stats: StatsFiles
    unfinished: Mapping[int, str]  # a file of each shard that has no stats file
    next_free: int
    digits: int  # of a shard's name

    @staticmethod
    def of(folder: Folder, digits: int) -> _Contents:
        taken = {name: number for name in names_in(folder) if (number := parse_shard_file(name)) is not None}
        stats_files = {number: name for name, number in taken.items() if is_stats_file(name)}
        unfinished = {number: name for name, number in taken.items() if number not in stats_files}
        next_free = max(taken.values(), default=-1) + 1
        return _Contents(folder, StatsFiles(folder, stats_files), unfinished, next_free, digits)

    def name(self, number: int) -> str:
        return shard_name(number, self.digits)

    def extend_line(self, why: str) -> str:
        return f"{self.folder} {why}: continuing at shard {self.name(self.next_free)}"


def make_plan(
    folder: Folder, reader: Reader, mode: str, output_options: Mapping[str, Any], digits: int = SHARD_DIGITS
) -> ResumePlan:
    """Compare the folder with the list. Changes nothing. Raises `OptionsError` where the mode refuses.

    `digits` are those of a shard's name.
    """
    first_urls = reader.first_urls(IDENTITY_ROWS)
    contents = _Contents.of(folder, digits)
    behind_all = Places(ListIdentity.of(first_urls), contents.next_free)
    runs = contents.stats.runs()
    if not runs:
        return ResumePlan(contents.extend_line("holds other files") if contents.unfinished else "", behind_all)
    for run in runs:
        _refuse_other_options(contents, run, output_options)
    if mode == "extend":
        return ResumePlan(contents.extend_line("has shards already (incremental_mode=extend)"), behind_all)
    is_vouched_for = mode in ("incremental", "retry_failed")
    if reader.reads_once:
        compared = compare_beginnings(runs, first_urls)
    else:
        compared = compare(runs, reader, first_urls, contents.stats, is_vouched_for=is_vouched_for)
    ours = [one for one in compared if one.is_of_list]
    _refuse_in_part(contents, compared, ours)
    if ours:
        places = _places(contents, runs[-1], ours, ListIdentity.of(first_urls))
        is_wanted = partial(is_to_retry, retry_statuses=reader.options.retry_statuses)
        return _what_is_missing(contents, places, is_wanted if mode == "retry_failed" else None)
    if mode == "auto":
        return ResumePlan(contents.extend_line("has shards already (its shards come from another list)"), behind_all)
    raise OptionsError(
        f"incremental_mode is {mode}, but {folder} was made from another list; "
        "give that list, another output_folder, or incremental_mode=extend to add this one"
    )


def _places(contents: _Contents, last: Run, ours: Sequence[Comparison], identity: ListIdentity) -> Places:
    """The places of the list that `ours` are of; `last` is the last run of the folder, whichever list it is of."""
    next_free = contents.next_free
    if next_free > last.ids[-1] + 1 and _is_of_version_1(last, last.ids[-1], contents.stats):
        next_free = last.ids[-1] + 1
    places = Places(identity, next_free, [one.run for one in ours], [one.run for one in ours if one.has_grown])
    _refuse_to_overwrite(contents, places)
    return places


def _what_is_missing(contents: _Contents, places: Places, is_wanted: Callable[[str], bool] | None) -> ResumePlan:
    """With `is_wanted`, also the finished shards that have rows with such a message."""
    plan = ResumePlan("", places, look=contents.stats)
    line = f"{contents.folder} was made from this list and has {shard_count(plan.done)} of it: doing what is missing"
    if is_wanted is None:
        return replace(plan, line=line)
    messages = {index: contents.stats(run.base + index).status_dict for index, run in places.whole.items()}
    retry = {index for index, counted in messages.items() if any(map(is_wanted, counted))}
    return replace(plan, line=f"{line} and what failed for a passing reason in {len(retry)} of them", retry=retry)


def _is_of_version_1(run: Run, number: int, stats: StatsFiles) -> bool:
    """Whether img2dataset 1.x began this run: what stands at `number` without a stats file it left when it was killed.

    Some of all the shards are looked at, and those next to that one: version 2 may have gone on with the run since.
    """
    place = bisect_left(run.ids, number)
    near = run.ids[max(0, place - 2) : place + 2]
    return any(stats(id).origin.url_digest is None for id in (*near, *run.sampled))


def _refuse_to_overwrite(contents: _Contents, places: Places) -> None:
    """A file that has the number of a shard that is missing, and that nobody finished, is somebody else's."""
    for number, name in contents.unfinished.items():
        run = places.hole(number)
        if run and not _is_of_version_1(run, number, contents.stats):
            shard = contents.name(number)
            raise OptionsError(
                f"{contents.folder} holds {name!r}, which has no {shard}{STATS_SUFFIX} and so is of no finished shard, "
                f"and this run would write shard {shard}; move all that has this number away, or choose another "
                "output_folder"
            )


def _refuse_other_options(contents: _Contents, run: Run, options: Mapping[str, Any]) -> None:
    for number in run.sampled:
        for name, made_with in contents.stats(number).origin.options.items():
            if name in options and options[name] != made_with:
                raise OptionsError(
                    f"{contents.folder} was made with {name}={made_with}, and this run has {name}={options[name]}; "
                    "use the same, another output_folder, or incremental_mode=overwrite to start from nothing"
                )


def _refuse_in_part(contents: _Contents, compared: Sequence[Comparison], ours: Sequence[Comparison]) -> None:
    """A list is the folder's or another one. Once one run is this list's, only what goes on with it must fit too."""
    if ours:
        in_part = [one for one in compared if not one.is_of_list and any(map(one.goes_on_with, ours))]
    else:
        in_part = [one for one in compared if one.is_in_part]
    if in_part:
        raise OptionsError(
            f"{contents.folder} fits this list only in part: {_difference(contents, in_part)}; "
            "give the list it was made from, another output_folder, or incremental_mode=overwrite"
        )


def _difference(contents: _Contents, in_part: Sequence[Comparison]) -> str:
    others = [number for one in in_part for number in one.others]
    if others:
        return f"shard {contents.name(others[0])} was made from other rows than the list has there"
    return "the list that its shards were made from began with rows with which this one does not begin"


def overwrite(folder: Folder) -> None:
    """Remove every shard of the folder. Raises `OptionsError`, removing nothing, when it holds anything else."""
    names = names_in(folder)
    finished = {parse_shard_file(name) for name in names if is_stats_file(name)}
    foreign = [name for name in names if parse_shard_file(name) not in finished]
    if finished and CARD in foreign and is_card(folder):
        foreign.remove(CARD)
    if foreign:
        raise OptionsError(
            f"incremental_mode is overwrite, but {folder} holds {foreign[0]!r}, which img2dataset did not write; "
            "remove it, or choose another output_folder"
        )
    if names:
        folder.remove_together(sorted(names, key=lambda name: not is_stats_file(name)))
