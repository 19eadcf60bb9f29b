"""A folder on an object store: uploads that are visible only when they are committed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO

from img2dataset.filesystem.base import PROBE, Folder, Transaction
from img2dataset.filesystem.names import is_commit_record, is_hidden, is_left_over, temporary_name
from img2dataset.filesystem.store import Store
from img2dataset.filesystem.uploads import TOGETHER, FirstVersion, NextVersion, finish, take, write_record


class RemoteFolder(Folder):
    """A folder on an object store. A file there is visible only when its upload is committed."""

    def __init__(self, path: str, store: Store) -> None:
        super().__init__(path)
        self._store = store

    def inside(self, name: str) -> Folder:
        return RemoteFolder(f"{self.path}/{name}", self._store.inside(name))

    def make(self) -> None:
        self._store.makedirs(self._store.root, exist_ok=True)
        probe = temporary_name("probe")
        self.write(probe, PROBE)
        with suppress(FileNotFoundError):  # a run that is at its end has swept
            self.remove(probe)

    def names(self) -> list[str]:
        return sorted(name for name in self._all_names() if not is_hidden(name))

    def _all_names(self) -> list[str]:
        self._store.invalidate_cache()
        with suppress(FileNotFoundError):
            names = (path.rstrip("/").rpartition("/")[2] for path in self._store.ls(self._store.root, detail=False))
            return [name for name in names if name]
        return []

    def open(self, name: str) -> IO[bytes]:
        file: IO[bytes] = self._store.open(self._store.path(name), "rb")
        return file

    def read(self, name: str, limit: int = -1) -> bytes:
        data: bytes = self._store.cat_file(self._store.path(name))  # whole: some stores refuse a range of an empty file
        return data if limit < 0 else data[:limit]

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        rest = iter(names)
        while batch := list(islice(rest, TOGETHER)):
            contents = self._store.cat([self._store.path(name) for name in batch])
            yield from ((name, contents[self._store.path(name)]) for name in batch)

    def remove(self, name: str) -> None:
        self._store.rm(self._store.path(name), recursive=True)

    def remove_together(self, names: Sequence[str]) -> None:
        steps = [(None, name) for name in names]
        take(self._store, self, write_record(self._store, self, steps), steps)

    def write(self, name: str, data: bytes) -> None:
        self._store.pipe_file(self._store.path(name), data)

    def write_new(self, name: str, data: bytes) -> bool:
        try:
            self._store.pipe_file(self._store.path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def transaction(self, names: Sequence[str]) -> Transaction:
        self._store.invalidate_cache()
        is_there = any(self._store.exists(self._store.path(name)) for name in names)
        return (NextVersion if is_there else FirstVersion)(self._store, self, names)

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
            finish(self._store, self, record)
        for name in self._all_names():
            if is_left_over(name):
                with suppress(FileNotFoundError):
                    self.remove(name)
