"""A pool of worker processes on this machine that loses no shard when workers die."""

from __future__ import annotations

import logging
import pickle
import queue
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType

from img2dataset.distributor import Downloader, Event
from img2dataset.distributor.process_pool.pipe import Farewell, More
from img2dataset.distributor.process_pool.worker import DEATH, Message, WorkerProcess, end_all
from img2dataset.errors import Reason, ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard, shard_name

DEADLY_TWICE = 2  # deaths after which a row is no longer decoded
MAX_UNEXPLAINED = 3  # deaths while no row of a shard was being decoded, before the shard is given up
MAX_FALSE_STARTS = 3  # workers in a row that die before they ask for a shard
TICK = 0.25  # seconds between two looks at what the workers are doing

logger = logging.getLogger(__name__)


def run(shards: Iterable[Shard], downloader: Downloader, options: RunOptions) -> Generator[Event, None, None]:
    """Run the downloader on every shard, in ``options.processes_count`` processes.

    Raises `ShardError` when no worker can be started. An error of `shards` is raised at once.
    """
    with _Pool(iter(shards), pickle.dumps(downloader), options) as pool:
        yield from pool.events()


class _Pool:
    """Workers, the shards that they have open, and what is known of the shards that killed workers.

    It has one thread of control, the caller's: it pulls a shard when a worker has room for it, and listens in between.
    What waits in the inbox is bounded by the shards that are open.
    """

    def __init__(self, shards: Iterator[Shard], downloader: bytes, options: RunOptions) -> None:
        self._shards = shards
        self._list_ended = False
        self._again: deque[Shard] = deque()  # their worker died
        self._deaths: dict[int, Counter[int | None]] = {}  # shard id → row that was decoded (None: not known) → times
        self._downloader = downloader
        self._processes_count = options.processes_count
        self._patience = options.shard_patience
        self._workers: list[WorkerProcess] = []
        self._false_starts = 0
        self._inbox: queue.SimpleQueue[tuple[WorkerProcess, Message | None]] = queue.SimpleQueue()
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

    def _start_worker(self) -> WorkerProcess:
        try:
            worker = WorkerProcess(self._inbox)
        except OSError as error:
            raise ShardError(f"no worker process can start: {error}") from error
        self._workers.append(worker)
        worker.start(self._downloader)
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

    def _hear(self, worker: WorkerProcess, message: Message | None) -> Iterator[Event]:
        if message is None:
            yield from self._bury(worker, None)
        elif isinstance(message, More):
            worker.ask()
            self._false_starts = 0
        elif isinstance(message, Farewell):
            worker.farewell = message
        else:
            shard = worker.settle(message.shard_id)
            self._deaths.pop(shard.id, None)
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

    # Deaths

    def _bury(self, worker: WorkerProcess, cause: str | None) -> Iterator[ShardFailure]:
        """Take a worker off the pool; `cause` is given if it did not end by itself."""
        if cause:
            end_all([worker])
        else:
            worker.end(DEATH)
        self._workers.remove(worker)
        if worker.ended_well and not cause:
            return
        hung, cause = cause is not None, cause or worker.ending
        if not worker.has_asked:
            self._count_false_start(worker, cause)
        elif not worker.open:
            logger.warning("worker %d ended between two shards: %s", worker.pid, cause)
        else:
            yield from self._blame(worker, cause, hung=hung)

    def _count_false_start(self, worker: WorkerProcess, cause: str) -> None:
        logger.warning("worker %d ended while it was starting: %s", worker.pid, cause)
        self._again.extend(worker.open.values())
        self._false_starts += 1
        if self._false_starts >= MAX_FALSE_STARTS:
            raise ShardError(f"no worker process can start; the last one ended: {cause}")

    def _blame(self, worker: WorkerProcess, cause: str, *, hung: bool) -> Iterator[ShardFailure]:
        """Do the open shards again, without a row that was being decoded when a worker hung, or twice when one died.

        When no row was, the shard that was open longest bears the blame. It fails when that goes on.
        """
        culprit, row = worker.suspect()
        for shard in worker.open.values():
            if shard is not culprit:
                self._again.append(shard)
            elif row is not None:
                self._again.append(self._suspected(shard, row, worker, cause, hung=hung))
            elif hung or self._count_death(shard, None) >= MAX_UNEXPLAINED:
                logger.warning("worker %d ended at shard %s: %s", worker.pid, shard_name(shard.id), cause)
                self._deaths.pop(shard.id, None)
                yield _failure(shard, f"{Reason.WORKER_DIED}: {cause}")
            else:
                where = (worker.pid, shard_name(shard.id), cause)
                logger.warning("worker %d ended at shard %s, which is done again: %s", *where)
                self._again.append(shard)

    def _count_death(self, shard: Shard, row: int | None) -> int:
        deaths = self._deaths.setdefault(shard.id, Counter())
        deaths[row] += 1
        return deaths[row]

    def _suspected(self, shard: Shard, row: int, worker: WorkerProcess, cause: str, *, hung: bool) -> Shard:
        where = (worker.pid, row, shard_name(shard.id), cause)
        if hung:
            logger.warning("worker %d hung at row %d of shard %s, which is done without that row: %s", *where)
            return shard.without({row: Reason.DECODING_TOO_SLOW})
        if self._count_death(shard, row) < DEADLY_TWICE:
            logger.warning("worker %d ended at row %d of shard %s, which is done again: %s", *where)
            return shard
        logger.warning("worker %d ended at row %d of shard %s again, which is done without that row: %s", *where)
        return shard.without({row: Reason.WORKER_DIED})


def _failure(shard: Shard, message: str) -> ShardFailure:
    """The failure of a shard; what it cost to find its deadly rows is not paid again by the next try."""
    return ShardFailure(shard.id, message, shard.poisoned)
