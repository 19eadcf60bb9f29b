"""Downloaders without fetching, resizing or writing: each ends workers, or troubles the pool, in its own way."""

# ruff: noqa: ARG002

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from img2dataset.distributor import Event
from img2dataset.events import Progress, ShardFailure
from img2dataset.shards import Shard
from img2dataset.stats import Origin, ShardStats


def make_shard(number: int, count: int = 4, rows: bytes = b"") -> Shard:
    """A shard whose rows the toys do not read."""
    return Shard(id=number, index=number, source="list.txt", first_row=number * count, count=count, rows=rows)


@dataclass(frozen=True)
class Toy:
    """Announces each row, does nothing with it, and counts it. The stats' options tell which process did it."""

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        for shard in shards:
            yield from self.process(shard)

    def process(self, shard: Shard) -> Iterator[Event]:
        for row in range(shard.count):
            yield Progress(shard.id, row, row, row)
            if row not in shard.poisoned:
                self.decode(shard, row)
        yield self.stats(shard)

    def decode(self, shard: Shard, row: int) -> None:
        """What a subclass does with a row."""

    def stats(self, shard: Shard) -> ShardStats:
        failed = len(shard.poisoned)
        return ShardStats(
            shard_id=shard.id,
            count=shard.count,
            successes=shard.count - failed,
            failed_to_resize=failed,
            origin=Origin(options={"pid": os.getpid(), "poisoned": sorted(shard.poisoned)}),
        )


@dataclass(frozen=True)
class TellsEnvironment(Toy):
    """Its stats' options are the environment of the process."""

    def stats(self, shard: Shard) -> ShardStats:
        return ShardStats(shard_id=shard.id, origin=Origin(options=dict(os.environ)))


@dataclass(frozen=True)
class Deadly(Toy):
    """Dies at one row: in the way of `how`, the first `times` times. `notes` is a folder that counts them."""

    how: str
    notes: Path
    shard_id: int = 1
    row: int = 2
    times: int = sys.maxsize

    def decode(self, shard: Shard, row: int) -> None:
        if (shard.id, row) == (self.shard_id, self.row) and self.first_times():
            die(self.how)

    def first_times(self) -> bool:
        before = len(list(self.notes.iterdir()))
        if before < self.times:
            (self.notes / str(before)).touch()
        return before < self.times


def die(how: str) -> None:
    """End this process, or make it useless, before the next event."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    elif how == "raise":
        raise ArithmeticError("a bug in the decoder")
    elif how == "hang":
        time.sleep(3600)


@dataclass(frozen=True)
class DeadlyEverywhere(Toy):
    """Dies at every row that is not poisoned."""

    def decode(self, shard: Shard, row: int) -> None:
        os._exit(7)


@dataclass(frozen=True)
class HangsEverywhere(Toy):
    """Hangs at every row that is not poisoned."""

    def decode(self, shard: Shard, row: int) -> None:
        die("hang")


@dataclass(frozen=True)
class DiesUnannounced(Deadly):
    """Dies with a shard in its hands before it announced any row of it."""

    def process(self, shard: Shard) -> Iterator[Event]:
        if shard.id == self.shard_id and self.first_times():
            die(self.how)
        yield from super().process(shard)


@dataclass(frozen=True)
class TwoOpen(Deadly):
    """Opens two shards at once, as the real one does, and announces rows of the second before those of the first."""

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        source = iter(shards)
        for first in source:
            second = next(source, None)
            if second:
                yield from self.process(second)
            yield from self.process(first)


@dataclass(frozen=True)
class CannotStart(Toy):
    """Fails before it asks for a shard."""

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        raise ImportError("no module named 'decoder'")


@dataclass(frozen=True)
class StartsEverySecondTime(Toy):
    """Fails before it asks for a shard, every other time; else it does one and ends."""

    notes: Path

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        before = len(list(self.notes.iterdir()))
        (self.notes / str(before)).touch()
        if before % 2 == 0:
            die("exit")
        yield from self.process(next(iter(shards)))


@dataclass(frozen=True)
class CannotBeLoaded(Toy):
    """Fails when a worker unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return fail_to_load, ("decoder",)


def fail_to_load(name: str) -> None:
    """What `CannotBeLoaded` is in a worker."""
    raise ImportError(f"no module named {name!r}")


