"""Run a command as a whole process tree and measure what it takes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_SAMPLE_SECONDS = 0.25
_MB = 1e6
_SAID = 4000  # characters of a failed command's output that are worth showing


class RunError(RuntimeError):
    """A measured command failed or took too long."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a process tree took. Times in seconds, ``rss`` as (seconds since the start, MB of all its processes)."""

    wall: float
    cpu: float  # user and system, of every process that ran
    rss: tuple[tuple[float, float], ...]

    @property
    def peak_rss(self) -> float:
        """The most MB that its processes held together. Pages that they share count for each."""
        return max((size for _, size in self.rss), default=0.0)


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path, limit: float = 1800) -> Measurement:
    """Run `command` in `folder`, its output to `log.txt` there.

    Raises `RunError` when it fails or takes over `limit` seconds.
    """
    log = folder / "log.txt"
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that nothing that it leaves behind goes uncounted
    others = {child.pid for child in psutil.Process().children()}
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _sampled_rss(process.pid, started) as rss, _ended_after(limit, process.pid):
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime + _reap_all_but(others)
    if process.returncode:
        said = log.read_text(errors="replace")[-_SAID:]
        raise RunError(f"{' '.join(command)}\nended with {process.returncode} after {wall:.0f} s:\n{said}")
    return Measurement(wall=wall, cpu=cpu, rss=tuple(rss))


@contextlib.contextmanager
def _sampled_rss(pid: int, started: float) -> Iterator[list[tuple[float, float]]]:
    """What the processes hold, looked at a few times a second."""
    samples: list[tuple[float, float]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                sizes = [process.memory_info().rss for process in (root, *root.children(recursive=True))]
                samples.append((time.perf_counter() - started, sum(sizes) / _MB))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _ended_after(limit: float, group: int) -> Iterator[None]:
    timer = threading.Timer(limit, os.killpg, (group, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _reap_all_but(others: set[int]) -> float:
    """End what outlived the command; return the CPU seconds that it took."""
    seconds = 0.0
    for child in psutil.Process().children():
        if child.pid not in others:
            child.kill()
            _, _, usage = os.wait4(child.pid, 0)
            seconds += usage.ru_utime + usage.ru_stime
    return seconds
