"""Arrow arrays without pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from mockserver import MockServer

from img2dataset.arrow import binaries, integers, strings


@given(st.lists(st.none() | st.text()))
def test_strings(values: list[str | None]) -> None:
    array = strings(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)))
def test_integers(values: list[int | None]) -> None:
    array = integers(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.int32()))


@given(st.lists(st.none() | st.binary()))
def test_binaries(values: list[bytes | None]) -> None:
    array = binaries(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.binary()))


def test_what_is_no_utf8_does_not_break_the_column() -> None:
    assert strings(["a\ud800b"]).to_pylist() == ["a?b"]


def test_a_run_does_not_import_pandas(server: MockServer, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(server.url("/photo/32x32.jpg"))
    program = f"""
import sys
from img2dataset.downloader import Downloader
from img2dataset.options import *
from img2dataset.reader import Reader
read = ReadOptions(url_list={str(tmp_path / "list.txt")!r})
write = WriteOptions(output_folder={str(tmp_path)!r}, output_format="parquet")
run = Downloader(read=read, fetch=FetchOptions(thread_count=1), resize=ResizeOptions(), write=write)
events = list(run(Reader(read).shards()))
print(events[-1].successes, "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1 False\n"
