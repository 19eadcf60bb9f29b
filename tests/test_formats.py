"""Samples ⇄ the files of a shard, in every format."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from img2dataset.filesystem import open_folder
from img2dataset.formats import FORMATS, Format, image_of, load_format, names_in
from img2dataset.metadata import Sample, own_columns
from img2dataset.options import ReadOptions, WriteOptions
from img2dataset.shards import Rows, Shard, sample_key, to_ipc
from img2dataset.stats import FAILED_TO_DOWNLOAD, SUCCESS, ShardStats

WITH_IMAGES = [name for name in FORMATS if name != "dummy"]
CAPTIONS = ["émoji 🐈", "", None]


def make_shard() -> Shard:
    table = pa.table(
        {
            "score": pa.array([1, None, 3], pa.int16()),
            "when": pa.array([0, 1, 2], pa.date32()),
            "url": ["http://a/0", "http://a/1", None],
            "caption": CAPTIONS,
        }
    )
    return Shard(id=7, index=7, source="list.parquet", first_row=21, count=3, rows=to_ipc(table))


def make_sample(index: int, image: bytes | None) -> Sample:
    size = None if image is None else 4
    return Sample(
        index=index,
        key=sample_key(7, index, 100),
        url=None if index == 2 else f"http://a/{index}",
        caption=CAPTIONS[index],
        status=FAILED_TO_DOWNLOAD if image is None else SUCCESS,
        error_message="http 404" if image is None else None,
        width=size,
        height=size,
        original_width=size,
        original_height=size,
        exif=None if image is None else "{}",
        digest=None if image is None else "abc",
        image=image,
        extension=image and "jpg",
    )


def make_writer(path: Path, output_format: str, **options: object) -> Format:
    write = WriteOptions(output_folder=str(path), output_format=output_format, **options)  # type: ignore[arg-type]
    read = ReadOptions(url_list="x", caption_col="caption", save_additional_columns=("score", "when"))
    shard = make_shard()
    return load_format(output_format)(shard, Rows.of(shard, read), open_folder(str(path)), write, ["jpg"])


def write_shard(path: Path, output_format: str, **options: object) -> None:
    with make_writer(path, output_format, **options) as writer:
        for index in range(3):
            writer.write(make_sample(index, None if index == 1 else b"image %d" % index))
        writer.commit(ShardStats(shard_id=7))


def test_files_are_a_folder_of_images_captions_and_records(tmp_path: Path) -> None:
    write_shard(tmp_path, "files")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00007", "00007.parquet", "00007_stats.json"]
    names = sorted(path.name for path in (tmp_path / "00007").iterdir())
    assert names == [f"{key}.{part}" for key in ("0000700", "0000702") for part in ("jpg", "json", "txt")]
    assert (tmp_path / "00007/0000700.jpg").read_bytes() == b"image 0"
    assert (tmp_path / "00007/0000700.txt").read_text(encoding="utf-8") == "émoji 🐈"
    assert (tmp_path / "00007/0000702.txt").read_bytes() == b""


def test_webdataset_holds_the_same_names_in_a_tar(tmp_path: Path) -> None:
    write_shard(tmp_path, "webdataset")
    with tarfile.open(tmp_path / "00007.tar") as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert sorted(content) == [f"{key}.{part}" for key in ("0000700", "0000702") for part in ("jpg", "json", "txt")]
    assert content["0000702.jpg"] == b"image 2"
    record = json.loads(content["0000702.json"])
    assert list(record) == ["score", "when", *own_columns(WriteOptions())]
    assert (record["score"], record["when"], record["caption"]) == (3, "1970-01-03", None)


@pytest.mark.parametrize("output_format", WITH_IMAGES)
def test_the_parquet_file_has_a_row_for_every_input_row_in_key_order(tmp_path: Path, output_format: str) -> None:
    write_shard(tmp_path, output_format)
    table = pq.read_table(tmp_path / "00007.parquet")
    expected = ["score", "when", "url", "caption", "key", "shard_id", "status", "error_message", "width", "height"]
    expected += ["original_width", "original_height", "exif", "sha256"]
    assert table.column_names == expected + (["jpg"] if output_format == "parquet" else [])
    assert table.schema.field("score").type == pa.int16()
    assert {table.schema.field(name).type for name in ("shard_id", "width")} == {pa.int32()}
    assert table["key"].to_pylist() == ["0000700", "0000701", "0000702"]
    assert table["status"].to_pylist() == [SUCCESS, FAILED_TO_DOWNLOAD, SUCCESS]
    assert table["caption"].to_pylist() == CAPTIONS
    if output_format == "parquet":
        assert table["jpg"].to_pylist() == [b"image 0", None, b"image 2"]


def test_without_metadata_only_the_samples_remain(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    write_shard(tmp_path / "f", "files", save_metadata=False)
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["00007", "00007_stats.json"]
    assert not list((tmp_path / "f/00007").glob("*.json"))
    (tmp_path / "p").mkdir()
    write_shard(tmp_path / "p", "parquet", save_metadata=False)
    assert list(pd.read_parquet(tmp_path / "p/00007.parquet").columns) == ["key", "url", "caption", "jpg"]


def test_dummy_writes_only_stats(tmp_path: Path) -> None:
    write_shard(tmp_path, "dummy")
    assert [path.name for path in tmp_path.iterdir()] == ["00007_stats.json"]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_shard_left_without_commit_leaves_nothing(tmp_path: Path, output_format: str) -> None:
    with pytest.raises(RuntimeError), make_writer(tmp_path, output_format) as writer:
        writer.write(make_sample(0, b"image"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output_format", WITH_IMAGES)
def test_a_shard_with_a_row_missing_is_not_committed(tmp_path: Path, output_format: str) -> None:
    with pytest.raises(ValueError, match="2 rows of shard 00007"), make_writer(tmp_path, output_format) as writer:
        writer.write(make_sample(0, b"image"))
        writer.commit(ShardStats(shard_id=7))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["md5", None])
def test_the_hash_column_is_named_by_its_algorithm(algorithm: str | None) -> None:
    columns = own_columns(WriteOptions(compute_hash=algorithm))
    assert [name for name in columns if name in ("md5", "sha256", "sha512")] == [algorithm] * (algorithm is not None)


def test_fetch_details_are_columns_at_the_end() -> None:
    columns = list(own_columns(WriteOptions(save_fetch_details=True)))
    assert columns[-4:] == ["sha256", "http_status", "final_url", "attempts"]


@pytest.mark.parametrize("output_format", WITH_IMAGES)
def test_a_format_reads_back_what_it_wrote(tmp_path: Path, output_format: str) -> None:
    write_shard(tmp_path, output_format)
    samples = list(load_format(output_format).read(open_folder(str(tmp_path)), "00007"))
    assert [(key, image_of(parts)) for key, parts in samples] == [
        ("0000700", ("jpg", b"image 0")),
        ("0000702", ("jpg", b"image 2")),
    ]


@pytest.mark.parametrize("save_metadata", [True, False])
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_format_names_the_files_that_it_makes(tmp_path: Path, output_format: str, save_metadata: bool) -> None:
    write_shard(tmp_path, output_format, save_metadata=save_metadata)
    expected = load_format(output_format).files("00007", save_metadata=save_metadata)
    assert names_in(open_folder(str(tmp_path))) == sorted(expected)
    assert expected[-1] == "00007_stats.json"


def test_samples_must_come_in_key_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 0 of shard 00007 is missing"), make_writer(tmp_path, "files") as writer:
        writer.write(make_sample(1, None))
    assert list(tmp_path.iterdir()) == []


def test_the_row_groups_of_a_parquet_file_are_cut_by_the_bytes_of_their_images(tmp_path: Path) -> None:
    """The offsets of a column's bytes in a group are 32 bits wide, and a group is held in memory."""
    urls = [f"http://a/{row}" for row in range(40)]
    shard = Shard(id=0, index=0, source="l", first_row=0, count=40, rows=to_ipc(pa.table({"url": urls})))
    options, read = WriteOptions(output_folder=str(tmp_path), output_format="parquet"), ReadOptions(url_list="x")
    large = {row: bytes([row]) * (5_000_000 if row < 30 else 120_000_000) for row in range(35) if row % 3}
    folder = open_folder(str(tmp_path))
    with load_format("parquet")(shard, Rows.of(shard, read), folder, options, ["jpg"]) as writer:
        for row, url in enumerate(urls):
            image = large.get(row)
            identity = {"index": row, "key": sample_key(0, row, 40), "url": url, "caption": None}
            writer.write(Sample(**identity, status=SUCCESS, image=image, extension=image and "jpg"))
        writer.commit(ShardStats(shard_id=0))
    file = pq.read_metadata(tmp_path / "00000.parquet")
    groups = [file.row_group(number) for number in range(file.num_row_groups)]
    sizes = [group.total_byte_size // 10_000_000 for group in groups]
    assert sizes == [1] * 7 + [12] * 3  # a large image has a group of its own
    assert sum(group.num_rows for group in groups) == 40
    read_back = load_format("parquet").read(folder, "00000")
    assert {int(key[5:]): len(parts["jpg"]) for key, parts in read_back} == {row: len(large[row]) for row in large}


def test_the_footer_of_a_parquet_file_holds_no_image(tmp_path: Path) -> None:
    write_shard(tmp_path, "parquet")
    columns = [pq.read_metadata(tmp_path / "00007.parquet").row_group(0).column(n) for n in range(15)]
    found = {column.path_in_schema: (column.is_stats_set, column.compression) for column in columns}
    assert found["key"] == (True, "SNAPPY")
    assert found["jpg"] == (False, "UNCOMPRESSED")
