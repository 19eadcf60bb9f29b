"""A folder on an object store: uploads that are visible only when they are committed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Any

from img2dataset.filesystem.base import PROBE, Folder, Transaction
from img2dataset.filesystem.names import commit_record_name, is_commit_record, is_hidden, is_left_over, temporary_name
from img2dataset.filesystem.records import Steps, steps_of, text_of

TOGETHER = 64  # small files that are read or written at a time, and so held in memory
LARGEST_BATCH = 32 * 1024 * 1024  # bytes of small files that wait to be written


class RemoteFolder(Folder):
    """A folder on an object store. A file there is visible only when its upload is committed."""

    def __init__(self, path: str, filesystem: Any, root: str) -> None:
        super().__init__(path)
        self._store = filesystem if isinstance(filesystem, _Store) else _Store(filesystem)
        self._root = root.rstrip("/")

    def join(self, name: str) -> str:
        """The path of a file in the folder, as the store's own API wants it."""
        return f"{self._root}/{name}"

    def inside(self, name: str) -> Folder:
        return RemoteFolder(f"{self.path}/{name}", self._store, self.join(name))

    def make(self) -> None:
        self._store.makedirs(self._root, exist_ok=True)
        probe = temporary_name("probe")
        self.write(probe, PROBE)
        with suppress(FileNotFoundError):  # a run that is at its end has swept
            self.remove(probe)

    def names(self) -> list[str]:
        return sorted(name for name in self._all_names() if not is_hidden(name))

    def _all_names(self) -> list[str]:
        self._store.invalidate_cache()
        with suppress(FileNotFoundError):
            names = (path.rstrip("/").rpartition("/")[2] for path in self._store.ls(self._root, detail=False))
            return [name for name in names if name]
        return []

    def open(self, name: str) -> IO[bytes]:
        file: IO[bytes] = self._store.open(self.join(name), "rb")
        return file

    def read(self, name: str, limit: int = -1) -> bytes:
        data: bytes = self._store.cat_file(self.join(name))  # whole: some stores refuse a range of an empty file
        return data if limit < 0 else data[:limit]

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        rest = iter(names)
        while batch := list(islice(rest, TOGETHER)):
            contents = self._store.cat([self.join(name) for name in batch])
            yield from ((name, contents[self.join(name)]) for name in batch)

    def remove(self, name: str) -> None:
        self._store.rm(self.join(name), recursive=True)

    def remove_together(self, names: Sequence[str]) -> None:
        steps = [(None, name) for name in names]
        self.take(self.record(steps), steps)

    def write(self, name: str, data: bytes) -> None:
        self._store.pipe_file(self.join(name), data)

    def write_new(self, name: str, data: bytes) -> bool:
        try:
            self._store.pipe_file(self.join(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def transaction(self, names: Sequence[str]) -> Transaction:
        self._store.invalidate_cache()
        is_there = any(self._store.exists(self.join(name)) for name in names)
        return (_NextVersion if is_there else _FirstVersion)(self._store, self, names)

    def spools(self) -> str:
        path = self._spools
        os.makedirs(path, mode=0o700, exist_ok=True)
        if os.lstat(path).st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to somebody else", path)
        return path

    @property
    def _spools(self) -> str:
        store = hashlib.sha256(self.path.rstrip("/").encode("utf-8", "surrogatepass")).hexdigest()
        return os.path.join(tempfile.gettempdir(), f"img2dataset-{os.getuid()}-{store[:32]}")

    def recover(self) -> None:
        shutil.rmtree(self._spools, ignore_errors=True)
        for record in filter(is_commit_record, self._all_names()):
            self._finish(record)
        for name in self._all_names():
            if is_left_over(name):
                with suppress(FileNotFoundError):
                    self.remove(name)

    def record(self, steps: Steps) -> str:
        """Write down what a cut commit needs to be finished, or taken back. Returns the record's name."""
        record = commit_record_name(steps[-1][1])
        with suppress(FileNotFoundError):
            self._finish(record)  # that of an earlier try
        self.write(record, text_of(steps))
        return record

    def _finish(self, record: str) -> None:
        self.take(record, steps_of(self, record))

    def take(self, record: str, steps: Steps) -> None:
        """Take the steps of a record, some of which may have been taken, then remove it."""
        self._store.invalidate_cache()
        moves = [(temporary, name) for temporary, name in steps if temporary is not None]
        if moves:
            sources, targets = ([self.join(name) for name in names] for names in zip(*moves, strict=True))
            self._store.copy(sources, targets, on_error="ignore")  # what is gone was moved before
        gone = [name for temporary, name in steps if temporary is None]
        for name in [*gone, *dict.fromkeys(temporary.partition("/")[0] for temporary, _ in moves)]:
            with suppress(FileNotFoundError):
                self.remove(name)
        self.remove(record)


class _Upload(Transaction):
    """Files on their way to a store, where nothing can be renamed. What differs is under which names they go there."""

    def __init__(self, store: _Store, folder: RemoteFolder, names: Sequence[str]) -> None:
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
        file: IO[bytes] = self._store.open(self._folder.join(self._target(name)), "wb", autocommit=False)
        self._files[name] = file
        return file

    def open_folder(self, name: str) -> None:
        """A store has no folders."""

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        self._batch[self._folder.join(f"{self._target(folder)}/{name}")] = data
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


class _FirstVersion(_Upload):
    """A shard that is not there yet goes up under its own names.

    Its record is written before anything, and removed when all is there. As long as it stands, what is there is taken
    back: by `discard`, or by `recover` when the process was killed.
    """

    def __init__(self, store: _Store, folder: RemoteFolder, names: Sequence[str]) -> None:
        super().__init__(store, folder, names)
        self._steps: Steps = [(None, name) for name in names]
        self._record: str | None = folder.record(self._steps)

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
                self._folder.take(self._record, self._steps)
            self._record = None


class _NextVersion(_Upload):
    """A shard that is replaced must not be lost: all of the new version goes up under temporary names.

    Then its record is written, which tells what to copy where, and what is there no more. Before it, nothing has
    happened; after it, `recover` copies what is not copied.
    """

    def __init__(self, store: _Store, folder: RemoteFolder, names: Sequence[str]) -> None:
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
        self._folder.take(self._folder.record(steps), steps)

    def _steps(self, name: str) -> Iterator[tuple[str | None, str]]:
        if name not in self._inside:
            yield self._temporary[name], name
            return
        for file in set(self._folder.inside(name).names()).difference(self._inside[name]):
            yield None, f"{name}/{file}"
        for file in self._inside[name]:
            yield f"{self._temporary[name]}/{file}", f"{name}/{file}"


class _Store:
    """An fsspec file system whose calls raise nothing but OSError: each has errors of its own."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._filesystem, name)

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except OSError:
                raise
            except Exception as error:  # translated, not swallowed
                raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error

        return call
