"""Every format of a list with every format of a dataset, over real HTTP: the same rows and captions come out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from dataset import metadata, photo
from mockserver import MockServer

from img2dataset import download
from img2dataset.filesystem import open_folder
from img2dataset.formats import FORMATS, load_format
from img2dataset.reader import READERS
from img2dataset.verify import verify

IMAGES, COMPRESSED = 5, ("csv", "jsonl")


def rows(server: MockServer) -> pd.DataFrame:
    """Images, and in their middle a URL that is dead."""
    urls = [photo(server, number) for number in range(IMAGES)]
    urls.insert(2, server.url("/status/404"))
    return pd.DataFrame({"url": urls, "caption": [f"it's {n}, “ä”" for n in range(len(urls))], "n": range(len(urls))})


def written(table: pd.DataFrame, folder: Path, input_format: str) -> str:
    """A list in that format; some are compressed, as lists of that format often are."""
    path = folder / f"list.{input_format}"
    match input_format:
        case "txt":
            path.write_text("\n".join(table["url"]))
        case "csv" | "tsv":
            table.to_csv(path, index=False, sep="," if input_format == "csv" else "\t")
        case "json":
            path.write_text(json.dumps(table.to_dict("records")))
        case "jsonl":
            table.to_json(path, orient="records", lines=True)
        case "parquet":
            table.to_parquet(path)
    if input_format in COMPRESSED:
        compressed = path.with_name(path.name + ".gz")
        compressed.write_bytes(gzip.compress(path.read_bytes()))
        path = compressed
    return str(path)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("input_format", [name for name in READERS if "." not in name])
def test_what_goes_in_comes_out(server: MockServer, tmp_path: Path, input_format: str, output_format: str) -> None:
    table, out = rows(server), tmp_path / "out"
    columns = {} if input_format == "txt" else {"caption_col": "caption", "save_additional_columns": ["n"]}
    url_list = written(table, tmp_path, input_format)
    stats = download(url_list, 64, str(out), output_format=output_format, number_sample_per_shard=4, **columns)
    assert (stats.shards, stats.count, stats.successes) == (2, len(table), IMAGES)
    assert verify(str(out), decode=True) == {}
    if output_format == "dummy":
        return
    found = metadata(out)
    assert found["url"].tolist() == table["url"].tolist()
    if columns:
        assert found["caption"].tolist() == table["caption"].tolist()
        assert found["n"].tolist() == table["n"].tolist()
    read = [
        key for shard in ("00000", "00001") for key, _ in load_format(output_format).read(open_folder(str(out)), shard)
    ]
    assert read == found["key"][found["status"] == "success"].tolist()
