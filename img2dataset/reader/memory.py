"""A list in memory: an Arrow table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.reader.columns import require_columns, require_texts, wanted_columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A table in the place of an `InputFile`: what it opens is the table itself."""

    path: str  # what people know it by
    table: Any
    reads_once: ClassVar[bool] = False
    reads_forward: ClassVar[bool] = False

    def open(self) -> AbstractContextManager[Any]:
        """The table."""
        return nullcontext(self.table)


class Memory(InputFormat):
    """Columns keep their types, as those of a parquet list."""

    is_text = False

    def check(self, file: Any, path: str) -> None:
        require_columns(file.column_names, self.options, path)
        require_texts(file.schema, self.options, path)

    def batches(self, file: Any, path: str, is_needed: IsNeeded) -> Iterator[pa.Table]:
        del path, is_needed
        yield file.select(wanted_columns(self.options))

    def row_count(self, file: Any) -> int | None:
        return len(file)
