"""One run at a time in a folder: who is refused, and whose lock is taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from img2dataset.errors import OptionsError, ShardError
from img2dataset.filesystem import LOCK_NAME, Folder, lock, open_folder
from img2dataset.filesystem.lock import STALE, locked


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    path = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket") + "/out"
    return open_folder(path)


HOLD = """
import sys, time
from img2dataset.filesystem import open_folder
from img2dataset.filesystem.lock import locked
with locked(open_folder(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(folder: Folder) -> Iterator[subprocess.Popen[str]]:
    """Another run, which holds the lock of the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, folder.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def leave(folder: Folder, **changes: Any) -> None:
    """Leave a lock as another run would; by default one on another host that gave a sign of life just now."""
    token = {"host": "elsewhere", "machine": "other", "pid": os.getpid(), "id": "0" * 32, "process_started": "1"}
    folder.write(LOCK_NAME, json.dumps(token | {"heartbeat": time.time()} | changes).encode())


def here(**changes: Any) -> dict[str, Any]:
    """The token of a run in a process of this machine."""
    return lock._new_token() | changes


def test_it_is_removed_at_the_end(folder: Folder) -> None:
    with locked(folder):
        assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()
    with pytest.raises(FileNotFoundError):
        folder.read(LOCK_NAME)
    with pytest.raises(ZeroDivisionError), locked(folder):
        raise ZeroDivisionError
    with locked(folder):
        assert folder.names() == []


def test_a_second_run_is_refused_and_told_who_is_there(folder: Folder, holder: subprocess.Popen[str]) -> None:
    told = rf"being written by another run \(host {socket.gethostname()}, process {holder.pid}\); wait for its end"
    with pytest.raises(OptionsError, match=told), locked(folder):
        pytest.fail("two runs at once")
    assert json.loads(folder.read(LOCK_NAME))["pid"] == holder.pid


def test_the_lock_of_a_killed_run_is_taken_over_at_once(folder: Folder, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    while lock._process_start(holder.pid):
        time.sleep(0.001)
    with locked(folder):  # it is a zombie yet
        assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()


def test_a_process_that_was_given_the_number_of_a_dead_one_holds_nothing(folder: Folder) -> None:
    leave(folder, **here(process_started="1"))
    with locked(folder):
        pass


def test_a_run_in_this_very_process_is_refused(folder: Folder) -> None:
    with locked(folder), pytest.raises(OptionsError, match=f"process {os.getpid()}"), locked(folder):
        pytest.fail("two runs at once")


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {**here(), "pid": 1, "machine": "same name, other boot"}])
def test_a_lock_from_elsewhere_holds_as_long_as_its_heart_beats(folder: Folder, elsewhere: dict[str, Any]) -> None:
    leave(folder, **elsewhere, heartbeat=time.time() - STALE + 20)
    with pytest.raises(OptionsError, match=r"if that run is dead, its lock is free in (19|20) s"), locked(folder):
        pytest.fail("two runs at once")
    leave(folder, **elsewhere, heartbeat=time.time() - STALE - 1)
    with locked(folder):
        assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()


UNREADABLE = [b"", b"{", b"[]", b"\xff", b"\0" * 99, b"[" * 100_000, b'{"a":' * 30_000, b"9" * 5000, b" " * 10**6]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:5])
def test_a_lock_that_tells_nothing_is_taken_over(folder: Folder, text: bytes) -> None:
    folder.write(LOCK_NAME, text)
    with locked(folder):
        assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()


DAMAGED: list[dict[str, Any]] = [
    *({"heartbeat": value} for value in ("abc", None, float("nan"), float("inf"), 10**400, True, [], {})),
    *({"pid": value} for value in ("abc", None, True, 1.5, [])),
    *({name: value} for name in ("host", "id") for value in (None, 7, [])),
]


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_a_lock_that_is_damaged_is_taken_over(tmp_path: Path, damage: dict[str, Any]) -> None:
    folder = open_folder(str(tmp_path))
    for token in ({}, here()):
        leave(folder, **token | damage)
        with locked(folder):
            assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**63, 10**30])
def test_a_process_number_that_no_process_has_is_of_a_dead_run(tmp_path: Path, pid: int) -> None:
    folder = open_folder(str(tmp_path))
    leave(folder, **here(pid=pid))
    with locked(folder):
        pass


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_lock_from_the_future_that_shows_no_life_is_taken_over(
    folder: Folder, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.3)
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    leave(folder, **({} if elsewhere else here()), heartbeat=time.time() + 10 * STALE)
    began = time.monotonic()
    with locked(folder):
        assert time.monotonic() - began > 0.5
        assert json.loads(folder.read(LOCK_NAME))["heartbeat"] < time.time() + 1


def test_a_lock_from_the_future_that_shows_life_is_respected(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.3)
    leave(folder, heartbeat=time.time() + 10 * STALE)
    beat = threading.Timer(0.2, leave, [folder], {"heartbeat": time.time() + 10 * STALE + 10})
    beat.start()
    told = r"\(host elsewhere, process \d+\); wait for its end, or .* output_folder$"
    with pytest.raises(OptionsError, match=told), locked(folder):
        pytest.fail("two runs at once")
    beat.join()


def test_a_lock_that_is_damaged_while_it_is_held_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    folder = open_folder(str(tmp_path))
    with locked(folder) as held:
        folder.write(LOCK_NAME, b"[" * 100_000)
        wait_for(lambda: folder.read(LOCK_NAME).startswith(b"{"))
        held.check()
    assert not os.listdir(tmp_path)


def test_the_heart_beats(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    with locked(folder) as held:
        first = json.loads(folder.read(LOCK_NAME))["heartbeat"]
        wait_for(lambda: json.loads(folder.read(LOCK_NAME))["heartbeat"] > first)
        held.check()


def test_a_run_that_was_taken_for_dead_stops_and_leaves_the_lock_alone(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    with locked(folder) as held:
        leave(folder)
        with pytest.raises(ShardError, match=r"taken over by another run \(host elsewhere"):
            wait_for(lambda: held.check())
    assert json.loads(folder.read(LOCK_NAME))["host"] == "elsewhere"


def test_a_lock_that_cannot_be_renewed_or_removed_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    folder = open_folder(str(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with locked(folder):
        monkeypatch.setattr(folder, "write", full)
        monkeypatch.setattr(folder, "remove", full)
        wait_for(lambda: caplog.messages)
    assert "could not be renewed" in caplog.text


def test_a_folder_that_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="cannot be locked: No such file"), locked(open_folder(str(tmp_path / "no"))):
        pytest.fail("no lock")


STALE_LOCKS = [None, {}, {"heartbeat": 0}, here(pid=2**22 + 1)]


@pytest.mark.parametrize("stale", STALE_LOCKS, ids=["none", "empty", "elsewhere", "here"])
def test_of_many_that_begin_at_the_same_moment_one_gets_the_lock(tmp_path: Path, stale: dict[str, Any] | None) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt)
        path.mkdir()
        if stale is not None:
            (path / LOCK_NAME).write_text(json.dumps(stale))
        assert race(str(path), 8) == 1


def race(path: str, count: int) -> int:
    """How many of `count` threads get the lock of a folder when they begin at once and let go of nothing."""
    start, end = threading.Barrier(count), threading.Barrier(count)
    winners = []

    def one() -> None:
        start.wait()
        try:
            with locked(open_folder(path)):
                winners.append(1)
                end.wait()
        except OptionsError:
            end.wait()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(winners)


def test_of_two_processes_on_a_stale_lock_one_gets_it(folder: Folder) -> None:
    code = """
    import sys, time
    from img2dataset.errors import OptionsError
    from img2dataset.filesystem import open_folder
    from img2dataset.filesystem.lock import locked
    folder = open_folder(sys.argv[1])
    folder.names()
    print("ready", flush=True)
    input()
    try:
        with locked(folder):
            print("got it", flush=True)
            input()
    except OptionsError:
        print("refused", flush=True)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), folder.path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    runs = [subprocess.Popen(argv, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    assert [run.stdout.readline() for run in runs] == ["ready\n"] * 2
    leave(folder, heartbeat=0)
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    assert sorted(run.stdout.readline() for run in runs) == ["got it\n", "refused\n"]
    for run in runs:
        run.communicate("\n", timeout=10)


def test_a_claim_whose_owner_died_does_not_hold_up_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(str(tmp_path))
    leave(folder, heartbeat=0)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write", killed)
        patch.setattr(folder, "remove", killed)
        token = here(pid=2**22 + 1)
        patch.setattr(lock, "_new_token", lambda: token)
        with pytest.raises(Killed), locked(folder):
            pytest.fail("no lock")
    assert len(os.listdir(tmp_path)) == 2
    with locked(folder):
        assert json.loads(folder.read(LOCK_NAME))["pid"] == os.getpid()
        folder.recover()
        assert os.listdir(tmp_path) == [LOCK_NAME]


def wait_for(condition: object, timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
