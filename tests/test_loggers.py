"""Observers: what they are told, and that none decides what is done."""

# ruff: noqa: ARG002

from __future__ import annotations

import pytest

from img2dataset.events import Progress
from img2dataset.loggers import Beginning, Counts, Observer, Observers
from img2dataset.stats import RunStats

BEGINNING = Beginning(output_folder="out", processes_count=1, oom_shard_count=5, plan="")
COUNTS = Counts(rows_read=1, count=1, successes=1)


class Told(Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.of: list[object] = []

    def begun(self, beginning: Beginning) -> None:
        self.of.append(beginning)

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        self.of.append(error)


class Broken(Told):
    """Cannot take an event."""

    def happened(self, event: object, counts: Counts) -> None:
        raise ZeroDivisionError


def test_one_that_raises_is_told_no_more_and_the_others_are(caplog: pytest.LogCaptureFixture) -> None:
    broken, told = Broken(), Told()
    observers = Observers([broken, told])
    observers.begun(BEGINNING)
    observers.happened(Progress(0, 0, 0, 0), COUNTS)
    observers.happened(Progress(0, 1, 1, 1), COUNTS)
    observers.list_ended(1, 1)
    observers.ended(RunStats(), None)
    assert broken.of == [BEGINNING]
    assert told.of == [BEGINNING, None]
    assert caplog.messages == ["Broken shows no more of this run"]


def test_ctrl_c_in_one_ends_the_run() -> None:
    class Interrupted(Observer):
        def begun(self, beginning: Beginning) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Interrupted()]).begun(BEGINNING)
