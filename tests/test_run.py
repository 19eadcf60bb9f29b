"""A run counts what comes back; whoever watches it decides nothing."""

# ruff: noqa: ARG002

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
import toy_downloaders as toys
from dataset import checked_metadata, photo, write_list
from mockserver import MockServer

from img2dataset.downloader import Downloader
from img2dataset.errors import OptionsError, ShardError
from img2dataset.events import Progress
from img2dataset.loggers import Beginning, Counts, Observer
from img2dataset.loggers.terminal import Summary
from img2dataset.options import FetchOptions, ReadOptions, ResizeOptions, ResumeOptions, RunOptions, WriteOptions
from img2dataset.run import run
from img2dataset.stats import RunStats, ShardStats


class Noting(Observer):
    """Notes all it is told."""

    def __init__(self) -> None:
        self.beginnings: list[Beginning] = []
        self.counts: list[Counts] = []
        self.lists: list[tuple[int, int]] = []
        self.ends: list[tuple[RunStats, BaseException | None]] = []

    def begun(self, beginning: Beginning) -> None:
        self.beginnings.append(beginning)

    def happened(self, event: object, counts: Counts) -> None:
        self.counts.append(counts)

    def list_ended(self, shards: int, rows: int) -> None:
        self.lists.append((shards, rows))

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        self.ends.append((stats, error))


class Broken(Observer):
    """Raises at everything it is told."""

    def begun(self, beginning: Beginning) -> None:
        raise ZeroDivisionError

    def ended(self, stats: RunStats, error: BaseException | None) -> None:
        raise ZeroDivisionError


def downloader(url_list: str, out: Path, *, shard: int = 10, digits: int = 5) -> Downloader:
    return Downloader(
        read=ReadOptions(url_list=url_list, number_sample_per_shard=shard),
        fetch=FetchOptions(thread_count=4),
        resize=ResizeOptions(image_size=64),
        write=WriteOptions(output_folder=str(out), oom_shard_count=digits),
    )


def test_observers_are_told_of_the_beginning_every_event_and_the_end(server: MockServer, tmp_path: Path) -> None:
    rows = [photo(server, number) for number in range(7)]
    url_list = write_list(tmp_path / "list.txt", rows)
    watching = Noting()
    stats = run(downloader(url_list, tmp_path / "out", shard=3), ResumeOptions(), RunOptions(), [watching])
    (beginning,) = watching.beginnings
    assert (beginning.output_folder, beginning.processes_count, beginning.plan) == (str(tmp_path / "out"), 1, "")
    assert watching.counts[-1] == Counts(rows_read=7, count=7, successes=7)
    assert watching.lists == [(3, 7)]
    assert watching.ends == [(stats, None)]
    assert stats.duration > 0
    checked_metadata(tmp_path / "out", rows)


def test_a_finished_dataset_is_no_list_with_too_few_shards(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    watching = Noting()
    for _ in range(2):
        run(downloader(url_list, tmp_path / "out"), ResumeOptions(), RunOptions(), [watching])
    assert watching.lists == [(1, 1)]
    assert "was made from this list and has 1 shard of it" in watching.beginnings[1].plan


def test_an_observer_that_fails_ends_no_run(
    server: MockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [photo(server, number) for number in range(3)]
    url_list = write_list(tmp_path / "list.txt", rows)
    stats = run(downloader(url_list, tmp_path / "out"), ResumeOptions(), RunOptions(), [Broken(), Noting()])
    assert (stats.count, stats.successes) == (3, 3)
    checked_metadata(tmp_path / "out", rows)
    assert caplog.messages == ["Broken shows no more of this run"]


def test_a_shard_that_is_done_again_is_not_counted_twice(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    watching = Noting()
    stats = run_toy(toys.Deadly(how="exit", notes=notes, shard_id=0), tmp_path, watching)
    assert (stats.count, watching.counts[-1].count) == (10, 10)
    assert max(counts.count for counts in watching.counts) == 10


def test_shards_that_fail_are_called_as_their_files_are(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    watching = Noting()
    with pytest.raises(ShardError, match=r"^1 shard failed \(000\); run the same command again"):
        run_toy(toys.Failing(notes=notes), tmp_path, watching, digits=3)
    ((stats, error),) = watching.ends
    assert [failure.message for failure in stats.failed_shards] == ["disk full"]
    assert isinstance(error, ShardError)


def test_where_a_run_goes_on_is_called_as_its_files_are(server: MockServer, tmp_path: Path) -> None:
    watching = Noting()
    for number in range(2):
        url_list = write_list(tmp_path / "list.txt", [photo(server, number)])
        run(downloader(url_list, tmp_path / "out", digits=3), ResumeOptions(), RunOptions(), [watching])
    assert watching.beginnings[1].plan.endswith("continuing at shard 001")
    assert (tmp_path / "out/001_stats.json").exists()


def test_a_run_whose_workers_never_start_says_so_and_not_that_nothing_was_missing(tmp_path: Path) -> None:
    stream = io.StringIO()
    with pytest.raises(ShardError, match="no worker process can start"):
        run_toy(toys.CannotStart(), tmp_path, Summary(stream))
    assert stream.getvalue() == f"nothing was done; the dataset is in {tmp_path / 'out'}\n"


@dataclasses.dataclass(frozen=True)
class ToyDownloader(Downloader):
    """A downloader whose work a toy does."""

    toy: toys.Toy = dataclasses.field(default_factory=toys.Toy)

    def __call__(self, shards: object) -> object:  # type: ignore[override]
        return self.toy(shards)  # type: ignore[arg-type]


def run_toy(toy: toys.Toy, path: Path, observer: Observer, digits: int = 5) -> RunStats:
    """A run over one shard of ten rows."""
    real = downloader(write_list(path / "list.txt", ["http://127.0.0.1:1/"] * 10), path / "out", digits=digits)
    fields = {name: getattr(real, name) for name in ("read", "fetch", "resize", "write")}
    return run(ToyDownloader(toy=toy, **fields), ResumeOptions(), RunOptions(oom_shard_count=digits), [observer])


def test_overwrite_starts_from_nothing(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    for _ in range(2):
        stats = run(downloader(url_list, tmp_path / "out"), ResumeOptions(incremental_mode="overwrite"), RunOptions())
        assert stats.shards == 1


def test_a_list_that_cannot_be_read_is_told_before_anything_is_done(tmp_path: Path) -> None:
    watching = Noting()
    with pytest.raises(OptionsError, match="there is no such file or folder"):
        run(downloader(str(tmp_path / "none"), tmp_path / "out"), ResumeOptions(), RunOptions(), [watching])
    assert watching.beginnings == watching.ends == []
    assert not (tmp_path / "out").exists()


def test_events_of_a_worker_add_up(server: MockServer, tmp_path: Path) -> None:
    seen: list[type] = []

    class Kinds(Observer):
        def happened(self, event: object, counts: Counts) -> None:
            seen.append(type(event))

    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    run(downloader(url_list, tmp_path / "out"), ResumeOptions(), RunOptions(), [Kinds()])
    assert seen.count(ShardStats) == 1
    assert set(seen) <= {ShardStats, Progress}
