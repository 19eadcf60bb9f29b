"""A worker of the process pool as its parent sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from img2dataset.distributor.process_pool.board import Board, new_page
from img2dataset.distributor.process_pool.pipe import NO_MORE, Farewell, More, read_frame, write_frame
from img2dataset.events import Progress, ShardFailure
from img2dataset.interpreter import command
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats

GRACE = 2.0  # seconds between SIGTERM and SIGKILL, for the work to clean up
DEATH = 1.0  # seconds that a process may take to be gone after its pipe closed, or after SIGKILL

# Threads that fetch would else fill a dozen heaps of glibc in turns, and the holes in them add up from shard to shard.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}

Message: TypeAlias = ShardStats | ShardFailure | More | Farewell


class Worker:
    """A child process, and the shards it has open.

    Two threads move the bytes, so that neither side waits for the other to read; they end when the process does.
    What the worker says goes into `inbox` as ``(worker, message)``; the last message is None: it is gone.
    """

    def __init__(self, inbox: queue.SimpleQueue[tuple[Worker, Message | None]]) -> None:
        self.open: dict[int, Shard] = {}  # given and not settled, the oldest first
        self.heard_at = 0.0  # on the pool's clock
        self.has_asked = False
        self.farewell: Farewell | None = None
        self._room = 0  # shards it has asked for, less those it was given
        self._list_ended = False
        self._inbox = inbox
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with new_page() as page:
            self._board = Board(page)
            self._process = _spawn(page)
        self._threads = [
            threading.Thread(target=target, name=f"img2dataset worker {self.pid}", daemon=True)
            for target in (self._read, self._write)
        ]

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def asks(self) -> bool:
        """Whether it waits for a shard."""
        return self._room > 0 and not self._list_ended

    @property
    def ended_well(self) -> bool:
        """Whether the work came to its end, having settled what it was given."""
        return self.farewell is not None and self.farewell.error is None and not self.open

    @property
    def ending(self) -> str:
        """How the process ended, for people."""
        if self.farewell and self.farewell.error:
            return self.farewell.error
        if self.farewell:
            return "the downloader ended before its shard"
        code = self._process.returncode
        if code is None:
            return "its pipe closed"
        if code == -signal.SIGKILL:
            return "killed by SIGKILL (out of memory?)"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def start(self, work: bytes) -> None:
        """Send the pickled work, and begin to listen."""
        self._outbox.put(work)
        for thread in self._threads:
            thread.start()

    def ask(self) -> None:
        """Note that it has room for one more shard."""
        self.has_asked = True
        self._room += 1

    def give(self, shard: Shard) -> None:
        """Send a shard. The first one may come before it is asked for."""
        self.open[shard.id] = shard
        self._room -= 1
        self._outbox.put(pickle.dumps(shard, pickle.HIGHEST_PROTOCOL))

    def end_list(self) -> None:
        """Say that there are no more shards."""
        self._list_ended = True
        self._outbox.put(NO_MORE)

    def has_news(self) -> bool:
        """Whether it has gone on since this was asked last."""
        return self._board.has_changed()

    @property
    def doing(self) -> Progress | None:
        """What it set out to do last, in a shard that it has open."""
        progress = self._board.read()
        return progress if progress and progress.shard_id in self.open else None

    def settle(self, shard_id: int) -> Shard:
        """Note that a shard is done with, and return it."""
        return self.open.pop(shard_id)

    def suspect(self) -> tuple[Shard, int | None]:
        """What it was doing last: the open shard and the row it announced, else its oldest shard and None.

        A row that is not decoded is not suspected.
        """
        if doing := self.doing:
            shard = self.open[doing.shard_id]
            return shard, None if doing.row in shard.poisoned else doing.row
        return next(iter(self.open.values())), None

    def terminate(self) -> None:
        """Ask it to clean up and end."""
        self._process.terminate()

    def is_gone(self, timeout: float) -> bool:
        """Whether the process has ended, within `timeout` seconds from now."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0, timeout))
        return self._process.returncode is not None

    def end(self, grace: float) -> None:
        """Wait up to `grace` seconds for the process to end, kill it if it did not, and leave nothing behind."""
        if not self.is_gone(grace):
            self._process.kill()
            self.is_gone(DEATH)  # a process that hangs in the kernel is not waited for
        self._outbox.put(None)
        for thread in self._threads:
            if thread.ident:
                thread.join(DEATH)

    def _read(self) -> None:
        assert self._process.stdout
        try:
            with self._process.stdout as stream, contextlib.suppress(EOFError):
                while True:
                    self._inbox.put((self, pickle.loads(read_frame(stream))))
        finally:
            self._inbox.put((self, None))

    def _write(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stream:
            while (payload := self._outbox.get()) is not None:
                write_frame(stream, payload)


def end_all(workers: Iterable[Worker]) -> None:
    """End workers, in `GRACE` seconds together: they may clean up, then they are killed."""
    deadline = time.monotonic() + GRACE
    try:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.is_gone(deadline - time.monotonic())
    finally:  # one more Ctrl-C does not wait
        for worker in workers:
            worker.end(0)


def _spawn(board: int) -> subprocess.Popen[bytes]:
    with _sigint_blocked():
        return subprocess.Popen(
            command("img2dataset.distributor.process_pool.child", board),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[board],
            env=_ENVIRONMENT | os.environ,
        )


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    # A child inherits this, so that a Ctrl-C meets none that does not ignore it yet.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
