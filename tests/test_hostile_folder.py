"""Whatever stands in the output folder, a run is normal or refuses in one sentence of ours."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dataset import COUNTS, mixed_rows, run, write_list
from fuzzing import draw, fuzz, tries
from mockserver import MockServer
from mutated_files import mutated_bytes, mutated_json

from img2dataset import download
from img2dataset.errors import OptionsError, ShardError
from img2dataset.filesystem import LOCK_NAME, lock, open_folder
from img2dataset.filesystem.records import text_of
from img2dataset.verify import check_shard, verify

TRIES = tries(100)  # of each kind of file
RECORD = ".00001_stats.json.img2dataset-commit"


@pytest.fixture(scope="module")
def whole(session_server: MockServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shards beside its list."""
    path = tmp_path_factory.mktemp("whole")
    write_list(path / "list.txt", mixed_rows(session_server, 12))
    go_on(path)
    return path


@pytest.fixture
def there(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(whole, tmp_path / "there")


def go_on(path: Path, **options: object) -> None:
    defaults = {"image_size": 16, "number_sample_per_shard": 4, "thread_count": 4, "output_format": "webdataset"}
    defaults["output_folder"] = str(path / "out")
    download(str(path / "list.txt"), **(defaults | options))  # type: ignore[arg-type]


def outcome(function: Callable[[], object]) -> str:
    """How it ended: ``normal``, or with an error of ours, in one line and soon."""
    began, said = time.monotonic(), "normal"
    try:
        function()
    except (OptionsError, ShardError) as error:
        said = str(error)
    assert "\n" not in said
    assert time.monotonic() - began < 10
    return said


@fuzz
def test_no_mutation_of_a_stats_file_is_a_traceback(there: Path) -> None:
    chance = draw("stats")
    outcomes = []
    for attempt in range(TRIES):
        out, number = Path(shutil.copytree(there / "out", there / f"out{attempt}")), chance.randrange(3)
        path = out / f"0000{number}_stats.json"
        path.write_bytes(mutated_json(chance, path.read_bytes()))
        mode = chance.choice(["auto", "incremental", "retry_failed"])
        outcomes.append(outcome(partial(go_on, there, output_folder=str(out), incremental_mode=mode)))
        outcome(partial(check_shard, open_folder(str(out)), f"0000{number}", decode=True))
        for other in {0, 1, 2} - {number}:
            check_shard(open_folder(str(out)), f"0000{other}", decode=False)
        shutil.rmtree(out)
    assert 0 < outcomes.count("normal") < TRIES


@fuzz
def test_no_mutation_of_a_lock_is_a_traceback(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    monkeypatch.setattr(lock, "PATIENCE", 0.02)
    chance = draw("locks")
    outcomes = []
    for attempt in range(TRIES):
        token = lock._new_token() | {"heartbeat": time.time(), "host": [socket.gethostname(), "elsewhere"][attempt % 2]}
        (there / "out" / LOCK_NAME).write_bytes(mutated_json(chance, json.dumps(token).encode()))
        outcomes.append(outcome(lambda: go_on(there)))
        assert outcomes[-1] == "normal" or "is being written by another run" in outcomes[-1]
    assert 0 < outcomes.count("normal") < TRIES


@fuzz
def test_no_mutation_of_a_commit_record_is_a_traceback(there: Path, tmp_path: Path) -> None:
    chance = draw("commit records")
    outcomes = []
    for attempt in range(TRIES):
        out = Path(shutil.copytree(there / "out", there / f"out{attempt}"))
        steps: list[tuple[str | None, str]] = []
        for name in ("00001.tar", "00001.parquet", "00001_stats.json"):
            temporary = f".{name}.{uuid.UUID(int=chance.getrandbits(128)).hex}.tmp"
            shutil.copy(out / name, out / temporary)
            steps.append((temporary if attempt % 3 else None, name))
        (out / RECORD).write_bytes(mutated_json(chance, text_of(steps)))
        outcomes.append(outcome(partial(go_on, there, output_folder=str(out))))
        if outcomes[-1] == "normal":
            assert not [name for name in os.listdir(out) if name.startswith(".")]
        else:
            assert f"holds '{RECORD}', which is a damaged commit record" in outcomes[-1]
        assert {name for name in os.listdir(there / "out") if not name.startswith("00001")} <= set(os.listdir(out))
        shutil.rmtree(out)
    assert 0 < outcomes.count("normal") < TRIES
    assert sorted(os.listdir(tmp_path)) == ["there"]


FORMATS = ("files", "webdataset", "parquet", "huggingface", "tfrecord")


@pytest.fixture(scope="module")
def in_every_format(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset once more in each format, with as little as img2dataset 1.x knows in its stats files."""
    path = Path(shutil.copytree(whole, tmp_path_factory.mktemp("formats") / "there"))
    for output_format in FORMATS:
        go_on(path, output_folder=str(path / output_format), output_format=output_format)
        for stats in (path / output_format).glob("*_stats.json"):
            record = json.loads(stats.read_text())
            stats.write_text(json.dumps({name: record[name] for name in (*COUNTS, "status_dict")}))
    return path


@fuzz
@pytest.mark.parametrize("output_format", FORMATS)
def test_no_mutation_of_a_data_file_is_a_traceback(in_every_format: Path, tmp_path: Path, output_format: str) -> None:
    chance = draw(f"data files of {output_format}")
    outcomes = []
    for attempt in range(TRIES // 3):
        out = Path(shutil.copytree(in_every_format / output_format, tmp_path / f"out{attempt}"))
        path = chance.choice(sorted(path for path in out.rglob("*") if path.is_file() and "_stats" not in path.name))
        path.write_bytes(mutated_bytes(chance, path.read_bytes()))
        checks = [partial(check_shard, open_folder(str(out)), f"0000{number}", decode=True) for number in range(3)]
        outcomes += map(outcome, checks)
        if attempt % 5 == 0:
            wanted = {"output_folder": str(out), "output_format": output_format, "retry_statuses": ["http 404"]}
            outcome(partial(go_on, in_every_format, incremental_mode="retry_failed", **wanted))
        outcome(partial(go_on, in_every_format, output_folder=str(out), output_format=output_format))
    assert 0 < outcomes.count("normal") < len(outcomes)


@pytest.mark.parametrize("steps", [[(None, "../x")], [("x", "00001.tar")], [(None, "00001/../../x")], [(None, "..")]])
@pytest.mark.parametrize("store", ["local", "s3"])
def test_a_commit_record_that_is_not_ours_is_refused_and_moves_nothing(
    tmp_path: Path, steps: list[tuple[str | None, str]], store: str, request: pytest.FixtureRequest
) -> None:
    root = str(tmp_path) if store == "local" else request.getfixturevalue("s3_bucket")
    outside, folder = open_folder(root), open_folder(f"{root}/out")
    folder.make()
    outside.write("x", b"mine")
    for text in (text_of([*steps, (None, "00001_stats.json")]), b"\xff", b"[" * 100_000, b"[]", b"{}"):
        folder.write(RECORD, text)
        with pytest.raises(OptionsError, match=r"stats.json.img2dataset-commit', which is a damaged commit record"):
            folder.recover()
    assert outside.read("x") == b"mine"


STATS = [
    *(b"{}", b"[" * 100_000, b'{"count": ' + b"[" * 100_000, b"\0" * 100_000_000),
    *(json.dumps({"count": value}).encode() for value in (True, -1, 10**30, "4", None, 4.0, [4])),
    *(json.dumps({"count": 4, "options": value}).encode() for value in ([], None, 7, {"image_size": [[[]]]})),
    *(json.dumps({"count": 4, "status_dict": value}).encode() for value in ([], None, 7, {"success": "x"})),
    *(json.dumps({"count": 4, "list_index": value}).encode() for value in ("1", None, -1, 7, True, 1.0)),
    *(json.dumps({"count": 4, "url_digest": value}).encode() for value in (7, None, [])),
    *(json.dumps({"count": 4} | added).encode() for added in ({"options": {"output_format": 7}}, {"list_index": 1})),
]


@pytest.mark.parametrize("text", STATS, ids=lambda text: repr(text[:40]))
def test_a_damaged_stats_file_is_named_with_the_way_out(there: Path, text: bytes) -> None:
    (there / "out/00001_stats.json").write_bytes(text)
    said = outcome(lambda: go_on(there))
    assert f"in {there / 'out'}, 00001_stats.json " in said
    assert "img2dataset verify --repair removes its shard, and the next run does it again" in said


def test_a_folder_that_cannot_be_listed_is_one_sentence(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied", "out")

    monkeypatch.setattr("img2dataset.filesystem.local.LocalFolder.names", names)
    assert outcome(lambda: go_on(there)) == f"{there / 'out'} cannot be read: [Errno 13] Permission denied: 'out'"


def test_verify_names_what_is_damaged_and_goes_on_and_repair_heals_it(there: Path) -> None:
    out = there / "out"
    (out / "00000_stats.json").write_bytes(b"[" * 100_000)
    (out / "00001_stats.json").write_bytes(b'{"count": 4, "options": []}')
    code, said = run(f"--url_list={there / 'list.txt'}", f"--output_folder={out}")
    assert (code, said.count("\n")) == (2, 1)
    broken = verify(str(out))
    assert broken == {
        "00000": "00000_stats.json cannot be read: it is nested too deeply",
        "00001": "00001_stats.json is no stats file: options is missing or wrong",
    }
    assert verify(str(out), repair=True) == broken
    go_on(there)
    assert verify(str(out), decode=True) == {}
