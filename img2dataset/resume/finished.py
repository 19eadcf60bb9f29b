"""Reads a finished shard back: its stats, its metadata and its samples, in every output format."""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from img2dataset.arrow import python_rows
from img2dataset.errors import ShardError, in_one_line
from img2dataset.filesystem import Folder
from img2dataset.shards import LAST_SHARD, STATS_SUFFIX, parse_shard_file
from img2dataset.stats import ShardStats

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

UNREADABLE = "out of reach"  # what a `ShardError` begins with that says nothing of the shard itself
LARGEST_STATS = 1 << 25  # bytes: img2dataset 1.x keeps up to 100,000 messages in one
END_OF_TAR = bytes(1024)  # two blocks of zeros

_ERRORS_OF_FILES = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # None: a reader's own, not the system's
_DAMAGE = (EOFError, ValueError, ArithmeticError, LookupError, TypeError, NotImplementedError, tarfile.TarError)

Parts = dict[str, bytes]  # the files of a sample by their extensions, the image among them


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
                images = _image_columns(table)
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
            yield from SAMPLES[output_format](self._folder, self.name)
        except Exception as error:  # translated, not swallowed: damage makes tarfile and Arrow raise whatever it hits
            raise unusable(f"the samples of {self.name}", error) from error


def unusable(what: str, error: Exception) -> ShardError:
    """What is damaged or gone, or only out of reach: a disk, a store or memory may be back another day."""
    is_damage = error.errno in _ERRORS_OF_FILES if isinstance(error, OSError) else isinstance(error, _DAMAGE)
    if is_damage:
        return ShardError(f"{what} cannot be read: {in_one_line(error)}")
    return ShardError(f"{UNREADABLE}: {what}: {in_one_line(error)}")


def _of_tar(folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
    """The files of a sample stand next to each other, as webdataset wants it."""
    with folder.open(f"{name}.tar") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        files = ((member.name, _content(tar, member)) for member in tar if member.isfile())
        yield from _grouped(files)
        file.seek(tar.offset)
        if file.read(len(END_OF_TAR)) != END_OF_TAR:  # tarfile takes one cut between two files for a whole one
            raise tarfile.ReadError("it has no end")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


def _of_folder(folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
    inside = folder.inside(name)
    yield from _grouped((file, inside.read(file)) for file in inside.names())


def _image_columns(file: pq.ParquetFile) -> list[str]:
    import pyarrow as pa

    schema = file.schema_arrow
    own = list(schema)[max(0, schema.get_field_index("key")) :]  # an input column may be binary too
    return [field.name for field in own if pa.types.is_binary(field.type)]


def _of_parquet(folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
    import pyarrow.parquet as pq

    with folder.open(f"{name}.parquet") as file:
        table = pq.ParquetFile(file, page_checksum_verification=True)
        images = _image_columns(table)
        for batch in table.iter_batches(500, columns=["key", *images]):
            for row in batch.to_pylist():
                parts = {image: row[image] for image in images if row[image] is not None}
                if parts:
                    yield str(row["key"]), parts


def _of_nothing(folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
    del folder, name
    return iter(())


SAMPLES: Mapping[str, Callable[[Folder, str], Iterator[tuple[str, Parts]]]] = {
    "files": _of_folder,
    "webdataset": _of_tar,
    "parquet": _of_parquet,
    "dummy": _of_nothing,
}


def _grouped(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, Parts]]:
    """Neighbours with the same key are one sample."""
    current, parts = "", Parts()
    for name, content in files:
        key, _, extension = name.partition(".")
        if key != current and parts:
            yield current, parts
            parts = {}
        current = key
        parts[extension] = content
    if parts:
        yield current, parts


def image_of(parts: Parts) -> tuple[str, bytes] | None:
    """The extension and bytes of a sample's image."""
    images = [(extension, data) for extension, data in parts.items() if extension not in ("txt", "json")]
    return images[0] if images else None
