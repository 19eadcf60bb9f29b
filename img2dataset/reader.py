"""Url list → stream of shards, in constant memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from img2dataset.arrow import python_value, strings
from img2dataset.errors import Img2datasetError, OptionsError, ShardError, in_one_line
from img2dataset.options import INPUT_FORMATS, ReadOptions
from img2dataset.shards import KEPT_OF_URL, Rows, Shard, to_ipc

if TYPE_CHECKING:
    import pyarrow as pa

_HEAD = 4096  # bytes of a text file that show whether it is one
_STRAY = 0.001  # of the bytes of a text may be zero, as a row's own fault; of compressed ones four times as many are
_BLOCK = 1 << 20  # bytes of a text file read at a time
_HELD = KEPT_OF_URL + 4  # bytes of a line that goes on in the next block: what is kept, and a character that is cut
_CSV_BLOCK = 1 << 23  # bytes of a csv file parsed at a time; no row may be longer
_EXTENSIONS = {".txt": "txt", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")


class Reader:
    """Reads the url list: a file, or the files of a folder in sorted order.

    Shards never span files, so that their numbering depends on the input alone. `rows_read`
    counts the rows of the shards handed out, and grows.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.rows_read = 0
        self._paths, self._filesystem = _input_files(options)
        self._format = options.input_format or _format_of(self._paths, options.url_list)
        if self._format == "txt":
            _refuse_columns_of_a_text_file(options)

    def check(self) -> None:
        """See that every file opens and has the columns asked for, and that there is a row. Raises `OptionsError`."""
        try:
            for path in self._paths:
                self._check_file(path)
            first = next(self.shards(), None)
        except OptionsError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            why = _reason(error)
            raise OptionsError(f"url_list is {self.options.url_list!r}, which cannot be read: {why}") from error
        if first is None:
            raise OptionsError(f"url_list is {self.options.url_list!r}, which has no URL in it")
        _check_digests(first, self.options)
        self.rows_read = 0

    def _check_file(self, path: str) -> None:
        if READERS[self._format].is_text:
            with self._opened(path) as file:
                _refuse_what_is_no_text(file.read(_HEAD), path)
        if check := READERS[self._format].check:
            with self._opened(path) as file:
                check(file, self.options, path)

    def shards(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Shard]:
        """The shards of the list whose place in it is `wanted` (None: all), numbered from 0.

        Raises `ShardError` when the list turns out to be unreadable.
        """
        index = 0
        for path in self._paths:
            first_row = 0
            for table in self._tables(path):
                if wanted is None or wanted(index):
                    self.rows_read += len(table)
                    yield _shard(index, path, first_row, table)
                first_row += len(table)
                index += 1

    def _tables(self, path: str) -> Iterator[pa.Table]:
        try:
            with self._opened(path) as file:
                batches = (_shaped(batch, self.options) for batch in READERS[self._format].batches(file, self.options))
                yield from _slices(batches, self.options.number_sample_per_shard)
        except Img2datasetError:
            raise
        except Exception as error:  # translated, not swallowed: every compression and store has errors of its own
            raise ShardError(f"the url list {path} cannot be read to its end: {_reason(error)}") from error

    def _opened(self, path: str) -> IO[bytes]:
        """The file, decompressed when its name says that it is compressed."""
        from fsspec.utils import infer_compression

        file: IO[bytes] = self._filesystem.open(path, "rb", compression=infer_compression(path))
        return file


@dataclass(frozen=True, slots=True)
class Format:
    """An input format: what to check before the run, and how to read it."""

    check: Callable[[IO[bytes], ReadOptions, str], None] | None  # None: any text will do
    batches: Callable[[IO[bytes], ReadOptions], Iterator[Any]]  # of Arrow tables or record batches
    is_text: bool


def _shard(index: int, path: str, first_row: int, table: pa.Table) -> Shard:
    source = os.path.basename(path)
    return Shard(id=index, index=index, source=source, first_row=first_row, count=len(table), rows=to_ipc(table))


