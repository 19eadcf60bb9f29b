"""The files of a shard on their way to a store: they become visible together, or not at all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.names import commit_record_name, temporary_name
from img2dataset.filesystem.records import Steps, steps_of, text_of
from img2dataset.filesystem.store import Store

TOGETHER = 64  # small files that are read or written at a time, and so held in memory
LARGEST_BATCH = 32 * 1024 * 1024  # bytes of small files that wait to be written


class Upload(Transaction):
    """Files on their way to a store, where nothing can be renamed. What differs is under which names they go there."""

    def __init__(self, store: Store, folder: Folder, names: Sequence[str]) -> None:
        self._store = store
        self._folder = folder
        self._names = names
        self._files: dict[str, Any] = {}
        self._batch: dict[str, bytes] = {}  # path → content of small files that go up together
        self._batch_bytes = 0

    @abstractmethod
    def _target(self, name: str) -> str:
        """The name under which `name` is uploaded."""

    def open(self, name: str) -> IO[bytes]:
        # fsspec commits a half-written file on close unless told not to
        file: IO[bytes] = self._store.open(self._store.path(self._target(name)), "wb", autocommit=False)
        self._files[name] = file
        return file

    def open_folder(self, name: str) -> None:
        """A store has no folders."""

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        self._batch[self._store.path(f"{self._target(folder)}/{name}")] = data
        self._batch_bytes += len(data)
        if len(self._batch) == TOGETHER or self._batch_bytes > LARGEST_BATCH:
            self._upload_batch()

    def _upload_batch(self) -> None:
        if self._batch:
            self._store.pipe(self._batch)
        self._batch, self._batch_bytes = {}, 0

    def _finish(self) -> None:
        """Complete every upload, in the order of the names."""
        self._upload_batch()
        for name in [name for name in self._names if name in self._files]:
            self._files[name].close()
            self._files[name].commit()
            del self._files[name]

    def discard(self) -> None:
        self._batch = {}
        for file in self._files.values():
            # Each store has its own errors. What it does not let go of now stays invisible all the same.
            with suppress(Exception):
                file.discard()
            file.closed = True  # or fsspec would flush it when it is collected
        self._files.clear()


class FirstVersion(Upload):
    """A shard that is not there yet goes up under its own names.

    Its record is written before anything, and removed when all is there. As long as it stands, what is there is taken
    back: by `discard`, or by `recover` when the process was killed.
    """

    def __init__(self, store: Store, folder: Folder, names: Sequence[str]) -> None:
        super().__init__(store, folder, names)
        self._steps: Steps = [(None, name) for name in names]
        self._record: str | None = write_record(store, folder, self._steps)

    def _target(self, name: str) -> str:
        return name

    def commit(self) -> None:
        assert self._record
        self._finish()
        self._folder.remove(self._record)
        self._record = None

    def discard(self) -> None:
        super().discard()
        if self._record:
            with suppress(OSError):  # a store that is away: `recover` takes it back
                take(self._store, self._folder, self._record, self._steps)
            self._record = None


class NextVersion(Upload):
    """A shard that is replaced must not be lost: all of the new version goes up under temporary names.

    Then its record is written, which tells what to copy where, and what is there no more. Before it, nothing has
    happened; after it, `recover` copies what is not copied.
    """

    def __init__(self, store: Store, folder: Folder, names: Sequence[str]) -> None:
        super().__init__(store, folder, names)
        self._temporary = {name: temporary_name(name) for name in names}
        self._inside: dict[str, list[str]] = {}  # folder → its files

    def _target(self, name: str) -> str:
        return self._temporary[name]

    def open_folder(self, name: str) -> None:
        self._inside[name] = []

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        self._inside[folder].append(name)
        super().write_into(folder, name, data)

    def commit(self) -> None:
        self._finish()
        steps = [step for name in self._names for step in self._steps(name)]
        take(self._store, self._folder, write_record(self._store, self._folder, steps), steps)

    def _steps(self, name: str) -> Iterator[tuple[str | None, str]]:
        if name not in self._inside:
            yield self._temporary[name], name
            return
        for file in set(self._folder.inside(name).names()).difference(self._inside[name]):
            yield None, f"{name}/{file}"
        for file in self._inside[name]:
            yield f"{self._temporary[name]}/{file}", f"{name}/{file}"


def write_record(store: Store, folder: Folder, steps: Steps) -> str:
    """Write down what a cut commit needs to be finished, or taken back. Returns the record's name."""
    record = commit_record_name(steps[-1][1])
    with suppress(FileNotFoundError):
        finish(store, folder, record)  # that of an earlier try
    folder.write(record, text_of(steps))
    return record


def finish(store: Store, folder: Folder, record: str) -> None:
    """Do what a record tells. Raises FileNotFoundError when there is none."""
    take(store, folder, record, steps_of(folder, record))


def take(store: Store, folder: Folder, record: str, steps: Steps) -> None:
    """Take the steps of a record, some of which may have been taken, then remove it."""
    store.invalidate_cache()
    moves = [(temporary, name) for temporary, name in steps if temporary is not None]
    if moves:
        sources, targets = ([store.path(name) for name in names] for names in zip(*moves, strict=True))
        store.copy(sources, targets, on_error="ignore")  # what is gone was moved before
    gone = [name for temporary, name in steps if temporary is None]
    for name in [*gone, *dict.fromkeys(temporary.partition("/")[0] for temporary, _ in moves)]:
        with suppress(FileNotFoundError):
            folder.remove(name)
    folder.remove(record)
