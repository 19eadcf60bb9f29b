"""A folder on an object store: uploads that are visible only when they are committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.names import commit_record_name, is_commit_record, is_hidden


class RemoteFolder(Folder):
    """A folder on an object store. A file there is visible only when its upload is committed."""

    def __init__(self, path: str, filesystem: Any, root: str) -> None:
        super().__init__(path)
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def join(self, name: str) -> str:
        """The path of a file in the folder, as the store's own API wants it."""
        return f"{self._root}/{name}"

    def inside(self, name: str) -> Folder:
        return RemoteFolder(f"{self.path}/{name}", self._filesystem, self.join(name))

    def make(self) -> None:
        self._filesystem.makedirs(self._root, exist_ok=True)

    def names(self) -> list[str]:
        self._filesystem.invalidate_cache()
        with suppress(FileNotFoundError):
            paths: Iterator[str] = iter(self._filesystem.ls(self._root, detail=False))
            names = (path.rstrip("/").rpartition("/")[2] for path in paths)
            return sorted(name for name in names if name and not is_hidden(name))
        return []

    def open(self, name: str) -> IO[bytes]:
        file: IO[bytes] = self._filesystem.open(self.join(name), "rb")
        return file

    def remove(self, name: str) -> None:
        self._filesystem.rm(self.join(name), recursive=True)

    def write(self, name: str, data: bytes) -> None:
        self._filesystem.pipe_file(self.join(name), data)

    def write_new(self, name: str, data: bytes) -> bool:
        try:
            self._filesystem.pipe_file(self.join(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def transaction(self) -> Transaction:
        return _RemoteTransaction(self._filesystem, self)

    def recover(self) -> None:
        for record in (path.rpartition("/")[2] for path in self._filesystem.ls(self._root, detail=False)):
            if not is_commit_record(record):
                continue
            for name in json.loads(self.read(record)):
                with suppress(FileNotFoundError):
                    self.remove(name)
            self.remove(record)


class _RemoteTransaction(Transaction):
    def __init__(self, filesystem: Any, folder: RemoteFolder) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._folders: dict[str, set[str]] = {}  # name -> names of the files written into it

    def open(self, name: str) -> IO[bytes]:
        # fsspec commits a half-written file on close unless told not to
        file: IO[bytes] = self._filesystem.open(self._folder.join(name), "wb", autocommit=False)
        self._files[name] = file
        return file

    def open_folder(self, name: str) -> None:
        self._folders[name] = set()

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        self._filesystem.pipe_file(self._folder.join(f"{folder}/{name}"), data)
        self._folders[folder].add(name)

    def commit(self) -> None:
        """There are no renames here. A commit that is cut leaves its record, and `recover` takes back what it did."""
        names = [*self._folders, *self._files]
        record = commit_record_name(names[-1])
        self._folder.write(record, json.dumps(names).encode())
        with suppress(FileNotFoundError):  # the stats file of an older version goes first: the shard is open again
            self._folder.remove(names[-1])
        for folder, written in self._folders.items():
            for name in set(self._folder.inside(folder).names()) - written:
                self._folder.remove(f"{folder}/{name}")
        for file in self._files.values():
            file.close()
            file.commit()
        self._files.clear()
        self._folders.clear()
        self._folder.remove(record)

    def discard(self) -> None:
        for file in self._files.values():
            file.discard()
            file.closed = True  # or fsspec would flush it when it is collected
        self._files.clear()
        for folder in self._folders:
            with suppress(FileNotFoundError):
                self._folder.remove(folder)
        self._folders.clear()
