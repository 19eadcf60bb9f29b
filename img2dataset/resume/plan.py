"""Coming back to a folder: which shards of the list are done, and under which numbers the others go."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from img2dataset.errors import OptionsError, ShardError
from img2dataset.fetcher.retries import is_to_retry
from img2dataset.filesystem import Folder
from img2dataset.reader import Reader
from img2dataset.resume.finished import UNREADABLE, FinishedShard
from img2dataset.shards import (
    STATS_SUFFIX,
    Shard,
    is_stats_file,
    parse_shard_file,
    shard_count,
    shard_name,
    urls_digest,
)

SAMPLED = 16  # finished shards whose digests tell whether a list is the folder's


@dataclass(frozen=True, slots=True)
class Finished:
    """What a stats file says of its shard. `index` is the shard's place in its list."""

    id: int
    index: int
    count: int
    url_digest: str | None  # None: written by img2dataset 1.x
    options: Mapping[str, Any]
    messages: Collection[str]  # the error messages of its rows, ``success`` among them

    @property
    def base(self) -> int:
        """The number that the first shard of its list has, or would have."""
        return self.id - self.index


@dataclass(frozen=True, slots=True)
class Run:
    """Finished shards with consecutive numbers that one list gave; `ids` is sorted."""

    base: int
    ids: list[int]

    @property
    def last_index(self) -> int:
        """The place in the list of the last of them."""
        return self.ids[-1] - self.base


class ResumePlan:
    """Numbers the shards of a list that are not done. `line` says in one line what was chosen and why."""

    def __init__(
        self,
        line: str,
        next_free: int,
        runs: Sequence[Run] = (),
        others: Sequence[Run] = (),
        grown: Collection[int] = (),
        retry: Collection[int] = (),
    ) -> None:
        self.line = line
        self._runs = runs  # those of this list, in order
        self._taken = frozenset(id for run in others for id in run.ids)
        self._retry = frozenset(retry)  # places in the list, as is `grown`
        self._grown = frozenset(grown)
        self._done = {id - run.base for run in runs for id in run.ids}.difference(grown, retry)
        self._next_free = next_free
        self._new_base: int | None = None

    @property
    def done(self) -> int:
        """How many shards of the list are finished."""
        return len(self._done | self._grown)

    def run_with_hole(self, number: int) -> Run | None:
        """The run of this list that has no finished shard of this number, and is to get one."""
        for run in self._runs:
            place = number - run.base
            if 0 <= place <= run.last_index and place not in self._done and self._hole(place) == number:
                return run
        return None

    def stages(self, reader: Reader) -> Iterator[Iterator[Shard]]:
        """The shards to do, under their numbers; those of one stage must be finished before the next begins.

        The shard where a list has grown comes first: while it is short it is the last of its run, and found there.
        """
        if self._grown:
            yield self._numbered(reader, lambda index: index in self._grown)
        yield self._numbered(reader, lambda index: index not in self._done and index not in self._grown)

    def _numbered(self, reader: Reader, wanted: Callable[[int], bool]) -> Iterator[Shard]:
        for shard in reader.shards(wanted):
            yield replace(shard, id=self._number(shard.index), retry=shard.index in self._retry)

    def _number(self, index: int) -> int:
        """A hole is filled where it is; what comes after continues the last run, or begins after everything."""
        hole = self._hole(index)
        if hole is not None:
            return hole
        if self._new_base is None:
            last = self._runs[-1] if self._runs else None
            continues = last and last.ids[-1] + 1 == self._next_free and last.last_index < index
            self._new_base = last.base if last and continues else self._next_free - index
        return self._new_base + index

    def _hole(self, index: int) -> int | None:
        """The number of this place in a run; None after the last, and where a shard of another list has the number."""
        for run in self._runs:
            if index <= run.last_index:
                return None if run.base + index in self._taken else run.base + index
        return None


def make_plan(folder: Folder, reader: Reader, mode: str, output_options: Mapping[str, Any]) -> ResumePlan:
    """Compare the folder with the list. Changes nothing. Raises `OptionsError` where the mode refuses."""
    names = folder.names()
    taken = {name: number for name in names if (number := parse_shard_file(name)) is not None}
    next_free = max(taken.values(), default=-1) + 1
    stats_files = {number: name for name, number in taken.items() if is_stats_file(name)}
    if not stats_files:
        line = f"{folder} holds other files; continuing at shard {shard_name(next_free)}" if taken else ""
        return ResumePlan(line, next_free)
    unfinished = {number: name for name, number in taken.items() if number not in stats_files}
    look = _FinishedShards(folder, stats_files)
    runs = _runs(sorted(stats_files), look)
    for shards in _sampled(runs, look).values():
        _refuse_other_options(folder, shards, output_options)
    if mode == "extend":
        return ResumePlan(_extend_line(folder, next_free, "incremental_mode=extend"), next_free)
    plan = _compare(folder, reader, mode, look, runs, next_free)
    _refuse_to_overwrite(folder, plan, look, unfinished)
    return plan


