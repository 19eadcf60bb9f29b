"""What `download` may be given as a url list: a path, several of them, URLs, or a table in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from img2dataset.arrow import strings
from img2dataset.errors import OptionsError

WHAT = "a path, a list of paths or of URLs, a pandas DataFrame or a pyarrow Table"


@dataclass(frozen=True, slots=True)
class Given:
    """Paths, or a table."""

    name: str  # what people know it by: the path, where there is one
    paths: Sequence[str] = ()  # of files, folders and globs
    table: Any = None  # a pyarrow.Table: the rows

    @staticmethod
    def of(url_list: Any, input_format: str | None, extensions: Sequence[str]) -> Given:
        """`extensions` (``.csv``, ``.csv.gz``) tell paths from URLs. Raises `OptionsError` where it is neither."""
        if isinstance(url_list, (str, os.PathLike)):
            path = os.fspath(url_list)
            return Given(path, (path,))
        if isinstance(url_list, (list, tuple)):
            return _of_list(list(url_list), input_format, tuple(extensions))
        return _of_table(url_list, input_format)


def _of_list(items: list[Any], input_format: str | None, extensions: tuple[str, ...]) -> Given:
    if not items:
        raise OptionsError("url_list is an empty list")
    for number, item in enumerate(items):
        if not isinstance(item, (str, os.PathLike)):
            raise OptionsError(f"url_list has {item!r} as item {number}; each must be a path or a URL")
    are_paths = [bool(input_format) or _is_path(item, extensions) for item in items]
    if all(are_paths):
        return Given(
            f"{os.fspath(items[0])} and others" if items[1:] else os.fspath(items[0]), [*map(os.fspath, items)]
        )
    if any(are_paths):
        path, url = items[are_paths.index(True)], items[are_paths.index(False)]
        raise OptionsError(
            f"url_list has {os.fspath(path)!r}, which looks like a file of URLs, and {url!r}, which looks like a URL; "
            "give only one of both, or input_format where all are files"
        )
    import pyarrow as pa

    return Given("the list of URLs", table=pa.table({"url": strings(items)}))


def _is_path(item: Any, extensions: tuple[str, ...]) -> bool:
    return isinstance(item, os.PathLike) or item.lower().endswith(extensions)


def _of_table(data: Any, input_format: str | None) -> Given:
    library = type(data).__module__.partition(".")[0]
    kind = type(data).__name__
    if (library, kind) not in (("pandas", "DataFrame"), ("pyarrow", "Table")):
        raise OptionsError(f"url_list is of type {kind}; it must be {WHAT}")
    if input_format:
        raise OptionsError(f"input_format is {input_format!r}, and url_list is a {kind}, which is no file")
    return Given(f"the {kind}", table=_from_pandas(data) if library == "pandas" else data)


def _from_pandas(frame: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise OptionsError(f"url_list is a DataFrame that Arrow does not take: {error}") from error
