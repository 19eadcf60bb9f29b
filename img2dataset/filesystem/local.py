"""A folder on a local disk: temporary names, fsync, renames, and a record that finishes a commit cut half-way."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from contextlib import suppress
from typing import IO

from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.names import LOCK_NAME, commit_record_name, is_commit_record, is_hidden, temporary_name


class LocalFolder(Folder):
    """A folder on a local disk."""

    def join(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def inside(self, name: str) -> Folder:
        return LocalFolder(self.join(name))

    def make(self) -> None:
        os.makedirs(self.path, exist_ok=True)
        probe = self.join(temporary_name("probe"))
        with open(probe, "wb"):
            os.remove(probe)

    def names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.path) if not is_hidden(name))
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
        temporary = self.join(temporary_name(name))
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
        hidden = [name for name in os.listdir(self.path) if is_hidden(name) and name != LOCK_NAME]
        for record in filter(is_commit_record, hidden):
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
                retired = temporary_name(name)
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
        self._staged[name] = temporary_name(name)
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
        record = commit_record_name(staged[-1][1])
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
