"""Counts that add up: of a shard, of a run, and as the stats file that completes a shard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from img2dataset._version import __version__
from img2dataset.errors import Reason
from img2dataset.events import ShardFailure

SUCCESS = "success"
FAILED_TO_DOWNLOAD = "failed_to_download"
FAILED_TO_RESIZE = "failed_to_resize"
DNS_SHARE = 0.05  # of a shard's rows: above it, the resolver is what the user should look at
STATUSES = (SUCCESS, FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE)


class CappedCounter(Counter[str]):
    """A counter of messages that keeps at most `CAP` different ones; what comes later counts as ``other``."""

    CAP = 100
    OTHER = "other"

    def count(self, message: str, times: int = 1) -> None:
        """Add `times` to a message."""
        known = message in self or len(self) < self.CAP
        self[message if known else self.OTHER] += times

    def merge(self, other: Mapping[str, int]) -> None:
        """Add another counter's counts."""
        for message, times in other.items():
            self.count(message, times)


@dataclass(slots=True, kw_only=True)
class ShardStats:
    """What became of the rows of a shard. ``count == successes + failed_to_download + failed_to_resize``."""

    shard_id: int
    count: int = 0
    successes: int = 0
    failed_to_download: int = 0
    failed_to_resize: int = 0
    start_time: float = 0.0  # seconds since the epoch
    end_time: float = 0.0
    status_dict: CappedCounter = field(default_factory=CappedCounter)
    attempts: int = 0  # HTTP fetches begun, retries included
    bytes_downloaded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)  # the parent thread's: waiting, resizing, writing
    origin: dict[str, Any] = field(default_factory=dict)  # where the rows come from and the options they met

    @property
    def duration(self) -> float:
        """Seconds from the shard's first row to its last."""
        return self.end_time - self.start_time

    def record(self, status: str, error_message: str | None) -> None:
        """Count one row."""
        self.count += 1
        if status == SUCCESS:
            self.successes += 1
        elif status == FAILED_TO_DOWNLOAD:
            self.failed_to_download += 1
        else:
            self.failed_to_resize += 1
        self.status_dict.count(error_message or SUCCESS)

    def to_json(self) -> str:
        """The text of the stats file."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record |= record.pop("origin") | {"duration": self.duration, "img2dataset_version": __version__}
        return json.dumps(record, indent=2, ensure_ascii=False)


def wrong_field(record: Mapping[str, Any], shard_id: int) -> str | None:
    """The first field of a stats file that is not as `ShardStats.to_json`, or img2dataset 1.x, writes it.

    Only those are looked at that something is made of later.
    """
    for name, is_right in _FIELDS.items():
        if name in record and not is_right(record[name]):
            return name
    of_version_1 = "list_index" not in record and "options" not in record
    for name in ("count",) if of_version_1 else ("count", "url_digest"):
        if name not in record:
            return name
    is_behind = record.get("list_index", 0) <= shard_id  # lists come one after the other
    return None if is_behind else "list_index"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_options(value: Any) -> bool:
    """Options are plain values, or lists of such: they are compared and shown."""
    if not isinstance(value, dict) or not isinstance(value.get("output_format", ""), str):
        return False
    plain = (str, int, float, bool, type(None))
    return all(isinstance(each, plain) for item in value.values() for each in (item if type(item) is list else [item]))


def _are_messages(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("count", "successes", FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, "list_index"), _is_count),
    "url_digest": _is_text,
    "options": _are_options,
    "status_dict": _are_messages,
}


@dataclass(slots=True)
class RunStats:
    """What a run has done: the sum over its shards, as `img2dataset.download` returns it."""

    output_folder: str = ""
    processes_count: int = 1
    duration: float = 0.0  # seconds
    shards: int = 0
    failed_shards: list[ShardFailure] = field(default_factory=list)
    count: int = 0
    successes: int = 0
    failed_to_download: int = 0
    failed_to_resize: int = 0
    attempts: int = 0
    bytes_downloaded: int = 0
    status_dict: CappedCounter = field(default_factory=CappedCounter)
    seconds: Counter[str] = field(default_factory=Counter)
    dns_suffering_shards: int = 0  # shards in which temporary DNS failures passed `DNS_SHARE`

    def add(self, stats: ShardStats) -> None:
        """Count a finished shard."""
        self.shards += 1
        for name in ("count", "successes", "failed_to_download", "failed_to_resize", "attempts", "bytes_downloaded"):
            setattr(self, name, getattr(self, name) + getattr(stats, name))
        self.status_dict.merge(stats.status_dict)
        self.seconds.update(stats.seconds)
        if _dns_failures(stats) > DNS_SHARE * stats.count:
            self.dns_suffering_shards += 1


def _dns_failures(stats: ShardStats) -> int:
    return stats.status_dict[Reason.DNS_TEMPORARY] + stats.status_dict[Reason.DNS_NO_ANSWER]
