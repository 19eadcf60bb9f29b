"""Tables of any size → tables of a shard's size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def slices(tables: Iterator[pa.Table], count: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `count` rows, the last one of what is left."""
    import pyarrow as pa

    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += len(table)
        if rows < count:
            continue
        whole = pa.concat_tables(held)
        yield from (whole.slice(start, count) for start in range(0, rows - count + 1, count))
        held, rows = [whole.slice(rows - rows % count)], rows % count
    if rows:
        yield pa.concat_tables(held)


def behind(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches without the first so many rows."""
    for batch in batches:
        if len(batch) > rows:
            yield batch.slice(rows)
        rows = max(0, rows - len(batch))
