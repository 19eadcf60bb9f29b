"""The types of columns: those that `column_types` asks for, and those that a text format's beginning shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa

DEEPEST = 50  # that the lists and structures of a column may be nested; Arrow does not write more than 64 levels
EXAMPLES = "string, bool, int32, int64, float, double, date32, timestamp[us]"


def asked_types(options: ReadOptions) -> dict[str, pa.DataType]:
    """What `column_types` asks for. Raises `OptionsError` where Arrow has no type of that name."""
    return {column: _named(column, name) for column, name in options.column_types.items()}


def _named(column: str, name: str) -> pa.DataType:
    import pyarrow as pa

    try:
        return pa.type_for_alias(name)
    except ValueError as error:
        raise OptionsError(
            f"column_types says that {column!r} is {name!r}; it must be the name of an Arrow type, as {EXAMPLES}"
        ) from error


def text_columns(options: ReadOptions) -> set[str]:
    """The input columns that are texts in every text format, whatever they look like: a hash may begin with zeros."""
    named = {options.url_col, options.caption_col, options.verify_hash and options.verify_hash[0]}
    return {name for name in named if name}


def number_or_text(inferred: pa.DataType) -> pa.DataType:
    """What a column of a csv list becomes that Arrow takes for `inferred`: of texts only numbers are more than that."""
    import pyarrow as pa

    return inferred if inferred in (pa.int64(), pa.float64()) else pa.string()


def of_json(inferred: pa.DataType) -> pa.DataType:
    """What a column of a json list becomes: Arrow sees dates in texts, and nothing at all where all is null."""
    import pyarrow as pa

    if _is_deep(inferred):
        return pa.string()
    if pa.types.is_list(inferred):
        return pa.list_(of_json(inferred.value_type))
    if pa.types.is_struct(inferred) and inferred.num_fields:  # parquet has no structure without a field
        return pa.struct([field.with_type(of_json(field.type)) for field in inferred])
    is_known = pa.types.is_integer(inferred) or pa.types.is_floating(inferred) or pa.types.is_boolean(inferred)
    return inferred if is_known else pa.string()


def _is_deep(kind: pa.DataType, level: int = 1) -> bool:
    """Whether it is nested more than `DEEPEST` levels."""
    inside = (kind.field(place).type for place in range(kind.num_fields))
    return level > DEEPEST or any(_is_deep(each, level + 1) for each in inside)


def of_json_boxes(inferred: pa.DataType) -> pa.DataType:
    """Boxes are lists of numbers, whole ones or not; what is none is text, and refused as a box."""
    import pyarrow as pa

    is_boxes = pa.types.is_list(inferred) and pa.types.is_list(inferred.value_type)
    return pa.list_(pa.list_(pa.float64())) if is_boxes else pa.string()
