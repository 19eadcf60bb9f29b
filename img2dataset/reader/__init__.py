"""Url list → stream of shards, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from img2dataset.errors import Img2datasetError, OptionsError, ShardError
from img2dataset.options import ReadOptions
from img2dataset.reader.columns import shaped
from img2dataset.reader.digests import require_digests
from img2dataset.reader.files import InputFiles
from img2dataset.reader.slices import slices
from img2dataset.reader.utf8 import HEAD, require_text
from img2dataset.shards import Shard, to_ipc
from img2dataset.tables import load

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.reader.base import InputFormat

__all__ = ["READERS", "Reader"]

# The values of the option `input_format`. A file of this extension is of this format.
READERS = {
    "txt": "img2dataset.reader.txt:Txt",
    "csv": "img2dataset.reader.csv:Csv",
    "parquet": "img2dataset.reader.parquet:Parquet",
}
EXTENSIONS = {f".{name}": name for name in READERS} | {".pq": "parquet"}


class Reader:
    """Reads the url list: a file, or the files of a folder in sorted order.

    Shards never span files, so that their numbering depends on the input alone. `rows_read`
    counts the rows of the shards handed out, and grows. Raises `OptionsError` where there is nothing to read.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.rows_read = 0
        self._files = InputFiles.of(options, EXTENSIONS)
        self._format: InputFormat = load(READERS, self._files.input_format)(options)

    def check(self) -> None:
        """See that every file opens and has the columns asked for, and that there is a row. Raises `OptionsError`."""
        try:
            for path in self._files.paths:
                self._check_file(path)
            first = next(self.shards(), None)
        except OptionsError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            why = self._format.reason(error)
            raise OptionsError(f"url_list is {self.options.url_list!r}, which cannot be read: {why}") from error
        if first is None:
            raise OptionsError(f"url_list is {self.options.url_list!r}, which has no URL in it")
        require_digests(first, self.options)
        self.rows_read = 0

    def _check_file(self, path: str) -> None:
        if self._format.is_text:
            with self._files.open(path) as file:
                require_text(file.read(HEAD), path)
        with self._files.open(path) as file:
            self._format.check(file, path)

    def shards(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Shard]:
        """The shards of the list whose place in it is `wanted` (None: all), numbered from 0.

        Raises `ShardError` when the list turns out to be unreadable.
        """
        index = 0
        for path in self._files.paths:
            first_row = 0
            for table in self._tables(path):
                if wanted is None or wanted(index):
                    self.rows_read += len(table)
                    yield _shard(index, path, first_row, table)
                first_row += len(table)
                index += 1

    def first_urls(self, count: int) -> list[str | None]:
        """The URLs of the first rows of the list, at most `count`. Raises `ShardError` as `shards` does."""
        urls: list[str | None] = []
        for path in self._files.paths:
            with closing(self._tables(path)) as tables:
                for table in tables:
                    urls += table.column("url").slice(0, count - len(urls)).to_pylist()
                    if len(urls) == count:
                        return urls
        return urls

    def _tables(self, path: str) -> Generator[pa.Table, None, None]:
        """The rows of a file, in tables of a shard's size."""
        try:
            with self._files.open(path) as file:
                batches = (shaped(batch, self.options) for batch in self._format.batches(file))
                yield from slices(batches, self.options.number_sample_per_shard)
        except Img2datasetError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            raise ShardError(f"the url list {path} cannot be read to its end: {self._format.reason(error)}") from error


def _shard(index: int, path: str, first_row: int, table: pa.Table) -> Shard:
    source = os.path.basename(path)
    return Shard(id=index, index=index, source=source, first_row=first_row, count=len(table), rows=to_ipc(table))
