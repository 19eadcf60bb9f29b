"""The output of `output_format=huggingface`: what the real library makes of it, and of a folder that was mended."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, mixed_rows, run, write_list
from mockserver import MockServer

from img2dataset import download
from img2dataset.dataset_card import CARD, MARK
from img2dataset.errors import OptionsError, ShardError
from img2dataset.filesystem import open_folder
from img2dataset.verify import verify

ABOUT = b'{"info":{"features":{"image":{"_type":"Image"}}}}'
ROWS = 24
IMAGES = 17  # of them
WORDS: dict[str, Any] = {"output_format": "huggingface", "number_sample_per_shard": 10, "thread_count": 4}


@pytest.fixture
def rows(server: MockServer) -> list[str]:
    """The second shard of ten has the only rows without a picture at its end; a third has none at all."""
    return [*mixed_rows(server, ROWS), *(server.url(f"/status/404?late={n}") for n in range(10))]


def make(tmp_path: Path, rows: list[str], **options: Any) -> Path:
    out = tmp_path / "out"
    download(write_list(tmp_path / "list.txt", rows), 64, str(out), **{**WORDS, **options})
    return out


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def assert_pictures(dataset: Any, out: Path) -> None:
    """Every image of the metadata is a picture of Pillow's in the dataset, in order."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted(out.glob("*.parquet")))
    table = table.filter(pa.compute.equal(table["status"], "success"))
    assert list(dataset["key"]) == table["key"].to_pylist()
    for row, size in zip(
        dataset, zip(*(table[name].to_pylist() for name in ("width", "height")), strict=True), strict=True
    ):
        assert row["image"].size == size
        assert row["image"].convert("RGB").getpixel((0, 0))


def test_the_library_gives_pictures(tmp_path: Path, rows: list[str], load: Callable[[Path], Any]) -> None:
    out = make(tmp_path, rows)
    numbers = range(4)
    parts = [f"{n:05d}{suffix}" for n in numbers for suffix in (".parquet", "_stats.json")]
    assert files(out) == sorted([CARD, *parts, *(f"data/train-{n:05d}.parquet" for n in numbers)])
    dataset = load(out)
    assert len(dataset) == IMAGES
    assert_pictures(dataset, out)
    assert dataset.features["image"].dtype == "PIL.Image.Image"
    checked_metadata(out, rows)
    assert verify(str(out), decode=True) == {}


def test_without_the_card_of_a_run_that_was_killed_it_gives_them_too(
    tmp_path: Path, rows: list[str], load: Callable[[Path], Any]
) -> None:
    out = make(tmp_path, rows)
    (out / CARD).unlink()
    assert_pictures(load(out), out)


