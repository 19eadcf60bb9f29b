"""The process pool: no shard is lost and no process is left, whatever ends workers, their parent or the run."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import psutil
import pytest
import toy_downloaders as toys
from toy_downloaders import make_shard

from img2dataset.distributor import Downloader, Event, distribute
from img2dataset.distributor.process_pool import pool as process_pool
from img2dataset.distributor.process_pool.pool import MAX_FALSE_STARTS
from img2dataset.errors import ShardError
from img2dataset.events import Progress, ShardFailure
from img2dataset.options import RunOptions
from img2dataset.shards import Shard
from img2dataset.stats import ShardStats

LIMIT = 20  # seconds for a test
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _in_bounded_time() -> Iterator[None]:
    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    assert psutil.Process().children() == []  # zombies are children too
    assert set(threading.enumerate()) <= threads


def shards(count: int, rows: int = 4) -> Iterator[Shard]:
    return (make_shard(number, rows) for number in range(count))


def options(processes_count: int = 1, max_shard_retry: int = 1, shard_patience: float = 60) -> RunOptions:
    return RunOptions(processes_count=processes_count, max_shard_retry=max_shard_retry, shard_patience=shard_patience)


def run(downloader: Downloader, source: Iterable[Shard], run_options: RunOptions | None = None) -> list[Event]:
    with closing(distribute(source, downloader, run_options or options())) as events:
        return list(events)


def stats_of(events: Iterable[Event]) -> dict[int, ShardStats]:
    """The stats by shard number; each shard has them once."""
    stats = [event for event in events if isinstance(event, ShardStats)]
    assert len({each.shard_id for each in stats}) == len(stats)
    return {each.shard_id: each for each in stats}


def failures_of(events: Iterable[Event]) -> dict[int, str]:
    return {event.shard_id: event.message for event in events if isinstance(event, ShardFailure)}


def pids_of(events: Iterable[Event]) -> set[int]:
    return {stats.origin.options["pid"] for stats in stats_of(events).values()}


# The normal course


def test_every_shard_is_done() -> None:
    events = run(toys.Toy(), shards(6), options(processes_count=2))
    assert sorted(stats_of(events)) == list(range(6))


def test_where_a_worker_stands_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "TICK", 0.05)
    *events, end = run(toys.Slow(seconds=0.1), shards(1, rows=10))
    rows = [event.row for event in events if isinstance(event, Progress)]
    assert len(rows) == len(events) > 2
    assert rows == sorted(set(rows))
    assert isinstance(end, ShardStats)


def test_the_work_is_done_in_other_processes() -> None:
    pids = pids_of(run(toys.Slow(seconds=0.05), shards(6), options(processes_count=2)))
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize(("wanted", "arenas"), [(None, "2"), ("7", "7")])
def test_workers_have_few_malloc_arenas(monkeypatch: pytest.MonkeyPatch, wanted: str | None, arenas: str) -> None:
    monkeypatch.setenv("ANOTHER", "one")
    if wanted:
        monkeypatch.setenv("MALLOC_ARENA_MAX", wanted)
    (stats,) = stats_of(run(toys.TellsEnvironment(), shards(1))).values()
    assert stats.origin.options["MALLOC_ARENA_MAX"] == arenas
    assert stats.origin.options["ANOTHER"] == "one"


def test_no_more_workers_than_shards_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = process_pool.WorkerProcess.start
    monkeypatch.setattr(
        process_pool.WorkerProcess, "start", lambda worker, *args: (started.append(worker), start(worker, *args))
    )
    assert len(stats_of(run(toys.Toy(), shards(2), options(processes_count=5)))) == 2
    assert len(started) == 2


def test_an_empty_list_starts_no_worker() -> None:
    assert run(toys.CannotStart(), []) == []


def test_each_worker_gets_a_shard_before_any_gets_a_second(tmp_path: Path) -> None:
    def slow() -> Iterator[Shard]:
        for shard in shards(3):
            yield shard
            time.sleep(0.3)  # the worker of this shard asks for another one

    events = run(toys.TwoOpen(how="none", notes=tmp_path), slow(), options(processes_count=3))
    assert len(pids_of(events)) == 3


def test_shards_are_pulled_when_a_worker_has_room() -> None:
    pulled = settled = 0

    def counted() -> Iterator[Shard]:
        nonlocal pulled
        for shard in shards(12):
            pulled += 1
            assert pulled <= settled + 2, "a worker that opens one shard at a time gets one"
            yield shard

    with closing(distribute(counted(), toys.Slow(seconds=0.01), options(processes_count=2))) as events:
        for event in events:
            settled += isinstance(event, ShardStats)
    assert settled == 12


def test_a_slow_list_does_not_hold_up_the_first_shard(tmp_path: Path) -> None:
    def slow() -> Iterator[Shard]:
        yield make_shard(0, rows=bytes(5_000_000))
        deadline = time.monotonic() + 10
        while not list(tmp_path.glob("*.tmp")):
            assert time.monotonic() < deadline, "nobody works while the list is read"
            time.sleep(0.01)
        yield make_shard(1)

    events = run(toys.CleansUp(seconds=0.05, folder=tmp_path), slow(), options(processes_count=2))
    assert len(stats_of(events)) == 2


def test_an_error_of_the_list_is_raised_when_the_open_shards_are_done() -> None:
    def broken() -> Iterator[Shard]:
        yield from shards(2)
        raise ShardError("the list ends in the middle")

    seen: list[Event] = []
    with pytest.raises(ShardError, match="the list ends in the middle"):
        seen.extend(distribute(broken(), toys.Slow(seconds=0.05), options(processes_count=3)))
    assert sorted(stats_of(seen)) == [0, 1]


def test_large_frames_cross_without_a_deadlock() -> None:
    size = 5_000_000
    source = (make_shard(number, 3000, rows=bytes([number]) * size) for number in range(4))
    stats = stats_of(run(toys.Huge(size=size), source))
    assert [stats[number].origin.options["echo"] for number in range(4)] == [
        bytes([number]) * size for number in range(4)
    ]


def test_what_a_library_prints_or_reads_does_not_touch_the_frames(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(stats_of(run(toys.Chatty(), shards(2, rows=1)))) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("a stray print\n") == captured.err.count("and one from a C library\n") == 2


def test_an_announcement_costs_little() -> None:
    began = time.process_time()
    run(toys.Toy(), shards(1, rows=20_000))
    assert (time.process_time() - began) / 20_000 < 200e-6


# Workers that die


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("kill", "killed by SIGKILL (out of memory?)"),
        ("segfault", "killed by SIGSEGV"),
        ("exit", "exit code 7"),
        ("raise", "ArithmeticError: a bug in the decoder"),
    ],
)
def test_a_row_that_kills_its_worker_twice_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, cause: str
) -> None:
    stats = stats_of(run(toys.Deadly(how=how, notes=tmp_path), shards(3), options(max_shard_retry=0)))
    assert {number: each.origin.options["poisoned"] for number, each in stats.items()} == {0: [], 1: [2], 2: []}
    assert len(list(tmp_path.iterdir())) == 2
    once, again = caplog.messages
    assert once.endswith(f"ended at row 2 of shard 00001, which is done again: {cause}")
    assert again.endswith(f"ended at row 2 of shard 00001 again, which is done without that row: {cause}")


def test_a_row_at_which_a_worker_died_once_is_decoded_the_second_time(tmp_path: Path) -> None:
    events = run(toys.Deadly(how="kill", notes=tmp_path, times=1), shards(3), options(max_shard_retry=0))
    assert {number: each.origin.options["poisoned"] for number, each in stats_of(events).items()} == {
        0: [],
        1: [],
        2: [],
    }
    assert len(list(tmp_path.iterdir())) == 1


def test_the_other_worker_goes_on(tmp_path: Path) -> None:
    downloader = toys.Deadly(how="kill", notes=tmp_path, shard_id=0, row=0)
    assert sorted(stats_of(run(downloader, shards(8), options(processes_count=2)))) == list(range(8))


def test_only_the_shard_of_the_announced_row_is_blamed(tmp_path: Path) -> None:
    downloader = toys.TwoOpen(how="kill", notes=tmp_path, shard_id=1)
    stats = stats_of(run(downloader, shards(4), options(max_shard_retry=0)))
    assert {number: each.origin.options["poisoned"] for number, each in stats.items()} == {0: [], 1: [2], 2: [], 3: []}


def test_a_shard_is_given_up_for_deaths_that_no_row_explains(tmp_path: Path) -> None:
    events = run(toys.DiesUnannounced(how="exit", notes=tmp_path), shards(3), options(max_shard_retry=1))
    assert failures_of(events) == {1: "worker died: exit code 7"}
    assert sorted(stats_of(events)) == [0, 2]
    assert len(list(tmp_path.iterdir())) == 2 * process_pool.MAX_UNEXPLAINED


def test_a_death_that_no_row_explains_costs_no_try_of_the_shard(tmp_path: Path) -> None:
    downloader = toys.DiesUnannounced(how="exit", notes=tmp_path, times=process_pool.MAX_UNEXPLAINED - 1)
    assert sorted(stats_of(run(downloader, shards(3), options(max_shard_retry=0)))) == [0, 1, 2]


def test_a_shard_is_never_given_up_for_its_rows(caplog: pytest.LogCaptureFixture) -> None:
    stats = stats_of(run(toys.DeadlyEverywhere(), shards(1, rows=12), options(max_shard_retry=0)))
    assert stats[0].origin.options["poisoned"] == list(range(12))
    assert rows_blamed(caplog) == [str(row) for row in range(12) for _ in range(2)]


def test_a_death_while_a_shard_is_written_is_no_rows_fault(caplog: pytest.LogCaptureFixture) -> None:
    events = run(toys.DiesWritingAnnounced(), shards(1), options(max_shard_retry=1))
    assert failures_of(events) == {0: "worker died: exit code 7"}
    assert rows_blamed(caplog) == []


def test_a_row_that_is_not_decoded_any_more_is_not_blamed_again(caplog: pytest.LogCaptureFixture) -> None:
    events = run(toys.DiesWriting(), shards(1), options(max_shard_retry=0))
    assert failures_of(events) == {0: "worker died: exit code 7"}
    assert rows_blamed(caplog) == ["3", "3"]


def rows_blamed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The rows at which workers ended, as the log tells."""
    return [found[1] for message in caplog.messages if (found := re.search(r"ended at row (\d+)", message))]


