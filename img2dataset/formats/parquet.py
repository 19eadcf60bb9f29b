"""Samples ⇄ one parquet file a shard, image bytes included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, ClassVar

from img2dataset.arrow import binaries
from img2dataset.formats.base import Format, Parts
from img2dataset.metadata import Sample

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from img2dataset.filesystem import Folder

GROUP_BYTES = 16 * 1024 * 1024  # of images in a row group, which is held in memory; a larger image has its own
READ_TOGETHER = 64  # rows


class ParquetFormat(Format):
    """``00000.parquet``: the metadata and a column of image bytes named by their extension, null for failures."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    has_metadata = False  # in a file of its own

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        import pyarrow.parquet as pq

        with folder.open(f"{name}.parquet") as file:
            table = pq.ParquetFile(file, page_checksum_verification=True)
            images = image_columns(table)
            for group in range(table.num_row_groups):  # a batch over several would be held in memory as a whole
                for batch in table.iter_batches(READ_TOGETHER, [group], ["key", *images]):
                    for row in batch.to_pylist():
                        if parts := {image: row[image] for image in images if row[image] is not None}:
                            yield str(row["key"]), parts

    def _open(self) -> None:
        import pyarrow as pa

        self._begin_groups()
        self._columns = sorted({self.options.encode_format, *self.extensions})
        images = [pa.field(column, pa.binary()) for column in self._columns]
        self._table = self._writer(self.open_file(".parquet"), images)

    def _begin_groups(self) -> None:
        self._group: dict[int, tuple[str | None, bytes]] = {}  # row → extension and image
        self._group_bytes = 0
        self._first_row = 0  # of the group

    def _writer(
        self, file: IO[bytes], images: list[pa.Field], about: dict[str, str] | None = None, **options: Any
    ) -> pq.ParquetWriter:
        """Begin a table of the metadata and columns of images; `about` is the metadata of its schema."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        metadata = self.metadata().schema
        self._schema = pa.schema([*metadata, *images], metadata=about)
        # Images are compressed already and no two are alike; statistics would put the whole of two into the footer.
        plain = {"use_dictionary": metadata.names, "write_statistics": metadata.names}
        compression = dict.fromkeys(metadata.names, "snappy")  # and none for the images
        return pq.ParquetWriter(
            file, self._schema, compression=compression, write_page_checksum=True, **plain, **options
        )

    def _write(self, sample: Sample) -> None:
        assert sample.image is not None
        if self._group and self._group_bytes + len(sample.image) > GROUP_BYTES:
            self._write_group()
        self._group[sample.index] = (sample.extension, sample.image)
        self._group_bytes += len(sample.image)

    def _close(self) -> None:
        self._write_group()
        self._table.close()

    def _abort(self) -> None:
        self._table.close()

    def _write_group(self) -> None:
        """Write the rows that came since the last group."""
        metadata = self.metadata(self._first_row)
        self._write_rows(metadata)
        self._group, self._group_bytes, self._first_row = {}, 0, self._first_row + len(metadata)

    def _write_rows(self, metadata: pa.Table) -> None:
        """Write the metadata of rows, those of the group among them, with the images of the group."""
        import pyarrow as pa

        rows = range(self._first_row, self._first_row + len(metadata))
        images = [binaries([self._image(row, column) for row in rows]) for column in self._columns]
        self._table.write_table(pa.table([*metadata.columns, *images], schema=self._schema))

    def _image(self, row: int, column: str) -> bytes | None:
        extension, image = self._group.get(row, (None, b""))
        return image if extension == column else None


def image_columns(file: pq.ParquetFile) -> list[str]:
    """The columns that hold images; there are none where they are kept elsewhere."""
    import pyarrow as pa

    schema = file.schema_arrow
    own = list(schema)[max(0, schema.get_field_index("key")) :]  # an input column may be binary too
    return [field.name for field in own if pa.types.is_binary(field.type)]
