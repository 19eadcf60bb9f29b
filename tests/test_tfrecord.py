"""The output of `output_format=tfrecord`: as a second library reads it, and what damage of a file comes to."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, mixed_rows, run, write_list
from mockserver import MockServer
from tfrecord.reader import tfrecord_loader

from img2dataset import download
from img2dataset.errors import OptionsError
from img2dataset.filesystem import open_folder
from img2dataset.formats import example, load_format
from img2dataset.verify import check_shard, verify

ROOT = Path(__file__).parent.parent
WORDS: dict[str, Any] = {"output_format": "tfrecord", "number_sample_per_shard": 10, "thread_count": 4}
COLUMNS = {
    "score": pa.array([7, None, -(2**40)], pa.int64()),
    "share": pa.array([0.5, None, 2.0], pa.float64()),
    "is_good": pa.array([True, False, None]),
    "large": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "tags": pa.array([["a", None], None, []], pa.list_(pa.string())),
    "sizes": pa.array([[1, 2], None, [3]], pa.list_(pa.int32())),
    "raw": pa.array([b"\xff", None, b""], pa.binary()),
    "when": pa.array([0, None, 1], pa.date32()),
    "nested": pa.array([{"a": 1}, None, {"a": None}]),
}


def loaded(path: Path, description: dict[str, str]) -> list[dict[str, Any]]:
    """The records of a file as the library tfrecord reads them."""
    return list(tfrecord_loader(str(path), None, description))


def text(feature: Any) -> str:
    return bytes(feature).decode()


def test_a_second_library_reads_every_record(server: MockServer, tmp_path: Path) -> None:
    rows = mixed_rows(server, 24)
    out = tmp_path / "out"
    download(write_list(tmp_path / "list.txt", rows), 64, str(out), **WORDS)
    names = [f"{number:05d}{suffix}" for number in range(3) for suffix in (".parquet", ".tfrecord", "_stats.json")]
    assert sorted(path.name for path in out.iterdir()) == names
    table = checked_metadata(out, rows)
    saved = table[table["status"] == "success"]
    features = {"key": "byte", "jpg": "byte", "url": "byte", "width": "int", "shard_id": "int", "caption": "byte"}
    records = [record for number in range(3) for record in loaded(out / f"{number:05d}.tfrecord", features)]
    assert [text(record["key"]) for record in records] == saved["key"].tolist()
    assert [text(record["url"]) for record in records] == saved["url"].tolist()
    assert [int(record["width"][0]) for record in records] == saved["width"].tolist()
    assert [int(record["shard_id"][0]) for record in records] == saved["shard_id"].tolist()
    assert all(bytes(record["jpg"]).startswith(b"\xff\xd8\xff") for record in records)
    assert verify(str(out), decode=True) == {}


def test_columns_keep_their_kinds(server: MockServer, tmp_path: Path) -> None:
    urls = [server.url(f"/photo/64x64.jpg?row={n}") for n in range(3)]
    pq.write_table(pa.table({"url": urls, "text": ["a cat 🐈", None, ""], **COLUMNS}), tmp_path / "list.parquet")
    wanted = {"caption_col": "text", "save_additional_columns": list(COLUMNS), **WORDS}
    download(str(tmp_path / "list.parquet"), 64, str(tmp_path / "out"), **wanted)
    description = {
        "caption": "byte",
        "score": "int",
        "share": "float",
        "is_good": "int",
        "large": "byte",
        "sizes": "int",
    }
    description |= dict.fromkeys(("tags", "raw", "when", "nested", "error_message"), "byte")
    first, second, third = loaded(tmp_path / "out/00000.tfrecord", description)
    assert [text(each["caption"]) for each in (first, second, third)] == ["a cat 🐈", "", ""]
    assert [each["score"].tolist() for each in (first, second, third)] == [[7], [], [-(2**40)]]
    assert [each["share"].tolist() for each in (first, second, third)] == [[0.5], [], [2.0]]
    assert [each["is_good"].tolist() for each in (first, second, third)] == [[1], [0], []]
    assert [each["sizes"].tolist() for each in (first, second, third)] == [[1, 2], [], [3]]
    assert [text(each["large"]) for each in (first, second)] == [str(2**64 - 1), ""]
    assert [text(each["tags"]) for each in (first, second, third)] == ['["a", null]', "", "[]"]
    assert [bytes(each["raw"]) for each in (first, second)] == [b"\xff", b""]
    assert [text(each["when"]) for each in (first, second)] == ["1970-01-01", ""]
    assert [text(each["nested"]) for each in (first, third)] == ['{"a": 1}', '{"a": null}']
    assert text(first["error_message"]) == ""


def test_without_metadata_there_are_key_and_image(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [server.url("/photo/64x64.png")])
    download(url_list, 64, str(tmp_path / "out"), **WORDS, save_metadata=False, encode_format="webp")
    (record,) = loaded(tmp_path / "out/00000.tfrecord", {})
    assert sorted(record) == ["key", "webp"]
    assert verify(str(tmp_path / "out"), decode=True) == {}


def test_what_failed_is_tried_again(server: MockServer, tmp_path: Path) -> None:
    from mockserver import photo

    urls = [server.url(f"/image/tf{n}.jpg") for n in range(12)] + [server.url("/photo/64x64.jpg")]
    url_list = write_list(tmp_path / "list.txt", urls)
    out = tmp_path / "out"
    download(url_list, 64, str(out), **WORDS)
    before = loaded(out / "00001.tfrecord", {"jpg": "byte"})
    server.images.update({f"tf{n}.jpg": ("image/jpeg", photo(64, 64)) for n in range(12)})
    download(url_list, 64, str(out), **WORDS, incremental_mode="retry_failed", retry_statuses=["http 404"])
    after = loaded(out / "00001.tfrecord", {"jpg": "byte"})
    assert (len(before), len(after)) == (1, 3)
    assert bytes(before[0]["jpg"]) == bytes(after[2]["jpg"])
    assert verify(str(out), decode=True) == {}


@pytest.mark.parametrize("length", [0, 4, 8, 11, 12, 500, -1])
def test_a_record_that_is_cut_is_damage(server: MockServer, tmp_path: Path, length: int) -> None:
    url_list = write_list(tmp_path / "list.txt", [server.url(f"/photo/64x64.jpg?row={n}") for n in range(2)])
    download(url_list, 64, str(tmp_path / "out"), **WORDS)
    path = tmp_path / "out/00000.tfrecord"
    path.write_bytes(path.read_bytes()[:length])
    broken = verify(str(tmp_path / "out"))
    cut = "it has 0 images" if length == 0 else "the samples of 00000 cannot be read: EOFError: it is cut short"
    assert broken["00000"].startswith(cut.replace("EOFError: ", "")), broken


def test_a_flipped_bit_is_damage_wherever_it_is(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [server.url("/photo/8x8.jpg")])
    download(url_list, 8, str(tmp_path / "out"), **WORDS)
    path = tmp_path / "out/00000.tfrecord"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert list(verify(str(tmp_path / "out"))) == ["00000"], place
        if place > 70:
            break
    path.write_bytes(whole)
    check_shard(open_folder(str(tmp_path / "out")), "00000", True)


def test_a_record_that_is_no_example_is_damage() -> None:
    with pytest.raises(ValueError, match=r"no tf\.train.Example"):
        example.from_bytes(b"\xff" * 20)


def test_a_record_of_an_unbelievable_length_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "00000.tfrecord").write_bytes(struct.pack("<Q", 2**62) + bytes(4))
    with pytest.raises(ValueError, match="checksum"):
        list(load_format("tfrecord").read(open_folder(str(tmp_path)), "00000"))


def test_without_the_extra_it_says_in_the_first_second_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "crc32c.py").write_text("raise ImportError('No module named crc32c')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    words = [write_list(tmp_path / "list.txt", ["http://127.0.0.1:9/"]), "--output_format=tfrecord"]
    command = [sys.executable, "-m", "img2dataset", *words, f"--output_folder={tmp_path / 'out'}"]
    began = time.monotonic()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 5  # on a machine that does much else
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "pip install img2dataset[tfrecord]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_column_called_like_an_image_is_refused(tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", ["http://127.0.0.1:9/"])
    with pytest.raises(OptionsError, match="save_additional_columns names 'png'"):
        download(url_list, output_folder=str(tmp_path / "out"), **WORDS, save_additional_columns=["png"])
    assert run(url_list, "--output_format=tfrecord", "--save_additional_columns=[png]")[0] == 2


def test_the_same_samples_give_the_same_bytes(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", mixed_rows(server, 10))
    for name in ("one", "other"):
        download(url_list, 64, str(tmp_path / name), **WORDS)
    assert (tmp_path / "one/00000.tfrecord").read_bytes() == (tmp_path / "other/00000.tfrecord").read_bytes()
