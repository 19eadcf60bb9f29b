"""Shards → events, on the distributor the user chose."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

from img2dataset.distributor.base import Distributor, Event, Work
from img2dataset.distributor.retries import Retries
from img2dataset.options import RunOptions
from img2dataset.shards import Shard
from img2dataset.tables import load

DISTRIBUTORS = {
    "multiprocessing": "img2dataset.distributor.process_pool.pool:on_processes",
}


def distribute(shards: Iterable[Shard], work: Work, options: RunOptions) -> Generator[Event, None, None]:
    """Have the work done on every shard, by ``options.distributor``; a failed shard is tried again here, for all alike.

    Shards are pulled when a worker has room for one. A `ShardFailure` comes out only when the tries of its shard
    (1 + ``max_shard_retry``) are used up. A `Progress` comes out now and then, not for every row; that of a shard which
    is done again starts from 0. Closing the generator, or an exception in it, ends all workers: hold it with
    ``contextlib.closing``.

    Raises `ShardError` when so many shards fail in a row that their cause must be elsewhere. An error of the list of
    shards (`Img2datasetError` or `OSError`) is raised when the shards that came before it are settled.
    """
    distributor: Distributor = load(DISTRIBUTORS, options.distributor)
    retries = Retries(shards, options)
    while retries.remain:
        with closing(distributor(retries.shards(), work, options)) as events:
            for event in events:
                if not retries.postpone(event):
                    yield event
    yield from retries.abandoned()
    retries.raise_error()


__all__ = ["DISTRIBUTORS", "distribute"]
