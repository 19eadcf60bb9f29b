"""The values of a list that do not fit the type of their column: they are null, and told of in one line a column."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 60  # characters of a value

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Misfit:
    kind: str
    path: str
    row: int
    value: str
    count: int = 0


class Misfits:
    """Counts them in one pass over the list, and keeps the first of each column."""

    def __init__(self) -> None:
        self._of_column: dict[str, _Misfit] = {}
        self._are_told = False

    def begin(self) -> None:
        """Another pass begins, which meets the same ones."""
        self._of_column.clear()

    def add(self, column: str, kind: pa.DataType, path: str, row: int, value: object) -> None:
        """One more; `row` counts those of the file from 0."""
        shown = str(value)
        first = _Misfit(str(kind), path, row + 1, shown if len(shown) <= SHOWN else shown[:SHOWN] + "...")
        self._of_column.setdefault(column, first).count += 1

    def tell(self) -> None:
        """The pass is over: say once what it met."""
        if self._are_told:
            return
        for column, first in self._of_column.items():
            self._are_told = True
            logger.warning(
                "column %r is %s by the beginning of the list or by column_types, and %s became null, "
                'the first of them %r in row %s of %s; column_types={"%s": "string"} keeps them',
                column,
                first.kind,
                "1 value that does not fit" if first.count == 1 else f"{first.count:,} values that do not fit",
                first.value,
                first.row,
                first.path,
                column,
            )
