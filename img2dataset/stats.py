"""Counts that add up: of a shard, of a run, and as the stats file that completes a shard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from img2dataset._version import __version__
from img2dataset.errors import Reason
from img2dataset.events import ShardFailure
from img2dataset.shards import ListIdentity

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows of a shard come from, and the options that they met: what a stats file says beside its counts."""

    list_index: int = 0  # the place of the shard among those of its list
    list_identity: ListIdentity | None = None  # None: the dataset was begun before there were identities
    input_file: str = ""  # base name
    first_row: int = 0  # of the input file, from 0
    url_digest: str | None = None  # None: written by img2dataset 1.x
    options: Mapping[str, Any] = field(default_factory=dict)  # those that change what is on disk; none from 1.x

    @property
    def output_format(self) -> str | None:
        """The option ``output_format``; None from img2dataset 1.x."""
        return self.options.get("output_format")

    @property
    def save_metadata(self) -> bool | None:
        """The option ``save_metadata``; None from img2dataset 1.x."""
        return self.options.get("save_metadata")

    def to_json(self) -> dict[str, Any]:
        """As `json.dumps` takes it; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Origin:
        """What `to_json` gave, and more fields beside it. It must be sound, as `wrong_field` tells."""
        known = {field.name: record[field.name] for field in fields(Origin) if field.name in record}
        if identity := record.get("list_identity"):
            known["list_identity"] = ListIdentity(**identity)
        return Origin(**known)


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
    origin: Origin = field(default_factory=Origin)

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
        """The text of the stats file: the fields, and beside them those of `origin`."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "origin"}
        record |= self.origin.to_json() | {"duration": self.duration, "img2dataset_version": __version__}
        return json.dumps(record, indent=2, ensure_ascii=False)

    @staticmethod
    def from_json(record: object, shard_id: int) -> ShardStats:
        """What the parsed text of the stats file of shard `shard_id` says. Raises ValueError where it is none.

        Those of img2dataset 1.x are read too: they have no origin, and a shard's number is its place in the list.
        """
        if not isinstance(record, dict):
            raise ValueError("is no stats file")
        if wrong := wrong_field(record, shard_id):
            raise ValueError(f"is no stats file: {wrong} is missing or wrong")
        known = {field.name: record[field.name] for field in fields(ShardStats) if field.name in record}
        known["shard_id"] = shard_id
        known["status_dict"] = CappedCounter(record.get("status_dict", {}))
        known["origin"] = Origin.from_json({"list_index": shard_id} | record)
        return ShardStats(**known)


def wrong_field(record: Mapping[str, Any], shard_id: int) -> str | None:
    """The first field of a stats file that is not as `ShardStats.to_json`, or img2dataset 1.x, writes it."""
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


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**63


def _are_times(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_time, value.values()))


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


def _is_identity(value: Any) -> bool:
    is_whole = isinstance(value, dict) and value.keys() == {"rows", "digest"}
    return is_whole and _is_count(value["rows"]) and value["rows"] > 0 and _is_text(value["digest"])


_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("count", "successes", FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, "list_index"), _is_count),
    **dict.fromkeys(("attempts", "bytes_downloaded", "first_row"), _is_count),
    **dict.fromkeys(("url_digest", "input_file"), _is_text),
    **dict.fromkeys(("start_time", "end_time"), _is_time),
    "seconds": _are_times,
    "options": _are_options,
    "status_dict": _are_messages,
    "list_identity": _is_identity,
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
        self.count += stats.count
        self.successes += stats.successes
        self.failed_to_download += stats.failed_to_download
        self.failed_to_resize += stats.failed_to_resize
        self.attempts += stats.attempts
        self.bytes_downloaded += stats.bytes_downloaded
        self.status_dict.merge(stats.status_dict)
        self.seconds.update(stats.seconds)
        if _dns_failures(stats) > DNS_SHARE * stats.count:
            self.dns_suffering_shards += 1


def _dns_failures(stats: ShardStats) -> int:
    return stats.status_dict[Reason.DNS_TEMPORARY] + stats.status_dict[Reason.DNS_NO_ANSWER]
