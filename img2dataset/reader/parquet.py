"""A parquet list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from img2dataset.errors import OptionsError
from img2dataset.reader.base import InputFormat
from img2dataset.reader.columns import require_columns, wanted_columns

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_BATCH = 65_536  # rows


class Parquet(InputFormat):
    """Columns keep their types; those of URLs, captions and hashes must be texts."""

    is_text = False

    def check(self, file: IO[bytes], path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(file)
        except pa.ArrowInvalid as error:
            raise OptionsError(f"{path} cannot be read as parquet: {error}") from error
        require_columns(schema.names, self.options, path)
        for option, name in self._text_columns().items():
            _require_text(option, schema.field(name), path)

    def batches(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        batch_size = min(self.options.number_sample_per_shard, LARGEST_BATCH)
        columns = wanted_columns(self.options)
        yield from pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size, columns=columns, use_threads=False)

    def _text_columns(self) -> dict[str, str]:
        """The columns that must be texts, by the option that names them."""
        options = self.options
        named = {"url_col": options.url_col, "caption_col": options.caption_col}
        if options.verify_hash:
            named["verify_hash"] = options.verify_hash[0]
        return {option: name for option, name in named.items() if name}


def _require_text(option: str, field: pa.Field, path: str) -> None:
    import pyarrow as pa

    try:
        pa.nulls(0, field.type).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OptionsError(f"{option} is {field.name!r}, which in {path} is {field.type}; it must be text") from error
