"""A jsonl list: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, ClassVar

from img2dataset.errors import OptionsError
from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.reader.columns import require_columns, require_texts, wanted_columns
from img2dataset.reader.records import Block, NoRecordError, schema_of, table_of, types_of
from img2dataset.reader.types import text_columns

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20  # bytes parsed at a time
LONGEST = 1 << 23  # bytes of a line


class Jsonl(InputFormat):
    """Types are decided by the first block of the list; what a record does not have is null."""

    is_text = True
    name: ClassVar[str] = "jsonl"

    def check(self, file: IO[bytes], path: str) -> None:
        try:
            block = next(self.blocks(file), None)
            schema = schema_of(block) if block else None
        except NoRecordError as error:
            raise OptionsError(f"{path} cannot be read as {self.name}: {error}") from error
        if schema:
            require_columns(schema.names, self.options, path)
            require_texts(schema, self.options, path)

    def decide_types(self, file: IO[bytes]) -> bool:
        import pyarrow as pa

        block = next(self.blocks(file), None)
        if block is None:
            return False
        schema = schema_of(block)
        wanted = pa.schema([schema.field(name) for name in wanted_columns(self.options)])
        self.types = {**types_of(wanted, text_columns(self.options), self.options.bbox_col), **self.asked}
        return True

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.Table]:
        import pyarrow as pa

        del is_needed
        schema = pa.schema([(name, self.types.get(name, pa.string())) for name in wanted_columns(self.options)])
        rows = 0
        for block in self.blocks(file):
            table = table_of(block, schema, self.options.bbox_col, partial(self._add_misfit, schema, path, rows))
            rows += len(table)
            yield table

    def _add_misfit(self, schema: pa.Schema, path: str, first_row: int, column: str, row: int, value: object) -> None:
        self.misfits.add(column, schema.field(column).type, path, first_row + row, value)

    def blocks(self, file: IO[bytes]) -> Iterator[Block]:
        """The file in blocks of whole lines. Raises `NoRecordError` where a line is too long to be one."""
        held, first = b"", 1
        data = file.read(BLOCK).removeprefix(b"\xef\xbb\xbf")
        while data:
            whole, newline, rest = held.rpartition(b"\n")
            if newline:
                if whole.strip():
                    yield Block(whole, first, "line")
                first += whole.count(b"\n") + 1
            held = (rest if newline else held) + data
            if len(held) > LONGEST and b"\n" not in held:
                raise NoRecordError(
                    f"line {first} is longer than {LONGEST >> 20} MB, the limit of a {self.name} list of lines"
                )
            data = file.read(BLOCK)
        if held.strip():  # all that is left, its last line may have no end
            yield Block(held, first, "line")
