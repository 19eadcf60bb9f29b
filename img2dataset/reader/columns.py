"""The columns of a list: which are read, and what they become for the stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from img2dataset.arrow import python_value, strings
from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions
from img2dataset.shards import KEPT_OF_URL

if TYPE_CHECKING:
    import pyarrow as pa


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


def shaped(batch: pa.Table | pa.RecordBatch, options: ReadOptions) -> pa.Table:
    """The columns under the names that the stages know, url and caption as text."""
    import pyarrow as pa

    columns = {name: _readable(batch.column(name)) for name in options.extra_columns}
    columns["url"] = _cut(_text(batch.column(options.url_col)))
    if options.caption_col:
        columns["caption"] = _text(batch.column(options.caption_col))
    return pa.table(columns)


def _text(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _readable(pc.cast(column, options=pc.CastOptions(pa.string(), allow_invalid_utf8=True)))


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
