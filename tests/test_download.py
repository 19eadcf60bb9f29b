"""From a URL list to a dataset, over real HTTP."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from dataset import checked_metadata, metadata, mixed_rows, photo, run, start, stats, write_list
from mockserver import MockServer
from PIL import Image

from img2dataset import download
from img2dataset.errors import OptionsError, Reason
from img2dataset.filesystem import open_folder
from img2dataset.shards import KEPT_OF_URL, urls_digest
from img2dataset.stats import SUCCESS
from img2dataset.verify import verify


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves tars open
def test_a_thousand_images_of_every_kind_add_up(server: MockServer, tmp_path: Path) -> None:
    rows = mixed_rows(server, 1000)
    out = tmp_path / "out"
    summary = download(
        write_list(tmp_path / "list.txt", rows),
        output_folder=str(out),
        output_format="webdataset",
        processes_count=2,
        thread_count=16,
        number_sample_per_shard=150,
    )
    table = checked_metadata(out, rows)
    assert (summary.count, summary.shards, summary.successes) == (1000, 7, 700)
    reasons = Counter(table["error_message"].dropna())
    assert reasons == {"http 404": 100, "http 410": 100, Reason.NOT_AN_IMAGE: 100}
    assert summary.status_dict == reasons | {SUCCESS: 700}
    tars = sorted(str(path) for path in out.glob("*.tar"))
    samples = list(wds.WebDataset(tars, shardshuffle=False))
    assert {sample["__key__"] for sample in samples} == set(table[table["status"] == SUCCESS]["key"])
    for sample in samples:
        with Image.open(io.BytesIO(sample["jpg"])) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")
        assert json.loads(sample["json"])["key"] == sample["__key__"]
    assert Counter(path.suffix for path in out.iterdir()) == {".json": 7, ".parquet": 7, ".tar": 7}


@pytest.mark.parametrize("http_client", ["curl", "requests"])
def test_files_with_captions_of_every_kind(server: MockServer, tmp_path: Path, http_client: str) -> None:
    captions = ["a cat", "émoji 🐈\n2", "", None]
    table = pa.table({"link": [photo(server, n) for n in range(4)], "text": captions, "score": [0.1, 0.2, 0.3, 0.4]})
    pq.write_table(table, tmp_path / "list.parquet")
    download(
        str(tmp_path / "list.parquet"),
        output_folder=str(tmp_path / "out"),
        url_col="link",
        caption_col="text",
        save_additional_columns=["score"],
        thread_count=4,
        http_client=http_client,
    )
    written = checked_metadata(tmp_path / "out", table["link"].to_pylist())
    assert list(written.columns[:3]) == ["score", "url", "caption"]
    for row, caption in enumerate(captions):
        key = f"00000{row:04d}"
        assert (tmp_path / f"out/00000/{key}.txt").read_text(encoding="utf-8") == (caption or "")
        record = json.loads((tmp_path / f"out/00000/{key}.json").read_text(encoding="utf-8"))
        assert (record["caption"], record["key"], record["width"], record["score"]) == (
            caption,
            key,
            256,
            (row + 1) / 10,
        )
        assert list(record) == list(written.columns)


def test_equal_urls_are_fetched_once_and_every_row_has_its_image(server: MockServer, tmp_path: Path) -> None:
    rows = [photo(server, n % 3) for n in range(30)]
    download(write_list(tmp_path / "list.txt", rows), output_folder=str(tmp_path / "out"), thread_count=8)
    checked_metadata(tmp_path / "out", rows)
    assert len(list((tmp_path / "out/00000").glob("*.jpg"))) == 30
    assert len(server.requests) == 3


def test_rows_that_are_no_urls_are_failed_rows(server: MockServer, tmp_path: Path) -> None:
    rows = [
        "no url",
        "ftp://127.0.0.1/a.jpg",
        "http://",
        "javascript:alert(1)",
        "http://[::bad",
        photo(server, 0),
        None,
        "",
    ]
    pq.write_table(pa.table({"url": rows}), tmp_path / "list.parquet")
    download(str(tmp_path / "list.parquet"), output_folder=str(tmp_path / "out"), thread_count=4)
    table = checked_metadata(tmp_path / "out", rows)
    assert table["status"].tolist() == ["failed_to_download"] * 5 + [SUCCESS] + ["failed_to_download"] * 2
    assert table["error_message"].tolist()[-2:] == [Reason.MISSING_URL] * 2


@pytest.mark.parametrize("http_client", ["curl", "requests"])
def test_a_line_of_8_mb_is_a_failed_row(server: MockServer, tmp_path: Path, http_client: str) -> None:
    long = server.url("/photo/10x10.jpg?") + "é" * 4_000_000
    list_path, out = write_list(tmp_path / "list.txt", [photo(server, 0), long, photo(server, 1)]), tmp_path / "out"
    command = [f"--url_list={list_path}", f"--output_folder={out}", f"--http_client={http_client}", "--thread_count=2"]
    assert run(*command)[0] == 0
    kept = long.encode()[:KEPT_OF_URL].decode(errors="ignore")
    table = checked_metadata(out, [photo(server, 0), kept, photo(server, 1)])
    assert table["error_message"].fillna("").tolist() == ["", Reason.INVALID_URL, ""]
    assert "nothing was missing" in run(*command)[1]


@pytest.mark.parametrize("store", ["local", "s3"])
def test_a_hole_with_somebody_elses_file_is_refused_before_anything_is_fetched(
    server: MockServer, tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    out = str(tmp_path / "out") if store == "local" else request.getfixturevalue("s3_bucket") + "/out"
    rows = [photo(server, n) for n in range(6)]
    command = [f"--url_list={write_list(tmp_path / 'list.txt', rows)}", f"--output_folder={out}"]
    command += ["--output_format=webdataset", "--number_sample_per_shard=2", "--thread_count=2"]
    assert run(*command)[0] == 0
    folder = open_folder(out)
    for name in ("00001_stats.json", "00001.parquet"):
        folder.remove(name)
    folder.write("00001.tar", b"someone's")
    server.reset()
    code, said = run(*command)
    assert code == 2
    assert "holds '00001.tar'" in said
    assert server.requests == []
    assert folder.read("00001.tar") == b"someone's"
    folder.remove("00001.tar")
    assert run(*command)[0] == 0
    assert verify(out) == {}


def test_a_hash_that_does_not_match_leaves_the_row_out(server: MockServer, tmp_path: Path) -> None:
    import hashlib

    server.images["a.png"] = ("image/png", png())
    digest = hashlib.md5(png()).hexdigest()
    table = pa.table({"url": [server.url("/image/a.png")] * 3, "md5sum": [digest.upper(), "0" * 32, None]})
    pq.write_table(table, tmp_path / "list.parquet")
    download(
        str(tmp_path / "list.parquet"),
        output_folder=str(tmp_path / "out"),
        verify_hash=["md5sum", "md5"],
        compute_hash="md5",
        thread_count=2,
    )
    written = metadata(tmp_path / "out")
    assert written["status"].tolist() == [SUCCESS, "failed_to_download", "failed_to_download"]
    assert written["error_message"].tolist()[1:] == [Reason.HASH_MISMATCH] * 2
    assert written["md5"].tolist()[0] == digest


def test_boxes_are_blurred(server: MockServer, tmp_path: Path) -> None:
    server.images["a.png"] = ("image/png", png())
    table = pa.table({"url": [server.url("/image/a.png")] * 2, "boxes": [[[0.25, 0.25, 0.75, 0.75]], []]})
    pq.write_table(table, tmp_path / "list.parquet")
    options = {"bbox_col": "boxes", "encode_format": "png", "resize_mode": "no", "thread_count": 2}
    download(str(tmp_path / "list.parquet"), output_folder=str(tmp_path / "out"), **options)  # type: ignore[arg-type]
    blurred, clear = ((tmp_path / f"out/00000/00000000{row}.png").read_bytes() for row in range(2))
    assert blurred != clear


def png() -> bytes:
    """A picture in which a blur shows."""
    image = Image.new("RGB", (64, 64), "white")
    image.paste("black", (0, 0, 32, 64))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def test_fetch_details_tell_status_final_url_and_attempts(server: MockServer, tmp_path: Path) -> None:
    target = photo(server, 0)
    rows = [server.url(f"/redirect?to={target}"), server.url("/status/404")]
    options = {"save_fetch_details": True, "thread_count": 2}
    download(write_list(tmp_path / "list.txt", rows), output_folder=str(tmp_path / "out"), **options)  # type: ignore[arg-type]
    written = metadata(tmp_path / "out")
    assert written["http_status"].tolist() == [200, 404]
    assert written["attempts"].tolist() == [1, 1]
    assert written["final_url"].tolist()[0].startswith(server.url("/photo/"))


def test_the_stats_file_tells_its_own_story(server: MockServer, tmp_path: Path) -> None:
    rows = [photo(server, n) for n in range(5)]
    out = tmp_path / "out"
    download(write_list(tmp_path / "list.txt", rows), 64, str(out), number_sample_per_shard=3, thread_count=4)
    record = json.loads((out / "00001_stats.json").read_text())
    assert (record["count"], record["successes"], record["input_file"]) == (2, 2, "list.txt")
    assert (record["first_row"], record["list_index"], record["attempts"]) == (3, 1, 2)
    assert record["list_identity"] == {"rows": 5, "digest": urls_digest(rows)}
    assert record["options"]["image_size"] == 64
    assert record["status_dict"] == {SUCCESS: 2}
    assert record["duration"] > 0
    assert {"url_digest", "img2dataset_version", "start_time", "end_time", "bytes_downloaded"} <= set(record)


def test_a_list_with_silent_and_trickling_servers_ends_by_itself(server: MockServer, tmp_path: Path) -> None:
    slow = ["/silent?row={}", "/trickle?every=0.3&row={}"]
    rows = [
        server.url(slow[n % 2].format(n)) if n % 20 == 0 else server.url(f"/photo/64x64.jpg?seed=1&row={n}")
        for n in range(2000)
    ]
    began = time.monotonic()
    code, said = run(
        write_list(tmp_path / "list.txt", rows),
        f"--output_folder={tmp_path / 'out'}",
        "--output_format=webdataset",
        "--timeout=5",
        "--thread_count=64",
        "--processes_count=2",
        "--number_sample_per_shard=500",
    )
    assert code == 0, said
    assert time.monotonic() - began < 60
    table = checked_metadata(tmp_path / "out", rows)
    assert Counter(table["error_message"].dropna()) == {Reason.TIMED_OUT: 100}


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_nothing_behind_and_is_completed_by_the_next(
    server: MockServer, tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    rows = [server.url(f"/photo/64x64.jpg?seed=1&row={n}") for n in range(600)]
    rows[300] = server.url("/silent")
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", rows), f"--output_folder={out}", "--number_sample_per_shard=50"]
    words += ["--processes_count=2", "--thread_count=4", "--timeout=3", "--output_format=webdataset"]
    with start(*words) as process:
        wait_for(lambda: any(out.glob("*_stats.json")))
        family = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        os.killpg(process.pid, stop) if stop == signal.SIGINT else process.send_signal(stop)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code, said
    assert time.monotonic() - began < 3
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    done = len(list(out.glob("*_stats.json")))
    assert 0 < done < 12
    assert run(*words)[0] == 0
    table = checked_metadata(out, rows)
    assert (table["status"] == SUCCESS).sum() == 599


def wait_for(condition: object, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_list_continues_and_the_same_resumes(server: MockServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = ([photo(server, n) for n in numbers] for numbers in (range(5), range(5, 8)))
    for rows in (first, second, first, second):
        code, said = run(
            write_list(tmp_path / "list.txt", rows), f"--output_folder={out}", "--number_sample_per_shard=3"
        )
        assert code == 0, said
    checked_metadata(out, first + second)
    assert len(server.requests) == 8
    assert "made from this list and has 1 shard of it" in said


def test_rows_that_failed_for_a_passing_reason_are_tried_again_under_their_keys(
    server: MockServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rows = [photo(server, n) for n in range(6)]
    rows[1], rows[3] = server.url("/flaky"), server.url("/status/404")
    for output_format in ("files", "webdataset", "parquet"):
        words = {
            "output_folder": str(out / output_format),
            "output_format": output_format,
            "thread_count": 4,
            "retries": 0,
        }
        rows[1] = server.url("/status/503")
        url_list = write_list(tmp_path / "list.txt", rows)
        download(url_list, **words)  # type: ignore[arg-type]
        before = metadata(out / output_format)
        assert before["error_message"].tolist()[1] == "http 503"
        again = download(url_list, incremental_mode="retry_failed", **words)  # type: ignore[arg-type]
        assert (again.shards, again.count, again.attempts) == (1, 6, 1)
        pd.testing.assert_frame_equal(metadata(out / output_format), before)
        checked_metadata(out / output_format, rows)


@pytest.mark.parametrize("output_format", ["files", "webdataset", "parquet"])
def test_additional_columns_may_be_called_as_we_call_things(
    server: MockServer, tmp_path: Path, output_format: str
) -> None:
    """``index`` is what pandas calls the column of an index that is saved."""
    urls = [photo(server, 0), server.url("/status/503"), server.url("/status/404")]
    names = ["index", "image", "digest", "extension", "key_of_mine"]
    columns = {name: [f"{name} {row}" for row in range(3)] for name in names}
    pq.write_table(pa.table({"url": urls, **columns}), tmp_path / "list.parquet")
    out = tmp_path / "out"
    options = {"save_additional_columns": names, "retries": 0, "output_format": output_format, "thread_count": 2}
    for mode in ("auto", "retry_failed"):
        download(str(tmp_path / "list.parquet"), output_folder=str(out), incremental_mode=mode, **options)  # type: ignore[arg-type]
        table = checked_metadata(out, urls)
        assert {name: table[name].tolist() for name in names} == columns
        assert verify(str(out)) == {}


def test_the_same_samples_give_the_same_tars_whatever_order_they_come_in(server: MockServer, tmp_path: Path) -> None:
    rows = [server.url(f"/photo/{60 + n}x64.jpg?seed={n % 5}&jitter=0.3") for n in range(60)]
    rows[7] = server.url("/status/404")
    url_list = write_list(tmp_path / "list.txt", rows)
    outs = (tmp_path / "one", tmp_path / "two")
    for out, threads in zip(outs, (3, 30), strict=True):
        options = {"output_format": "webdataset", "number_sample_per_shard": 30, "thread_count": threads}
        download(url_list, output_folder=str(out), **options)  # type: ignore[arg-type]
    for name in ("00000.tar", "00001.tar", "00000.parquet"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    with tarfile.open(outs[0] / "00000.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert len({(member.mtime, member.uname, member.gname, member.uid, member.gid) for member in members}) == 1


def test_while_a_shard_commits_the_fetches_go_on(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(SLOW_COMMIT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hook"), *sys.path]))
    rows = [server.url(f"/photo/64x64.jpg?row={n}&delay={0.1 * (n >= 10)}") for n in range(110)]
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", rows), f"--output_folder={out}", "--output_format=webdataset"]
    with start(*words, "--number_sample_per_shard=10", "--thread_count=4") as process:
        wait_for(lambda: list(out.glob(".00000.tar.*.tmp")))
        asked = len(server.requests)
        wait_for((out / "00000_stats.json").exists)
        asked_meanwhile = len(server.requests) - asked
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert asked_meanwhile >= 6, asked_meanwhile
    checked_metadata(out, rows)


SLOW_COMMIT = """
import time
from img2dataset.formats.webdataset import WebDatasetFormat

