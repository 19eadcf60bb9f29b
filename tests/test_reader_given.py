"""What a list may be given as: patterns, pipes, and from Python paths, lists and tables."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, metadata, photo
from mockserver import MockServer

from img2dataset import download
from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions
from img2dataset.reader import Given, Reader

OPTIONS: dict[str, Any] = {"image_size": 16, "output_format": "webdataset", "thread_count": 8}


def urls_of(url_list: str) -> list[str | None]:
    reader = Reader(ReadOptions(url_list=url_list))
    reader.check()
    return [url for shard in reader.shards() for url in shard.table()["url"].to_pylist()]


def test_a_pattern_is_its_files_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name in ("b.txt", "a.txt", "part/c.txt", ".hidden.txt", "list.csv"):
        (tmp_path / name).write_text(f"http://{name}\n")
    assert urls_of(f"{tmp_path}/*.txt") == ["http://a.txt", "http://b.txt"]
    assert urls_of(f"{tmp_path}/**/*.txt") == ["http://a.txt", "http://b.txt", "http://part/c.txt"]
    assert urls_of(f"{tmp_path}/[b-z].t?t") == ["http://b.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "list[1].txt").write_text("http://a\n")
    (tmp_path / "list1.txt").write_text("http://b\n")
    assert urls_of(str(tmp_path / "list[1].txt")) == ["http://a"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("*.parquet", "a pattern that no file has"), ("empty", "a folder with no file to read in it")],
)
def test_what_has_no_file_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionsError, match=says):
        urls_of(str(tmp_path / name))


@pytest.fixture
def rows(server: MockServer) -> list[str]:
    return [photo(server, number) for number in range(7)]


def test_download_takes_what_python_has(server: MockServer, rows: list[str], tmp_path: Path) -> None:
    table = pa.table({"url": rows, "caption": [f"c{number}" for number in range(7)]})
    (tmp_path / "a.txt").write_text("\n".join(rows[:4]))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\n".join(rows[4:]).encode()))
    pq.write_table(table, tmp_path / "list.parquet")
    (tmp_path / "list").write_text("\n".join(rows))
    pair = [tmp_path / "a.txt", str(tmp_path / "b.txt.gz")]
    given: dict[str, tuple[Any, dict[str, Any]]] = {
        "path": (tmp_path / "list.parquet", {"caption_col": "caption"}),
        "urls": (rows, {}),
        "tuple": (tuple(rows), {}),
        "paths": (pair, {}),
        "told": ([str(tmp_path / "list")], {"input_format": "txt"}),
        "frame": (table.to_pandas(), {"caption_col": "caption"}),
        "table": (table, {"caption_col": "caption"}),
    }
    for name, (url_list, options) in given.items():
        folder = tmp_path / "out" / name
        for _ in range(2):  # the second time there is nothing to do
            stats = download(url_list, output_folder=str(folder), number_sample_per_shard=4, **OPTIONS, **options)
        assert stats.count == 0, name
        found = checked_metadata(folder, rows)
        assert found["caption"].dropna().tolist() == (
            table["caption"].to_pylist() if options.get("caption_col") else []
        )
    assert server is not None


@pytest.mark.parametrize(
    ("url_list", "says"),
    [
        ([], "url_list is an empty list"),
        (["http://a/1.jpg", "list.csv"], "looks like a file of URLs, and 'http://a/1.jpg', which looks like a URL"),
        (["http://a/1.jpg", Path("list")], "'list', which looks like a file of URLs"),
        (["http://a/1.jpg", None], "url_list has None as item 1; each must be a path or a URL"),
        (7, "url_list is of type int; it must be a path, a list of paths or of URLs"),
        ({"url": ["a"]}, "url_list is of type dict"),
        (None, "url_list is of type NoneType"),
        ("", "url_list is ''; it must be a text that is not empty"),
        (pd.DataFrame({"link": ["a"]}), "the DataFrame has no column 'url'; its columns are: link"),
        (pd.DataFrame({"url": [["a"], "b"]}), "url_list is a DataFrame that Arrow does not take"),
        (pa.table({"url": [["a"]]}), "it must be text"),
        (pa.table({"url": pa.array([], pa.string())}), "which has no URL in it"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, url_list: Any, says: str) -> None:
    with pytest.raises(OptionsError) as error:
        download(url_list, output_folder=str(tmp_path / "out"))
    assert says in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_table_has_no_input_format(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="input_format is 'csv', and url_list is a Table, which is no file"):
        download(pa.table({"url": ["a"]}), output_folder=str(tmp_path / "out"), input_format="csv")


def test_the_rows_of_a_table_are_known_at_once(tmp_path: Path) -> None:
    table = pa.table({"url": ["a", "b"]})
    assert Reader(ReadOptions(url_list="x"), Given("x", table=table)).total_rows() == 2
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert Reader(ReadOptions(url_list=str(tmp_path))).total_rows() == 4
    (tmp_path / "list.txt").write_text("a\n")
    assert Reader(ReadOptions(url_list=str(tmp_path / "list.txt"))).total_rows() is None


def piped(content: bytes, folder: Path, *words: str, list_name: str = "-") -> tuple[int, str]:
    """The command with a list on its standard input: exit code, and what it said."""
    options = [f"--{name}={value}" for name, value in (OPTIONS | {"number_sample_per_shard": 4}).items()]
    command = [sys.executable, "-m", "img2dataset", list_name, f"--output_folder={folder}", *options, *words]
    done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_read_as_it_comes(rows: list[str], tmp_path: Path, name: str) -> None:
    assert piped("\n".join(rows).encode(), tmp_path / "out", list_name=name)[0] == 0
    checked_metadata(tmp_path / "out", rows)


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_standard_input_may_be_compressed_and_have_columns(rows: list[str], tmp_path: Path, kind: str) -> None:
    records = [f'{{"n": 1, "url": "{row}"}}' for row in rows]
    text = {"csv": "url,n\n" + "".join(f"{row},1\n" for row in rows), "json": "[" + ",".join(records) + "]"}
    content = gzip.compress(text.get(kind, "\n".join(records)).encode())
    code, said = piped(content, tmp_path / "out", f"--input_format={kind}.gz", "--save_additional_columns=n")
    assert code == 0, said
    assert checked_metadata(tmp_path / "out", rows)["n"].tolist() == [1] * 7


def test_a_named_pipe_is_read_once(rows: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    writer = threading.Thread(target=lambda: (tmp_path / "list.txt").write_text("\n".join(rows)))
    writer.start()
    stats = download(tmp_path / "list.txt", output_folder=str(tmp_path / "out"), number_sample_per_shard=2, **OPTIONS)
    writer.join()
    assert stats.count == 7
    checked_metadata(tmp_path / "out", rows)


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        (b"", [], "no URL in it"),
        (b"PAR1", ["--input_format=parquet"], "can be read neither from a pipe nor out of .zst"),
        (b"link\na\n", ["--input_format=csv"], "has no column 'url'; its columns are: link"),
        ("a\nb\n".encode("utf-16"), [], "is written in UTF-16"),
    ],
)
def test_a_wrong_standard_input_is_refused(tmp_path: Path, content: bytes, words: list[str], says: str) -> None:
    code, said = piped(content, tmp_path / "out", *words)
    assert (code, says in said) == (2, True), said
    assert not (tmp_path / "out").exists()


def test_a_pipe_comes_back(rows: list[str], tmp_path: Path) -> None:
    """A list that is longer than a block, of which some shards are done, one is missing, and that has grown."""
    many = [rows[number % 7] + f"&more={number}" for number in range(18)]
    folder = tmp_path / "out"
    assert piped("\n".join(many).encode(), folder)[0] == 0
    for path in folder.glob("00002*"):
        path.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("0000[013].tar")}
    grown = [*many, *(f"{rows[0]}&grown={number}" for number in range(8))]
    code, said = piped("\n".join(grown).encode(), folder)
    assert code == 0, said
    assert "was made from this list" in said
    checked_metadata(folder, grown)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("0000[013].tar")} == before
    assert piped("\n".join(grown).encode(), folder)[0] == 0
    checked_metadata(folder, grown)


def test_a_pipe_whose_later_rows_are_others_stops_with_what_came_before_done(rows: list[str], tmp_path: Path) -> None:
    many = [f"{rows[0]}&more={number}" for number in range(1020)]
    folder = tmp_path / "out"
    quick = ["--number_sample_per_shard=255", "--disable_all_reencoding=True", "--output_format=dummy"]
    assert piped("\n".join(many).encode(), folder, *quick)[0] == 0
    (folder / "00000_stats.json").unlink()
    other = [*many[:1010], *("http://127.0.0.1:1/" for _ in range(10))]
    code, said = piped("\n".join(other).encode(), folder, *quick)
    assert code == 1
    assert "shard 3 was made from other rows than the list has there" in said
    assert (folder / "00000_stats.json").exists()
    code, said = piped("\n".join(many[:1005]).encode(), folder, *quick)
    assert code == 1, said
    assert "other rows" in said
    code, said = piped("\n".join(many[:510]).encode(), folder, *quick)
    assert "another list" in said or "continuing at shard" in said


def test_other_first_rows_of_a_pipe_are_another_list(rows: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert piped("\n".join(rows).encode(), folder)[0] == 0
    code, said = piped("\n".join(rows[::-1]).encode(), folder)
    assert code == 0
    assert "continuing at shard 00002" in said
    assert metadata(folder)["url"].tolist() == rows + rows[::-1]
    assert piped("\n".join(rows[1:]).encode(), folder, "--incremental_mode=incremental")[0] == 2
