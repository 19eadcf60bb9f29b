"""A folder on a local disk: temporary names, fsync, renames, and a record that finishes a commit cut half-way."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from img2dataset.filesystem.base import PROBE, Folder, Transaction
from img2dataset.filesystem.names import commit_record_name, is_commit_record, is_hidden, is_left_over, temporary_name
from img2dataset.filesystem.records import Steps, steps_of, text_of


class LocalFolder(Folder):
    """A folder on a local disk."""

    def join(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def inside(self, name: str) -> Folder:
        return LocalFolder(self.join(name))

    def make(self) -> None:
        os.makedirs(self.path, exist_ok=True)
        probe = self._written("probe", PROBE)
        with suppress(FileNotFoundError):  # a run that is at its end has swept
            os.remove(probe)

    def names(self) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
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

    def remove_together(self, names: Sequence[str]) -> None:
        with suppress(OSError):  # a full disk takes no record, and it is removing that makes room
            self.record([(None, name) for name in names])
        self.take(commit_record_name(names[-1]), [(None, name) for name in names])

    def write(self, name: str, data: bytes) -> None:
        os.replace(self._written(name, data), self.join(name))

    def write_new(self, name: str, data: bytes) -> bool:
        while True:
            temporary = self._written(name, data)
            try:
                os.link(temporary, self.join(name))  # unlike opening it anew, no reader sees it without its content
            except FileExistsError:
                return False
            except FileNotFoundError:  # a run that is at its end has swept
                continue
            finally:
                with suppress(FileNotFoundError):
                    os.remove(temporary)
            return True

    def _written(self, name: str, data: bytes) -> str:
        """The path of a temporary file with that content."""
        temporary = self.join(temporary_name(name))
        try:
            with open(temporary, "wb") as file:
                file.write(data)
        except BaseException:
            with suppress(OSError):
                os.remove(temporary)
            raise
        return temporary

    def spools(self) -> str:
        return self.path

    def transaction(self, names: Sequence[str]) -> Transaction:
        return _LocalTransaction(self, names)

    def recover(self) -> None:
        for record in filter(is_commit_record, os.listdir(self.path)):
            self.finish(record)
        for name in os.listdir(self.path):
            if is_left_over(name):
                with suppress(FileNotFoundError):
                    self.remove(name)

    def record(self, steps: Steps) -> str:
        """Write down what is about to happen, so that it is finished if it is cut. Returns the record's name."""
        record = commit_record_name(steps[-1][1])
        self.finish(record)  # that of an earlier version, when a disk error cut its commit
        temporary = self._written(record, text_of(steps))
        _sync(temporary)
        os.replace(temporary, self.join(record))
        _sync(self.path)
        return record

    def has_record(self, name: str) -> bool:
        """Whether a commit that ends with `name` is under way, or was cut."""
        return os.path.lexists(self.join(commit_record_name(name)))

    def finish(self, record: str) -> None:
        """Do what a record tells and has not been done, if there is this record."""
        with suppress(FileNotFoundError):
            self.take(record, steps_of(self, record))

    def take(self, record: str, steps: Steps) -> None:
        """Take every step that was not taken before a crash, then remove the record."""
        for temporary, name in steps:
            with suppress(FileNotFoundError):  # it was taken
                if temporary is None:
                    self.remove(name)
                else:
                    self._rename(temporary, name)
        _sync(self.path)
        for folder in {os.path.dirname(name) for _, name in steps if "/" in name}:
            with suppress(FileNotFoundError):  # it went away with all that was in it
                _sync(self.join(folder))
        for folder in {os.path.dirname(temporary) for temporary, _ in steps if temporary and "/" in temporary}:
            with suppress(FileNotFoundError):
                self.remove(folder)
        with suppress(FileNotFoundError):
            os.remove(self.join(record))

    def _rename(self, temporary: str, name: str) -> None:
        if "/" in name:
            os.makedirs(os.path.dirname(self.join(name)), exist_ok=True)
        if not os.path.lexists(self.join(temporary)) or not os.path.isdir(self.join(name)):
            os.replace(self.join(temporary), self.join(name))
            return
        retired = temporary_name(name)  # no rename replaces a folder that has something in it
        os.rename(self.join(name), self.join(retired))
        os.rename(self.join(temporary), self.join(name))
        self.remove(retired)


class _LocalTransaction(Transaction):
    """Everything is written under temporary names. Once its record is there, it will be renamed, whatever comes."""

    def __init__(self, folder: LocalFolder, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = names
        self._staged: dict[str, str] = {}  # name → temporary name
        self._files: list[IO[bytes]] = []

    def _stage(self, name: str) -> str:
        self._staged[name] = temporary_name(name)
        path = self._folder.join(self._staged[name])
        if "/" in name:
            self._require_folder(os.path.dirname(name))
            os.mkdir(os.path.dirname(path))
        return path

    def _require_folder(self, name: str) -> None:
        """See that a folder can be made where one is needed, as long as the commit can be called off."""
        path = self._folder.join(name)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def open(self, name: str) -> IO[bytes]:
        file = open(self._stage(name), "wb", buffering=1 << 17)  # noqa: SIM115 - closed by commit or discard
        self._files.append(file)
        return file

    def open_folder(self, name: str) -> None:
        os.mkdir(self._stage(name))

    def write_into(self, folder: str, name: str, data: bytes) -> None:
        with open(os.path.join(self._folder.path, self._staged[folder], name), "wb") as file:
            file.write(data)

    def commit(self) -> None:
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        for temporary in self._staged.values():
            if os.path.isdir(self._folder.join(temporary)):
                _sync_all_of(self._folder.join(temporary))
            elif "/" in temporary:
                _sync(os.path.dirname(self._folder.join(temporary)))
        steps = [(self._staged[name], name) for name in self._names]
        self._folder.take(self._folder.record(steps), steps)
        self._staged.clear()

    def discard(self) -> None:
        for file in self._files:
            with suppress(OSError):  # a full disk refuses the last flush; the file goes away all the same
                file.close()
        if self._staged and self._folder.has_record(self._names[-1]):
            self._staged.clear()  # a commit was cut after the point of no return: `recover` finishes it
        for temporary in self._staged.values():
            with suppress(OSError):  # what cannot be removed now, `recover` removes
                self._folder.remove(temporary.partition("/")[0])
        self._staged.clear()


def _sync(path: str) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
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
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    finally:
        os.close(descriptor)
