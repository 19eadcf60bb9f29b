"""A csv list: the first row names the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, ClassVar

from img2dataset.errors import OptionsError, in_one_line
from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.reader.columns import require_columns, wanted_columns
from img2dataset.reader.types import number_or_text, text_columns

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 23  # bytes parsed at a time; no row may be longer


class Csv(InputFormat):
    """Every column is read as text. The additional ones that begin as numbers become numbers afterwards.

    Arrow alone would decide again in each file, and end in the middle of a long one at the first word among numbers.
    """

    is_text = True
    name: ClassVar[str] = "csv"
    delimiter: ClassVar[str] = ","

    def check(self, file: IO[bytes], path: str) -> None:
        import pyarrow as pa

        try:
            names = self._open(file).schema.names
        except pa.ArrowInvalid as error:
            raise OptionsError(f"{path} cannot be read as {self.name}: {self.reason(error)}") from error
        require_columns(names, self.options, path)

    def decide_types(self, file: IO[bytes]) -> bool:
        import pyarrow as pa

        texts = text_columns(self.options) | {self.options.bbox_col}
        columns = [name for name in self.options.extra_columns if name not in texts and name not in self.asked]
        if not columns:
            return True
        schema = self._open(file, include_columns=columns).schema
        self.types = {**{field.name: number_or_text(field.type) for field in schema}, **self.asked}
        return any(field.type != pa.null() for field in schema)

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        del path, is_needed
        columns = wanted_columns(self.options)
        yield from self._open(file, include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))

    def reason(self, error: Exception) -> str:
        """Arrow speaks of its blocks where it means rows."""
        if "straddling object" in str(error):
            return f"a row is longer than {BLOCK >> 20} MB, the limit of a {self.name} list; is a quote never closed?"
        if "Empty CSV file or block" in str(error):
            return f"it has no row of column names, or one longer than {BLOCK >> 20} MB"
        return in_one_line(error)

    def _open(self, file: IO[bytes], **conversion: Any) -> Any:
        from pyarrow import csv

        return csv.open_csv(
            file,
            read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(strings_can_be_null=False, check_utf8=False, **conversion),
        )
