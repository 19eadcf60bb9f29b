"""Looks at a finished dataset and tells what is wrong with it."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from img2dataset.errors import OptionsError, Reason, ShardError, in_one_line
from img2dataset.events import ShardFailure
from img2dataset.formats import FORMATS, Parts, image_of, load_format, names_in, shards_of
from img2dataset.kinds import check
from img2dataset.options import RunOptions
from img2dataset.resume.finished import UNREADABLE, FinishedShard, unusable
from img2dataset.shards import STATS_SUFFIX, Shard, is_stats_file, shard_of_file
from img2dataset.stats import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, SUCCESS, ShardStats
from img2dataset.streams import open_closed_streams, unfailing
from img2dataset.tables import load

if TYPE_CHECKING:
    from img2dataset.filesystem import Folder

UNFINISHED = "it has no stats file: what a killed img2dataset 1.x left, or another tool wrote"
NOT_REPAIRED = (UNFINISHED, UNREADABLE, Reason.WORKER_DIED)  # not ours for certain, or not known to be damaged
PATIENCE = 600.0  # seconds that one shard may take to be checked


def verify(
    output_folder: str = "images", *, decode: bool = False, repair: bool = False, processes_count: int = 1
) -> dict[str, str]:
    """Check every finished shard: readable to its end, samples, metadata and stats consistent, keys unique.

    Args:
        output_folder: The dataset.
        decode: Decode every image too.
        repair: Remove broken shards, so that the next run of img2dataset does them again.
        processes_count: Processes that check, each a shard at a time.

    Returns:
        What is wrong, by the name of the shard; nothing for a sound dataset.

    Raises:
        OptionsError: there is no dataset in the folder.
    """
    from img2dataset.filesystem import open_folder
    from img2dataset.filesystem.lock import locked

    open_closed_streams()
    check("output_folder", output_folder, str)
    check("decode", decode, bool)
    check("repair", repair, bool)
    folder = open_folder(output_folder)
    files = names_in(folder)
    if not any(map(is_stats_file, files)):
        raise OptionsError(f"output_folder is {output_folder!r}, which has no finished shard in it")
    options = RunOptions(processes_count=processes_count, shard_patience=PATIENCE)
    broken = dict(_check(_shards(files), _Verifier(output_folder, decode), options))
    if not (repair and broken):
        return broken
    with locked(folder):  # once more, now that no run is in the middle of writing one
        broken = dict(_check(list(broken), _Verifier(output_folder, decode), options))
        for name, problem in broken.items():
            if not problem.startswith(NOT_REPAIRED):
                _remove(folder, name)
    return broken


def _shards(files: Sequence[str]) -> list[str]:
    """The names of the finished shards, and of what looks like one that is not."""
    finished = {name.removesuffix(STATS_SUFFIX) for name in files if is_stats_file(name)}
    digits = {len(name) for name in finished}
    return sorted(finished | {name for name in shards_of(files) if len(name) in digits})


def _check(names: list[str], verifier: _Verifier, options: RunOptions) -> Iterator[tuple[str, str]]:
    """The broken shards, each with what is wrong. The pool that makes datasets checks them too."""
    from tqdm import tqdm

    from img2dataset.distributor import DISTRIBUTORS

    stream = unfailing(sys.stderr)
    shards = (_named(number, name) for number, name in enumerate(names))
    with (
        closing(load(DISTRIBUTORS, options.distributor)(shards, verifier, options)) as events,
        tqdm(total=len(names), unit="shard", file=stream, disable=not stream.isatty()) as bar,
    ):
        for event in events:
            bar.update()
            if isinstance(event, ShardFailure):
                yield names[event.shard_id], event.message


def _named(number: int, name: str) -> Shard:
    return Shard(id=number, index=number, source=name, first_row=0, count=0, rows=b"")


def _remove(folder: Folder, name: str) -> None:
    """Remove a shard, its stats file first, so that it is open again before it is gone."""
    files = [file for file in names_in(folder) if shard_of_file(file) == name]
    folder.remove_together(sorted(files, key=lambda file: not is_stats_file(file)))


@dataclass(frozen=True)
class _Verifier:
    """Shards, of which only `source`, the name, is looked at → a `ShardFailure` for each that is broken."""

    output_folder: str
    decode: bool

    def __call__(self, shards: Iterable[Shard]) -> Iterator[ShardStats | ShardFailure]:
        from img2dataset.filesystem import open_folder

        folder = open_folder(self.output_folder)
        files = frozenset(names_in(folder))
        for shard in shards:
            yield self._look_at(folder, files, shard)

    def _look_at(self, folder: Folder, files: Collection[str], shard: Shard) -> ShardStats | ShardFailure:
        try:
            check_shard(folder, shard.source, self.decode, files)
        except ShardError as error:
            return ShardFailure(shard.id, str(error))
        return ShardStats(shard_id=shard.id)


def check_shard(folder: Folder, name: str, decode: bool, files: Collection[str] | None = None) -> None:
    """Raises `ShardError` with the first thing that is wrong with a finished shard.

    `files` are the names of what is in the folder; it is listed where they are not given.
    """
    files = names_in(folder) if files is None else files
    finished = FinishedShard(folder, name)
    _require(f"{name}{STATS_SUFFIX}" in files, UNFINISHED)
    stats = finished.stats()
    failed = stats.failed_to_download + stats.failed_to_resize
    _require(stats.successes + failed == stats.count, "the counts of its stats do not add up")
    statuses = _statuses(finished, stats, files)
    if statuses is not None:
        _compare_with_stats(statuses, stats)
    seen: set[str] = set()
    for key, parts in finished.samples(_output_format(stats, name, files)):
        _require(key not in seen, f"the key {key} stands twice")
        seen.add(key)
        _check_sample(key, parts, decode)
    if stats.origin.output_format == "dummy":
        return
    _require(len(seen) == stats.successes, f"it has {len(seen)} images, and its stats count {stats.successes}")
    if statuses is not None:
        saved = {key for key, status in statuses.items() if status == SUCCESS}
        _require(saved == seen, f"its metadata and its images differ, first in {min(saved ^ seen, default='')}")


def _statuses(finished: FinishedShard, stats: ShardStats, files: Collection[str]) -> dict[str, str] | None:
    """The status of every key by the metadata; None where no metadata is kept."""
    is_kept = stats.origin.save_metadata
    if is_kept is None:  # img2dataset 1.x does not tell
        is_kept = f"{finished.name}.parquet" in files
    if not is_kept or stats.origin.output_format == "dummy":
        return None
    keys, statuses = ([text or "" for text in texts] for texts in finished.texts("key", "status"))
    _require(len(set(keys)) == len(keys), "a key stands twice in its metadata")
    _require(all(key.startswith(finished.name) for key in keys), "its metadata has keys of another shard")
    return dict(zip(keys, statuses, strict=True))


def _compare_with_stats(statuses: dict[str, str], stats: ShardStats) -> None:
    found = Counter(statuses.values())
    _require(len(statuses) == stats.count, f"its metadata has {len(statuses)} rows, its stats {stats.count}")
    counted = {
        SUCCESS: stats.successes,
        FAILED_TO_DOWNLOAD: stats.failed_to_download,
        FAILED_TO_RESIZE: stats.failed_to_resize,
    }
    for status, count in counted.items():
        _require(found[status] == count, f"its metadata has {found[status]} rows of {status}, its stats {count}")


def _output_format(stats: ShardStats, name: str, files: Collection[str]) -> str:
    """As the stats say, or for a folder of img2dataset 1.x by what is there."""
    if output_format := stats.origin.output_format:
        _require(output_format in FORMATS, f"its stats tell of an unknown output_format, {output_format!r}")
        return output_format
    return next((kind for kind in FORMATS if load_format(kind).is_there(name, files)), "parquet")


def _check_sample(key: str, parts: Parts, decode: bool) -> None:
    image = image_of(parts)
    _require(image is not None, f"the sample {key} has no image")
    if "json" in parts:
        _require(_key_of_json(parts["json"]) == key, f"the json of {key} is not its own")
    if decode and image is not None:
        _decode(key, image[1])


def _key_of_json(data: bytes) -> object:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return record.get("key") if isinstance(record, dict) else None


def _decode(key: str, data: bytes) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except MemoryError as error:
        raise unusable(f"the image of {key}", error) from error
    except Exception as error:  # translated, not swallowed: each of Pillow's plugins has errors of its own
        raise ShardError(f"the image of {key} cannot be decoded: {in_one_line(error)}") from error


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ShardError(message)
