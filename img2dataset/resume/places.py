"""Which number each shard of a list goes by: the one it has in the folder, or one that is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from img2dataset.resume.runs import Run
from img2dataset.shards import ListIdentity, Shard


class Places:
    """The places of a list and what the folder has of them.

    A place is `whole` where its shard is finished, and `short` where it is but the list has grown since; both name the
    run. Of places that several runs have, as `extend` makes them, the first run counts. All others are missing.
    """

    def __init__(
        self, identity: ListIdentity, next_free: int, runs: Sequence[Run] = (), grown: Sequence[Run] = ()
    ) -> None:
        """`runs` are those of the list, in order, and `grown` those of them whose last shard is short.

        What begins a new run begins it at `next_free`, under `identity`.
        """
        self.whole: dict[int, Run] = {}
        for run in runs:
            for number in run.ids[: -1 if run in grown else None]:
                self.whole.setdefault(number - run.base, run)
        self.short = {run.last_index: run for run in reversed(grown) if run.last_index not in self.whole}
        self._runs = runs
        self._next_free = next_free
        known = [run.identity for run in runs if run.identity]
        self._identity = known[-1] if known else identity
        self._behind: tuple[int, ListIdentity | None] | None = None  # base and identity of what comes behind all runs

    def numbered(self, shard: Shard) -> Shard:
        """The shard under its number and the identity of its list.

        A missing one fills the hole in a run where there is one; else it goes on with the last run, or begins one.
        """
        run = self.whole.get(shard.index) or self.short.get(shard.index) or self._run_with_hole(shard.index)
        base, identity = (run.base, run.identity) if run else self._base_behind(shard.index)
        return replace(shard, id=base + shard.index, identity=identity)

    def hole(self, number: int) -> Run | None:
        """The run that is to get a shard of this number, which is missing."""
        for run in self._runs:
            place = number - run.base
            if place not in self.whole and place not in self.short and self._run_with_hole(place) is run:
                return run
        return None

    def _run_with_hole(self, index: int) -> Run | None:
        return next((run for run in self._runs if run.number(index) is not None), None)

    def _base_behind(self, index: int) -> tuple[int, ListIdentity | None]:
        """Base and identity of what comes behind all runs, of which `index` is the first place."""
        if self._behind is None:
            last = self._runs[-1] if self._runs else None
            if last and last.ids[-1] + 1 == self._next_free and last.last_index < index:
                self._behind = last.base, last.identity
            else:
                unused = [run.base + 1 for run in self._runs]  # two runs of one base would be taken for one
                self._behind = max([self._next_free - index, *unused]), self._identity
        return self._behind
