"""What a worker process runs: the work on the shards that its parent sends."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO, NoReturn

from img2dataset.distributor.base import Event, Work
from img2dataset.distributor.process_pool.board import Board
from img2dataset.distributor.process_pool.pipe import NO_MORE, Farewell, More, read_frame, write_frame
from img2dataset.events import Progress, ShardFailure
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats
from img2dataset.streams import secure_standard_streams

_FAILED = 1
_TERMINATED = 128 + signal.SIGTERM  # as a shell says it


def main(board: int) -> None:
    """Work until there are no more shards, SIGTERM comes or the parent is gone; then end the process.

    `board` is the descriptor of the `Board` that the parent reads.
    """
    secure_standard_streams()
    _leave_ctrl_c_to_the_parent()
    parent = Parent(*_take_over_pipes(), _take_over_board(board))
    signal.signal(signal.SIGTERM, parent.stop)
    try:
        _work(parent)
    except BaseException as error:  # noqa: BLE001 - of whatever kind it is, the parent is told
        parent.leave(error)
    else:
        parent.leave(None)


def _work(parent: Parent) -> None:
    with contextlib.closing(_events(parent.work(), parent)) as events:
        for event in events:
            parent.tell(event)


def _leave_ctrl_c_to_the_parent() -> None:
    # The terminal sends SIGINT to the whole group. It is blocked since before this process began.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the parent, moved to where a stray print or input() does not reach them."""
    inbound, outbound = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return open(inbound, "rb"), open(outbound, "wb")


def _take_over_board(descriptor: int) -> Board:
    board = Board(descriptor)
    os.close(descriptor)  # the board has its own
    return board


def _events(work: Work, shards: Iterable[Shard]) -> Generator[Event, None, None]:
    yield from work(shards)


class Parent(Iterator[Shard]):
    """The parent process as the work sees it: an iterator that asks for a shard when one is wanted.

    Any thread may ask.
    """

    def __init__(self, inbound: BinaryIO, outbound: BinaryIO, board: Board) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._board = board
        self._sending = threading.Lock()
        self._stopping = False
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._receive, name="img2dataset parent", daemon=True).start()

    def work(self) -> Work:
        """What the parent sends first."""
        work: Work = pickle.loads(self._frames.get())
        return work

    def __next__(self) -> Shard:
        self.send(More())
        frame = self._frames.get()
        if frame == NO_MORE:
            self._frames.put(NO_MORE)  # for other threads that ask, and for the next time
            raise StopIteration
        shard: Shard = pickle.loads(frame)
        return shard

    def tell(self, event: Event) -> None:
        """Tell the parent what happens, in a way that it learns even if the process crashes right after.

        A shard that is settled leaves the board after its stats were sent: a crash in between is no row's fault.
        """
        if isinstance(event, Progress):
            self._board.write(event)
            return
        self.send(event)
        doing = self._board.read()
        if doing and doing.shard_id == event.shard_id:
            self._board.clear()

    def send(self, message: ShardStats | ShardFailure | More | Farewell) -> None:
        """Send a message; it arrives even if the process crashes right after."""
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self._sending:
            if self._stopping:  # the signal may have cut a frame in two: nothing can follow it
                return
            try:
                write_frame(self._outbound, payload)
            except BrokenPipeError:
                os._exit(_FAILED)

    def stop(self, *_: object) -> None:
        """Handle SIGTERM: unwind the main thread, so that the work cleans up, and end waits for a shard."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the cleaning short
        self._stopping = True
        self._frames.put(NO_MORE)
        raise SystemExit(_TERMINATED)

    def leave(self, error: BaseException | None) -> NoReturn:
        """Tell the parent how the work ended, and end the process, whatever threads there still are."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending already
        if error is not None and not self._stopping:
            traceback.print_exception(error)
        self.send(Farewell(None if error is None else f"{type(error).__name__}: {error}"))
        with contextlib.suppress(OSError, ValueError):  # a closed terminal
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(_TERMINATED if self._stopping else _FAILED if error else 0)

    def _receive(self) -> None:
        try:
            while True:
                self._frames.put(read_frame(self._inbound))
        finally:
            os._exit(_FAILED)  # at once, in the middle of whatever the other threads do: the parent is gone
