"""Url list → shards."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from img2dataset.errors import OptionsError, ShardError
from img2dataset.options import ReadOptions
from img2dataset.reader import READERS, Reader
from img2dataset.reader.base import IsNeeded
from img2dataset.reader.txt import Txt
from img2dataset.shards import KEPT_OF_URL, LONGEST_URL, Rows, Shard


def read(url_list: Path, **options: object) -> list[Shard]:
    reader = Reader(ReadOptions(url_list=str(url_list), **options))  # type: ignore[arg-type]
    reader.check()
    shards = list(reader.shards())
    assert reader.rows_read == sum(shard.count for shard in shards)
    return shards


def urls(shards: list[Shard]) -> list[str]:
    return [url for shard in shards for url in shard.table().column("url").to_pylist()]


def captions(shards: list[Shard]) -> list[str | None]:
    return [caption for shard in shards for caption in shard.table().column("caption").to_pylist()]


def test_a_text_file_is_one_url_a_line_verbatim(tmp_path: Path) -> None:
    lines = ["http://a/1,2;3", 'http://a/"q"\t', " http://a/b c ", "http://a/é#x", "http://a/\u2028\x0b", "no url"]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n\n  \n".join(lines).encode())
    assert urls(read(tmp_path / "list.txt")) == lines


def test_lines_survive_the_border_between_two_blocks(tmp_path: Path) -> None:
    lines = [f"http://host/{number}/{'x' * (number % 700)}é" for number in range(6000)]
    (tmp_path / "list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert urls(read(tmp_path / "list", number_sample_per_shard=997)) == lines


def write_text(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(rows), encoding="utf-8")


def write_csv(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(["url,n", *(f"{row},1" for row in rows)]), encoding="utf-8")


def write_parquet(path: Path, rows: list[str]) -> None:
    pq.write_table(pa.table({"url": rows}), path)


WRITERS = {"txt": write_text, "csv": write_csv, "parquet": write_parquet}


@pytest.mark.parametrize("input_format", WRITERS)
@pytest.mark.parametrize("length", [KEPT_OF_URL - 8, KEPT_OF_URL + 1, 1_500_000, 3_000_000])
def test_of_a_url_that_is_too_long_every_format_keeps_the_same_beginning(
    tmp_path: Path, input_format: str, length: int
) -> None:
    long = "http://host/" + "é🐈x" * (length // 7)
    WRITERS[input_format](tmp_path / "list", ["http://a", long, "http://b"])
    first, kept, last = urls(read(tmp_path / "list", input_format=input_format))
    assert (first, last) == ("http://a", "http://b")
    assert long.startswith(kept)
    size = len(long.encode())
    assert len(kept.encode()) == size if size <= KEPT_OF_URL else LONGEST_URL < len(kept.encode()) <= KEPT_OF_URL


def test_a_line_that_is_cut_in_the_middle_of_a_character_ends_with_a_whole_one(tmp_path: Path) -> None:
    for begins in range(4):
        long = "x" * begins + "🐈" * 600_000
        (tmp_path / "list.txt").write_text(f"{long}\r\n\n{long}\nend", encoding="utf-8")
        expected = long.encode()[:KEPT_OF_URL].decode("utf-8", "ignore")
        assert urls(read(tmp_path / "list.txt")) == [expected, expected, "end"]


MEMORY = """
import os, resource, sys
from img2dataset.errors import Img2datasetError
from img2dataset.options import ReadOptions
from img2dataset.reader import READERS, Reader
from img2dataset.reader.txt import Txt
import pyarrow, pyarrow.csv, pyarrow.compute, pyarrow.parquet, fsspec
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    reader = Reader(ReadOptions(url_list=sys.argv[1]))
    reader.check()
    print(sum(shard.count for shard in reader.shards()))
except Img2datasetError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, flush=True)
os._exit(0)  # Arrow may still be reading ahead of the csv, and a thread of C++ that finds Python ended aborts
"""


def read_elsewhere(path: Path) -> tuple[str, int]:
    """What reading a list says, and how many MB it took."""
    said = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True).stdout
    line, megabytes = said.splitlines()
    return line, int(megabytes)


LARGE = """
import sys, time
from pathlib import Path
import fsspec, pyarrow, pyarrow.csv, pyarrow.json, pyarrow.compute, pyarrow.parquet
from img2dataset.options import ReadOptions
from img2dataset.reader import Reader

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024

