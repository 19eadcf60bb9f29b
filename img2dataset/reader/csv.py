"""A csv list: the first row names the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, ClassVar

from img2dataset.errors import OptionsError, in_one_line
from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.reader.columns import require_columns, wanted_columns
from img2dataset.reader.share import Share
from img2dataset.reader.slices import behind
from img2dataset.reader.types import number_or_text, text_columns

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20  # bytes parsed at a time: Arrow reads some thirty of them ahead
LONGEST = 1 << 23  # bytes of a row


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
            names = self._beginning(file).names
        except pa.ArrowInvalid as error:
            raise OptionsError(f"{path} cannot be read as {self.name}: {self.reason(error)}") from error
        require_columns(names, self.options, path)

    def decide_types(self, file: IO[bytes]) -> bool:
        import pyarrow as pa

        texts = text_columns(self.options) | {self.options.bbox_col}
        columns = [name for name in self.options.extra_columns if name not in texts and name not in self.asked]
        if not columns:
            return True
        schema = self._beginning(file, include_columns=columns)
        self.types = {**{field.name: number_or_text(field.type) for field in schema}, **self.asked}
        return any(field.type != pa.null() for field in schema)

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        del path, is_needed
        columns = wanted_columns(self.options)
        conversion = {"include_columns": columns, "column_types": dict.fromkeys(columns, pa.string())}
        rows = 0
        try:
            for batch in self._batches(file, BLOCK, conversion):
                yield batch
                rows += len(batch)
        except pa.ArrowInvalid as error:
            if not (_is_of_long_row(error) and file.seekable()):
                raise
            file.seek(0)
            yield from behind(rows, self._batches(file, LONGEST, conversion))

    def reason(self, error: Exception) -> str:
        """Arrow speaks of its blocks where it means rows."""
        limit = f"{LONGEST >> 20} MB, or {BLOCK >> 20} MB in a pipe or .zst, the limit of a {self.name} list"
        if "straddling object" in str(error):
            return f"a row is longer than {limit}; is a quote never closed?"
        if "Empty CSV file or block" in str(error):
            return f"it has no row of column names, or one longer than {limit}"
        return in_one_line(error)

    def _beginning(self, file: IO[bytes], **conversion: Any) -> pa.Schema:
        """The columns, with the types of what the first block has in them."""
        import pyarrow as pa

        try:
            return self._schema(file, BLOCK, conversion)
        except pa.ArrowInvalid as error:
            if not (_is_of_long_row(error) and file.seekable()):
                raise
        file.seek(0)
        return self._schema(file, LONGEST, conversion)

    def _schema(self, file: IO[bytes], block: int, conversion: dict[str, Any]) -> pa.Schema:
        with Share(file, 2 * block) as share:  # of the second, what is cut is not parsed
            return self._open(share, block, conversion).schema

    def _batches(self, file: IO[bytes], block: int, conversion: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        with Share(file) as share:
            yield from self._open(share, block, conversion)

    def _open(self, share: Share, block: int, conversion: dict[str, Any]) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        return csv.open_csv(
            pa.PythonFile(share, "r"),
            read_options=csv.ReadOptions(block_size=block, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(strings_can_be_null=False, check_utf8=False, **conversion),
        )


def _is_of_long_row(error: Exception) -> bool:
    return "straddling object" in str(error) or "Empty CSV file or block" in str(error)
