"""SIGKILL at random moments: nothing broken is ever visible, no process stays, and the dataset comes out the same.

``make test-kill`` kills more often than the normal suite does.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, metadata, run, start, stats, write_list
from mockserver import MockServer, photo
from PIL import Image

from img2dataset import download
from img2dataset.filesystem import open_folder
from img2dataset.formats import image_of, load_format
from img2dataset.verify import check_shard

KILLS = int(os.environ.get("IMG2DATASET_TEST_KILLS", "25"))
SHARDS, SHARD_SIZE = 20, 6
SPAN = 1.2  # seconds after a run has begun, or was last struck, in which it is killed
ORPHANS = 5.0  # seconds that a worker may outlive its parent
KINDS = ("group", "worker", "parent")
FORMATS = ("files", "webdataset", "parquet", "huggingface", "tfrecord")


def rows(server: MockServer, count: int = SHARDS * SHARD_SIZE) -> list[str]:
    """A list that keeps eight threads busy for about a second; now and then a row fails."""
    return [server.url(_path(n)) for n in range(count)]


def _path(n: int) -> str:
    return f"/photo/{48 + n % 9}x64.jpg?seed={n % 7}&delay=0.05&row={n}" if n % 11 else f"/status/404?row={n}"


def words(url_list: str, out: Path, output_format: str, *more: str) -> list[str]:
    options = {
        "output_folder": out,
        "output_format": output_format,
        "image_size": 64,
        "number_sample_per_shard": SHARD_SIZE,
        "processes_count": 2,
        "thread_count": 4,
        "timeout": 5,
    }
    return [url_list, *(f"--{name}={value}" for name, value in options.items()), *more]


def images(folder: Path, output_format: str) -> dict[str, str]:
    """The digest of every image by its key."""
    found = {}
    names = [path.name.removesuffix("_stats.json") for path in folder.glob("*_stats.json")]
    for name in names:
        for key, parts in load_format(output_format).read(open_folder(str(folder)), name):
            image = image_of(parts)
            assert image
            assert key not in found
            found[key] = hashlib.sha256(image[1]).hexdigest()
    return found


def assert_nothing_broken_is_visible(folder: Path) -> None:
    for path in folder.glob("[0-9]*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content
                assert len(content.read()) == member.size
        assert path.read_bytes()[-1024:] == bytes(1024), f"{path} has no end"
    for path in (*folder.glob("[0-9]*.parquet"), *folder.glob("data/*")):
        pq.read_table(path)
    for path in folder.glob("[0-9]*_stats.json"):
        json.loads(path.read_text())
    for path in folder.glob("[0-9]*/*.jpg"):
        with Image.open(path) as image:
            image.load()
    for path in folder.glob("[0-9]*/*.json"):
        assert json.loads(path.read_text())["key"] == path.stem


def assert_every_finished_shard_is_sound(folder: Path) -> None:
    for path in folder.glob("*_stats.json"):
        check_shard(open_folder(str(folder)), path.name.removesuffix("_stats.json"), True)


def wait_for_lock(process: subprocess.Popen[str], out: Path) -> None:
    """Until the run has the folder; it may be at its end already."""
    while process.poll() is None:
        with suppress(OSError, ValueError):
            if json.loads((out / ".img2dataset.lock").read_text())["pid"] == process.pid:
                return
        time.sleep(0.005)


def kill(process: subprocess.Popen[str], kind: str, dice: random.Random) -> list[psutil.Process]:
    """Kill as `kind` says. Returns the processes that must be gone soon."""
    with suppress(psutil.NoSuchProcess):
        workers = psutil.Process(process.pid).children()
        if kind == "worker":
            if workers:
                dice.choice(workers).kill()
            return []
        os.killpg(process.pid, signal.SIGKILL) if kind == "group" else process.kill()
        return workers
    return []


def kills(command: list[str], out: Path, seed: int, count: int) -> Iterator[str]:
    """Run the command into one folder again and again, killed at random moments; tells after each what was killed.

    A killed worker does not end a run, which may be struck again. When the command gets to its end, the folder is
    emptied, and it begins anew.
    """
    dice = random.Random(seed)
    struck = 0
    while struck < count:
        with start(*command) as process:
            wait_for_lock(process, out)
            kind = "worker"
            while kind == "worker" and struck < count:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(dice.uniform(0, SPAN))
                if process.poll() is not None:
                    break
                kind = dice.choice(KINDS)
                _, orphans = psutil.wait_procs(kill(process, kind, dice), timeout=ORPHANS)
                assert orphans == []
                struck += 1
                yield kind
            if kind != "worker":
                process.kill()
            _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 1, -signal.SIGKILL), said
        if process.returncode == 0 and struck < count:
            yield "nothing"


@pytest.mark.parametrize(
    ("output_format", "share"), [("files", KILLS - KILLS // 2), ("webdataset", KILLS // 2), ("huggingface", KILLS // 4)]
)
def test_killed_again_and_again_the_dataset_comes_out_as_uncut(
    server: MockServer, tmp_path: Path, output_format: str, share: int
) -> None:
    urls = rows(server)
    url_list = write_list(tmp_path / "list.txt", urls)
    uncut, out = tmp_path / "uncut", tmp_path / "out"
    code, said = run(*words(url_list, uncut, output_format))
    assert code == 0, said
    command = words(url_list, out, output_format)
    folders = iter(range(1000))
    for struck in kills(command, out, share, share):
        assert_nothing_broken_is_visible(out)
        if struck == "nothing":
            assert_equal(out, uncut, urls, output_format)
            out.rename(tmp_path / f"done {next(folders)}")
    while (code := run(*command)[0]) == 1:  # a worker that was killed in the last strike but one
        pass
    assert code == 0
    assert_equal(out, uncut, urls, output_format)


def assert_equal(out: Path, uncut: Path, urls: Sequence[str], output_format: str) -> None:
    pd.testing.assert_frame_equal(checked_metadata(out, urls), metadata(uncut))
    assert images(out, output_format) == images(uncut, output_format)
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == sorted(
        path.relative_to(uncut) for path in uncut.rglob("*")
    )


@pytest.mark.parametrize("output_format", FORMATS)
def test_retrying_what_failed_keeps_every_shard_old_or_new_when_killed(
    server: MockServer, tmp_path: Path, output_format: str
) -> None:
    """Every third image is gone at first, and back when the failed rows are tried again."""
    name = f"{output_format}-{{}}.jpg"
    urls = [server.url(f"/image/{name.format(n)}") for n in range(40)]
    pictures = {name.format(n): ("image/jpeg", photo(40 + n, 50, "jpg", n)) for n in range(40)}
    url_list = write_list(tmp_path / "list.txt", urls)
    server.images.update({key: value for n, (key, value) in enumerate(pictures.items()) if n % 3})
    out, full = tmp_path / "out", tmp_path / "full"
    options = {
        "output_format": output_format,
        "image_size": 64,
        "number_sample_per_shard": SHARD_SIZE,
        "thread_count": 4,
    }
    download(url_list, output_folder=str(out), **options)  # type: ignore[arg-type]
    assert stats(out)["failed_to_download"] == 14
    server.images.update(pictures)
    command = words(url_list, out, output_format, "--incremental_mode=retry_failed", "--retry_statuses=http 404")
    ended = 0
    for struck in kills(command, out, 7, 3):
        ended += struck == "nothing"
        open_folder(str(out)).recover()
        assert_every_finished_shard_is_sound(out)
        assert len(list(out.glob("*_stats.json"))) == 7
        if ended:
            break
    assert run(*command)[0] == 0
    download(url_list, output_folder=str(full), **options)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(checked_metadata(out, urls), metadata(full))
    assert images(out, output_format) == images(full, output_format)
    assert len(images(full, output_format)) == 40


def test_a_grown_lists_short_shard_is_done_again_whenever_the_run_is_killed(server: MockServer, tmp_path: Path) -> None:
    urls = rows(server, 75)
    out, uncut = tmp_path / "out", tmp_path / "uncut"
    command = words(str(tmp_path / "list.txt"), out, "webdataset")
    write_list(tmp_path / "list.txt", urls[:40])
    assert run(*command)[0] == 0
    write_list(tmp_path / "list.txt", urls)
    for struck in kills(command, out, 3, 3):
        assert_nothing_broken_is_visible(out)
        if struck == "nothing":
            break
    assert run(*command)[0] == 0
    assert run(*words(str(tmp_path / "list.txt"), uncut, "webdataset"))[0] == 0
    assert_equal(out, uncut, urls, "webdataset")