def _compare(
    folder: Folder, reader: Reader, mode: str, look: _FinishedShards, runs: list[Run], next_free: int
) -> ResumePlan:
    sampled = _sampled(runs, look)
    found = _list_shards(reader, {shard.index for shards in sampled.values() for shard in shards})
    fits = {
        base: [_fit(shard, found.get(shard.index), look, mode, is_last=shard is shards[-1]) for shard in shards]
        for base, shards in sampled.items()
    }
    ours = [run for run in runs if all(fits[run.base])]
    if not ours and any(any(fit) for fit in fits.values()):
        raise OptionsError(_partly(folder, sampled, fits))
    if ours:
        last = runs[-1].ids[-1]
        if next_free > last + 1 and _is_of_version_1(runs[-1], last, look):
            next_free = last + 1
        grown = {run.last_index for run in ours if "grown" in fits[run.base]}
        done = sum(len(run.ids) for run in ours)
        line = f"{folder} was made from this list and has {shard_count(done)} of it: doing what is missing"
        retry = set()
        if mode == "retry_failed":
            retry = _with_rows_to_retry(ours, look, reader) - grown
            line += f" and what failed for a passing reason in {len(retry)} of them"
        return ResumePlan(line, next_free, ours, [run for run in runs if run not in ours], grown, retry)
    if mode == "auto":
        return ResumePlan(_extend_line(folder, next_free, "its shards come from another list"), next_free)
    raise OptionsError(
        f"incremental_mode is {mode}, but {folder} was made from another list; "
        "give that list, another output_folder, or incremental_mode=extend to add this one"
    )


def _is_of_version_1(run: Run, number: int, look: _FinishedShards) -> bool:
    """Whether img2dataset 1.x began this run: what stands at `number` without a stats file it left when it was killed.

    Some of all the shards are looked at, and those next to that one: version 2 may have gone on with the run since.
    """
    place = bisect_left(run.ids, number)
    near = run.ids[max(0, place - 2) : place + 2]
    return any(look(id).url_digest is None for id in (*near, *_spread(run.ids)))


def _refuse_to_overwrite(
    folder: Folder, plan: ResumePlan, look: _FinishedShards, unfinished: Mapping[int, str]
) -> None:
    """A file that has the number of a shard that is missing, and that nobody finished, is somebody else's."""
    for number, name in unfinished.items():
        run = plan.run_with_hole(number)
        if run and not _is_of_version_1(run, number, look):
            shard = shard_name(number)
            raise OptionsError(
                f"{folder} holds {name!r}, which has no {shard}{STATS_SUFFIX} and so is of no finished shard, and this "
                f"run would write shard {shard}; move all that has this number away, or choose another output_folder"
            )


def _with_rows_to_retry(runs: list[Run], look: Callable[[int], Finished], reader: Reader) -> set[int]:
    """The places in the list of the finished shards that have rows to try again."""
    return {
        id - run.base
        for run in runs
        for id in run.ids
        if any(is_to_retry(message, reader.options.retry_statuses) for message in look(id).messages)
    }


def _extend_line(folder: Folder, next_free: int, why: str) -> str:
    return f"{folder} has shards already ({why}): continuing at shard {shard_name(next_free)}"


class _FinishedShards:
    """Reads stats files, each at most once."""

    def __init__(self, folder: Folder, names: Mapping[int, str]) -> None:
        self._folder = folder
        self._names = names
        self._known: dict[int, Finished] = {}

    def __call__(self, shard_id: int) -> Finished:
        if shard_id not in self._known:
            self._known[shard_id] = self._read(shard_id)
        return self._known[shard_id]

    def digest_of_metadata(self, shard_id: int) -> str | None:
        """The digest of a shard that was made by img2dataset 1.x; None without metadata."""
        try:
            return urls_digest(self._shard(shard_id).urls())
        except ShardError:
            return None  # not kept, or not img2dataset's: nothing says that the lists are the same

    def _shard(self, shard_id: int) -> FinishedShard:
        return FinishedShard(self._folder, self._names[shard_id].removesuffix(STATS_SUFFIX))

    def _read(self, shard_id: int) -> Finished:
        try:
            record = self._shard(shard_id).stats()
        except ShardError as error:
            raise OptionsError(f"in {self._folder}, {error}; {_way_out(error)}") from error
        return Finished(
            id=shard_id,
            index=record.get("list_index", shard_id),
            count=record["count"],
            url_digest=record.get("url_digest"),
            options=record.get("options", {}),
            messages=record.get("status_dict", {}).keys(),
        )


