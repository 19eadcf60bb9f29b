"""The reader and the writer alone. The fetcher and the resizer alone are `fetch.py` and `resize.py`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from contestants import cache_folder
from sections import Section, Setup

from img2dataset.filesystem import open_folder
from img2dataset.formats import FORMATS, load_format
from img2dataset.metadata import Sample
from img2dataset.options import ReadOptions, WriteOptions
from img2dataset.reader import READERS, Reader
from img2dataset.shards import Rows, Shard
from img2dataset.stats import SUCCESS, ShardStats

LIST_ROWS = 1_000_000
SHARD_ROWS = 10_000
WRITTEN = 2_000


def reader(_: Setup) -> Section:
    """Rows a second, from file to shards."""
    rows = []
    for input_format, path in _lists().items():
        started = time.perf_counter()
        count = sum(shard.count for shard in _shards(path, input_format))
        rows.append((input_format, f"{count / (time.perf_counter() - started):,.0f}"))
    return Section(title=f"Reader alone, {LIST_ROWS:,} rows", header=("input_format", "rows/s"), rows=rows)


def writer(setup: Setup) -> Section:
    """Samples a second, from encoded images to a finished shard."""
    options = ReadOptions(url_list=str(_lists()["parquet"]), caption_col="caption", number_sample_per_shard=WRITTEN)
    shard = next(Reader(options).shards())
    images = [(setup.corpus / name).read_bytes() for name in setup.names if name.endswith(".jpg")]
    images = [image for image in images if len(image) < 25_000][:100]
    rows = []
    for output_format in FORMATS:
        started = time.process_time()
        _write(shard, Rows.of(shard, options), images, output_format)
        rows.append((output_format, f"{1000 * (time.process_time() - started) / shard.count:.3f}"))
    size = sum(map(len, images)) // len(images) // 1000
    title = f"Writer alone, a shard of {WRITTEN:,} images of {size} KB with captions and metadata"
    return Section(title=title, header=("output_format", "CPU ms/image"), rows=rows)


def _lists() -> dict[str, Path]:
    """A list of a million URLs with captions, in every input format."""
    folder = cache_folder("lists")
    paths = {name: folder / f"list.{name}" for name in READERS}
    if not all(path.exists() for path in paths.values()):
        urls = [f"https://host{n % 9973}.example/images/{n:08d}.jpg" for n in range(LIST_ROWS)]
        table = pa.table({"url": urls, "caption": [f"picture {n}, of something" for n in range(LIST_ROWS)]})
        paths["txt"].write_text("".join(f"{url}\n" for url in urls))
        pyarrow.csv.write_csv(table, paths["csv"])
        pyarrow.parquet.write_table(table, paths["parquet"])
    return paths


def _shards(path: Path, input_format: str) -> Iterator[Shard]:
    caption_col = None if input_format == "txt" else "caption"
    options = ReadOptions(
        url_list=str(path),
        input_format=input_format,
        caption_col=caption_col,
        number_sample_per_shard=SHARD_ROWS,
    )
    return Reader(options).shards()


def _write(shard: Shard, rows: Rows, images: list[bytes], output_format: str) -> None:
    folder = cache_folder("runs") / "writer"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options = WriteOptions(output_folder=str(folder), output_format=output_format)
    stats = ShardStats(shard_id=shard.id)
    with load_format(output_format)(shard, rows, open_folder(str(folder)), options, ["jpg"]) as open_writer:
        for index, url in enumerate(rows.urls):
            sample = Sample(
                index=index,
                key=f"{index:09d}",
                url=url,
                caption=rows.captions[index] if rows.captions else None,
                status=SUCCESS,
                width=256,
                height=256,
                original_width=1024,
                original_height=768,
                exif="{}",
                digest="0" * 64,
                image=images[index % len(images)],
                extension="jpg",
            )
            open_writer.write(sample)
            stats.record(SUCCESS, None)
        open_writer.commit(stats)
    shutil.rmtree(folder)


SECTIONS = {"reader": reader, "writer": writer}
