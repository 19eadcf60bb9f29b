"""Lists and datasets that are elsewhere: over http with the base install, on stores with an extra that is named."""

from __future__ import annotations

import gzip
import importlib.util
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from dataset import metadata, photo
from mockserver import MockServer

from img2dataset import download
from img2dataset.errors import OptionsError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in `tmp_path`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["list.txt", "list.csv.gz", "list.parquet"])
def test_a_list_behind_http_is_read(server: MockServer, web: str, tmp_path: Path, name: str) -> None:
    urls = [photo(server, number) for number in range(5)]
    table = pd.DataFrame({"url": urls})
    (tmp_path / "list.txt").write_text("\n".join(urls))
    (tmp_path / "list.csv.gz").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    table.to_parquet(tmp_path / "list.parquet")
    download(f"{web}/{name}", output_folder=str(tmp_path / "out"), number_sample_per_shard=2, thread_count=2)
    assert metadata(tmp_path / "out")["url"].tolist() == urls


def test_a_list_that_is_not_there_is_told(web: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=f"url_list is '{web}/none.txt'; there is no such file"):
        download(f"{web}/none.txt", output_folder=str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("url_list", "output_folder", "says"),
    [
        ("gs://bucket/list.txt", "out", "url_list is 'gs://bucket/list.txt', which cannot be opened: "),
        ("list.txt", "gs://bucket/out", "output_folder is 'gs://bucket/out', which cannot be opened: "),
    ],
)
def test_a_missing_driver_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url_list: str, output_folder: str, says: str
) -> None:
    assert importlib.util.find_spec("gcsfs") is None
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("http://127.0.0.1:9/")
    with pytest.raises(OptionsError) as refusal:
        download(url_list, output_folder=output_folder)
    assert str(refusal.value).startswith(says)
    assert str(refusal.value).endswith(": pip install img2dataset[gs]")
