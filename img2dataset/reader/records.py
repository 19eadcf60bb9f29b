"""JSON records, a line each → Arrow tables of one schema."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from img2dataset.reader.types import DEEPEST, of_json, of_json_boxes

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_EXACT = 2**53  # whole numbers beyond it are not all doubles

# What Arrow's parser must not see (pyarrow 26): a null in the place of a record, as one of these may be, and nesting
# some ten thousand deep end the process. Python looks at such lines instead, and has a limit.
NULL_RECORD = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|\})\s*n")
MOST_BRACKETS = 500  # opening ones in a line
# A record over several lines, which Arrow takes where it does not stand at the end of a block.
NO_RECORD = re.compile(rb"^[ \t\r]*[^{\s]", re.MULTILINE)

OnMisfit = Callable[[str, int, Any], None]  # a column, a row of the block, and the value there that does not fit


class NoRecordError(ValueError):
    """A line is no JSON object; says which and why."""


class _MisfitError(Exception):
    """A value is not of its column's type."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some records, a line each, blank lines between them."""

    lines: bytes
    first: int  # what people know the first of them by, from 1
    unit: str  # what they count: line, or record

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The records as Python knows them. Raises `NoRecordError`."""
        for number, line in enumerate(self.lines.split(b"\n"), self.first):
            if line.strip():
                yield _record(line, f"{self.unit} {number}")


def _record(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise NoRecordError(f"{place} is no JSON object: {error}") from error
    if not isinstance(record, dict):
        raise NoRecordError(f"{place} is no JSON object but {line[:60].decode('utf-8', 'replace')!r}")
    return record


def schema_of(block: Block) -> pa.Schema:
    """The columns that the records have, of the types that Arrow sees in them; text where it sees several.

    Raises `NoRecordError`.
    """
    import pyarrow as pa

    try:
        _require_harmless(block.lines)
        return _parsed(block.lines).schema
    except ValueError:
        records = list(block.records())
    names = dict.fromkeys(name for record in records for name in record)
    return pa.schema([(name, _type_of([record.get(name) for record in records])) for name in names])


def _type_of(values: list[Any]) -> pa.DataType:
    import pyarrow as pa

    try:
        if max(map(_depth, values), default=0) > DEEPEST:
            return pa.string()
        return _parsed(b"\n".join(_line({"value": value}) for value in values)).schema.field("value").type
    except (ValueError, RecursionError):
        return pa.string()


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)


def types_of(schema: pa.Schema, texts: Collection[str | None], boxes: str | None) -> dict[str, pa.DataType]:
    """What its columns become; `texts` are texts whatever they look like, and `boxes` is the column of boxes."""
    import pyarrow as pa

    types = {field.name: pa.string() if field.name in texts else of_json(field.type) for field in schema}
    if boxes is not None and boxes not in texts:
        types[boxes] = of_json_boxes(schema.field(boxes).type)
    return types


def table_of(block: Block, schema: pa.Schema, boxes: str | None, on_misfit: OnMisfit) -> pa.Table:
    """The records as a table of that schema. Raises `NoRecordError`.

    Arrow parses a block whose values all fit; of another one each value is looked at.
    """
    try:
        _require_harmless(block.lines)
        return _parsed(block.lines, schema)
    except ValueError:
        fitted = [_fitted(record, row, schema, boxes, on_misfit) for row, record in enumerate(block.records())]
    return _parsed(b"\n".join(map(_line, fitted)), schema)


def _require_harmless(lines: bytes) -> None:
    """Raises ValueError where the lines are no records, or may end the process if Arrow parses them."""
    brackets = max(line.count(b"[") + line.count(b"{") for line in lines.split(b"\n"))
    if NULL_RECORD.search(lines) or NO_RECORD.search(lines) or brackets > MOST_BRACKETS:
        raise ValueError("it is for Python to look at")


def _parsed(lines: bytes, schema: pa.Schema | None = None) -> pa.Table:
    """Raises ValueError, of which Arrow's errors are subclasses."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    reading = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    unexpected = "infer" if schema is None else "ignore"
    parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected)
    return arrow_json.read_json(pa.BufferReader(lines), reading, parsing)


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


def _fitted(
    record: Mapping[str, Any], row: int, schema: pa.Schema, boxes: str | None, on_misfit: OnMisfit
) -> dict[str, Any]:
    """The record with null in the place of what does not fit; but boxes must not be lost without a word."""
    fitted = {}
    for field in schema:
        value = record.get(field.name)
        try:
            fitted[field.name] = _conform(value, field.type)
        except (_MisfitError, RecursionError):
            fitted[field.name] = [[]] if field.name == boxes else None  # a box without corners fails its row
            if field.name != boxes:
                on_misfit(field.name, row, value)
    return fitted


def _conform(value: Any, kind: pa.DataType) -> Any:
    """The value as JSON of that type; a text is made of whatever is none. Raises `_MisfitError`."""
    import pyarrow as pa

    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pa.types.is_integer(kind):
        return _whole(value, kind)
    if pa.types.is_list(kind):
        return [_conform(each, kind.value_type) for each in _of_class(value, list)]
    if pa.types.is_struct(kind):
        return {field.name: _conform(_of_class(value, dict).get(field.name), field.type) for field in kind}
    if pa.types.is_floating(kind):
        return float(_number(value))
    return _of_class(value, bool) if pa.types.is_boolean(kind) else _parsable(value, kind)


def _of_class(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise _MisfitError
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _MisfitError
    return value


def _whole(value: Any, kind: pa.DataType) -> int:
    import pyarrow as pa

    number = _number(value)
    if isinstance(number, float) and not (number.is_integer() and abs(number) <= LARGEST_EXACT):
        raise _MisfitError
    signed = pa.types.is_signed_integer(kind)
    lowest, highest = (-(1 << kind.bit_width - 1), 1 << kind.bit_width - 1) if signed else (0, 1 << kind.bit_width)
    if not lowest <= number < highest:
        raise _MisfitError
    return int(number)


def _parsable(value: Any, kind: pa.DataType) -> Any:
    """Of the other types, as that of a time, Arrow's parser knows best what fits."""
    import pyarrow as pa

    try:
        _parsed(_line({"value": value}), pa.schema([("value", kind)]))
    except ValueError as error:
        raise _MisfitError from error
    return value