before, began, first, rows = peak(), time.monotonic(), None, 0
reader = Reader(ReadOptions(url_list=sys.argv[1], caption_col="caption", save_additional_columns=("n",)))
reader.check()
for shard in reader.shards():
    first = first or time.monotonic() - began
    rows += shard.count
print(rows, peak() - before, first)
"""


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_long_list_takes_little_memory_and_begins_at_once(tmp_path: Path, kind: str) -> None:
    count, path = 500_000, tmp_path / f"list.{kind}"
    caption = "a small brown dog that runs over wet grass in the evening " * 4
    records = (f'{{"url": "http://a/{n}", "caption": "{caption}", "n": {n}}}' for n in range(count))
    if kind == "parquet":
        table = pa.table({"url": [f"http://a/{n}" for n in range(count)], "caption": [caption] * count})
        pq.write_table(table.append_column("n", pa.array(range(count))), path)
    elif kind == "json":
        path.write_text(f"[{','.join(records)}]")
    elif kind == "jsonl":
        path.write_text("\n".join(records))
    else:
        delimiter = {"csv": ",", "tsv": "\t"}[kind]
        rows = (delimiter.join((f"http://a/{n}", caption, str(n))) for n in range(count))
        path.write_text("\n".join([delimiter.join(("url", "caption", "n")), *rows]))
    said = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=True).stdout
    found, megabytes, seconds = said.split()
    assert int(found) == count
    assert int(megabytes) < 150
    assert float(seconds) < 2  # half a second, on a machine that does nothing else


def write_long_line(path: Path, before: bytes, megabytes: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(before)
        for _ in range(megabytes):
            file.write(b"a" * 1_000_000)
        file.write(b"\nhttp://b\n")
    return path


def test_a_line_of_300_mb_takes_little_memory(tmp_path: Path) -> None:
    assert (before := read_elsewhere(write_long_line(tmp_path / "list.txt.gz", b"http://a\n", 300)))[0] == "3"
    assert before[1] < 100


@pytest.mark.parametrize("before", [b"url\n", b"url\n" + b"http://a\n" * 1_000_000])
def test_a_csv_row_without_end_is_one_sentence_and_little_memory(tmp_path: Path, before: bytes) -> None:
    said, megabytes = read_elsewhere(write_long_line(tmp_path / "list.csv.gz", before, 300))
    assert "list.csv.gz" in said
    assert (
        "a row is longer than 8 MB, or 1 MB in a pipe or .zst, the limit of a csv list; is a quote never closed?"
        in said
    )
    assert megabytes < 200


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_text_that_is_no_utf_8_is_its_rows_own_fault(tmp_path: Path, kind: str) -> None:
    raw = [b"http://a/1", b"http://a/\xf4(", b"http://a/3"]
    captions = [b"one", None, b"tr\xe8s"]
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        lines = [b"%b,%b,%b\n" % (url, caption or b"", url) for url, caption in zip(raw, captions, strict=True)]
        path.write_bytes(b"url,caption,more\n" + b"".join(lines))
    else:
        texts = {"url": invalid_texts(raw), "caption": invalid_texts(captions), "more": invalid_texts(raw)}
        pq.write_table(pa.table(texts), path)
    options = {"caption_col": "caption", "save_additional_columns": ("more",)}
    [shard] = read(path, **options)
    rows = Rows.of(shard, ReadOptions(url_list=str(path), **options))  # type: ignore[arg-type]
    assert rows.urls == rows.additional["more"].to_pylist() == ["http://a/1", "http://a/�(", "http://a/3"]
    assert rows.captions == ["one", "" if kind == "csv" else None, "tr�s"]


def test_a_list_of_texts_that_are_no_utf_8_is_null(tmp_path: Path) -> None:
    tags = pa.ListArray.from_arrays([0, 1, 3], invalid_texts([b"cat", b"\xff", b"dog"]))
    pq.write_table(pa.table({"url": ["http://a/1", "http://a/2"], "tags": tags}), tmp_path / "list.parquet")
    [shard] = read(tmp_path / "list.parquet", save_additional_columns=("tags",))
    assert shard.table()["tags"].to_pylist() == [["cat"], None]


def invalid_texts(values: list[bytes | None]) -> pa.Array:
    """A column of texts, as another program writes it that does not look at them."""
    return pc.cast(pa.array(values, pa.binary()), options=pc.CastOptions(pa.string(), allow_invalid_utf8=True))


def test_shards_have_the_size_asked_for_and_know_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"http://a/{number}\n" for number in range(25)))
    shards = read(tmp_path / "list.txt", number_sample_per_shard=10)
    places = [(s.id, s.index, s.source, s.first_row, s.count) for s in shards]
    assert places == [(0, 0, "list.txt", 0, 10), (1, 1, "list.txt", 10, 10), (2, 2, "list.txt", 20, 5)]


def test_shards_never_span_files_and_files_come_in_sorted_order(tmp_path: Path) -> None:
    for name, count in (("b.txt", 3), ("a.txt", 4), (".hidden.txt", 9), ("_SUCCESS", 1)):
        (tmp_path / name).write_text("".join(f"http://{name}/{number}\n" for number in range(count)))
    shards = read(tmp_path, number_sample_per_shard=3)
    assert [(shard.source, shard.first_row, shard.count) for shard in shards] == [
        ("a.txt", 0, 3),
        ("a.txt", 3, 1),
        ("b.txt", 0, 3),
    ]


def test_only_the_wanted_shards_are_handed_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"http://a/{number}\n" for number in range(25)))
    reader = Reader(ReadOptions(url_list=str(tmp_path / "list.txt"), number_sample_per_shard=10))
    assert [shard.index for shard in reader.shards(lambda index: index != 1)] == [0, 2]
    assert reader.rows_read == 15


@pytest.mark.parametrize("compress", [None, "gz"])
def test_csv_captions_are_text_whatever_they_look_like(tmp_path: Path, compress: str | None) -> None:
    text = '\ufeffurl,text,n\nhttp://a/1,"a, ""b""\nc",1\nhttp://a/2,,x\nhttp://a/3,NA,\nhttp://a/4,12,4\n,émoji 🐈,5\n'
    path = tmp_path / ("list.csv" + (".gz" if compress else ""))
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    shards = read(path, caption_col="text", save_additional_columns=("n",))
    assert urls(shards) == ["http://a/1", "http://a/2", "http://a/3", "http://a/4", ""]
    assert captions(shards) == ['a, "b"\nc', "", "NA", "12", "émoji 🐈"]
    assert shards[0].table().column("n").to_pylist() == ["1", "x", "", "4", "5"]


def test_parquet_keeps_nulls_and_the_types_of_additional_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "URL": pa.array(["http://a/1", None], pa.large_string()),
            "TEXT": ["", None],
            "score": pa.array([0.5, None], pa.float32()),
            "tags": [["a"], []],
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    options = ReadOptions(
        url_list=str(tmp_path / "list.parquet"),
        url_col="URL",
        caption_col="TEXT",
        save_additional_columns=("score", "tags"),
    )
    (shard,) = Reader(options).shards()
    rows = Rows.of(shard, options)
    assert (rows.urls, rows.captions) == (["http://a/1", None], ["", None])
    assert rows.additional.schema == pa.schema([("score", pa.float32()), ("tags", pa.list_(pa.string()))])


def test_parquet_is_cut_into_shards_across_its_row_groups(tmp_path: Path) -> None:
    lines = [f"http://a/{number}" for number in range(1000)]
    pq.write_table(pa.table({"url": lines}), tmp_path / "list.parquet", row_group_size=333)
    shards = read(tmp_path / "list.parquet", number_sample_per_shard=400)
    assert [shard.count for shard in shards] == [400, 400, 200]
    assert urls(shards) == lines


def test_row_groups_whose_shards_nobody_wants_are_not_read(tmp_path: Path) -> None:
    lines = [f"http://a/{number}" for number in range(1000)]
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": lines, "n": range(1000)}), path, row_group_size=70)
    options = ReadOptions(url_list=str(path), number_sample_per_shard=40, save_additional_columns=("n",))
    whole = list(Reader(options).shards())
    damaged = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    for group in range(metadata.num_row_groups):
        first = group * 70
        if {first // 40, (first + 69) // 40}.isdisjoint({3, 4, 24}):
            for column in range(2):
                chunk = metadata.row_group(group).column(column)
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                damaged[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(damaged)
    reader = Reader(options)
    found = list(reader.shards({3, 4, 24}.__contains__))
    assert found == [whole[3], whole[4], whole[24]]
    assert reader.rows_read == 120
    with pytest.raises(ShardError):
        list(Reader(options).shards())


def test_the_url_column_may_be_the_caption_column_too(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url\nhttp://a\n")
    assert captions(read(tmp_path / "list.csv", caption_col="url")) == ["http://a"]


def test_the_first_urls_are_those_of_the_list_across_files(tmp_path: Path) -> None:
    for name, count in (("b.txt", 3), ("a.txt", 4)):
        (tmp_path / name).write_text("".join(f"http://{name}/{number}\n" for number in range(count)))
    reader = Reader(ReadOptions(url_list=str(tmp_path), number_sample_per_shard=3))
    whole = [*(f"http://a.txt/{number}" for number in range(4)), *(f"http://b.txt/{number}" for number in range(3))]
    assert [reader.first_urls(count) for count in (1, 5, 7, 1000)] == [whole[:1], whole[:5], whole, whole]
    assert reader.rows_read == 0


class Reversed(Txt):
    """An input format that this package does not have: every line is written backwards."""

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.Table]:
        del path, is_needed
        yield pa.table({"url": [line.decode()[::-1] for line in file.read().splitlines()]})


def test_an_input_format_is_one_class_and_one_line_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "reversed", "test_reader:Reversed")
    (tmp_path / "list").write_text("a//:ptth\nb//:ptth\n")
    assert urls(read(tmp_path / "list", input_format="reversed")) == ["http://a", "http://b"]


HEAVY = """
import sys
import img2dataset.reader
print([name for name in ("pyarrow", "pandas", "fsspec") if name in sys.modules])
"""


def test_importing_the_reader_imports_no_format(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout == "[]\n"


def refused(url_list: Path | str, **options: object) -> str:
    with pytest.raises(OptionsError) as error:
        Reader(ReadOptions(url_list=str(url_list), **options)).check()  # type: ignore[arg-type]
    return str(error.value)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("link,text\nhttp://a,b\n")
    assert "no column 'url'; its columns are: link, text" in refused(tmp_path / "list.csv")
    pq.write_table(pa.table({"url": ["http://a"]}), tmp_path / "list.parquet")
    assert "no column 'text'; its columns are: url" in refused(tmp_path / "list.parquet", caption_col="text")


def test_a_column_that_is_no_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [["http://a"]]}), tmp_path / "list.parquet")
    assert "it must be text" in refused(tmp_path / "list.parquet")


def test_a_hash_of_another_kind_is_refused_before_the_run(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["a", "b"], "hash": [None, "f" * 32]}), tmp_path / "list.parquet")
    assert "which is no sha256: that has 64 characters" in refused(
        tmp_path / "list.parquet", verify_hash=("hash", "sha256")
    )
    assert len(read(tmp_path / "list.parquet", verify_hash=("hash", "md5"))) == 1


def test_boxes_of_a_csv_file_are_json(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('url,boxes\na,"[[0, 0, 1, 0.5]]"\nb,\nc,none\nd,7\n')
    options = ReadOptions(url_list=str(tmp_path / "list.csv"), bbox_col="boxes")
    (shard,) = Reader(options).shards()
    assert Rows.of(shard, options).boxes == [[[0, 0, 1, 0.5]], None, ["none"], [7]]


@pytest.mark.parametrize("content", ["", "\n \n\r\n", "\ufeff"])
def test_a_list_without_a_url_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.txt").write_text(content, encoding="utf-8")
    assert "no URL in it" in refused(tmp_path / "list.txt")


def test_what_is_not_there_or_no_table_is_refused(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path / "nothing.txt")
    assert "no file to read" in refused(tmp_path)
    (tmp_path / "list.parquet").write_text("no parquet")
    assert "cannot be read" in refused(tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text("")
    assert "cannot be read" in refused(tmp_path / "list.csv")


ZIPPERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("compression", ZIPPERS)
@pytest.mark.parametrize("kind", ["txt", "csv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_list_in_utf_16_or_32_is_refused_and_told_how_to_convert(
    tmp_path: Path, encoding: str, kind: str, compression: str
) -> None:
    text = "url,n\n" + "".join(f"http://a/{n}/日本語ĀĀ,é🐈\n" for n in range(5))
    (tmp_path / f"a.{kind}{compression}").write_bytes(ZIPPERS[compression](text.encode()))
    (tmp_path / f"b.{kind}{compression}").write_bytes(ZIPPERS[compression](text.encode(encoding)))
    said = refused(tmp_path)
    assert f"b.{kind}{compression} is written in {encoding.upper()}, and a list of text must be UTF-8" in said
    assert f"iconv -f {encoding.upper()} -t UTF-8" in said


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    lines = [f"http://a/{n}\n" for n in range(99)]
    pq.write_table(pa.table({"url": lines}), tmp_path / "parquet")
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list.txt", "".join(lines))
    for name in ("parquet", "zip"):
        for input_format in ("txt", "csv"):
            said = refused(tmp_path / name, input_format=input_format)
            assert "is no text file" in said
            assert "give input_format if it is a parquet file" in said


def test_a_stray_zero_is_a_rows_own_fault(tmp_path: Path) -> None:
    lines = [f"http://a/{n}" for n in range(300)] + ["http://a/\0b"]
    (tmp_path / "list.txt").write_text("\n".join(reversed(lines)))
    assert urls(read(tmp_path / "list.txt")) == lines[::-1]


def test_a_store_that_cannot_be_asked_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        """As botocore's: no OSError."""

    def isfile(*_: object) -> bool:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.isfile", isfile)
    assert "cannot be opened: Unable to locate credentials" in refused(tmp_path / "list.txt")


