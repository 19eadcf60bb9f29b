"""Shards: what one is, what its files and samples are called, and what a list's shards are known by."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.options import ReadOptions

STATS_SUFFIX = "_stats.json"
SHARD_DIGITS = 5
LONGEST_URL = 65_532  # bytes in UTF-8: no server takes a longer one
KEPT_OF_URL = 65_536  # bytes that the reader keeps of a longer one; cut between two characters it is still too long
LAST_SHARD = 2**31 - 1  # shard_id is an int32: a longer number, as a date and time, is somebody else's name
IDENTITY_ROWS = 1000  # by so many first rows a list is known
DATA_FOLDER = "data"  # in a dataset's folder: what shards share, `train_file`
_SHARD_FILE = re.compile(r"(?P<train>data/train-)?(?P<id>\d+)(?(train)\.parquet|(?:|_stats\.json|\.[a-z]+))")


@dataclass(frozen=True, slots=True)
class ListIdentity:
    """What a list is known by: the digest of its first `rows` rows. It stays when the list grows at its end."""

    rows: int  # `IDENTITY_ROWS`, or as many as the list had when it was first seen
    digest: str

    @staticmethod
    def of(first_urls: Sequence[str | None]) -> ListIdentity:
        """That of a list that is seen for the first time and begins with these URLs."""
        first = first_urls[:IDENTITY_ROWS]
        return ListIdentity(len(first), urls_digest(first))

    def is_of(self, first_urls: Sequence[str | None]) -> bool:
        """Whether it is that of a list that begins with these URLs, of which `IDENTITY_ROWS` are enough."""
        return ListIdentity.of(first_urls[: self.rows]) == self


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A run of consecutive rows of one input file, and the number its output goes by.

    ``rows`` is an Arrow IPC stream: compact to send to another process, and read only there. Its columns are the
    additional input columns, then ``url`` and, with captions, ``caption``.
    """

    id: int  # the number of the output shard
    index: int  # the place of these rows among the shards of the list, from 0
    source: str  # base name of the input file
    first_row: int  # the row of the input file that comes first, from 0
    count: int  # rows
    rows: bytes
    identity: ListIdentity | None = None  # of the list; None: the dataset was begun before there were identities
    retry: bool = False  # it is finished, and only its rows that failed for a passing reason are done again
    poisoned: Mapping[int, str] = field(
        default_factory=dict
    )  # rows that ended workers: not decoded, failed for this reason

    def table(self) -> pa.Table:
        """The rows as an Arrow table."""
        import pyarrow as pa

        return pa.ipc.open_stream(self.rows).read_all()

    def without(self, rows: Mapping[int, str]) -> Shard:
        """This shard with more rows that must not be decoded, each with the reason that is recorded for it."""
        return replace(self, poisoned={**self.poisoned, **rows})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The columns of a shard as the stages read them; every list has one entry for each row."""

    urls: list[str | None]
    captions: list[str | None] | None  # None: the run has no captions
    additional: pa.Table  # the additional input columns that are saved
    boxes: list[list[list[float]] | None] | None  # None: nothing is blurred
    expected_digests: list[str | None] | None  # None: nothing is compared

    @staticmethod
    def of(shard: Shard, options: ReadOptions) -> Rows:
        """Read a shard's rows."""
        table = shard.table()

        def column(name: str | None) -> list[Any] | None:
            return table.column(name).to_pylist() if name else None

        boxes = column(options.bbox_col)
        digests = column(options.verify_hash[0] if options.verify_hash else None)
        return Rows(
            urls=table.column("url").to_pylist(),
            captions=column("caption" if options.caption_col and "caption" in table.column_names else None),
            additional=table.select(options.metadata_columns),
            boxes=None if boxes is None else [_boxes(value) for value in boxes],
            expected_digests=None if digests is None else [_text(value) for value in digests],
        )


def _text(value: Any) -> str | None:
    """The hash of a row, which another program may have kept as a number or as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _boxes(value: Any) -> Any:
    """The boxes of a row; of a csv file they are JSON text. What is no list is left to be refused as a box."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            return [value]
    return value if isinstance(value, list) or value is None else [value]


def to_ipc(table: pa.Table) -> bytes:
    """An Arrow table as the bytes that `Shard.rows` holds."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def shard_name(shard_id: int, digits: int = SHARD_DIGITS) -> str:
    """The name of a shard's files and folder: ``00012``."""
    return f"{shard_id:0{digits}d}"


def shard_count(count: int) -> str:
    """So many shards, as a sentence says it: ``1 shard``, ``1,200 shards``."""
    return f"{count:,} shard{'' if count == 1 else 's'}"


def sample_key(shard_id: int, index: int, number_sample_per_shard: int, digits: int = SHARD_DIGITS) -> str:
    """A sample's name, unique over the dataset: shard 1, index 5 of 10,000 is ``000010005``."""
    return f"{shard_name(shard_id, digits)}{index:0{len(str(number_sample_per_shard - 1))}d}"


def train_file(name: str) -> str:
    """Where the Hub and its library look for the rows of the shard `name`: ``data/train-00012.parquet``."""
    return f"{DATA_FOLDER}/train-{name}.parquet"


def shard_of_file(file: str) -> str | None:
    """The name of the shard that a file or folder carries the name of, None for any other."""
    match = _SHARD_FILE.fullmatch(file)
    return match["id"] if match and int(match["id"]) <= LAST_SHARD else None


def parse_shard_file(name: str) -> int | None:
    """The shard number of a file or folder that carries a shard's name, None for any other."""
    shard = shard_of_file(name)
    return None if shard is None else int(shard)


def is_stats_file(name: str) -> bool:
    """Whether this is the file that is written last and makes a shard complete."""
    return name.endswith(STATS_SUFFIX) and parse_shard_file(name) is not None


def urls_digest(urls: Iterable[str | None]) -> str:
    """What a shard's rows are recognised by when a run comes back: SHA-256 over its URLs, a line each."""
    text = "".join(f"{url or ''}\n" for url in urls)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
