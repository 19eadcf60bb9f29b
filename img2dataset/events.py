"""What a worker tells of its shards while it does them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a worker stands in a shard; told before a row is decoded, so that the culprit of a crash is known."""

    shard_id: int
    row: int | None  # index in the shard of the row that is decoded next; None: none is being decoded
    count: int  # rows of the shard settled so far
    successes: int


@dataclass(frozen=True, slots=True)
class ShardFailure:
    """A shard that could not be finished, and why. Nothing of it is visible in the dataset."""

    shard_id: int
    message: str
    poisoned: Mapping[int, str] = field(default_factory=dict)  # the rows that ended workers, for the next try