def write(self, sample, original=WebDatasetFormat._write):
    time.sleep(0.1 * (self.name == "00000"))
    return original(self, sample)

WebDatasetFormat._write = write
"""


def test_a_list_of_shards_of_which_none_can_be_opened_is_given_up_early(server: MockServer, tmp_path: Path) -> None:
    rows = [server.url(f"/status/503?row={n}") for n in range(200)]
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", rows), f"--output_folder={out}", "--output_format=webdataset"]
    words += ["--number_sample_per_shard=1", "--thread_count=8", "--retries=0"]
    assert run(*words)[0] == 0
    for path in out.glob("*.parquet"):
        path.unlink()
    code, said = run(*words, "--incremental_mode=retry_failed")
    assert code == 1, said
    assert "stopped early: 20 shards in a row failed" in said
    assert 20 <= said.count("tried again later") <= 26


def test_download_works_from_a_script_without_a_main_guard(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, n) for n in range(4)])
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        from img2dataset import download
        summary = download({url_list!r}, output_folder={str(tmp_path / "out")!r}, processes_count=2,
                           number_sample_per_shard=2, thread_count=2)
        print(summary.successes)
        """)
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "4\n"


def test_the_summary_tells_counts_reasons_and_where_the_dataset_is(server: MockServer, tmp_path: Path) -> None:
    rows = mixed_rows(server, 20)
    code, said = run(
        write_list(tmp_path / "list.txt", rows), f"--output_folder={tmp_path / 'out'}", "--processes_count=4"
    )
    assert code == 0
    assert "20 images in 1 shard: 14 (70.0%) saved, 4 (20.0%) failed to download, 2 (10.0%) failed to resize" in said
    assert "2  http 404" in said
    assert f"the dataset is in {tmp_path / 'out'}" in said
    assert "make only" not in said  # four processes for 20 images are no matter
    assert "\r" not in said


