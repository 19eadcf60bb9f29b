"""Nothing half-written is ever visible."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest

from img2dataset.errors import OptionsError
from img2dataset.filesystem import Folder, open_folder


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    path = str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3_bucket") + "/out"
    folder = open_folder(path)
    folder.make()
    return folder


def commit(folder: Folder, files: dict[str, bytes]) -> None:
    with folder.transaction() as transaction:
        for name, data in files.items():
            transaction.open(name).write(data)
        transaction.commit()


def test_a_transaction_is_invisible_until_it_is_committed(folder: Folder) -> None:
    with folder.transaction() as transaction:
        transaction.open("00000.tar").write(b"tar")
        transaction.open_folder("00001")
        transaction.open("00000_stats.json").write(b"{}")
        assert "00000.tar" not in folder.names()
        transaction.commit()
    assert {"00000.tar", "00000_stats.json"} <= set(folder.names())
    assert folder.read("00000.tar") == b"tar"


def test_a_transaction_left_without_commit_leaves_nothing(folder: Folder) -> None:
    with pytest.raises(RuntimeError), folder.transaction() as transaction:
        transaction.open("00000.tar").write(b"x" * 1_000_000)
        transaction.open_folder("00001")
        transaction.write_into("00001", "000010000.jpg", b"jpg")
        raise RuntimeError
    assert folder.names() == []
    if os.path.isdir(folder.path):
        assert os.listdir(folder.path) == []


def test_a_commit_replaces_files_and_folders(folder: Folder) -> None:
    for content in (b"old", b"new"):
        with folder.transaction() as transaction:
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
    (tmp_path / f".00000_stats.json.{hexadecimal}.commit").write_text(json.dumps(staged))
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
    folder.write(f".00000_stats.json.{uuid.uuid4().hex}.commit", b'["00000.tar", "00000_stats.json"]')
    folder.recover()
    assert folder.names() == []


def test_of_two_that_write_a_new_file_one_succeeds(folder: Folder) -> None:
    assert folder.write_new("lock", b"one")
    assert not folder.write_new("lock", b"two")
    assert folder.read("lock") == b"one"


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    assert open_folder(str(tmp_path / "none")).names() == []


def test_an_unknown_protocol_is_refused_in_a_sentence() -> None:
    with pytest.raises(OptionsError, match="cannot be opened"):
        open_folder("nothing://bucket/out")
