"""Samples → one parquet file a shard, image bytes included."""

from __future__ import annotations

import tempfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from img2dataset.arrow import binaries
from img2dataset.formats.base import SampleWriter
from img2dataset.metadata import Sample

ROWS_IN_A_GROUP = 500


class ParquetWriter(SampleWriter):
    """``00000.parquet``: the metadata and a column of image bytes named by their extension, null for failures.

    Rows are in key order, images arrive in any; they wait on disk, not in memory.
    """

    def _open(self) -> None:
        self._spool = tempfile.TemporaryFile(prefix="img2dataset-")  # noqa: SIM115 - closed in __exit__
        self._places: dict[int, tuple[str, int, int]] = {}  # row -> extension, offset, length

    def __exit__(self, *error: Any) -> None:
        self._spool.close()
        super().__exit__(*error)

    def _write_image(self, sample: Sample) -> None:
        assert sample.image is not None
        offset = self._spool.seek(0, 2)
        self._spool.write(sample.image)
        self._places[sample.index] = (sample.extension or "bin", offset, len(sample.image))

    def _finish(self) -> None:
        metadata = self.metadata()
        extensions = sorted({extension for extension, _, _ in self._places.values()} | {self.options.encode_format})
        schema = pa.schema([*metadata.schema, *(pa.field(extension, pa.binary()) for extension in extensions)])
        target = self.transaction.open(f"{self.name}.parquet")
        # Images are compressed already and no two are alike; statistics would put the whole of two into the footer.
        plain = {"use_dictionary": metadata.schema.names, "write_statistics": metadata.schema.names}
        compression = dict.fromkeys(metadata.schema.names, "snappy") | dict.fromkeys(extensions, "none")
        with pq.ParquetWriter(target, schema, compression=compression, write_page_checksum=True, **plain) as file:
            for start in range(0, len(metadata), ROWS_IN_A_GROUP):
                rows = metadata.slice(start, ROWS_IN_A_GROUP)
                images = [self._images(start, len(rows), extension) for extension in extensions]
                file.write_table(pa.table([*rows.columns, *images], schema=schema))

    def _images(self, start: int, count: int, extension: str) -> pa.Array:
        return binaries([self._image(row, extension) for row in range(start, start + count)])

    def _image(self, row: int, extension: str) -> bytes | None:
        found, offset, length = self._places.get(row, ("", 0, 0))
        if found != extension:
            return None
        self._spool.seek(offset)
        return self._spool.read(length)