def _refuse_what_is_no_text(head: bytes, path: str) -> None:
    """Raises `OptionsError` when the beginning of a file is not UTF-8, which has no zeros but stray ones."""
    if encoding := _wide_encoding(head):
        raise OptionsError(
            f"{path} is written in {encoding}, and a txt or csv list must be UTF-8; "
            f"convert it: iconv -f {encoding} -t UTF-8 OLD > NEW"
        )
    if _share_of_zeros(head) > _STRAY:
        raise OptionsError(
            f"{path} is no text file: it begins with bytes that no text has; give input_format if it is a parquet file "
            "and the extension of its compression (.gz, .zip, ...) if it is compressed"
        )


def _wide_encoding(head: bytes) -> str | None:
    """``UTF-16`` or ``UTF-32`` where the beginning of a file shows it, by its mark or by where zeros stand."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    first, second, third, fourth = (_share_of_zeros(head[place::4]) for place in range(4))
    if third > 0.5 and fourth > 0.9 and first < 0.5:
        return "UTF-32-LE"
    if first > 0.9 and second > 0.5 and fourth < 0.5:
        return "UTF-32-BE"
    even, odd = first + third, second + fourth
    if max(even, odd) > 1.0 and min(even, odd) < 0.5:  # few are the letters of which the other half is zero
        return "UTF-16-BE" if even > odd else "UTF-16-LE"
    return None


def _share_of_zeros(data: bytes) -> float:
    return data.count(0) / max(len(data), 1)


def _read_text(file: IO[bytes], options: ReadOptions) -> Iterator[pa.Table]:
    """One URL a line, verbatim: only a byte order mark, line ends and blank lines are left out."""
    import pyarrow as pa

    del options
    for block in _whole_lines(file):
        lines = [line.removesuffix("\r")[:KEPT_OF_URL] for line in block.decode("utf-8", "replace").split("\n")]
        urls = [line for line in lines if line and not line.isspace()]
        yield pa.table({"url": strings(urls)})


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines; what a line has beyond `_HELD` bytes is not all there."""
    begun = b""
    block = file.read(_BLOCK).removeprefix(b"\xef\xbb\xbf")
    while block:
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield begun + whole
            begun = b""
        begun = (begun + rest)[:_HELD]
        block = file.read(_BLOCK)
    yield begun


def _check_csv(file: IO[bytes], options: ReadOptions, path: str) -> None:
    import pyarrow as pa

    try:
        names = _open_csv(file).schema.names
    except pa.ArrowInvalid as error:
        raise OptionsError(f"{path} cannot be read as csv: {_reason(error)}") from error
    _require_columns(names, options, path)


def _read_csv(file: IO[bytes], options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """Every column is text: a csv file has no types, and guessing them fails in the middle of a long one."""
    yield from _open_csv(file, _columns(options))


def _reason(error: Exception) -> str:
    """What an error says; Arrow speaks of its blocks where it means rows."""
    if "straddling object" in str(error):
        return f"a row is longer than {_CSV_BLOCK >> 20} MB, the limit of a csv list; is a quote never closed?"
    if "Empty CSV file or block" in str(error):
        return f"it has no row of column names, or one longer than {_CSV_BLOCK >> 20} MB"
    return in_one_line(error)


def _open_csv(file: IO[bytes], columns: list[str] | None = None) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(columns or [], pa.string())
    return csv.open_csv(
        file,
        read_options=csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=columns, strings_can_be_null=False, check_utf8=False
        ),
    )


