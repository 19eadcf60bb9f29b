"""tsv, json, jsonl, csv and compressed lists: the same rows whatever they are written in."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from img2dataset.errors import OptionsError, ShardError
from img2dataset.options import ReadOptions
from img2dataset.reader import INPUT_FORMATS, Reader
from img2dataset.shards import Rows

Row = dict[str, Any]
ROWS: list[Row] = [
    {"url": f"http://a/{number}?ü=1,2", "caption": f'a "cat"\tand, {number}\na dog' if number % 3 else "", "n": number}
    for number in range(50)
]


def as_csv(rows: Sequence[Row], delimiter: str = ",") -> bytes:
    def quoted(value: object) -> str:
        return '"' + str(value).replace('"', '""') + '"' if isinstance(value, str) else str(value)

    lines = [delimiter.join(rows[0]), *(delimiter.join(map(quoted, row.values())) for row in rows)]
    return "\n".join(lines).encode()


def as_tsv(rows: Sequence[Row]) -> bytes:
    return as_csv(rows, "\t")


def as_json(rows: Sequence[Row]) -> bytes:
    return json.dumps(list(rows), indent=1).encode()


def as_jsonl(rows: Sequence[Row]) -> bytes:
    return b"\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows) + b"\n"


def as_parquet(rows: Sequence[Row]) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, row_group_size=7)
    return sink.getvalue()


def zipped(data: bytes) -> bytes:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list", data)
    return sink.getvalue()


def by_zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


WRITTEN: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "csv": as_csv,
    "tsv": as_tsv,
    "json": as_json,
    "jsonl": as_jsonl,
    "ndjson": as_jsonl,
    "parquet": as_parquet,
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
    ".zst": by_zstd,
}


def read(url_list: Path | str, **options: Any) -> list[Row]:
    """The rows of a list, after it has been checked."""
    asked = ReadOptions(url_list=str(url_list), **options)
    reader = Reader(asked)
    reader.check()
    found = []
    for shard in reader.shards():
        rows = Rows.of(shard, asked)
        captions = rows.captions or [None] * shard.count
        found += [
            {"url": url, "caption": caption, **more}
            for url, caption, more in zip(rows.urls, captions, rows.additional.to_pylist(), strict=True)
        ]
    return found


def types(url_list: Path, *columns: str, **options: Any) -> list[pa.Schema]:
    """The types of additional columns, in each shard."""
    asked = ReadOptions(url_list=str(url_list), save_additional_columns=columns, **options)
    return [Rows.of(shard, asked).additional.schema for shard in Reader(asked).shards()]


def refused(url_list: Path | str, **options: Any) -> str:
    with pytest.raises(OptionsError) as error:
        Reader(ReadOptions(url_list=str(url_list), **options)).check()
    return str(error.value)


@pytest.mark.parametrize(
    ("extension", "packed"),
    [(extension, packed) for extension in WRITTEN for packed in PACKED if (extension, packed) != ("parquet", ".zst")],
)
def test_the_extension_tells_the_format_and_the_rows_are_the_same(tmp_path: Path, extension: str, packed: str) -> None:
    path = tmp_path / f"list.{extension}{packed}"
    path.write_bytes(PACKED[packed](WRITTEN[extension](ROWS)))
    found = read(path, caption_col="caption", save_additional_columns=("n",), number_sample_per_shard=8)
    assert found == ROWS


def test_parquet_out_of_zstd_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.parquet.zst").write_bytes(by_zstd(as_parquet(ROWS)))
    assert "can be read neither from a pipe nor out of .zst" in refused(tmp_path / "list.parquet.zst")


def test_an_empty_first_file_decides_no_types(tmp_path: Path) -> None:
    for kind, empty in (("csv", b"url,n\n"), ("jsonl", b"\n"), ("json", b"[]")):
        (tmp_path / f"a.{kind}").write_bytes(empty)
        (tmp_path / f"b.{kind}").write_bytes(WRITTEN[kind](ROWS))
        [schema] = types(tmp_path, "n", input_format=kind)
        assert schema.field("n").type == pa.int64()


@pytest.mark.parametrize("spelling", [name for name in INPUT_FORMATS if name.endswith(".gz")])
def test_a_spelling_with_gz_reads_a_file_whose_name_says_nothing(tmp_path: Path, spelling: str) -> None:
    kind = spelling.removesuffix(".gz")
    text = "\n".join(row["url"] for row in ROWS).encode() if kind == "txt" else WRITTEN[kind](ROWS)
    (tmp_path / "part-0").write_bytes(gzip.compress(text))
    assert [row["url"] for row in read(tmp_path / "part-0", input_format=spelling)] == [row["url"] for row in ROWS]
    (tmp_path / f"list.{kind}.gz").write_bytes(gzip.compress(text))
    assert len(read(tmp_path / f"list.{kind}.gz", input_format=spelling)) == len(ROWS)


def test_a_json_file_may_have_a_record_a_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(b"\xef\xbb\xbf\n" + as_jsonl(ROWS).replace(b"\n", b"\r\n\n \n"))
    assert read(tmp_path / "list.json", caption_col="caption", save_additional_columns=("n",)) == ROWS


def test_records_survive_the_border_between_two_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"url": f"http://a/{number}", "caption": "é" * (number % 700), "n": number} for number in range(2000)]
    for module in ("json", "jsonl"):
        monkeypatch.setattr(f"img2dataset.reader.{module}.BLOCK", 5000)
    for name, content in (("list.json", as_json(rows)), ("list.jsonl", as_jsonl(rows)[:-1])):
        (tmp_path / name).write_bytes(content)
        options = {"caption_col": "caption", "save_additional_columns": ("n",), "number_sample_per_shard": 300}
        assert read(tmp_path / name, **options) == rows


def test_what_a_record_does_not_have_is_null(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"url": "a", "caption": "b"}\n{}\n{"caption": null, "x": {}, "url": "c"}\n')
    found = read(tmp_path / "list.jsonl", caption_col="caption")
    assert [(row["url"], row["caption"]) for row in found] == [("a", "b"), (None, None), ("c", None)]


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl"])
def test_url_caption_and_hash_are_text_whatever_they_look_like(tmp_path: Path, kind: str) -> None:
    rows = [{"url": 1, "caption": 12, "hash": 10**31 + number} for number in range(3)]
    (tmp_path / f"list.{kind}").write_bytes(WRITTEN[kind](rows))
    options = ReadOptions(url_list=str(tmp_path / f"list.{kind}"), caption_col="caption", verify_hash=("hash", "md5"))
    reader = Reader(options)
    reader.check()
    [shard] = reader.shards()
    found = Rows.of(shard, options)
    assert found.urls == ["1"] * 3
    assert found.captions == ["12"] * 3
    assert found.expected_digests == [str(10**31 + number) for number in range(3)]


def test_a_date_in_a_json_list_is_the_text_that_it_is(tmp_path: Path) -> None:
    row = {"url": "2020-01-01", "caption": "2020-01-01T00:00:00Z", "when": "2021-02-03", "in": {"when": ["2021-02-03"]}}
    (tmp_path / "list.jsonl").write_bytes(as_jsonl([row]))
    assert read(tmp_path / "list.jsonl", caption_col="caption", save_additional_columns=("when", "in")) == [row]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_numbers_are_numbers_and_nothing_else_is(tmp_path: Path, kind: str) -> None:
    table = [
        ["url", "n", "x", "t", "when", "yes", "none"],
        ["a", "1", "1", "1", "2020-01-01", "true", ""],
        ["b", "", "0.5", "one", "2020-01-02", "false", ""],
        ["c", "-3", "NA", "", "2020-01-03", "true", ""],
    ]
    delimiter = {"csv": ",", "tsv": "\t"}[kind]
    (tmp_path / f"list.{kind}").write_text("\n".join(delimiter.join(line) for line in table))
    columns = ("n", "x", "t", "when", "yes", "none")
    [schema] = types(tmp_path / f"list.{kind}", *columns)
    assert schema.types == [pa.int64(), pa.float64(), *[pa.string()] * 4]
    found = read(tmp_path / f"list.{kind}", save_additional_columns=columns)
    assert [row["n"] for row in found] == [1, None, -3]
    assert [row["x"] for row in found] == [1.0, 0.5, None]
    assert [row["t"] for row in found] == ["1", "one", ""]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl"])
def test_a_type_is_decided_once_and_what_does_not_fit_is_null_and_told(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in ("csv", "json", "jsonl"):
        monkeypatch.setattr(f"img2dataset.reader.{module}.BLOCK", 2000)
    first: list[Row] = [{"url": f"http://a/{number}", "n": number} for number in range(300)]
    first[250]["n"], first[260]["n"] = "three", 1.5
    (tmp_path / f"a.{kind}").write_bytes(WRITTEN[kind](first))
    second = [{"url": "http://b", "n": "four"}, {"url": "http://b", "n": 5}]
    (tmp_path / f"b.{kind}").write_bytes(WRITTEN[kind](second))
    schemas = types(tmp_path, "n", number_sample_per_shard=40)
    assert len(schemas) == 9
    assert {schema.field("n").type for schema in schemas} == {pa.int64()}
    caplog.clear()
    found = [row["n"] for row in read(tmp_path, save_additional_columns=("n",), number_sample_per_shard=40)]
    assert found == [None if number in (250, 260) else number for number in range(300)] + [None, 5]
    [line] = told(caplog)
    assert "column 'n' is int64" in line
    assert "3 values that do not fit became null, the first of them 'three' in row 251 of" in line
    assert f"a.{kind}" in line
    caplog.clear()
    options = {"save_additional_columns": ("n",), "column_types": {"n": "string"}}
    texts = [row["n"] for row in read(tmp_path, **options)]
    assert texts == [str(row["n"]) for row in (*first, *second)]
    assert told(caplog) == []


@pytest.mark.parametrize(("name", "kind"), [("double", pa.float64()), ("string", pa.string()), ("int8", pa.int8())])
@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_column_types_decide(tmp_path: Path, extension: str, name: str, kind: pa.DataType) -> None:
    (tmp_path / f"list.{extension}").write_bytes(WRITTEN[extension]([{"url": "a", "x": 1}, {"url": "b", "x": 1000}]))
    options = {"column_types": {"x": name}}
    assert [schema.types for schema in types(tmp_path / f"list.{extension}", "x", **options)] == [[kind]]
    found = read(tmp_path / f"list.{extension}", save_additional_columns=("x",), **options)
    expected = {"double": [1.0, 1000.0], "string": ["1", "1000"], "int8": [1, None]}
    assert [row["x"] for row in found] == expected[name]


def test_what_column_types_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(as_csv(ROWS))
    path = tmp_path / "list.csv"
    said = refused(path, save_additional_columns=("n",), column_types={"n": "strin"})
    assert "column_types says that 'n' is 'strin'; it must be the name of an Arrow type" in said
    with pytest.raises(OptionsError, match="column_types names 'caption'; it may name columns of"):
        ReadOptions(url_list="list.csv", caption_col="caption", column_types={"caption": "int64"})


def test_a_column_of_several_kinds_in_a_json_list_is_text_with_the_json_of_what_is_none(tmp_path: Path) -> None:
    values = [1, "one", None, [1, {"a": "é"}], True, 1.5]
    (tmp_path / "list.jsonl").write_bytes(as_jsonl([{"url": "a", "x": value} for value in values]))
    found = [row["x"] for row in read(tmp_path / "list.jsonl", save_additional_columns=("x",))]
    assert found == ["1", "one", None, '[1, {"a": "é"}]', "true", "1.5"]


def test_nested_values_of_a_json_list_keep_their_shape(tmp_path: Path) -> None:
    rows = [
        {"url": "a", "tags": ["x", "y"], "size": {"w": 1, "h": None}, "ok": True},
        {"url": "b", "tags": [], "size": None, "ok": None},
    ]
    for kind in ("json", "jsonl"):
        (tmp_path / f"list.{kind}").write_bytes(WRITTEN[kind](rows))
        options = {"save_additional_columns": ("tags", "size", "ok")}
        [schema] = types(tmp_path / f"list.{kind}", "tags", "size", "ok")
        assert schema.field("tags").type == pa.list_(pa.string())
        assert schema.field("ok").type == pa.bool_()
        assert [row["tags"] for row in read(tmp_path / f"list.{kind}", **options)] == [["x", "y"], []]
        assert read(tmp_path / f"list.{kind}", **options)[0]["size"]["w"] == 1


def test_boxes_of_a_json_list_are_numbers_and_what_is_none_is_not_lost(tmp_path: Path) -> None:
    boxes = [[[0, 0, 1, 1]], [[0, 0, 1, 0.5]], None, [], "none", 7]
    (tmp_path / "list.jsonl").write_bytes(as_jsonl([{"url": "a", "boxes": value} for value in boxes[:4]]))
    options = ReadOptions(url_list=str(tmp_path / "list.jsonl"), bbox_col="boxes")
    [shard] = Reader(options).shards()
    assert Rows.of(shard, options).boxes == boxes[:4]
    assert Rows.of(shard, options).additional.column_names == ["boxes"]
    first = "".join(json.dumps({"url": "a", "boxes": boxes[0]}) + "\n" for _ in range(200_000))
    (tmp_path / "list.jsonl").write_text(first + as_jsonl([{"url": "a", "boxes": box} for box in boxes]).decode())
    *_, last = Reader(options).shards()
    assert Rows.of(last, options).boxes == [*boxes[:4], [[]], [[]]]


def test_files_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    for kind in ("csv", "tsv", "json", "jsonl", "parquet"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / f"a.{kind}").write_bytes(WRITTEN[kind](ROWS[:20]))
        turned = [dict(reversed(row.items())) for row in ROWS[20:]]
        (folder / f"b.{kind}").write_bytes(WRITTEN[kind](turned))
        assert read(folder, caption_col="caption", save_additional_columns=("n",)) == ROWS
        (folder / f"c.{kind}").write_bytes(WRITTEN[kind]([{"link": "a", "caption": "b", "n": 1}]))
        assert f"c.{kind} has no column 'url'; its columns are: link, caption, n" in refused(folder)


def test_a_txt_list_ignores_a_caption_column_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "list.txt").write_text("http://a\n")
    assert read(tmp_path / "list.txt", input_format="txt", caption_col="text") == [{"url": "http://a", "caption": None}]
    [line] = told(caplog)
    assert line == "caption_col is ignored: input_format is txt, a list of nothing but URLs"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "list.csv",
            "url,n\na,1\nb,2,3\n",
            "list.csv cannot be read as csv: CSV parse error: Row #3: Expected 2 columns, got 3",
        ),
        (
            "list.tsv",
            "url\tn\na\t1\nb\n",
            "list.tsv cannot be read as tsv: CSV parse error: Row #3: Expected 2 columns, got 1",
        ),
        ("list.jsonl", '{"url": "a"}\n\n{"url": \n', "list.jsonl cannot be read as jsonl: line 3 is no JSON object"),
        ("list.jsonl", '{"url": "a"}\n[1]\n', "line 2 is no JSON object but '[1]'"),
        ("list.jsonl", "null\n", "line 1 is no JSON object but 'null'"),
        ("list.jsonl", '{"url": "a"}\n  null\n', "line 2 is no JSON object"),
        ("list.jsonl", '{"url": "a"} null {"url": "b"}\n', "line 1 is no JSON object"),
        ("list.json", '[{"url": "a"}, null]', "record 2 is no JSON object but 'null]'"),
        ("list.jsonl", "http://a\n", "line 1 is no JSON object"),
        ("list.json", '[{"url": "a"}, {"url": ', "list.json cannot be read as json: record 2 is no JSON object: "),
        ("list.json", '[{"url": "a"} {"url": "b"}]', "behind record 1 the array neither goes on nor ends, but has '{'"),
        ("list.json", '[{"url": "a"}', "behind record 1 the array neither goes on nor ends, but has 'no end'"),
        ("list.json", '[{"url": "a"}]]', "behind record 1, and the end of the array, there is ']'"),
        ("list.json", '[{"url": "a", "b": ' + "[" * 200_000, "record 1 is nested too deeply"),
        ("list.json", '["http://a"]', "record 1 is no JSON object but '\"http://a\"]'"),
        ("list.json", '{"url": {"0": "a", "1": "b"}}', "the file is one JSON object, and a json list is an array"),
        ("list.json", '{"info": {}, "images": [{"url": "a"}]}', "its columns are: info, images; the file is one JSON"),
        ("list.json", '{\n "url": "a"\n}', "the file is one JSON object, and a json list is an array of objects"),
        ("list.json", "", "no URL in it"),
        ("list.json", "[]", "no URL in it"),
        ("list.parquet", "no parquet at all", "list.parquet cannot be read as parquet"),
    ],
)
def test_a_broken_list_is_one_sentence(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    said = refused(tmp_path / name)
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize("extension", ["csv", "tsv", "json", "jsonl"])
@pytest.mark.parametrize("packed", [".gz", ".zst", ".bz2", ".xz"])
def test_a_compressed_list_that_is_cut_short_is_one_sentence(tmp_path: Path, extension: str, packed: str) -> None:
    content = PACKED[packed](WRITTEN[extension](ROWS))
    path = tmp_path / f"list.{extension}{packed}"
    path.write_bytes(content[: len(content) // 2])
    said = refused(path)
    assert path.name in said
    assert "cannot be read" in said


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_what_is_broken_far_behind_fails_after_what_came_before_with_its_place(tmp_path: Path, kind: str) -> None:
    rows = [{"url": f"http://a/{number}", "x": "x" * 90} for number in range(120_000)]
    broken = {"csv": b"\nhttp://broken,1,2,3\n", "json": b"", "jsonl": b'{"url": \n'}
    content = WRITTEN[kind](rows)
    (tmp_path / f"list.{kind}").write_bytes(content[:-3] if kind == "json" else content + broken[kind])
    reader = Reader(ReadOptions(url_list=str(tmp_path / f"list.{kind}")))
    reader.check()
    shards = reader.shards()
    assert next(shards).count == 10_000
    place = {"csv": "Row #120002", "json": "record 120000 is no JSON object", "jsonl": "line 120001 is no JSON object"}
    with pytest.raises(ShardError, match=place[kind]):
        list(shards)


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_texts_of_json_that_are_none_are_their_rows_own_fault(tmp_path: Path, kind: str) -> None:
    lines = [b'{"url": "a", "caption": "\\ud800 x"}', b'{"url": "b", "caption": "NaN", "n": NaN}']
    lines += [b'{"url": "c", "caption": "t\xe8"}'] if kind == "jsonl" else []
    joined = b"\n".join(lines) if kind == "jsonl" else b"[%b]" % lines[0]
    (tmp_path / f"list.{kind}").write_bytes(joined)
    found = read(tmp_path / f"list.{kind}", caption_col="caption")
    assert [row["url"] for row in found] == ["a", "b", "c"][: len(found)]
    assert found[0]["caption"].endswith(" x")
    assert kind == "json" or found[2]["caption"] == "t�"


@pytest.mark.parametrize("kind", ["json", "jsonl"])
@pytest.mark.parametrize("depth", [60, 400, 100_000])
def test_deep_nesting_ends_no_process(tmp_path: Path, kind: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    records = ['{"url": "a", "x": 1}', f'{{"url": "b", "x": {deep}}}']
    for name, lines in (("first", records[::-1]), ("last", records)):
        text = "[" + ",".join(lines) + "]" if kind == "json" else "\n".join(lines)
        (tmp_path / f"{name}.{kind}").write_text(text)
        if depth > 1000:
            assert refused(tmp_path / f"{name}.{kind}", save_additional_columns=("x",))
        else:
            found = read(tmp_path / f"{name}.{kind}", save_additional_columns=("x",))
            assert {row["url"]: row["x"] for row in found} == {"a": "1", "b": deep}


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_many_values_in_a_record_are_what_they_are(tmp_path: Path, kind: str) -> None:
    rows = [{"url": "a", "faces": [[0.5, 1.0, 2.0, float(number)] for number in range(600)]}] * 3
    (tmp_path / f"list.{kind}").write_bytes(WRITTEN[kind](rows))
    [schema] = types(tmp_path / f"list.{kind}", "faces")
    assert schema.field("faces").type == pa.list_(pa.list_(pa.float64()))
    found = read(tmp_path / f"list.{kind}", save_additional_columns=("faces",))
    assert [row["faces"] for row in found] == [row["faces"] for row in rows]
