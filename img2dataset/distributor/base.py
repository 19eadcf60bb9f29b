"""What a distributor is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeAlias

from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats

Event: TypeAlias = Progress | ShardStats | ShardFailure

# What is done with shards. It is pickled: made from frozen option groups.
Work: TypeAlias = Callable[[Iterable[Shard]], Iterator[Event]]

# Has shards done somewhere. It settles each once, by its ShardStats or a ShardFailure, and tries none again.
Distributor: TypeAlias = Callable[[Iterable[Shard], Work, RunOptions], Generator[Event, None, None]]
