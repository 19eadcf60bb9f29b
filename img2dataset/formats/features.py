"""What the Hub's library calls columns: for the head of a dataset card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def json_features(fields: Iterable[pa.Field]) -> list[dict[str, Any]]:
    """Columns as they are in a JSON record."""
    return [{"name": field.name, **_json_feature(field.type)} for field in fields]


def _json_feature(kind: pa.DataType) -> dict[str, Any]:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return {"list": _json_feature(kind.value_type)}
    if types.is_struct(kind):
        return {"struct": json_features(kind)}
    if types.is_boolean(kind) or types.is_integer(kind):
        return {"dtype": str(kind)}
    return {"dtype": "float64" if types.is_floating(kind) else "string"}