def _check_parquet(file: IO[bytes], options: ReadOptions, path: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise OptionsError(f"{path} cannot be read as parquet: {error}") from error
    _require_columns(schema.names, options, path)
    texts = {"url_col": options.url_col, "caption_col": options.caption_col}
    texts["verify_hash"] = options.verify_hash and options.verify_hash[0]
    for option, name in texts.items():
        if name:
            _require_text_column(option, schema.field(name), path)


def _read_parquet(file: IO[bytes], options: ReadOptions) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    batch_size = min(options.number_sample_per_shard, 65_536)
    yield from pq.ParquetFile(file, pre_buffer=False).iter_batches(
        batch_size, columns=_columns(options), use_threads=False
    )


READERS = {
    "txt": Format(None, _read_text, is_text=True),
    "csv": Format(_check_csv, _read_csv, is_text=True),
    "parquet": Format(_check_parquet, _read_parquet, is_text=False),
}
assert tuple(READERS) == INPUT_FORMATS


def _columns(options: ReadOptions) -> list[str]:
    """The input columns a run reads, each once: extra ones, url, caption."""
    wanted = [*options.extra_columns, options.url_col, options.caption_col]
    return list(dict.fromkeys(column for column in wanted if column))


def _shaped(batch: Any, options: ReadOptions) -> pa.Table:
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


def _slices(tables: Iterator[pa.Table], count: int) -> Iterator[pa.Table]:
    """Tables of exactly `count` rows, the last one of what is left."""
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


def _input_files(options: ReadOptions) -> tuple[list[str], Any]:
    """The files of the list, sorted, and the fsspec file system they are on."""
    try:
        return _found(options)
    except OptionsError:
        raise
    except Exception as error:  # translated, not swallowed: each store has errors of its own
        why = in_one_line(error)
        raise OptionsError(f"url_list is {options.url_list!r}, which cannot be opened: {why}") from error


def _found(options: ReadOptions) -> tuple[list[str], Any]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(options.url_list)
    if filesystem.isfile(path):
        return [path], filesystem
    if not filesystem.isdir(path):
        raise OptionsError(f"url_list is {options.url_list!r}; there is no such file or folder")
    found = [entry["name"] for entry in filesystem.ls(path, detail=True) if entry["type"] == "file"]
    visible = sorted(name for name in found if not os.path.basename(name).startswith((".", "_")))
    chosen = _files_of_format(visible, options.input_format)
    if not chosen:
        raise OptionsError(f"url_list is {options.url_list!r}, a folder with no file to read in it")
    return chosen, filesystem


def _files_of_format(paths: list[str], input_format: str | None) -> list[str]:
    """The files whose extension says the format; all of them where none says so."""
    if input_format:
        return [path for path in paths if _extension_format(path) == input_format] or paths
    return [path for path in paths if _extension_format(path)] or paths


def _format_of(paths: list[str], url_list: str) -> str:
    formats = {_extension_format(path) or "txt" for path in paths}
    if len(formats) > 1:
        found = ", ".join(sorted(formats))
        raise OptionsError(f"url_list is {url_list!r}, a folder with several formats ({found}); give input_format")
    return formats.pop()


def _extension_format(path: str) -> str | None:
    stem, extension = os.path.splitext(path.lower())
    if extension in _COMPRESSIONS:
        extension = os.path.splitext(stem)[1]
    return _EXTENSIONS.get(extension)


def _refuse_columns_of_a_text_file(options: ReadOptions) -> None:
    asked = [option for option in ("caption_col", "bbox_col", "verify_hash") if getattr(options, option) is not None]
    asked += ["save_additional_columns"] if options.save_additional_columns else []
    asked += ["url_col"] if options.url_col != "url" else []
    if asked:
        raise OptionsError(f"{asked[0]} needs columns, and a txt list has only URLs; use input_format=csv or parquet")


def _require_columns(names: list[str], options: ReadOptions, path: str) -> None:
    for column in _columns(options):
        if names.count(column) != 1:
            what = "has no column" if column not in names else "has more than one column"
            raise OptionsError(f"{path} {what} {column!r}; its columns are: {', '.join(names)}")


def _check_digests(shard: Shard, options: ReadOptions) -> None:
    """See that the hashes of the first shard are as long as those that images will be compared with."""
    if options.verify_hash is None:
        return
    column, algorithm = options.verify_hash
    length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    for value in Rows.of(shard, options).expected_digests or ():
        if value and len(value) != length:
            raise OptionsError(
                f"verify_hash is {list(options.verify_hash)}, but {column} holds {value!r}, "
                f"which is no {algorithm}: that has {length} characters"
            )


def _require_text_column(option: str, field: pa.Field, path: str) -> None:
    import pyarrow as pa

    try:
        pa.nulls(0, field.type).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OptionsError(f"{option} is {field.name!r}, which in {path} is {field.type}; it must be text") from error
