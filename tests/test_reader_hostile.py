"""Whatever a list is made of, it is refused in one sentence or gives the same rows each time it is read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import draw, fuzz, tries
from mockserver import MockServer
from mutated_files import mutated_bytes

from img2dataset import download
from img2dataset.arrow import python_rows
from img2dataset.errors import DownloadError, OptionsError, Reason, ShardError
from img2dataset.fetcher import urls
from img2dataset.options import ReadOptions
from img2dataset.reader import Reader
from img2dataset.shards import KEPT_OF_URL, Rows

TRIES = 150  # of each kind of list
TABLE = pd.DataFrame(
    {
        "url": [f"http://example.com/{number}.jpg?ü=%20&x={'y' * number}" for number in range(60)],
        "caption": [f'a "cat", {number}\nand a dog' if number % 3 else None for number in range(60)],
        "number": range(60),
    }
)


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(TABLE), sink, row_group_size=20)
    return sink.getvalue()


def zipped(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list", data)
    return sink.getvalue()


TEXT = "\n".join(TABLE["url"]).encode()
CSV = TABLE.to_csv(index=False).encode()
TSV = TABLE.to_csv(index=False, sep="\t").encode()
JSON = TABLE.to_json(orient="records").encode()
JSONL = TABLE.to_json(orient="records", lines=True).encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


LISTS: dict[str, Callable[[], bytes]] = {
    "list.txt": lambda: TEXT,
    "list.txt.gz": lambda: gzip.compress(TEXT),
    "list.txt.xz": lambda: lzma.compress(TEXT),
    "list.csv": lambda: CSV,
    "list.csv.gz": lambda: gzip.compress(CSV),
    "list.csv.bz2": lambda: bz2.compress(CSV),
    "list.csv.zip": lambda: zipped(CSV),
    "list.tsv": lambda: TSV,
    "list.tsv.zst": lambda: zstd(TSV),
    "list.json": lambda: JSON,
    "list.json.gz": lambda: gzip.compress(JSON),
    "lines.json": lambda: JSONL,
    "list.jsonl": lambda: JSONL,
    "list.jsonl.zst": lambda: zstd(JSONL),
    "list.parquet": parquet,
}


@fuzz
@pytest.mark.parametrize("name", LISTS)
def test_a_mutated_list_is_refused_or_read(name: str, tmp_path: Path) -> None:
    whole, chance, path = LISTS[name](), draw(f"list {name}"), tmp_path / name
    outcomes = set()
    for _ in range(tries(TRIES)):
        mutated = whole
        for _ in range(chance.randint(1, 3)):
            mutated = mutated_bytes(chance, mutated) or b"\n"
        path.write_bytes(mutated)
        outcomes.add(outcome(path))
    assert len(outcomes) > 1 or tries(TRIES) < 10


def outcome(path: Path) -> object:
    """The sentence with which a list is refused, or how many rows it has; both are the same the second time."""
    once, again = read(path), read(path)
    assert once == again
    if isinstance(once, str):
        assert "\n" not in once
        return once
    for url in once:
        assert len((url or "").encode("utf-8", "replace")) <= KEPT_OF_URL
        try:
            urls.parse(url or "")
        except DownloadError:
            continue
    return len(once)


def read(path: Path) -> list[str | None] | str:
    options = ReadOptions(
        url_list=str(path),
        caption_col=None if ".txt" in path.name else "caption",
        save_additional_columns=() if ".txt" in path.name else ("number",),
        number_sample_per_shard=7,
    )
    found: list[str | None] = []
    try:
        reader = Reader(options)
        reader.check()
        for shard in reader.shards():
            rows = Rows.of(shard, options)
            assert len(rows.urls) == shard.count == rows.additional.num_rows or not rows.additional.num_columns
            found += rows.urls
    except (OptionsError, ShardError) as error:
        return str(error)
    return found


@pytest.mark.parametrize("output_format", ["files", "webdataset", "parquet"])
def test_values_that_python_does_not_know_cost_no_row(server: MockServer, tmp_path: Path, output_format: str) -> None:
    """A date in the year 300,000, a structure that names a field twice, and boxes nested a hundred thousand deep."""
    count = 4
    twice = pa.StructArray.from_arrays([pa.array(range(count)), pa.array(range(count))], names=["a", "a"])
    table = pa.table(
        {
            "url": [server.url(f"/photo/64x64.jpg?row={row}") for row in range(count)],
            "boxes": [None, "[" * 100_000, "[[0, 0, 1, 1]]", "1" * 10_000],
            "when": pa.array([0, 1, 2**62, 3], pa.timestamp("us")),
            "twice": twice,
        }
    )
    pq.write_table(table.drop_columns("twice"), tmp_path / "list.parquet")
    options = {"save_additional_columns": ["when"], "bbox_col": "boxes", "image_size": 16}
    options |= {"output_format": output_format, "output_folder": str(tmp_path / "out")}
    stats = download(str(tmp_path / "list.parquet"), **options)  # type: ignore[arg-type]
    assert stats.status_dict == {"success": 2, Reason.INVALID_BOX: 2}
    retry = {"incremental_mode": "retry_failed", "retry_statuses": [Reason.INVALID_BOX]}
    assert download(str(tmp_path / "list.parquet"), **(options | retry)).count == count  # type: ignore[arg-type]
    found = pq.read_table(tmp_path / "out/00000.parquet").column("when")
    assert found.cast(pa.int64()).to_pylist() == [0, 1, 2**62, 3]
    assert [row["twice"] for row in python_rows(table.select(["twice"]))] == [None] * count
