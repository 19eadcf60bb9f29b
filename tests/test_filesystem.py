"""Nothing half-written is ever visible."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dataset import run
from fsspec.asyn import AsyncFileSystem

from img2dataset.errors import OptionsError
from img2dataset.filesystem import Folder, open_folder
from img2dataset.filesystem.records import text_of
from img2dataset.filesystem.remote import RemoteFolder
from img2dataset.filesystem.store import Store


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    path = str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3_bucket") + "/out"
    folder = open_folder(path)
    folder.make()
    return folder


def commit(folder: Folder, files: dict[str, bytes]) -> None:
    with folder.transaction(list(files)) as transaction:
        for name, data in files.items():
            transaction.open(name).write(data)
        transaction.commit()


def test_a_transaction_is_invisible_until_it_is_committed(folder: Folder) -> None:
    with folder.transaction(["00000.tar", "00001", "00000_stats.json"]) as transaction:
        transaction.open("00000.tar").write(b"tar")
        transaction.open_folder("00001")
        transaction.open("00000_stats.json").write(b"{}")
        assert "00000.tar" not in folder.names()
        transaction.commit()
    assert {"00000.tar", "00000_stats.json"} <= set(folder.names())
    assert folder.read("00000.tar") == b"tar"


def test_a_transaction_left_without_commit_leaves_nothing(folder: Folder) -> None:
    with pytest.raises(RuntimeError), folder.transaction(["00000.tar", "00001"]) as transaction:
        transaction.open("00000.tar").write(b"x" * 1_000_000)
        transaction.open_folder("00001")
        transaction.write_into("00001", "000010000.jpg", b"jpg")
        raise RuntimeError
    assert folder.names() == []
    if os.path.isdir(folder.path):
        assert os.listdir(folder.path) == []


def test_a_commit_replaces_files_and_folders(folder: Folder) -> None:
    for content in (b"old", b"new"):
        with folder.transaction(["00000", "00000_stats.json"]) as transaction:
            transaction.open_folder("00000")
            transaction.write_into("00000", f"{content.decode()}.jpg", content)
            transaction.write_into("00000", "both.jpg", content)
            transaction.open("00000_stats.json").write(content)
            transaction.commit()
    assert folder.read("00000_stats.json") == b"new"
    assert folder.read("00000/both.jpg") == b"new"
    assert open_folder(f"{folder.path}/00000").names() == ["both.jpg", "new.jpg"]


def test_a_commit_that_was_cut_half_way_is_finished_by_recover(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    commit(folder, {"00000.tar": b"old", "00000_stats.json": b"old"})
    hexadecimal = uuid.uuid4().hex
    staged = [(f".{name}.{hexadecimal}.tmp", name) for name in ("00000.tar", "00000.parquet", "00000_stats.json")]
    for temporary, _ in staged[1:]:
        (tmp_path / temporary).write_bytes(b"new")
    (tmp_path / "00000.tar").write_bytes(b"new")  # the first exchange was done when the power went
    (tmp_path / ".00000_stats.json.img2dataset-commit").write_bytes(text_of(staged))
    folder.recover()
    assert {name: folder.read(name) for name in folder.names()} == dict.fromkeys((name for _, name in staged), b"new")
    assert sorted(os.listdir(tmp_path)) == folder.names()


def test_recover_removes_what_a_killed_run_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f".00000.tar.{uuid.uuid4().hex}.tmp").write_bytes(b"half")
    (tmp_path / f".00001.{uuid.uuid4().hex}.tmp").mkdir()
    (tmp_path / ".mine.tmp").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    open_folder(str(tmp_path)).recover()
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "notes.txt"]


def test_an_object_stores_cut_commit_is_taken_back(s3_bucket: str) -> None:
    folder = open_folder(s3_bucket + "/out")
    folder.write("00000.tar", b"only the tar was committed")
    folder.write(".00000_stats.json.img2dataset-commit", text_of([(None, "00000.tar"), (None, "00000_stats.json")]))
    folder.recover()
    assert folder.names() == []


class Cut(BaseException):
    """The power is gone, the process is killed: whatever it was about to do."""


class Cutter:
    """Lets the first `steps` calls through, of those that change what is on disk."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Cut
            return function(*arguments, **options)

        return guarded


