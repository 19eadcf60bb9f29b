"""A shard under way: what it goes on from, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dataset import checked_metadata, write_list
from mockserver import MockServer

from img2dataset import download
from img2dataset.downloader import Downloader
from img2dataset.events import Progress
from img2dataset.options import FetchOptions, ReadOptions, ResizeOptions, WriteOptions
from img2dataset.reader import Reader
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats
from img2dataset.verify import verify

ROWS = 30


def downloader(url_list: str, out: Path, **options: object) -> Downloader:
    return Downloader(
        read=ReadOptions(url_list=url_list),
        fetch=FetchOptions(thread_count=2),
        resize=ResizeOptions(image_size=64),
        write=WriteOptions(output_folder=str(out)),
        output_options=options,
    )


def urls(server: MockServer) -> list[str]:
    return [server.url(f"/photo/64x64.jpg?seed={n % 5}&row={n}") for n in range(ROWS)]


@pytest.fixture
def settled(server: MockServer, tmp_path: Path) -> tuple[str, Path]:
    """A list, and the folder of a run on it that was left when half of its only shard was settled."""
    url_list, out = write_list(tmp_path / "list.txt", urls(server)), tmp_path / "out"
    out.mkdir()
    events = downloader(url_list, out)(Reader(ReadOptions(url_list=url_list)).shards())
    next(event for event in events if isinstance(event, Progress) and event.count == ROWS // 2)
    events.close()  # type: ignore[attr-defined]
    assert [path.name for path in out.iterdir()] == [".00000.img2dataset-open"]
    server.reset()
    return url_list, out


def finish(url_list: str, out: Path, **options: object) -> ShardStats:
    shards = Reader(ReadOptions(url_list=url_list)).shards()
    *_, stats = downloader(url_list, out, **options)(shards)
    assert isinstance(stats, ShardStats)
    return stats


def test_the_next_to_open_it_goes_on(server: MockServer, settled: tuple[str, Path]) -> None:
    stats = finish(*settled)
    assert (stats.count, stats.successes, stats.attempts) == (ROWS, ROWS, ROWS)
    assert len(server.requests) == ROWS - ROWS // 2
    checked_metadata(settled[1], urls(server))


def test_with_other_options_it_begins_anew(server: MockServer, settled: tuple[str, Path]) -> None:
    assert finish(*settled, image_size=32).attempts == ROWS
    assert len(server.requests) == ROWS


def test_with_another_list_it_begins_anew(server: MockServer, settled: tuple[str, Path]) -> None:
    others = urls(server)
    others[3] += "&other"
    write_list(Path(settled[0]), others)
    assert finish(*settled).attempts == ROWS
    checked_metadata(settled[1], others)


def test_carrying_rows_over_and_writing_them_gives_signs_of_life(server: MockServer, tmp_path: Path) -> None:
    rows = urls(server)
    rows[7] = server.url("/status/408")
    url_list, out = write_list(tmp_path / "list.txt", rows), tmp_path / "out"
    download(url_list, 64, str(out), thread_count=2)

    def shards() -> Iterator[Shard]:
        for shard in Reader(ReadOptions(url_list=url_list)).shards():
            yield replace(shard, retry=True)

    *progress, stats = downloader(url_list, out)(shards())
    assert isinstance(stats, ShardStats)
    assert (stats.count, stats.attempts) == (ROWS, 1)
    assert all(isinstance(event, Progress) for event in progress)
    assert len(progress) >= 2 * ROWS
    checked_metadata(out, rows)


def test_a_shard_whose_stats_promise_rows_to_retry_and_that_has_none_is_put_right(
    server: MockServer, tmp_path: Path
) -> None:
    """So it is when the worker that had tried them again died before it could say so."""
    url_list, out = write_list(tmp_path / "list.txt", urls(server)), tmp_path / "out"
    download(url_list, 64, str(out), thread_count=2)
    record = json.loads((out / "00000_stats.json").read_text())
    record |= {"successes": ROWS - 1, "failed_to_download": 1, "status_dict": {"success": ROWS - 1, "timed out": 1}}
    (out / "00000_stats.json").write_text(json.dumps(record))
    server.reset()
    download(url_list, 64, str(out), thread_count=2, incremental_mode="retry_failed")
    checked_metadata(out, urls(server))
    assert server.requests == []
    assert verify(str(out)) == {}
