"""A csv list: the first row names the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from img2dataset.errors import OptionsError, in_one_line
from img2dataset.reader.base import InputFormat
from img2dataset.reader.columns import require_columns, wanted_columns

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 23  # bytes parsed at a time; no row may be longer


class Csv(InputFormat):
    """Every column is text: a csv file has no types, and guessing them fails in the middle of a long one."""

    is_text = True

    def check(self, file: IO[bytes], path: str) -> None:
        import pyarrow as pa

        try:
            names = _open(file).schema.names
        except pa.ArrowInvalid as error:
            raise OptionsError(f"{path} cannot be read as csv: {self.reason(error)}") from error
        require_columns(names, self.options, path)

    def batches(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        yield from _open(file, wanted_columns(self.options))

    def reason(self, error: Exception) -> str:
        """Arrow speaks of its blocks where it means rows."""
        if "straddling object" in str(error):
            return f"a row is longer than {BLOCK >> 20} MB, the limit of a csv list; is a quote never closed?"
        if "Empty CSV file or block" in str(error):
            return f"it has no row of column names, or one longer than {BLOCK >> 20} MB"
        return in_one_line(error)


def _open(file: IO[bytes], columns: list[str] | None = None) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    return csv.open_csv(
        file,
        read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(columns or [], pa.string()),
            include_columns=columns,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