@pytest.mark.parametrize("extension", ["gz", "bz2", "xz", "zip"])
def test_a_damaged_compressed_list_is_one_sentence(tmp_path: Path, extension: str) -> None:
    text = "".join(f"http://a/{number}{'x' * (number % 9)}\n" for number in range(50_000)).encode()
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list.txt", text)
    whole = {"gz": gzip.compress(text), "bz2": bz2.compress(text), "xz": lzma.compress(text)}
    content = whole.get(extension) or (tmp_path / "zip").read_bytes()
    path = tmp_path / f"list.txt.{extension}"
    chance = random.Random(4)
    for _ in range(10):
        damaged = bytearray(content)
        place = chance.randrange(len(content) - 40)
        damaged[place : place + 30] = chance.randbytes(30)
        path.write_bytes(damaged)
        with pytest.raises((OptionsError, ShardError), match=r"cannot be read|is no text file"):
            read(path)


def test_a_text_list_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("http://a\n")
    assert "caption_col needs columns" in refused(tmp_path / "list.txt", caption_col="text")


def test_a_folder_of_several_formats_asks_which(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://a\n")
    (tmp_path / "b.csv").write_text("url\nhttp://b\n")
    assert "give input_format" in refused(tmp_path)
    assert urls(read(tmp_path, input_format="csv")) == ["http://b"]


def test_a_list_that_breaks_off_fails_loudly_after_what_came_before(tmp_path: Path) -> None:
    rows = "".join(f"http://a/{number},{'x' * 90}\n" for number in range(200_000))
    (tmp_path / "list.csv").write_text("url,n\n" + rows + "http://broken,1,2,3\n")
    shards = Reader(ReadOptions(url_list=str(tmp_path / "list.csv"), number_sample_per_shard=10_000)).shards()
    assert next(shards).count == 10_000
    with pytest.raises(ShardError, match="cannot be read to its end"):
        list(shards)