def test_the_next_try_of_a_failed_shard_knows_the_deadly_rows(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    stats = stats_of(run(toys.PoisonedThenFails(how="exit", notes=notes, note=tmp_path / "failed"), shards(2)))
    assert stats[1].origin.options["poisoned"] == [2]
    assert (tmp_path / "failed").exists()
    assert len(list(notes.iterdir())) == 2


def test_a_downloader_that_ends_before_its_shard_has_died() -> None:
    events = run(toys.StopsEarly(), shards(1, rows=1), options(max_shard_retry=0))
    assert failures_of(events) == {0: "worker died: the downloader ended before its shard"}


@pytest.mark.parametrize("downloader", [toys.CannotStart(), toys.CannotBeLoaded()])
def test_workers_that_cannot_start_end_the_run(downloader: Downloader, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ShardError, match="no worker process can start; the last one ended: ImportError: no module"):
        run(downloader, shards(100))
    assert capfd.readouterr().err.count("Traceback") == MAX_FALSE_STARTS


def test_workers_that_start_now_and_then_do_not_end_the_run(tmp_path: Path) -> None:
    number = MAX_FALSE_STARTS + 1
    assert len(stats_of(run(toys.StartsEverySecondTime(notes=tmp_path), shards(number)))) == number


def test_a_row_of_an_earlier_try_is_not_blamed(tmp_path: Path) -> None:
    def two() -> Iterator[Shard]:
        yield make_shard(0)
        yield make_shard(0)  # the same shard again, and the same worker gets it

    with closing(process_pool.run(two(), toys.FailsThenDies(notes=tmp_path), options())) as events:
        seen = [event for event in events if isinstance(event, ShardFailure)]
    assert seen == [ShardFailure(0, "disk full")]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_traceback_of_the_downloader_reaches_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(toys.Deadly(how="raise", notes=tmp_path, times=1), shards(2))
    assert "Traceback" in (err := capfd.readouterr().err)
    assert "ArithmeticError: a bug in the decoder" in err


def test_a_failed_shard_is_done_again(tmp_path: Path) -> None:
    events = run(toys.Failing(notes=tmp_path, every=2, times=1), shards(4), options(processes_count=2))
    assert sorted(stats_of(events)) == [0, 1, 2, 3]
    assert failures_of(events) == {}


# Workers that hang


def test_a_row_at_which_a_worker_hangs_is_left_out_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    downloader = toys.Deadly(how="hang", notes=tmp_path, times=1)
    stats = stats_of(run(downloader, shards(3), options(shard_patience=0.7)))
    assert {number: each.origin.options["poisoned"] for number, each in stats.items()} == {0: [], 1: [2], 2: []}
    assert caplog.messages[0].endswith(
        "row 2 of shard 00001, which is done without that row: stuck, no progress for 0.7 s"
    )


def test_a_shard_is_never_given_up_for_rows_that_hang() -> None:
    stats = stats_of(run(toys.HangsEverywhere(), shards(1, rows=5), options(max_shard_retry=0, shard_patience=0.4)))
    assert stats[0].origin.options["poisoned"] == list(range(5))


def test_a_worker_that_hangs_at_no_row_uses_up_a_try_of_the_shard(tmp_path: Path) -> None:
    downloader = toys.DiesUnannounced(how="hang", notes=tmp_path)
    events = run(downloader, shards(3), options(max_shard_retry=1, shard_patience=0.4))
    assert failures_of(events) == {1: "worker died: stuck, no progress for 0.4 s"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_stopped_worker_is_ended_too() -> None:
    with closing(distribute(shards(2, 50), toys.Slow(seconds=0.01), options(shard_patience=0.7))) as events:
        next(events)
        psutil.Process().children()[0].suspend()
        assert sorted(stats_of(events)) == [0, 1]


def test_a_slow_list_or_consumer_makes_no_worker_look_stuck(caplog: pytest.LogCaptureFixture) -> None:
    def slow() -> Iterator[Shard]:
        for shard in shards(3):
            time.sleep(0.8)
            yield shard

    with closing(distribute(slow(), toys.Toy(), options(processes_count=2, shard_patience=0.6))) as events:
        seen = []
        for event in events:
            seen.append(event)
            time.sleep(0.8 if isinstance(event, ShardStats) else 0)
    assert sorted(stats_of(seen)) == [0, 1, 2]
    assert caplog.messages == []


# The end of a run


def test_closing_early_ends_the_workers_and_lets_them_clean_up(tmp_path: Path) -> None:
    downloader = toys.CleansUp(seconds=0.2, folder=tmp_path)
    with closing(distribute(shards(100, 1000), downloader, options(processes_count=2))) as events:
        open_shards = set()
        while len(open_shards) < 2:
            open_shards.add(next(e for e in events if isinstance(e, Progress)).shard_id)
        assert len(list(tmp_path.iterdir())) == 2
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("downloader", [toys.Unstoppable(seconds=0.1), toys.InLongCall()])
def test_a_worker_that_does_not_heed_sigterm_is_killed(downloader: Downloader) -> None:
    with closing(distribute(shards(2), downloader, options(processes_count=2))) as events:
        next(events)
        began = time.monotonic()
    assert time.monotonic() - began < 3


def test_ctrl_c_in_the_consumer_ends_the_workers(tmp_path: Path) -> None:
    def consume() -> None:
        with closing(distribute(shards(9), toys.CleansUp(seconds=1, folder=tmp_path), options(2))) as events:
            for event in events:
                assert isinstance(event, Progress)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_waiting_ends_the_workers() -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(toys.Slow(seconds=60), shards(2), options(processes_count=2))
    assert time.monotonic() - began < 3


def test_workers_leave_sigint_to_their_parent(caplog: pytest.LogCaptureFixture) -> None:
    with closing(distribute(shards(2, 20), toys.Slow(seconds=0.02), options())) as events:
        first = next(events)
        psutil.Process().children()[0].send_signal(signal.SIGINT)
        assert sorted(stats_of([first, *events])) == [0, 1]
    assert caplog.messages == []


def test_sigint_meets_no_worker_that_is_still_starting(caplog: pytest.LogCaptureFixture) -> None:
    with closing(distribute(shards(2), toys.Toy(), options())) as events:
        interrupting = threading.Thread(target=_interrupt_first_child)
        interrupting.start()
        assert sorted(stats_of(events)) == [0, 1]
        interrupting.join()
    assert caplog.messages == []


def _interrupt_first_child() -> None:
    while not (children := psutil.Process().children()):
        time.sleep(0.001)
    children[0].send_signal(signal.SIGINT)


def test_signal_handlers_and_mask_of_the_caller_stay() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with closing(distribute(shards(2), toys.Toy(), options())) as events:
        next(events)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_it_runs_in_a_thread_that_is_not_the_main_one() -> None:
    done: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: done.put(run(toys.Toy(), shards(4), options(processes_count=2))))
    thread.start()
    assert sorted(stats_of(done.get(timeout=15))) == [0, 1, 2, 3]
    thread.join()


# Scripts of users

SCRIPT = """
import sys
sys.path[:] = {path!r}
from img2dataset.distributor import distribute
from img2dataset.options import RunOptions
from toy_downloaders import {toy}, make_shard
print("started", flush=True)
for event in distribute(map(make_shard, range(3)), {toy}({arguments}), RunOptions(processes_count=2, shard_patience=2)):
    print(event, flush=True)
"""


def script(toy: str, arguments: str = "") -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(path=sys.path, toy=toy, arguments=arguments)]


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(script("Toy")[-1])
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=15, check=True, cwd=tmp_path)
    assert done.stdout.count("started") == 1
    assert done.stdout.count("ShardStats") == 3
    assert done.stderr == ""


