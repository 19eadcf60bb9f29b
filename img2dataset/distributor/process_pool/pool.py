"""A pool of worker processes on this machine that loses no shard when workers die."""

from __future__ import annotations

import logging
import pickle
import queue
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType

from img2dataset.distributor.base import Event, Work
from img2dataset.distributor.process_pool.blame import Blame, End
from img2dataset.distributor.process_pool.pipe import Farewell, More
from img2dataset.distributor.process_pool.worker import DEATH, Message, Worker, end_all
from img2dataset.errors import Reason, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard

MAX_FALSE_STARTS = 3  # workers in a row that die before they ask for a shard
TICK = 0.25  # seconds between two looks at what the workers are doing

logger = logging.getLogger(__name__)


def on_processes(shards: Iterable[Shard], work: Work, options: RunOptions) -> Generator[Event, None, None]:
    """The distributor ``multiprocessing``: have every shard done in ``options.processes_count`` processes.

    Raises `ShardError` when no worker can be started. An error of `shards` is raised at once.
    """
    with _Pool(iter(shards), pickle.dumps(work), options) as pool:
        yield from pool.events()


class _Pool:
    """Workers, the shards that they have open, and what is known of the shards that killed workers.

    It has one thread of control, the caller's: it pulls a shard when a worker has room for it, and listens in between.
    What waits in the inbox is bounded by the shards that are open.
    """

    def __init__(self, shards: Iterator[Shard], work: bytes, options: RunOptions) -> None:
        self._shards = shards
        self._list_ended = False
        self._again: deque[Shard] = deque()  # their worker died
        self._blame = Blame(options.oom_shard_count)
        self._work = work
        self._processes_count = options.processes_count
        self._patience = options.shard_patience
        self._workers: list[Worker] = []
        self._false_starts = 0
        self._inbox: queue.SimpleQueue[tuple[Worker, Message | None]] = queue.SimpleQueue()
        self._clock = 0.0  # seconds spent listening: neither a slow list nor a stopped parent makes a worker look stuck

    def __enter__(self) -> _Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_all(self._workers)

    def events(self) -> Iterator[Event]:
        """What the workers tell, until every shard is settled."""
        while True:
            gave = self._give_one()  # only one at a time: a slow list holds up nobody who has a shard
            if not gave and not self._workers:
                return
            yield from self._listen(0 if gave else TICK)
            yield from self._look()
            yield from self._end_silent()

    # Handing out

    def _give_one(self) -> bool:
        """Give a shard to a new worker as long as there is room for one, else to one that asks for more."""
        asking = [worker for worker in self._workers if worker.asks]
        room = len(self._workers) < self._processes_count
        if not (room or asking):
            return False
        shard = self._next_shard()
        if shard is None:
            for worker in asking:
                worker.end_list()
            return False
        worker = self._start_worker() if room else asking[0]
        worker.give(shard)
        worker.heard_at = self._clock
        return True

    def _next_shard(self) -> Shard | None:
        if self._again:
            return self._again.popleft()
        if self._list_ended:
            return None
        shard = next(self._shards, None)
        self._list_ended = shard is None
        return shard

    def _start_worker(self) -> Worker:
        try:
            worker = Worker(self._inbox)
        except OSError as error:
            raise ShardError(f"no worker process can start: {error}") from error
        self._workers.append(worker)
        worker.start(self._work)
        return worker

    # Listening

    def _listen(self, timeout: float) -> Iterator[Event]:
        """Hear all that waits; if nothing does, wait for up to `timeout` seconds."""
        for _ in range(self._inbox.qsize() or 1):
            began = time.monotonic()
            try:
                worker, message = self._inbox.get(timeout=timeout)
            except queue.Empty:
                return
            finally:
                self._clock += min(time.monotonic() - began, TICK)
            if worker in self._workers:  # not ended for its silence: then what it had open is done again
                worker.heard_at = self._clock
                yield from self._hear(worker, message)

    def _hear(self, worker: Worker, message: Message | None) -> Iterator[Event]:
        if message is None:
            yield from self._bury(worker, None)
        elif isinstance(message, More):
            worker.ask()
            self._false_starts = 0
        elif isinstance(message, Farewell):
            worker.farewell = message
        else:
            shard = worker.settle(message.shard_id)
            self._blame.forget(shard)
            yield _failure(shard, message.message) if isinstance(message, ShardFailure) else message

    def _look(self) -> Iterator[Progress]:
        """Read what the workers are doing: where each stands, not every row that it has passed."""
        for worker in self._workers:
            if worker.has_news():
                worker.heard_at = self._clock
                if doing := worker.doing:
                    yield doing

    # No worker waits for a shard while the clock runs: it is given one, or told that there are none.
    def _end_silent(self) -> Iterator[ShardFailure]:
        for worker in [worker for worker in self._workers if self._clock - worker.heard_at > self._patience]:
            yield from self._bury(worker, f"stuck, no progress for {self._patience:g} s")

    # Workers that end

    def _bury(self, worker: Worker, stuck: str | None) -> Iterator[ShardFailure]:
        """Take a worker off the pool; `stuck` says why it is ended, None if it ended by itself."""
        if stuck:
            end_all([worker])
        else:
            worker.end(DEATH)
        self._workers.remove(worker)
        cause = stuck or worker.ending
        if worker.ended_well and not stuck:
            return
        if not worker.has_asked:
            self._count_false_start(worker, cause)
        elif not worker.open:
            logger.warning("worker %d ended between two shards: %s", worker.pid, cause)
        else:
            yield from self._settle_open(worker, cause, hung=stuck is not None)

    def _count_false_start(self, worker: Worker, cause: str) -> None:
        logger.warning("worker %d ended while it was starting: %s", worker.pid, cause)
        self._again.extend(worker.open.values())
        self._false_starts += 1
        if self._false_starts >= MAX_FALSE_STARTS:
            raise ShardError(f"no worker process can start; the last one ended: {cause}")

    def _settle_open(self, worker: Worker, cause: str, *, hung: bool) -> Iterator[ShardFailure]:
        """Do the shards that a worker had open again; the one that it was at bears the blame, and may fail."""
        culprit, row = worker.suspect()
        self._again.extend(shard for shard in worker.open.values() if shard is not culprit)
        verdict = self._blame.judge(End(worker.pid, cause, hung, culprit, row))
        logger.warning(verdict.message)
        if verdict.again:
            self._again.append(verdict.again)
        else:
            self._blame.forget(culprit)
            yield _failure(culprit, f"{Reason.WORKER_DIED}: {cause}")


def _failure(shard: Shard, message: str) -> ShardFailure:
    """The failure of a shard; what it cost to find its deadly rows is not paid again by the next try."""
    return ShardFailure(shard.id, message, shard.poisoned)
