"""The columns of a list, from the list through a run to the metadata and the samples' files."""

from __future__ import annotations

import base64
import csv
import datetime
import decimal
import json
import math
import tarfile
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mockserver import MockServer

from img2dataset import download

OPTIONS: dict[str, Any] = {"image_size": 16, "output_format": "webdataset", "thread_count": 8, "extract_exif": False}
BYTES = b"\x00\xff\xfe"
WHEN = datetime.datetime(2024, 2, 29, 12, 30, 1, 250_000)

KINDS: dict[str, tuple[pa.DataType, Any, Any]] = {  # type, a value, and the value as JSON
    "texts": (pa.list_(pa.string()), ["a", None, "é"], ["a", None, "é"]),
    "large": (pa.large_list(pa.int8()), [1, 2], [1, 2]),
    "three": (pa.list_(pa.float32(), 3), [0.5, 1.0, 2.0], [0.5, 1.0, 2.0]),
    "nested": (
        pa.struct([("w", pa.int64()), ("boxes", pa.list_(pa.struct([("x", pa.float64())])))]),
        {"w": 1, "boxes": [{"x": 0.5}]},
        {"w": 1, "boxes": [{"x": 0.5}]},
    ),
    "moment": (pa.timestamp("us"), WHEN, "2024-02-29T12:30:01.250000"),
    "zoned": (
        pa.timestamp("ms", "UTC"),
        WHEN.replace(tzinfo=datetime.timezone.utc),
        "2024-02-29T12:30:01.250000+00:00",
    ),
    "day": (pa.date32(), WHEN.date(), "2024-02-29"),
    "hour": (pa.time64("us"), WHEN.time(), "12:30:01.250000"),
    "bytes": (pa.binary(), BYTES, base64.b64encode(BYTES).decode()),
    "many_bytes": (pa.list_(pa.large_binary()), [BYTES], [base64.b64encode(BYTES).decode()]),
    "word": (pa.dictionary(pa.int32(), pa.string()), "cat", "cat"),
    "money": (pa.decimal128(10, 2), decimal.Decimal("1.50"), "1.50"),
    "map": (pa.map_(pa.string(), pa.int64()), [("a", 1)], [["a", 1]]),
    "flag": (pa.bool_(), True, True),
    "tiny": (pa.uint8(), 255, 255),
    "huge": (pa.uint64(), 2**64 - 1, 2**64 - 1),
    "no_number": (pa.float64(), math.nan, None),
    "half": (pa.float16(), 0.5, 0.5),
}


