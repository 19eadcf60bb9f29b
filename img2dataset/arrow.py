"""Python lists ⇄ Arrow arrays, without what `pyarrow.array` imports on the way.

`pyarrow.array` asks whether its argument is a pandas object and imports pandas for it: 0.2 s of CPU and 60 MB in every
process that has pandas installed, which is every one. So the types that this package builds are built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table as Python knows them; a value that it does not know, as the year 300,000, is None."""
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (ValueError, OverflowError):
        columns = {name: [python_value(scalar) for scalar in table.column(name)] for name in table.column_names}
        rows = [{name: values[row] for name, values in columns.items()} for row in range(len(table))]
    return rows


def python_value(scalar: pa.Scalar) -> Any:
    """A value as Python knows it; None where it does not."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # UnicodeDecodeError is one
        return None


def strings(values: Sequence[str | None]) -> pa.Array:
    """A ``string`` array; None becomes null. What is no UTF-8, as a lone surrogate, becomes a question mark."""
    import pyarrow as pa

    return _of_bytes([None if value is None else value.encode("utf-8", "replace") for value in values], pa.string())


def integers(values: Sequence[int | None]) -> pa.Array:
    """An ``int32`` array; None becomes null."""
    import numpy as np
    import pyarrow as pa

    numbers = np.fromiter((value or 0 for value in values), np.int32, len(values))
    return pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(numbers)])


def binaries(values: Sequence[bytes | None]) -> pa.Array:
    """A ``binary`` array; None becomes null."""
    import pyarrow as pa

    return _of_bytes(values, pa.binary())


def _of_bytes(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    contents = [value or b"" for value in values]
    offsets = np.fromiter(accumulate(map(len, contents), initial=0), np.int32, len(contents) + 1)
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(contents))]
    return pa.Array.from_buffers(kind, len(contents), buffers)


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    """Arrow's bitmap of the values that are not null; None when all are."""
    import numpy as np
    import pyarrow as pa

    valid = np.fromiter((value is not None for value in values), bool, len(values))
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