LOCAL_STEPS = ("replace", "rename", "remove", "unlink", "rmdir", "mkdir", "fsync", "link")
STORE_STEPS = ("pipe", "pipe_file", "copy", "rm", "open")


def write_version(folder: Folder, version: bytes) -> None:
    """A shard in which every file tells its version, one image is the version's own, and one file is in `data`."""
    names = ["00000", "data/train-00000.parquet", "00000.parquet", "00000_stats.json"]
    with folder.transaction(names) as transaction:
        transaction.open_folder("00000")
        for name in (f"{version.decode()}.jpg", "both.jpg"):
            transaction.write_into("00000", name, version)
        transaction.open("data/train-00000.parquet").write(version)
        transaction.open("00000.parquet").write(version)
        transaction.open("00000_stats.json").write(version)
        transaction.commit()


def content(folder: Folder) -> dict[str, bytes]:
    """Every file of a folder that has two folders in it, by its path."""
    folders = ("00000", "data")
    paths = [f"{name}/{file}" for name in folders for file in folder.inside(name).names()]
    return {path: folder.read(path) for path in paths + [name for name in folder.names() if name not in folders]}


def whole(version: bytes) -> dict[str, bytes]:
    images = (f"00000/{version.decode()}.jpg", "00000/both.jpg", "data/train-00000.parquet")
    return dict.fromkeys((*images, "00000.parquet", "00000_stats.json"), version)


def cut(path: str, steps: int, action: Callable[[], object], *, stays_dead: bool) -> bool:
    """Do an action that is cut after so many steps; `stays_dead` lets it clean up nothing. Whether it was cut."""
    cutter = Cutter(steps)
    with pytest.MonkeyPatch.context() as patch:
        if "://" in path:
            from s3fs.core import S3File

            call = Store.__getattr__
            guarded = lambda store, name: cutter.guard(call(store, name)) if name in STORE_STEPS else call(store, name)  # noqa: E731
            patch.setattr(Store, "__getattr__", guarded)
            patch.setattr(S3File, "commit", cutter.guard(S3File.commit))
        else:
            for name in LOCAL_STEPS:
                patch.setattr(os, name, cutter.guard(getattr(os, name)))
        try:
            action()
        except Cut:
            if not stays_dead:
                cutter.left = 1_000_000
            return True
    return False


def each_cut(path: str, action: Callable[[], object], stays_dead: bool) -> Iterator[int]:
    """Every number of steps after which the action can be cut; it is, before the number is told."""
    for steps in itertools.count():
        if not cut(path, steps, action, stays_dead=stays_dead):
            assert steps > 3
            return
        yield steps


@pytest.mark.parametrize("stays_dead", [True, False])
def test_a_new_shard_is_whole_or_not_there_wherever_its_commit_is_cut(folder: Folder, stays_dead: bool) -> None:
    seen = set()
    for steps in each_cut(folder.path, lambda: write_version(folder, b"new"), stays_dead):
        folder.recover()
        found = content(folder)
        assert found in ({}, whole(b"new")), steps
        assert everything(folder) == folder.names()
        seen.add(len(found))
        if found:
            folder.remove_together(sorted(folder.names()))
    assert content(folder) == whole(b"new")
    assert 0 in seen


@pytest.mark.parametrize("stays_dead", [True, False])
def test_a_replaced_shard_is_the_old_or_the_new_one_wherever_its_commit_is_cut(
    folder: Folder, stays_dead: bool
) -> None:
    write_version(folder, b"old")
    versions = [b"old", b"new"]
    seen = set()
    for steps in each_cut(folder.path, lambda: write_version(folder, versions[1]), stays_dead):
        folder.recover()
        found = content(folder)
        assert found in (whole(b"old"), whole(b"new")), steps
        assert everything(folder) == folder.names()
        seen.add(found["00000_stats.json"])
        if found == whole(versions[1]):
            versions.reverse()
    assert content(folder) == whole(versions[1])
    assert seen == {b"old", b"new"}


def test_removing_a_shard_is_finished_wherever_it_is_cut(folder: Folder) -> None:
    names = ["00000_stats.json", "00000.parquet", "00000", "data/train-00000.parquet"]
    write_version(folder, b"old")
    for steps in each_cut(folder.path, lambda: folder.remove_together(names), stays_dead=True):
        folder.recover()
        found = content(folder)
        assert found in ({}, whole(b"old")), steps
        if not found:
            write_version(folder, b"old")
    assert content(folder) == {}


