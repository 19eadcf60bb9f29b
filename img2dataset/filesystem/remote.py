"""A folder on an object store: uploads that are visible only when they are committed."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Any

from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.names import commit_record_name, is_commit_record, is_hidden, is_left_over, temporary_name
from img2dataset.filesystem.records import Steps, steps_of, text_of

UPLOADED_TOGETHER = 64  # files of a folder, and so held in memory


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

    def transaction(self) -> Transaction:
        return _RemoteTransaction(self._store, self)

    def recover(self) -> None:
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


class _RemoteTransaction(Transaction):
    """Nothing can be renamed there.

    A new shard is uploaded under its own names. Its record tells what to take back when the commit is cut. A shard that
    is replaced must not be lost: all of its new version is uploaded under temporary names, and its record tells
    what to copy where.
    """

    def __init__(self, store: _Store, folder: RemoteFolder) -> None:
        self._store = store
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._spools: dict[str, _Spool] = {}
        self._temporary: dict[str, str] = {}  # name → temporary name, when something is replaced
        self._replaces: bool | None = None

    def _stage(self, name: str) -> str:
        """Where the upload of `name` goes."""
        if self._replaces is None:
            self._store.invalidate_cache()
            self._replaces = self._store.exists(self._folder.join(name))
        if self._replaces:
            self._temporary[name] = temporary_name(name)
        return self._temporary.get(name, name)

    def open(self, name: str) -> IO[bytes]:
        # fsspec commits a half-written file on close unless told not to
        file: IO[bytes] = self._store.open(self._folder.join(self._stage(name)), "wb", autocommit=False)
        self._files[name] = file
        return file

    def open_folder(self, name: str) -> None:
        self._stage(name)
        self._spools[name] = _Spool()

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        self._spools[folder].add(name, data)

    def commit(self) -> None:
        if self._replaces:
            self._upload()
            steps = [*self._moves_of_folders(), *((self._temporary[name], name) for name in self._files)]
            self._folder.take(self._folder.record(steps), steps)
        else:
            record = self._folder.record([(None, name) for name in (*self._spools, *self._files)])
            self._upload()
            self._folder.remove(record)
        self._files.clear()

    def _upload(self) -> None:
        for name, spool in self._spools.items():
            for batch in spool.batches():
                target = self._temporary.get(name, name)
                self._store.pipe({self._folder.join(f"{target}/{file}"): data for file, data in batch.items()})
        for file in self._files.values():
            file.close()
            file.commit()

    def _moves_of_folders(self) -> Iterator[tuple[str | None, str]]:
        for name, spool in self._spools.items():
            for file in set(self._folder.inside(name).names()).difference(spool.names):
                yield None, f"{name}/{file}"
            for file in spool.names:
                yield f"{self._temporary[name]}/{file}", f"{name}/{file}"

    def discard(self) -> None:
        for spool in self._spools.values():
            spool.close()
        for file in self._files.values():
            # Each store has its own errors. What it does not let go of now stays invisible all the same.
            with suppress(Exception):
                file.discard()
            file.closed = True  # or fsspec would flush it when it is collected
        self._files.clear()
        self._spools.clear()


class _Spool:
    """The files of a folder that waits, on the local disk, to be uploaded."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="img2dataset-")  # noqa: SIM115 - closed by discard
        self._lengths: dict[str, int] = {}
        self.close = self._file.close

    @property
    def names(self) -> list[str]:
        """The names of the files, in order."""
        return list(self._lengths)

    def add(self, name: str, data: bytes) -> None:
        """Keep one more file."""
        self._file.write(data)
        self._lengths[name] = len(data)

    def batches(self) -> Iterator[dict[str, bytes]]:
        """The files with their contents, some at a time."""
        self._file.seek(0)
        names = iter(self._lengths)
        while batch := {name: self._file.read(self._lengths[name]) for name in islice(names, UPLOADED_TOGETHER)}:
            yield batch


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
