"""Where every path goes through: read, list, remove, and write so that nothing half-written is ever visible."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from img2dataset.errors import OptionsError

if TYPE_CHECKING:
    from types import TracebackType

LOCK_NAME = ".img2dataset.lock"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_COMMIT_RECORD = re.compile(r"\..+\.[0-9a-f]{32}\.commit")


def open_folder(path: str) -> Folder:
    """The folder at a local path or at any URL fsspec knows (``s3://bucket/dataset``). Nothing is created.

    Raises `OptionsError` when the protocol is unknown or its package is not installed.
    """
    if "://" not in path:
        return LocalFolder(path)
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        extra = path.partition("://")[0]
        hint = f": pip install img2dataset[{extra}]" if extra in ("s3", "gs") else ""
        raise OptionsError(f"{path!r} cannot be opened: {error}{hint}") from error
    if "file" in filesystem.protocol:
        return LocalFolder(root)
    return RemoteFolder(path, filesystem, root)


class Folder(ABC):
    """A folder and the files in it, by their names. Writing goes through `transaction`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __str__(self) -> str:
        return self.path

    @abstractmethod
    def make(self) -> None:
        """Create the folder, and see that it can be written. Raises OSError when it cannot."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of what is in it, sorted, temporary files left out; none when it does not exist."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it."""

    @abstractmethod
    def transaction(self) -> Transaction:
        """A set of files that become visible together, or not at all."""

    @abstractmethod
    def recover(self) -> None:
        """Finish the commits that a killed run had begun, and remove the temporary files it left."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a small file at once, replacing what is there."""

    @abstractmethod
    def write_new(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; tell whether it was written. Of two at once, one succeeds."""

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        with self.open(name) as file:
            return file.read()


class Transaction(ABC):
    """Files and folders under way. Leaving the ``with`` block without `commit` discards them."""

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.discard()

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file to write, which `commit` makes visible as `name`."""

    @abstractmethod
    def open_folder(self, name: str) -> None:
        """Begin a folder, which `commit` makes visible as `name`."""

    @abstractmethod
    def write_into(self, folder: str, name: str, data: bytes) -> None:
        """Write one file of a folder that `open_folder` began."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything visible, in the order in which it was opened."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is not committed. Does nothing after `commit`."""


class LocalFolder(Folder):
    """A folder on a local disk."""

    def join(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def make(self) -> None:
        os.makedirs(self.path, exist_ok=True)
        probe = self.join(_temporary_name("probe"))
        with open(probe, "wb"):
            os.remove(probe)

    def names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.path) if not _is_ours_to_hide(name))
        return []

    def open(self, name: str) -> IO[bytes]:
        return open(self.join(name), "rb")

    def remove(self, name: str) -> None:
        path = self.join(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)

    def write(self, name: str, data: bytes) -> None:
        temporary = self.join(_temporary_name(name))
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, self.join(name))

    def write_new(self, name: str, data: bytes) -> bool:
        try:
            with open(self.join(name), "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def transaction(self) -> Transaction:
        return _LocalTransaction(self)

    def recover(self) -> None:
        hidden = [name for name in os.listdir(self.path) if _is_ours_to_hide(name) and name != LOCK_NAME]
        for record in filter(_COMMIT_RECORD.fullmatch, hidden):
            with open(self.join(record), encoding="utf-8") as file:
                self.exchange(json.load(file), record)
        for name in hidden:
            with suppress(FileNotFoundError):
                self.remove(name)

    def exchange(self, staged: list[tuple[str, str]], record: str) -> None:
        """Give every staged file its name, in order; those that have it already were given it before a crash."""
        for temporary, name in staged:
            if not os.path.lexists(self.join(temporary)):
                continue
            if os.path.isdir(self.join(name)):
                retired = _temporary_name(name)
                os.rename(self.join(name), self.join(retired))
                os.rename(self.join(temporary), self.join(name))
                self.remove(retired)
            else:
                os.replace(self.join(temporary), self.join(name))
        _sync(self.path)
        os.remove(self.join(record))


class _LocalTransaction(Transaction):
    def __init__(self, folder: LocalFolder) -> None:
        self._folder = folder
        self._staged: dict[str, str] = {}  # name -> temporary name, in order
        self._files: list[IO[bytes]] = []

    def _stage(self, name: str) -> str:
        self._staged[name] = _temporary_name(name)
        return self._folder.join(self._staged[name])

    def open(self, name: str) -> IO[bytes]:
        file = open(self._stage(name), "wb", buffering=1 << 17)  # noqa: SIM115 - closed by commit or discard
        self._files.append(file)
        return file

    def open_folder(self, name: str) -> None:
        os.mkdir(self._stage(name))

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        with open(os.path.join(self._folder.path, self._staged[folder], name), "wb", buffering=0) as file:
            file.write(data)

    def commit(self) -> None:
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        for temporary in self._staged.values():
            if os.path.isdir(self._folder.join(temporary)):
                _sync_all_of(self._folder.join(temporary))
        staged = [(temporary, name) for name, temporary in self._staged.items()]
        self._folder.exchange(staged, self._record(staged))
        self._staged.clear()

    def _record(self, staged: list[tuple[str, str]]) -> str:
        """Write down what is about to happen, so that a commit cut half-way is finished by the next run."""
        record = f".{staged[-1][1]}.{uuid.uuid4().hex}.commit"
        unfinished = self._stage(record)
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(staged, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, self._folder.join(record))
        del self._staged[record]
        _sync(self._folder.path)
        return record

    def discard(self) -> None:
        for file in self._files:
            with suppress(OSError):  # a full disk refuses the last flush; the file goes away all the same
                file.close()
        for temporary in self._staged.values():
            with suppress(FileNotFoundError):
                self._folder.remove(temporary)
        self._staged.clear()


class RemoteFolder(Folder):
    """A folder on an object store. A file there is visible only when its upload is committed."""

    def __init__(self, path: str, filesystem: Any, root: str) -> None:
        super().__init__(path)
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def join(self, name: str) -> str:
        """The path of a file in the folder, as the store's own API wants it."""
        return f"{self._root}/{name}"

    def make(self) -> None:
        self._filesystem.makedirs(self._root, exist_ok=True)

    def names(self) -> list[str]:
        self._filesystem.invalidate_cache()
        with suppress(FileNotFoundError):
            paths: Iterator[str] = iter(self._filesystem.ls(self._root, detail=False))
            names = (path.rstrip("/").rpartition("/")[2] for path in paths)
            return sorted(name for name in names if name and not _is_ours_to_hide(name))
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
            if not _COMMIT_RECORD.fullmatch(record):
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
        record = f".{names[-1]}.{uuid.uuid4().hex}.commit"
        self._folder.write(record, json.dumps(names).encode())
        with suppress(FileNotFoundError):  # the stats file of an older version goes first: the shard is open again
            self._folder.remove(names[-1])
        for folder, written in self._folders.items():
            for name in set(open_folder(f"{self._folder.path}/{folder}").names()) - written:
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


def _temporary_name(name: str) -> str:
    return f".{name.lstrip('.')}.{uuid.uuid4().hex}.tmp"


def _is_ours_to_hide(name: str) -> bool:
    return name == LOCK_NAME or bool(_TEMPORARY.fullmatch(name) or _COMMIT_RECORD.fullmatch(name))


def _sync(folder: str) -> None:
    """Make the names in a folder survive a power cut."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all_of(folder: str) -> None:
    """Make the many small files of a folder survive a power cut: one flush of their file system, not one for each."""
    if not sys.platform.startswith("linux"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(descriptor)
    finally:
        os.close(descriptor)