def test_the_files_are_as_the_hub_wants_them(tmp_path: Path, rows: list[str]) -> None:
    out = make(tmp_path, rows)
    for path in (out / "data").iterdir():
        file = pq.ParquetFile(path)
        field = file.schema_arrow.field("image")
        assert field.equals(pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
        assert file.schema_arrow.metadata[b"huggingface"] == ABOUT
        assert file.schema_arrow.names == [*pq.read_schema(out / "00000.parquet").names, "image"]
        for group in range(file.num_row_groups):
            columns = {
                (c := file.metadata.row_group(group).column(n)).path_in_schema: c
                for n in range(file.metadata.num_columns)
            }
            assert columns["key"].has_offset_index
            assert columns["key"].has_column_index
            assert not columns["image.bytes"].is_stats_set
    paths = pq.read_table(out / "data/train-00000.parquet")["image"].combine_chunks().field("path")
    assert paths.to_pylist()[:2] == ["000000.jpg", "000001.jpg"]
    assert pq.read_metadata(out / "data/train-00003.parquet").num_rows == 0


def test_what_failed_is_tried_again(server: MockServer, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    urls = [server.url(f"/image/late{n}.jpg") for n in range(12)]
    there = server.url("/photo/100x100.jpg")
    out = make(tmp_path, [*urls, there])
    assert len(load(out)) == 1
    from mockserver import photo

    server.images.update({f"late{n}.jpg": ("image/jpeg", photo(64, 64)) for n in range(12)})
    make(tmp_path, [*urls, there], incremental_mode="retry_failed", retry_statuses=["http 404"])
    assert len(load(out)) == 13
    assert_pictures(load(out), out)
    assert verify(str(out), decode=True) == {}
    assert "13 images of 13 URLs" in (out / CARD).read_text()


def test_a_shard_that_lost_its_pictures_is_named_mended_and_done_again(
    tmp_path: Path, rows: list[str], load: Callable[[Path], Any]
) -> None:
    out = make(tmp_path, rows)
    (out / "data/train-00001.parquet").unlink()
    assert list(verify(str(out))) == ["00001"]
    verify(str(out), repair=True)
    assert [name for name in files(out) if "00001" in name] == []
    make(tmp_path, rows)
    assert verify(str(out), decode=True) == {}
    assert_pictures(load(out), out)


def test_pictures_without_a_stats_file_are_somebody_elses(tmp_path: Path, rows: list[str]) -> None:
    out = make(tmp_path, rows)
    for name in ("00001_stats.json", "00001.parquet"):
        (out / name).unlink()
    with pytest.raises(OptionsError, match=r"holds 'data/train-00001.parquet', which has no 00001_stats.json"):
        make(tmp_path, rows)
    assert list(verify(str(out))) == ["00001"]
    with pytest.raises(OptionsError, match=r"holds 'data/train-00001.parquet', which img2dataset did not write"):
        make(tmp_path, rows, incremental_mode="overwrite")


def test_overwrite_takes_the_card_and_the_pictures_for_its_own_and_nothing_else(
    tmp_path: Path, rows: list[str]
) -> None:
    out = make(tmp_path, rows)
    make(tmp_path, rows[:3], incremental_mode="overwrite")
    assert files(out) == [f"00000{suffix}" for suffix in (".parquet", "_stats.json")] + [
        CARD,
        "data/train-00000.parquet",
    ]
    (out / "data/mine.txt").write_text("mine")
    with pytest.raises(OptionsError, match=r"holds 'data/mine.txt', which img2dataset did not write"):
        make(tmp_path, rows, incremental_mode="overwrite")


def test_a_card_that_somebody_made_their_own_stays(tmp_path: Path, rows: list[str]) -> None:
    out = make(tmp_path, rows[:3])
    assert "3 URLs" in (out / CARD).read_text()
    mine = (out / CARD).read_text().replace(MARK + "\n", "license: cc0-1.0\n")
    (out / CARD).write_text(mine)
    make(tmp_path, rows)
    assert (out / CARD).read_text() == mine
    with pytest.raises(OptionsError, match=r"holds 'README.md', which img2dataset did not write"):
        make(tmp_path, rows, incremental_mode="overwrite")


def test_the_card_tells_how_many_and_how(tmp_path: Path, rows: list[str]) -> None:
    text = (make(tmp_path, rows) / CARD).read_text()
    assert f"{IMAGES} images of {len(rows)} URLs, in 4 shards." in text
    assert "* `image_size`: `64`" in text
    assert "| `failed_to_resize` | 2 |" in text
    head = text.split("---\n")[1]
    assert "license" not in head


def test_a_file_called_data_fails_the_shards_and_stays(tmp_path: Path, rows: list[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/data").write_text("mine")
    with pytest.raises(ShardError, match="1 shard failed"):
        make(tmp_path, rows[:3])
    assert (tmp_path / "out/data").read_text() == "mine"


def test_a_store_holds_the_same(tmp_path: Path, rows: list[str], s3_bucket: str, load: Callable[[Path], Any]) -> None:
    url_list = write_list(tmp_path / "list.txt", rows)
    download(url_list, 64, f"{s3_bucket}/out", **WORDS)
    store = fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    store.get(f"{s3_bucket}/out/", str(tmp_path / "got/"), recursive=True)
    got = next(path.parent for path in (tmp_path / "got").rglob(CARD))
    assert_pictures(load(got), got)
    assert verify(f"{s3_bucket}/out", decode=True) == {}
    download(url_list, 64, f"{s3_bucket}/out", **WORDS, incremental_mode="overwrite")
    assert sorted(open_folder(f"{s3_bucket}/out").names()) == sorted(path.name for path in got.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"save_metadata": False}, "save_metadata is false and output_format is huggingface"),
        ({"save_additional_columns": ["image"]}, "save_additional_columns names 'image'"),
        ({"output_folder": "hf://datasets/me/mine"}, "upload it with the Hub's own command: hf upload"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    url_list = write_list(tmp_path / "list.txt", ["http://127.0.0.1:9/"])
    with pytest.raises(OptionsError, match=sentence):
        download(url_list, **{"output_folder": str(tmp_path / "out"), **WORDS, **options})
    assert not (tmp_path / "out").exists()
    words = [f"--{name}={json.dumps(value) if isinstance(value, list) else value}" for name, value in options.items()]
    code, said = run(url_list, "--output_format=huggingface", *words)
    assert (code, said.count("\n")) == (2, 1)
    assert sentence in said
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
