"""The dataset card that `dataset_card=True` gives folders of files and tars, as the real library opens them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, mixed_rows, write_list
from mockserver import MockServer, photo

from img2dataset import download
from img2dataset.dataset_card import CARD
from img2dataset.errors import OptionsError
from img2dataset.verify import verify

ROWS = 24
IMAGES = 17  # of them
WORDS: dict[str, Any] = {"number_sample_per_shard": 10, "thread_count": 4, "dataset_card": True}
WITH_CARD = pytest.mark.parametrize("output_format", ["files", "webdataset"])


def the_list(server: MockServer, tmp_path: Path) -> str:
    """A list whose first shard has nothing but nulls in its columns, and the others have none."""

    def column(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([value if row >= 10 else None for row in range(ROWS)], kind)

    table = {
        "url": mixed_rows(server, ROWS),
        "text": column("a cat 🐈", pa.string()),
        "score": column(1.5, pa.float32()),
        "number": column(7, pa.int64()),
        "tags": column(["a", "b"], pa.list_(pa.string())),
        "nested": column({"a": 1, "b": [0.5]}, pa.struct([("a", pa.int32()), ("b", pa.list_(pa.float64()))])),
        "when": column(1, pa.date32()),
    }
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    return str(tmp_path / "list.parquet")


def make(server: MockServer, tmp_path: Path, output_format: str, **options: Any) -> Path:
    out = tmp_path / "out"
    columns = {"caption_col": "text", "save_additional_columns": ["score", "number", "tags", "nested", "when"]}
    words = {**WORDS, "output_format": output_format, **columns, **options}
    download(the_list(server, tmp_path), 64, str(out), **words)
    return out


def test_a_folder_of_files_shows_its_pictures(server: MockServer, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    out = make(server, tmp_path, "files")
    dataset = load(out)
    assert len(dataset) == IMAGES
    first, last = sorted(dataset, key=lambda row: row["key"])[:: IMAGES - 1]
    assert first["image"].size == last["image"].size == (64, 64)
    assert (first["caption"], last["caption"]) == (None, "a cat 🐈")
    assert (first["number"], last["number"], last["score"], last["tags"]) == (None, 7, 1.5, ["a", "b"])
    assert verify(str(out), decode=True) == {}
    lines = [json.loads(line) for line in (out / "00000/metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == sorted(path.name for path in (out / "00000").glob("*.jpg"))


def test_a_folder_of_tars_shows_its_pictures(server: MockServer, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    out = make(server, tmp_path, "webdataset")
    dataset = load(out)
    assert len(dataset) == IMAGES
    first, last = dataset[0], dataset[IMAGES - 1]
    assert first["jpg"].size == last["jpg"].size == (64, 64)
    assert (first["txt"], last["txt"]) == ("", "a cat 🐈")
    assert (first["json"]["caption"], last["json"]["caption"]) == (None, "a cat 🐈")
    assert last["json"]["nested"] == {"a": 1, "b": [0.5]}
    assert (last["json"]["tags"], last["json"]["when"]) == (["a", "b"], "1970-01-02")
    assert verify(str(out), decode=True) == {}


@WITH_CARD
@pytest.mark.parametrize(
    "options",
    [{"save_metadata": False}, {"caption_col": None}, {"disable_all_reencoding": True}, {"encode_format": "webp"}],
    ids=lambda options: next(iter(options)),
)
def test_it_does_whatever_is_kept(
    server: MockServer, tmp_path: Path, load: Callable[[Path], Any], output_format: str, options: dict[str, Any]
) -> None:
    dataset = load(make(server, tmp_path, output_format, **options))
    assert len(dataset) == IMAGES
    pictures = [value for row in dataset for value in row.values() if hasattr(value, "getpixel")]
    assert len(pictures) == IMAGES


@WITH_CARD
def test_retry_and_overwrite_take_the_cards_files_for_their_own(
    server: MockServer, tmp_path: Path, load: Callable[[Path], Any], output_format: str
) -> None:
    server.images.pop("late.jpg", None)
    rows = [*mixed_rows(server, 3), server.url("/image/late.jpg")]
    url_list = write_list(tmp_path / "list.txt", rows)
    options = {**WORDS, "output_format": output_format}
    out = tmp_path / "out"
    download(url_list, 64, str(out), **options)
    assert len(load(out)) == 3
    server.images["late.jpg"] = ("image/jpeg", photo(64, 64))
    download(url_list, 64, str(out), **options, incremental_mode="retry_failed", retry_statuses=["http 404"])
    checked_metadata(out, rows)
    assert len(load(out)) == 4
    assert verify(str(out), decode=True) == {}
    download(url_list, 64, str(out), **options, incremental_mode="overwrite")
    assert "4 images of 4 URLs" in (out / CARD).read_text()


def test_without_it_nothing_is_written_and_shards_of_files_with_and_without_are_not_mixed(
    server: MockServer, tmp_path: Path
) -> None:
    out = make(server, tmp_path, "files", dataset_card=None)
    assert [path for path in out.rglob("*") if path.name in (CARD, "metadata.jsonl")] == []
    with pytest.raises(OptionsError, match="was made with dataset_card=False, and this run has dataset_card=True"):
        make(server, tmp_path, "files")
    out = make(server, tmp_path, "huggingface", dataset_card=False, incremental_mode="overwrite")
    assert not (out / CARD).exists()


@pytest.mark.parametrize("output_format", ["parquet", "dummy", "tfrecord"])
def test_other_formats_have_none(server: MockServer, tmp_path: Path, output_format: str) -> None:
    with pytest.raises(OptionsError, match=f"dataset_card is true, and what output_format={output_format} writes"):
        make(server, tmp_path, output_format)


def test_a_column_by_which_the_library_would_look_for_pictures_is_refused(server: MockServer, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="save_additional_columns names 'file_name'"):
        make(server, tmp_path, "files", save_additional_columns=["file_name"])
