"""A parquet list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from img2dataset.errors import OptionsError
from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.reader.columns import require_columns, require_texts, wanted_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

LARGEST_BATCH = 65_536  # rows


class Parquet(InputFormat):
    """Columns keep their types; those of URLs, captions and hashes must be texts, or what can be written as one."""

    is_text = False
    seeks = True

    def check(self, file: IO[bytes], path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(file)
        except pa.ArrowInvalid as error:
            raise OptionsError(f"{path} cannot be read as parquet: {error}") from error
        require_columns(schema.names, self.options, path)
        require_texts(schema, self.options, path)

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.Table | pa.RecordBatch]:
        import pyarrow.parquet as pq

        del path
        parquet = pq.ParquetFile(file, pre_buffer=False)
        first_row = 0
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            yield from self._group(parquet, group) if is_needed(first_row, count) else self._blanks(parquet, count)
            first_row += count

    def row_count(self, file: IO[bytes]) -> int | None:
        import pyarrow.parquet as pq

        return int(pq.read_metadata(file).num_rows)

    def _group(self, parquet: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
        batch_size = min(self.options.number_sample_per_shard, LARGEST_BATCH)
        columns = wanted_columns(self.options)
        yield from parquet.iter_batches(batch_size, row_groups=[group], columns=columns, use_threads=False)

    def _blanks(self, parquet: pq.ParquetFile, count: int) -> Iterator[pa.Table]:
        """Nulls in the place of rows that nobody needs: shards are cut at the same places, and nothing is read."""
        import pyarrow as pa

        schema = pa.schema([parquet.schema_arrow.field(name) for name in wanted_columns(self.options)])
        blank = pa.table([pa.nulls(min(count, LARGEST_BATCH), field.type) for field in schema], schema=schema)
        for start in range(0, count, LARGEST_BATCH):
            yield blank.slice(0, count - start)
