"""Reads a finished shard back: its stats, its metadata and its samples, in every output format."""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from img2dataset.arrow import python_rows
from img2dataset.errors import ShardError, in_one_line
from img2dataset.filesystem import Folder
from img2dataset.formats import Parts, load_format
from img2dataset.formats.parquet import image_columns
from img2dataset.shards import LAST_SHARD, STATS_SUFFIX, parse_shard_file
from img2dataset.stats import ShardStats

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = "out of reach"  # what a `ShardError` begins with that says nothing of the shard itself
LARGEST_STATS = 1 << 25  # bytes: img2dataset 1.x keeps up to 100,000 messages in one

_ERRORS_OF_FILES = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # None: a reader's own, not the system's
_DAMAGE = (EOFError, ValueError, ArithmeticError, LookupError, TypeError, NotImplementedError, tarfile.TarError)


class FinishedShard:
    """A shard that has its stats file. What cannot be read raises `ShardError`, which says what and why."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self.name = name

    def stats(self) -> ShardStats:
        """What its stats file says."""
        name = self.name + STATS_SUFFIX
        try:
            record = self._folder.read_json(name, LARGEST_STATS)
        except (OSError, ValueError) as error:
            raise unusable(name, error) from error
        number = parse_shard_file(self.name)
        try:
            return ShardStats.from_json(record, LAST_SHARD if number is None else number)
        except ValueError as error:
            raise ShardError(f"{name} {error}") from error

    def metadata(self, columns: list[str] | None = None) -> pa.Table:
        """The metadata, a row for each input row; of `columns` only, where given. Images are no metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self._folder.open(f"{self.name}.parquet") as file:
                table = pq.ParquetFile(file, page_checksum_verification=True)
                images = image_columns(table)
                present = [name for name in table.schema_arrow.names if name not in images]
                if absent := set(columns or ()).difference(present):
                    raise ShardError(f"{self.name}.parquet has no column {absent.pop()!r}")
                return table.read(columns=columns or present)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise unusable(f"{self.name}.parquet", error) from error

    def texts(self, *columns: str) -> list[list[str | None]]:
        """Columns of the metadata that are texts."""
        import pyarrow as pa

        table = self.metadata(list(columns))
        try:
            return [table.column(name).cast(pa.string()).to_pylist() for name in columns]
        except (ValueError, pa.ArrowException) as error:
            raise unusable(f"{self.name}.parquet", error) from error

    def rows(self) -> list[dict[str, Any]]:
        """The metadata by rows, in key order, which img2dataset 1.x does not write them in."""
        keys, *_ = self.texts("key", "url", "status", "error_message")
        if None in keys:
            raise ShardError(f"{self.name}.parquet has a row without a key")
        return sorted(python_rows(self.metadata()), key=lambda row: str(row["key"]))

    def urls(self) -> list[str | None]:
        """The URL of each row, in key order."""
        try:
            keys, urls = self.texts("key", "url")
        except ShardError:
            return self.texts("url")[0]
        return [url for _, url in sorted(zip(keys, urls, strict=True), key=lambda pair: pair[0] or "")]

    def samples(self, output_format: str) -> Iterator[tuple[str, Parts]]:
        """The samples that have an image: key and files, in the order in which they are kept."""
        try:
            yield from load_format(output_format).read(self._folder, self.name)
        except Exception as error:  # translated, not swallowed: damage makes tarfile and Arrow raise whatever it hits
            raise unusable(f"the samples of {self.name}", error) from error


def unusable(what: str, error: Exception) -> ShardError:
    """What is damaged or gone, or only out of reach: a disk, a store or memory may be back another day."""
    is_damage = error.errno in _ERRORS_OF_FILES if isinstance(error, OSError) else isinstance(error, _DAMAGE)
    if is_damage:
        return ShardError(f"{what} cannot be read: {in_one_line(error)}")
    return ShardError(f"{UNREADABLE}: {what}: {in_one_line(error)}")