def test_too_few_shards_for_the_processes_are_told(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)] * 1001)
    words = [url_list, f"--output_folder={tmp_path / 'out'}", "--processes_count=4", "--output_format=dummy"]
    code, said = run(*words)
    assert code == 0
    assert "1,001 images make only 1 shard for 4 processes; number_sample_per_shard=251 would use them all" in said


def test_a_second_run_into_the_folder_is_told_who_is_there(server: MockServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    url_list = write_list(tmp_path / "list.txt", [server.url("/silent"), photo(server, 1)])
    with start(url_list, f"--output_folder={out}", "--timeout=20") as first:
        wait_for(lambda: (out / ".img2dataset.lock").exists())
        with pytest.raises(OptionsError, match=rf"being written by another run \(host .*, process {first.pid}\)"):
            download(url_list, output_folder=str(out))
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate(timeout=10)
    assert (out / ".img2dataset.lock").exists()
    download(url_list, output_folder=str(out), timeout=0.5)
    assert stats(out)["count"] == 2
    assert not list(out.glob(".*"))


def test_a_dataset_goes_to_an_object_store_and_is_resumed_there(
    server: MockServer, tmp_path: Path, s3_bucket: str
) -> None:
    import fsspec

    rows = [photo(server, n) for n in range(5)]
    for output_format in ("webdataset", "files"):
        words = [write_list(tmp_path / "list.txt", rows), f"--output_folder={s3_bucket}/{output_format}"]
        words += ["--number_sample_per_shard=3", f"--output_format={output_format}"]
        assert run(*words)[0] == 0
        code, said = run(*words)
        assert code == 0
        assert "has 2 shards of it" in said
        local = tmp_path / output_format
        fsspec.filesystem("s3").get(f"{s3_bucket}/{output_format}/", f"{local}/", recursive=True)
        checked_metadata(local, rows)
        assert not list(local.glob(".*"))
        code, said = run("verify", f"--output_folder={s3_bucket}/{output_format}", "--decode")
        assert code == 0, said
