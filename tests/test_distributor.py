"""`distribute` on a distributor without processes: what is tried again, what comes out, and when it gives up."""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from toy_downloaders import Failing, Toy, make_shard

import img2dataset.distributor
from img2dataset.distributor import DISTRIBUTORS, distribute
from img2dataset.distributor.base import Event, Work
from img2dataset.distributor.retries import HOPELESS, MAX_WAITING
from img2dataset.errors import ShardError
from img2dataset.events import ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats

closed: list[str] = []


def inline(shards: Iterable[Shard], work: Work, options: RunOptions) -> Generator[Event, None, None]:
    """A distributor that does the shards right here, one after the other."""
    try:
        yield from work(shards)
    finally:
        closed.append(options.distributor)


@pytest.fixture(autouse=True)
def _inline_distributor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISTRIBUTORS, "inline", f"{__name__}:inline")
    closed.clear()


def options(max_shard_retry: int = 1, oom_shard_count: int = 5) -> RunOptions:
    return RunOptions(distributor="inline", max_shard_retry=max_shard_retry, oom_shard_count=oom_shard_count)


def settled(events: Iterable[Event]) -> list[tuple[int, str]]:
    """The shards that are done with, in order, and what became of them."""
    return [
        (event.shard_id, "done" if isinstance(event, ShardStats) else event.message)
        for event in events
        if isinstance(event, (ShardStats, ShardFailure))
    ]


def shards(count: int) -> Iterator[Shard]:
    return map(make_shard, range(count))


def test_every_shard_comes_out_once() -> None:
    assert settled(distribute(shards(5), Toy(), options())) == [(number, "done") for number in range(5)]


def test_an_empty_list_is_no_error() -> None:
    assert list(distribute(shards(0), Toy(), options())) == []


def test_a_failed_shard_is_tried_again_after_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    downloader = Failing(notes=tmp_path, every=3, times=1)
    events = settled(distribute(shards(5), downloader, options()))
    assert events == [(1, "done"), (2, "done"), (4, "done"), (0, "done"), (3, "done")]
    assert caplog.messages[0] == "shard 00000 failed and is tried again later: disk full"


def test_a_shard_is_called_as_its_files_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settled(distribute(shards(1), Failing(notes=tmp_path, times=1), options(oom_shard_count=3)))
    assert caplog.messages == ["shard 000 failed and is tried again later: disk full"]


def test_a_shard_that_fails_at_the_end_of_the_list_is_tried_again(tmp_path: Path) -> None:
    assert settled(distribute(shards(1), Failing(notes=tmp_path, times=2), options(max_shard_retry=2))) == [(0, "done")]


@pytest.mark.parametrize("max_shard_retry", [0, 1, 3])
def test_a_failure_comes_out_once_its_tries_are_used_up(tmp_path: Path, max_shard_retry: int) -> None:
    events = settled(distribute(shards(6), Failing(notes=tmp_path, every=4), options(max_shard_retry)))
    assert sorted(events) == [(0, "disk full"), (1, "done"), (2, "done"), (3, "done"), (4, "disk full"), (5, "done")]
    assert len(list(tmp_path.iterdir())) == 2 * (1 + max_shard_retry)


def test_few_failed_shards_wait_at_a_time(tmp_path: Path) -> None:
    open_or_waiting: set[int] = set()
    most = 0

    def pulled() -> Iterator[Shard]:
        nonlocal most
        for shard in shards(100):
            open_or_waiting.add(shard.id)
            most = max(most, len(open_or_waiting))
            yield shard

    for event in distribute(pulled(), Failing(notes=tmp_path, every=2, times=1), options()):
        if isinstance(event, ShardStats):
            open_or_waiting.remove(event.shard_id)
    assert not open_or_waiting
    assert most == MAX_WAITING


def test_when_all_fail_in_a_row_the_rest_is_not_tried_and_each_failure_is_reported(tmp_path: Path) -> None:
    events: list[Event] = []
    source = shards(1000)
    with pytest.raises(ShardError, match=rf"^stopped early: {HOPELESS} shards in a row failed.*: disk full$"):
        events.extend(distribute(source, Failing(notes=tmp_path), options()))
    assert settled(events) == [(number, "disk full") for number in range(HOPELESS)]
    assert next(source).id == HOPELESS


def test_when_all_shards_of_a_short_list_fail_all_are_tried_again(tmp_path: Path) -> None:
    events = settled(distribute(shards(HOPELESS - 1), Failing(notes=tmp_path), options()))
    assert sorted(events) == [(number, "disk full") for number in range(HOPELESS - 1)]
    assert len(list(tmp_path.iterdir())) == 2 * (HOPELESS - 1)


@pytest.mark.parametrize("error", [ShardError("line 7 is unreadable"), OSError("the store is gone")])
def test_an_unreadable_list_is_raised_when_what_came_before_it_is_settled(tmp_path: Path, error: Exception) -> None:
    def broken() -> Iterator[Shard]:
        yield from shards(3)
        raise error

    events: list[Event] = []
    with pytest.raises(type(error), match=str(error)):
        events.extend(distribute(broken(), Failing(notes=tmp_path, every=2, times=1), options()))
    assert settled(events) == [(1, "done"), (0, "done"), (2, "done")]


def test_a_bug_in_the_list_is_raised_at_once() -> None:
    def broken() -> Iterator[Shard]:
        yield from shards(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(distribute(broken(), Toy(), options()))
    assert closed


def test_closing_closes_the_distributor() -> None:
    with closing(distribute(shards(100), Toy(), options())) as events:
        next(events)
        assert not closed
    assert closed == ["inline"]


def test_the_distributor_imports_no_stage() -> None:
    imported: set[str] = set()
    for path in Path(img2dataset.distributor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module))
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    ours = {name.split(".")[1] for name in imported if name.startswith("img2dataset.")}
    assert ours == {"distributor", "errors", "events", "interpreter", "options", "shards", "stats", "streams", "tables"}
