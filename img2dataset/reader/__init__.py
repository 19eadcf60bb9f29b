"""Url list → stream of shards, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from img2dataset.errors import Img2datasetError, OptionsError, ShardError
from img2dataset.options import ReadOptions
from img2dataset.reader.columns import shaped
from img2dataset.reader.digests import require_digests
from img2dataset.reader.files import COMPRESSIONS, InputFile, InputFiles
from img2dataset.reader.given import Given
from img2dataset.reader.memory import MemoryFile
from img2dataset.reader.pipe import Pipe
from img2dataset.reader.slices import slices
from img2dataset.reader.utf8 import HEAD, require_text
from img2dataset.shards import Shard, to_ipc
from img2dataset.tables import load

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.reader.base import InputFormat, IsNeeded

__all__ = ["INPUT_FORMATS", "PATH_EXTENSIONS", "READERS", "Given", "Reader"]

READERS = {
    "txt": "img2dataset.reader.txt:Txt",
    "csv": "img2dataset.reader.csv:Csv",
    "tsv": "img2dataset.reader.tsv:Tsv",
    "json": "img2dataset.reader.json:Json",
    "jsonl": "img2dataset.reader.jsonl:Jsonl",
    "parquet": "img2dataset.reader.parquet:Parquet",
}
IN_MEMORY = {"memory": "img2dataset.reader.memory:Memory"}
# The values of `input_format`; one with .gz is for files whose names do not say that they are compressed.
INPUT_FORMATS = (*READERS, *(f"{name}.gz" for name in READERS if name != "parquet"))
# A file of this extension is of this format.
EXTENSIONS = {f".{name}": name for name in READERS} | {".pq": "parquet", ".ndjson": "jsonl"}
PATH_EXTENSIONS = (*EXTENSIONS, *(known + packed for known in EXTENSIONS for packed in COMPRESSIONS))


class Reader:
    """Reads the url list: a file, the files of a folder in sorted order, or a table in memory.

    Shards never span files, so that their numbering depends on the input alone. `rows_read`
    counts the rows of the shards handed out, and grows. Raises `OptionsError` where there is nothing to read.
    """

    def __init__(self, options: ReadOptions, given: Given | None = None) -> None:
        """`given` is what the url list is, where it is more than the path in the options."""
        given = given or Given(options.url_list, (options.url_list,))
        self.options = options
        self.rows_read = 0
        self._files: list[InputFile | MemoryFile]
        if given.table is not None:
            self._files, input_format = [MemoryFile(given.name, given.table)], "memory"
        else:
            found = InputFiles.of(given.paths, options.input_format, EXTENSIONS)
            self._files, input_format = list(found.files), found.input_format
        self._format: InputFormat = load(READERS | IN_MEMORY, input_format)(options)
        self._types_are_decided = False
        if self._format.seeks and any(file.reads_forward for file in self._files):
            raise OptionsError(
                f"url_list is {self.options.url_list!r}, and a {input_format} list can be read neither from a pipe nor "
                "out of .zst; write it to a file as it is"
            )

    @property
    def reads_once(self) -> bool:
        """Whether the list, or a part of it, comes through a pipe: `shards` may be called once."""
        return any(file.reads_once for file in self._files)

    def total_rows(self) -> int | None:
        """The rows of the list, where its files say how many they have; None where all of it would have to be read."""
        total = 0
        for file in self._files:
            with file.open() as opened:
                count = self._format.row_count(opened)
            if count is None:
                return None
            total += count
        return total

    def check(self) -> None:
        """See that every file opens and has the columns asked for, and that there is a row. Raises `OptionsError`."""
        for file in self._files:
            self._check_file(file)
        try:
            first = next(self._shards(None), None)
        except ShardError as error:
            raise OptionsError(str(error)) from error
        if first is None:
            raise OptionsError(f"url_list is {self.options.url_list!r}, which has no URL in it")
        require_digests(first, self.options)
        self.rows_read = 0

    def _check_file(self, file: InputFile | MemoryFile) -> None:
        try:
            if self._format.is_text:
                with file.open() as opened:
                    require_text(opened.read(HEAD), file.path)
            with file.open() as opened:
                self._format.check(opened, file.path)
        except OptionsError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            raise OptionsError(f"{file.path} cannot be read: {self._format.reason(error)}") from error

    def shards(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Shard]:
        """The shards of the list whose place in it is `wanted` (None: all), numbered from 0.

        Raises `ShardError` when the list turns out to be unreadable.
        """
        for file in self._files:
            if isinstance(file, InputFile) and isinstance(file.filesystem, Pipe):
                file.filesystem.keep_no_more()
        self._format.misfits.begin()
        yield from self._shards(wanted)
        self._format.misfits.tell()

    def _shards(self, wanted: Callable[[int], bool] | None) -> Iterator[Shard]:
        index = 0
        for file in self._files:
            first_row = 0
            for table in self._tables(file, self._is_needed(index, wanted)):
                if wanted is None or wanted(index):
                    self.rows_read += len(table)
                    yield _shard(index, file.path, first_row, self._shaped(table, file.path, first_row))
                first_row += len(table)
                index += 1

    def _is_needed(self, first_index: int, wanted: Callable[[int], bool] | None) -> IsNeeded:
        """Whether rows of a file whose first shard has that place are of a shard that is wanted."""
        size = self.options.number_sample_per_shard

        def is_needed(first_row: int, count: int) -> bool:
            places = range(first_index + first_row // size, first_index + (first_row + count - 1) // size + 1)
            return wanted is None or any(map(wanted, places))

        return is_needed

    def first_urls(self, count: int) -> list[str | None]:
        """The URLs of the first rows of the list, at most `count`. Raises `ShardError` as `shards` does."""
        urls: list[str | None] = []
        for file in self._files:
            with closing(self._tables(file, lambda first_row, _: first_row < count)) as tables:
                for table in tables:
                    first = self._shaped(table.slice(0, count - len(urls)), file.path, 0)
                    urls += first.column("url").to_pylist()
                    if len(urls) == count:
                        return urls
        return urls

    def _shaped(self, table: pa.Table, path: str, first_row: int) -> pa.Table:
        try:
            return shaped(table, self.options, self._format.types, partial(self._add_misfit, path, first_row))
        except Exception as error:  # translated, not swallowed: Arrow has errors of its own
            raise ShardError(f"the url list {path} cannot be read to its end: {self._format.reason(error)}") from error

    def _add_misfit(self, path: str, first_row: int, column: str, row: int, value: object) -> None:
        self._format.misfits.add(column, self._format.types[column], path, first_row + row, value)

    def _tables(self, file: InputFile | MemoryFile, is_needed: IsNeeded) -> Generator[pa.Table, None, None]:
        """The rows of a file, in tables of a shard's size."""
        import pyarrow as pa

        try:
            self._decide_types()
            with file.open() as opened:
                batches = self._format.batches(opened, file.path, is_needed)
                tables = (pa.table(batch.columns, schema=batch.schema) for batch in batches)
                yield from slices(tables, self.options.number_sample_per_shard)
        except Img2datasetError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            raise ShardError(
                f"the url list {file.path} cannot be read to its end: {self._format.reason(error)}"
            ) from error

    def _decide_types(self) -> None:
        if not self._types_are_decided:
            any(map(self._shows_types, self._files))
            self._types_are_decided = True

    def _shows_types(self, file: InputFile | MemoryFile) -> bool:
        with file.open() as opened:
            return self._format.decide_types(opened)


def _shard(index: int, path: str, first_row: int, table: pa.Table) -> Shard:
    source = os.path.basename(path)
    return Shard(id=index, index=index, source=source, first_row=first_row, count=len(table), rows=to_ipc(table))