def test_a_file_where_a_shared_folder_belongs_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    folder = open_folder(str(tmp_path))
    with pytest.raises(NotADirectoryError):
        commit(folder, {"data/train-00000.parquet": b"x", "00000_stats.json": b"{}"})
    assert sorted(os.listdir(tmp_path)) == ["data"]
    assert (tmp_path / "data").read_text() == "mine"


def test_a_commit_that_fails_after_its_record_does_not_mix_with_the_next_try(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    write_version(folder, b"old")
    for steps in itertools.count():
        if not cut(str(tmp_path), steps, lambda: write_version(folder, b"new"), stays_dead=False):
            break
        write_version(folder, b"third")
        folder.recover()
        assert content(folder) == whole(b"third"), steps


def everything(folder: Folder) -> list[str]:
    """What is in a folder, hidden files too."""
    if "://" not in folder.path:
        return sorted(os.listdir(folder.path))
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(folder.path)
    filesystem.invalidate_cache()
    return (
        sorted(path.rpartition("/")[2] for path in filesystem.ls(root, detail=False)) if filesystem.exists(root) else []
    )


def test_an_image_that_does_not_fit_is_an_error_and_no_shorter_image(tmp_path: Path) -> None:
    code = f"""
import resource
from img2dataset.filesystem import open_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with open_folder({str(tmp_path)!r}).transaction(["00000"]) as transaction:
    transaction.open_folder("00000")
    transaction.write_into("00000", "a.jpg", b"x" * 1001)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert os.listdir(tmp_path) == []


def test_of_two_that_write_a_new_file_one_succeeds(folder: Folder) -> None:
    assert folder.write_new("lock", b"one")
    assert not folder.write_new("lock", b"two")
    assert folder.read("lock") == b"one"


def test_a_run_that_sweeps_at_its_end_does_not_disturb_the_next_that_begins(folder: Folder) -> None:
    """Until it has the lock, the next one has only its probe there, and the lock that it is about to place."""
    swept = threading.Event()

    def sweep() -> None:
        while not swept.is_set():
            folder.recover()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        for number in range(100 if "://" not in folder.path else 10):
            folder.make()
            assert folder.write_new(f"lock {number}", b"mine")
    finally:
        swept.set()
        sweeping.join()
    assert all(name.startswith("lock ") for name in folder.names())


class ReadOnlyStore(BaseHTTPRequestHandler):
    """A store of S3's kind that shows everything and takes nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

    def do_HEAD(self) -> None:
        self.answer(404, "")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_may_not_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("http://127.0.0.1:9/a.jpg\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), ReadOnlyStore) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        began = time.monotonic()
        code, said = run(tmp_path / "list.txt", "--output_folder=s3://read-only/out")
        store.shutdown()
    assert code == 2, said
    assert "'s3://read-only/out', which cannot be written: Access Denied" in said
    assert time.monotonic() - began < 5


class SlowStore(AsyncFileSystem):
    """A store in which every file takes a while, and several at once no longer than one."""

    protocol = "slow"

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        await asyncio.sleep(0.05)
        return path.encode()[start:end]


def test_a_store_is_asked_for_many_files_at_a_time() -> None:
    folder = RemoteFolder("slow://out", Store(SlowStore(), "out"))
    names = [f"{number}.jpg" for number in range(200)]
    began = time.monotonic()
    assert list(folder.read_each(names)) == [(name, f"out/{name}".encode()) for name in names]
    assert time.monotonic() - began < 200 * 0.05 / 4


def test_a_folder_of_many_files_goes_up_as_it_is_written_and_is_taken_back_when_it_is_not_committed(
    s3_bucket: str,
) -> None:
    folder = open_folder(s3_bucket + "/out")
    with folder.transaction(["00000", "00000_stats.json"]) as transaction:
        transaction.open_folder("00000")
        for number in range(150):
            transaction.write_into("00000", f"{number:03d}.jpg", b"x")
        assert len(folder.inside("00000").names()) == 128
    assert everything(folder) == []


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    assert open_folder(str(tmp_path / "none")).names() == []


def test_an_unknown_protocol_is_refused_in_a_sentence() -> None:
    with pytest.raises(OptionsError, match="cannot be opened"):
        open_folder("nothing://bucket/out")