def _way_out(error: ShardError) -> str:
    if str(error).startswith(UNREADABLE):
        return "run again when it can be read"
    return "img2dataset verify --repair removes its shard, and the next run does it again"


def _runs(ids: list[int], look: Callable[[int], Finished]) -> list[Run]:
    """Split the finished shards by the list they come from. Numbers of one list are consecutive, so bisection does."""
    runs = []
    start = 0
    while start < len(ids):
        base = look(ids[start]).base
        if look(ids[-1]).base == base:
            end = len(ids)
        else:
            end = bisect_left(range(len(ids)), True, lo=start, key=lambda place: look(ids[place]).base != base)
        runs.append(Run(base, ids[start:end]))
        start = end
    return runs


def _sampled(runs: list[Run], look: _FinishedShards) -> dict[int, list[Finished]]:
    """By the base of their run, the shards that are compared with the list."""
    return {run.base: [look(id) for id in _spread(run.ids)] for run in runs}


def _spread(ids: list[int]) -> list[int]:
    """At most `SAMPLED` of them, the first and the last included."""
    if len(ids) <= SAMPLED:
        return ids
    return [ids[round(place * (len(ids) - 1) / (SAMPLED - 1))] for place in range(SAMPLED)]


def _list_shards(reader: Reader, indices: set[int]) -> dict[int, Shard]:
    """Those shards of the list, as far as it has them."""
    found: dict[int, Shard] = {}
    for shard in reader.shards(lambda index: index in indices):
        found[shard.index] = shard
        if len(found) == len(indices):
            break
    reader.rows_read = 0
    return found


def _fit(finished: Finished, shard: Shard | None, look: _FinishedShards, mode: str, *, is_last: bool) -> str:
    """``same``, ``grown`` (the list's shard begins with the finished one's rows, its run's last), or nothing."""
    if shard is None or shard.count < finished.count:
        return ""
    fit = "same" if shard.count == finished.count else "grown" if is_last else ""
    digest = finished.url_digest
    if digest is None:
        if mode in ("incremental", "retry_failed"):  # a 1.x folder knows no digest: the user vouches for the list
            return fit
        digest = look.digest_of_metadata(finished.id)
    urls = shard.table().column("url").to_pylist()[: finished.count]
    return fit if urls_digest(urls) == digest else ""


def _refuse_other_options(folder: Folder, shards: list[Finished], options: Mapping[str, Any]) -> None:
    for shard in shards:
        for name, made_with in shard.options.items():
            if name in options and options[name] != made_with:
                raise OptionsError(
                    f"{folder} was made with {name}={made_with}, and this run has {name}={options[name]}; "
                    "use the same, another output_folder, or incremental_mode=overwrite to start from nothing"
                )


def _partly(folder: Folder, sampled: dict[int, list[Finished]], fits: dict[int, list[str]]) -> str:
    differing = [
        shard.id for base, shards in sampled.items() for shard, fit in zip(shards, fits[base], strict=True) if not fit
    ]
    return (
        f"{folder} fits this list only in part: shard {shard_name(differing[0])} was made from other rows "
        f"than the list has there; give the list it was made from, another output_folder, or incremental_mode=overwrite"
    )


def overwrite(folder: Folder) -> None:
    """Remove every shard of the folder. Raises `OptionsError`, removing nothing, when it holds anything else."""
    names = folder.names()
    finished = {parse_shard_file(name) for name in names if is_stats_file(name)}
    foreign = [name for name in names if parse_shard_file(name) not in finished]
    if foreign:
        raise OptionsError(
            f"incremental_mode is overwrite, but {folder} holds {foreign[0]!r}, which img2dataset did not write; "
            "remove it, or choose another output_folder"
        )
    if names:
        folder.remove_together(sorted(names, key=lambda name: not is_stats_file(name)))