@pytest.mark.parametrize(("toy", "arguments"), [("Slow", "seconds=60"), ("InLongCall", "")])
def test_a_killed_parent_leaves_no_orphan(toy: str, arguments: str) -> None:
    with subprocess.Popen(script(toy, arguments), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        while "Progress(shard_id=1" not in parent.stdout.readline():
            assert parent.poll() is None
        workers = psutil.Process(parent.pid).children()
        assert len(workers) == 2
        parent.kill()
        _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []


def test_a_run_that_was_suspended_goes_on() -> None:
    with subprocess.Popen(
        script("Slow", "seconds=0.2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout
        assert parent.stderr
        while "Progress(shard_id=1" not in parent.stdout.readline():
            assert parent.poll() is None
        time.sleep(0.1)  # until it listens again
        os.killpg(parent.pid, signal.SIGSTOP)
        time.sleep(3)  # longer than the patience of the script
        os.killpg(parent.pid, signal.SIGCONT)
        assert parent.stdout.read().count("ShardStats") == 3
        assert parent.stderr.read() == ""


def test_a_parent_killed_while_workers_start_leaves_no_orphan() -> None:
    with subprocess.Popen(script("Slow", "seconds=60"), stdout=subprocess.PIPE, text=True) as parent:
        while not (workers := psutil.Process(parent.pid).children()):
            time.sleep(0.001)
        parent.kill()
        _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []


def test_ctrl_c_at_a_terminal_ends_the_script_and_is_silent_in_the_workers() -> None:
    with subprocess.Popen(
        script("Slow", "seconds=60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout
        assert parent.stderr
        while "Progress(shard_id=1" not in parent.stdout.readline():
            assert parent.poll() is None
        workers = psutil.Process(parent.pid).children()
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(timeout=3) == -signal.SIGINT
        assert parent.stderr.read().count("Traceback") == 1
        assert psutil.wait_procs(workers, timeout=1)[1] == []
