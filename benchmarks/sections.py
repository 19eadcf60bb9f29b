"""The parts of a benchmark's report: tables, and verdicts on what was to be reached."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contestants import Contestant
from servers import Servers

Row = Sequence[object]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every section needs. ``names`` are the files in the folder ``corpus``."""

    servers: Servers
    corpus: Path
    names: list[str]
    peer: Contestant
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target and whether it was reached."""

    target: str
    measured: str
    wanted: str
    is_reached: bool


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table, and the verdicts that follow from it."""

    title: str
    header: Row
    rows: Sequence[Row]
    verdicts: Sequence[Verdict] = ()

    def markdown(self) -> str:
        """The section as it stands in RESULTS.md."""
        return f"## {self.title}\n\n{markdown_table(self.header, self.rows)}\n"


MakeSection = Callable[[Setup], Section]


def markdown_table(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """All verdicts as a Markdown table."""
    rows = [(v.target, v.measured, v.wanted, "reached" if v.is_reached else "**missed**") for v in verdicts]
    return f"## Targets\n\n{markdown_table(('target', 'measured', 'wanted', 'verdict'), rows)}\n"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``median (lowest–highest)``"""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio_verdict(target: str, ours: Sequence[float], theirs: Sequence[float], most: float) -> Verdict:
    """Whether the median of ours over theirs, run by run, is at most `most`."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Verdict(
        target=target,
        measured=spread(ratios, 3),
        wanted=f"≤ {most:.3f}",
        is_reached=statistics.median(ratios) <= most,
    )


def seconds_verdict(target: str, seconds: Sequence[float], most: float) -> Verdict:
    """Whether the median is at most `most` seconds."""
    return Verdict(
        target=target,
        measured=f"{spread(seconds, 2)} s",
        wanted=f"≤ {most} s",
        is_reached=statistics.median(seconds) <= most,
    )


def progress(text: str) -> None:
    """Tell whoever is waiting."""
    print(text, file=sys.stderr, flush=True)
