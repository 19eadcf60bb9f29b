"""What every file system offers: a folder to read, and transactions to write."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


PROBE = b"a disk that is full takes an empty file"  # what `Folder.make` writes, and removes


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
    def remove_together(self, names: Sequence[str]) -> None:
        """Remove several, in order; when this is cut, `recover` removes the rest."""

    @abstractmethod
    def transaction(self, names: Sequence[str]) -> Transaction:
        """Files and folders of these names, which become visible together and in this order, or not at all.

        A file may be of a folder that others share, ``data/train-00000.parquet``, which is made where it is missing.
        """

    @abstractmethod
    def recover(self) -> None:
        """Finish the commits that a killed run had begun, and remove the temporary files it left."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a small file at once, replacing what is there."""

    @abstractmethod
    def write_new(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; tell whether it was written. Of two at once, one succeeds."""

    @abstractmethod
    def inside(self, name: str) -> Folder:
        """A folder in this one."""

    @abstractmethod
    def spools(self) -> str:
        """The path of the folder on a local disk that holds the spools of its open shards. It is there."""

    def read(self, name: str, limit: int = -1) -> bytes:
        """The bytes of a file, the first `limit` of them where that is given."""
        with self.open(name) as file:
            return file.read(limit)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The names and bytes of several files, in order; a store is asked for many at a time."""
        return ((name, self.read(name)) for name in names)

    def read_json(self, name: str, limit: int | None = None) -> Any:
        """What a JSON file says. Raises ValueError when it is none, or has more than `limit` bytes."""
        data = self.read(name) if limit is None else self.read(name, limit + 1)
        if limit is not None and len(data) > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


class Transaction(ABC):
    """Files and folders under way. Leaving the ``with`` block without `commit` discards them."""

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.discard()

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file to write, which `commit` makes visible as `name`: one of the transaction's."""

    @abstractmethod
    def open_folder(self, name: str) -> None:
        """Begin a folder, which `commit` makes visible as `name`: one of the transaction's."""

    @abstractmethod
    def write_into(self, folder: str, name: str, data: bytes) -> None:
        """Write one file of a folder that `open_folder` began."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything visible, in the order of the transaction's names."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is not committed. Does nothing after `commit`."""
