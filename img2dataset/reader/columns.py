"""The columns of a list: which are read, and what they become for the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from img2dataset.arrow import integers, python_value, strings
from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions
from img2dataset.shards import KEPT_OF_URL

if TYPE_CHECKING:
    import pyarrow as pa

# What stands for no number in a text: those of Arrow's csv reader.
NO_NUMBER = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
)

OnMisfit = Callable[[str, int, Any], None]  # a column, a row of the table, and the value there that does not fit


def wanted_columns(options: ReadOptions) -> list[str]:
    """The input columns that a run reads, each once: extra ones, url, caption."""
    wanted = [*options.extra_columns, options.url_col, options.caption_col]
    return list(dict.fromkeys(column for column in wanted if column))


def require_columns(names: list[str], options: ReadOptions, path: str) -> None:
    """Raises `OptionsError` where a file has not each of them exactly once."""
    for column in wanted_columns(options):
        if names.count(column) != 1:
            what = "has no column" if column not in names else "has more than one column"
            raise OptionsError(f"{path} {what} {column!r}; its columns are: {', '.join(names)}")


def require_texts(schema: pa.Schema, options: ReadOptions, path: str) -> None:
    """Raises `OptionsError` where a column that must be text has a type that is none, as a list."""
    named = {"url_col": options.url_col, "caption_col": options.caption_col}
    if options.verify_hash:
        named["verify_hash"] = options.verify_hash[0]
    for option, name in named.items():
        if name:
            _require_text(option, schema.field(name), path)


def _require_text(option: str, field: pa.Field, path: str) -> None:
    import pyarrow as pa

    try:
        pa.nulls(0, field.type).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OptionsError(f"{option} is {field.name!r}, which in {path} is {field.type}; it must be text") from error


def shaped(table: pa.Table, options: ReadOptions, types: Mapping[str, pa.DataType], on_misfit: OnMisfit) -> pa.Table:
    """The columns under the names that the stages know: url and caption as text, those of `types` of their type."""
    import pyarrow as pa

    columns = {name: _readable(table.column(name)) for name in options.extra_columns}
    for name in columns.keys() & types.keys():
        columns[name] = _fitted(name, columns[name], types[name], on_misfit)
    columns["url"] = _cut(_text(table.column(options.url_col)))
    if options.caption_col and options.caption_col in table.column_names:
        columns["caption"] = _text(table.column(options.caption_col))
    return pa.table(columns)


def _text(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _readable(pc.cast(column, options=pc.CastOptions(pa.string(), allow_invalid_utf8=True)))


def _fitted(name: str, column: Any, kind: pa.DataType, on_misfit: OnMisfit) -> Any:
    """The same column as another type, null where a value does not fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type == kind:
        return column
    if pa.types.is_string(column.type):
        trimmed = pc.ascii_trim_whitespace(column)
        is_none = pc.is_in(trimmed, value_set=strings(NO_NUMBER))
        column = pc.if_else(is_none, pa.scalar(None, pa.string()), trimmed)
    try:
        return pc.cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        fits = [_fits(scalar, kind) for scalar in column]
    for row, fit in enumerate(fits):
        if not fit:
            on_misfit(name, row, python_value(column[row]))
    return pc.cast(_null_unless(fits, column), kind) if any(fits) else pa.nulls(len(column), kind)


def _fits(scalar: pa.Scalar, kind: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        scalar.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _null_unless(kept: list[bool], column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.cast(integers(kept), pa.bool_()), column, pa.scalar(None, column.type))


def _readable(column: Any) -> Any:
    """The same column, in which a text that is no UTF-8 has question marks: it is its row's own fault.

    Of what is not plain text, such as a list of texts, the whole value becomes null then.
    """
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_string(column.type):
            contents = (value.as_buffer() for value in column)
            return strings([None if text is None else str(text.to_pybytes(), "utf-8", "replace") for text in contents])
        return pa.array([python_value(scalar) for scalar in column], column.type)
    return column


def _cut(urls: Any) -> Any:
    """The same URLs, of those that are too long to be asked for only the beginning. No other stage cuts them."""
    import pyarrow.compute as pc

    if (pc.max(pc.binary_length(urls)).as_py() or 0) <= KEPT_OF_URL:
        return urls
    beginnings = (url and url.encode()[:KEPT_OF_URL].decode("utf-8", "ignore") for url in urls.to_pylist())
    return strings(list(beginnings))