@dataclass(frozen=True)
class StopsEarly(Toy):
    """Ends as if all was well, with its shard unsettled."""

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        yield Progress(next(iter(shards)).id, 0, 0, 0)


@dataclass(frozen=True)
class Failing(Toy):
    """Fails the shards whose number `every` divides, each as often as `times` says."""

    notes: Path
    every: int = 1
    times: int = sys.maxsize

    def process(self, shard: Shard) -> Iterator[Event]:
        before = len(list(self.notes.glob(f"{shard.id}.*")))
        if shard.id % self.every or before >= self.times:
            yield from super().process(shard)
        else:
            (self.notes / f"{shard.id}.{before}").touch()
            yield ShardFailure(shard.id, "disk full")


@dataclass(frozen=True)
class DiesWriting(Toy):
    """Dies when all rows of a shard are decoded and it is about to be written."""

    def stats(self, shard: Shard) -> ShardStats:
        die("exit")
        return super().stats(shard)


@dataclass(frozen=True)
class DiesWritingAnnounced(DiesWriting):
    """Announces that, as the real one does."""

    def process(self, shard: Shard) -> Iterator[Event]:
        for row in range(shard.count):
            yield Progress(shard.id, row, row, row)
        yield Progress(shard.id, None, shard.count, shard.count)
        yield self.stats(shard)


@dataclass(frozen=True)
class PoisonedThenFails(Deadly):
    """Dies at one row until it is left out; then its shard fails once, when `note` is not there yet."""

    note: Path = Path()

    def process(self, shard: Shard) -> Iterator[Event]:
        yield from super().process(shard) if not shard.poisoned or self.note.exists() else self.fail(shard)

    def fail(self, shard: Shard) -> Iterator[Event]:
        """As a full disk does."""
        self.note.touch()
        yield ShardFailure(shard.id, "disk full")


@dataclass(frozen=True)
class FailsThenDies(Toy):
    """Fails its shard after a row, dies when it gets it again before any row, and then does it."""

    notes: Path

    def process(self, shard: Shard) -> Iterator[Event]:
        before = len(list(self.notes.iterdir()))
        (self.notes / str(before)).touch()
        if before == 0:
            yield Progress(shard.id, 0, 0, 0)
            yield ShardFailure(shard.id, "disk full")
        elif before == 1:
            die("exit")
        else:
            yield from super().process(shard)


@dataclass(frozen=True)
class Slow(Toy):
    """Takes its time for each row."""

    seconds: float

    def decode(self, shard: Shard, row: int) -> None:
        time.sleep(self.seconds)


@dataclass(frozen=True)
class CleansUp(Slow):
    """Keeps a temporary file while it has a shard open."""

    folder: Path

    def process(self, shard: Shard) -> Iterator[Event]:
        temporary = self.folder / f"{os.getpid()}.tmp"
        temporary.touch()
        try:
            yield from super().process(shard)
        finally:
            temporary.unlink()


@dataclass(frozen=True)
class Unstoppable(Slow):
    """Does not end when it is asked to."""

    def process(self, shard: Shard) -> Iterator[Event]:
        yield Progress(shard.id, 0, 0, 0)
        while True:
            with contextlib.suppress(SystemExit):
                time.sleep(self.seconds)


@dataclass(frozen=True)
class InLongCall(Toy):
    """Sits in a C function that returns to Python only after a minute."""

    def decode(self, shard: Shard, row: int) -> None:
        libc = ctypes.CDLL(None)
        for _ in range(60):
            libc.sleep(1)


@dataclass(frozen=True)
class Chatty(Toy):
    """Prints to standard output and reads from standard input, where the frames go."""

    def decode(self, shard: Shard, row: int) -> None:
        print("a stray print", flush=True)  # noqa: T201
        os.write(1, b"and one from a C library\n")
        assert sys.stdin.read() == ""


@dataclass(frozen=True)
class Huge(Toy):
    """Talks in large frames while large frames come in; the next shard is asked for from another thread."""

    size: int

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Event]:
        source = iter(shards)
        current = next(source, None)
        while current:
            following: list[Shard | None] = []
            asking = threading.Thread(target=lambda: following.append(next(source, None)))  # noqa: B023
            asking.start()
            for row in range(current.count):
                yield Progress(current.id, row, row, row)
            stats = self.stats(current)
            yield replace(stats, origin=Origin(options={"echo": current.rows[: self.size]}))
            asking.join()
            current = following[0]