def records(folder: Path) -> list[dict[str, Any]]:
    """The .json files of all samples; a number that is none is no JSON."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(member).read() for member in tar if member.name.endswith(".json")]  # type: ignore[union-attr]
        found += [json.loads(text, parse_constant=pytest.fail) for text in texts]
    return sorted(found, key=lambda record: str(record["key"]))  # a tar has them as they arrived


def image(server: MockServer, row: int) -> str:
    return server.url(f"/photo/8x8.png?row={row}")


@pytest.mark.parametrize("output_format", ["webdataset", "parquet"])
def test_a_column_of_any_type_keeps_it_and_is_json_in_the_sample(
    server: MockServer, tmp_path: Path, output_format: str
) -> None:
    arrays = {name: pa.array([value, None], kind) for name, (kind, value, _) in KINDS.items()}
    table = pa.table({"url": [image(server, row) for row in range(2)], **arrays})
    pq.write_table(table, tmp_path / "list.parquet")
    options = OPTIONS | {"output_format": output_format, "save_additional_columns": list(KINDS)}
    stats = download(str(tmp_path / "list.parquet"), output_folder=str(tmp_path / "out"), **options)
    assert stats.successes == 2, stats.status_dict
    found = pq.read_table(tmp_path / "out/00000.parquet").select(list(KINDS))
    assert found.schema.types == [kind for kind, _, _ in KINDS.values()]
    assert found.slice(1).to_pylist() == [dict.fromkeys(KINDS)]
    for name, (_, value, _) in KINDS.items():
        assert found[name][0].as_py() == value or name == "no_number"
    if output_format == "webdataset":
        first, second = records(tmp_path / "out")
        assert {name: first[name] for name in KINDS} == {name: as_json for name, (_, _, as_json) in KINDS.items()}
        assert {name: second[name] for name in KINDS} == dict.fromkeys(KINDS)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_boxes_stay_in_the_metadata(server: MockServer, tmp_path: Path, kind: str) -> None:
    boxes = [[0.0, 0.0, 1.0, 0.5]]
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"url": [image(server, 0)], "faces": [boxes]}), path)
    else:
        texts = {
            "csv": f'url,faces\n{image(server, 0)},"{json.dumps(boxes)}"\n',
            "jsonl": json.dumps({"url": image(server, 0), "faces": boxes}),
        }
        path.write_text(texts[kind])
    download(str(path), output_folder=str(tmp_path / "out"), bbox_col="faces", **OPTIONS)
    [record] = records(tmp_path / "out")
    assert record["faces"] == (json.dumps(boxes) if kind == "csv" else boxes)
    assert pq.read_table(tmp_path / "out/00000.parquet").column_names[:2] == ["faces", "url"]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_numbers_of_a_text_list_are_numbers_in_every_shard(server: MockServer, tmp_path: Path, kind: str) -> None:
    delimiter = {"csv": ",", "tsv": "\t"}[kind]
    values = [("1", "0.5"), ("2", "1"), ("", "NA"), ("x", "2")]
    lines = ["url", "n", "x"], *([image(server, row), *pair] for row, pair in enumerate(values[:3]))
    (tmp_path / f"a.{kind}").write_text("\n".join(map(delimiter.join, lines)))
    (tmp_path / f"b.{kind}").write_text("\n".join(map(delimiter.join, (lines[0], [image(server, 3), *values[3]]))))
    options = OPTIONS | {"save_additional_columns": ["n", "x"], "number_sample_per_shard": 2}
    download(str(tmp_path), output_folder=str(tmp_path / "out"), **options)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert [table.schema.field("n").type for table in tables] == [pa.int64()] * 3
    whole = pa.concat_tables(tables)
    assert whole["n"].to_pylist() == [1, 2, None, None]
    assert whole["x"].to_pylist() == [0.5, 1.0, None, 2.0]
    assert [record["n"] for record in records(tmp_path / "out")] == [1, 2, None, None]


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=6)


def written(path: Path, rows: list[dict[str, Any]]) -> None:
    """A list as other programs write it."""
    if path.suffix == ".csv":
        text = StringIO()
        writer = csv.DictWriter(text, list(rows[0]), quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode())
    elif path.suffix == ".jsonl":
        path.write_bytes(b"\n".join(json.dumps(row).encode() for row in rows))
    elif path.suffix == ".json":
        path.write_bytes(json.dumps(rows).encode())
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=ROWS)
def test_what_is_in_the_list_is_in_the_metadata(
    server: MockServer, tmp_path_factory: pytest.TempPathFactory, kind: str, drawn: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    rows = [
        {"url": image(server, row), "caption": caption, "more": more, "n": number}
        for row, (caption, more, number) in enumerate(drawn)
    ]
    written(folder / f"list.{kind}", rows)
    options = OPTIONS | {"caption_col": "caption", "save_additional_columns": ["more", "n"]}
    types = {"more": "string"} if kind in ("csv", "json", "jsonl") else {}
    download(str(folder / f"list.{kind}"), output_folder=str(folder / "out"), column_types=types, **options)
    found = pq.read_table(folder / "out/00000.parquet").select(["url", "caption", "more", "n"]).to_pylist()
    assert found == rows
    assert [{name: record[name] for name in rows[0]} for record in records(folder / "out")] == rows
