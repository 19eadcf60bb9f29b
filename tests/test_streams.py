"""Streams that are closed, full or gone: what people see never decides what is done."""

from __future__ import annotations

import io
import json
import os
import pty
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from dataset import checked_metadata, mixed_rows, write_list
from mockserver import MockServer

from img2dataset import download
from img2dataset.streams import unfailing
from img2dataset.verify import verify

ROWS = 60
REDIRECTIONS = [
    "2>&-",
    "2>/dev/full",
    ">&-",
    "<&- >&- 2>&-",
    ">/dev/full 2>/dev/full",
    "2> >(head -c 10)",
    "> >(true) 2> >(true)",
]
each_redirection = pytest.mark.parametrize("redirection", REDIRECTIONS)


def shell(redirection: str, *words: object) -> int:
    """The exit code of the real command with its streams led elsewhere."""
    command = shlex.join([sys.executable, "-m", "img2dataset", *map(str, words)])
    return subprocess.run(["bash", "-c", f"{command} {redirection}"], timeout=60, check=False).returncode


def elsewhere(code: str, redirection: str, *words: object) -> int:
    """The exit code of a Python program with its streams led elsewhere."""
    command = shlex.join([sys.executable, "-c", textwrap.dedent(code), *map(str, words)])
    return subprocess.run(["bash", "-c", f"{command} {redirection}"], timeout=60, check=False).returncode


def options(path: Path, rows: list[str]) -> list[str]:
    url_list = write_list(path / "list.txt", rows)
    where = [f"--url_list={url_list}", f"--output_folder={path / 'out'}", "--output_format=webdataset"]
    return [*where, "--number_sample_per_shard=15", "--processes_count=2", "--thread_count=4"]


@each_redirection
def test_a_run_does_everything_wherever_its_streams_lead(server: MockServer, tmp_path: Path, redirection: str) -> None:
    rows = mixed_rows(server, ROWS)
    assert shell(redirection, *options(tmp_path, rows[:15])) == 0
    assert shell(redirection, *options(tmp_path, rows)) == 0  # it begins by saying that it goes on
    checked_metadata(tmp_path / "out", rows)
    assert verify(str(tmp_path / "out"), decode=True) == {}
    assert len(os.listdir(tmp_path / "out")) == 3 * ROWS // 15


@pytest.fixture(scope="module")
def broken(session_server: MockServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with one shard that is whole and one that is not."""
    path = tmp_path_factory.mktemp("broken")
    assert shell("2>/dev/null", *options(path, mixed_rows(session_server, 30))) == 0
    (path / "out/00001.tar").write_bytes(b"")
    return path / "out"


@each_redirection
def test_exit_codes_are_the_same_wherever_the_streams_lead(broken: Path, redirection: str) -> None:
    assert shell(redirection, "--help") == 0
    assert shell(redirection, "no-such-list.txt") == 2
    assert shell(redirection, "verify", f"--output_folder={broken}") == 1


@pytest.mark.parametrize(
    "close",
    ["os.close(2)", "sys.stderr.close()", "sys.stderr.close(), os.close(2)", "[os.close(n) for n in range(3)]"],
)
def test_a_program_that_closed_its_streams_gets_its_dataset(server: MockServer, tmp_path: Path, close: str) -> None:
    rows = mixed_rows(server, 30)
    code = f"""
    import os, sys, warnings
    from img2dataset import download
    {close}
    download(sys.argv[1], output_folder=sys.argv[2], number_sample_per_shard=10, processes_count=2, thread_count=4)
    warnings.warn("dropped")
    os._exit(0)
    """
    out = tmp_path / "out"
    assert elsewhere(code, "", write_list(tmp_path / "list.txt", rows), out) == 0
    checked_metadata(out, rows)
    assert verify(str(out), decode=True) == {}


TELL_WHAT_THE_WORKER_SAID = """
import json, sys
from contextlib import closing
from toy_downloaders import CannotStart, make_shard
from img2dataset.distributor import distribute
from img2dataset.errors import ShardError
from img2dataset.options import RunOptions
from img2dataset.streams import open_closed_streams
open_closed_streams()
said = ""
try:
    with closing(distribute(map(make_shard, range(2)), CannotStart(), RunOptions())) as events:
        said = [event.message for event in events]
except ShardError as error:
    said = [str(error)]
open(sys.argv[1], "w").write(json.dumps(said))
"""


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_worker_that_cannot_print_its_error_still_reports_it(
    tmp_path: Path, redirection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    elsewhere(TELL_WHAT_THE_WORKER_SAID, redirection, tmp_path / "said")
    assert "no module named 'decoder'" in json.loads((tmp_path / "said").read_text())[0]


def test_a_terminal_that_goes_away_in_the_middle_ends_no_run(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(server, 30)
    ours, theirs = pty.openpty()
    with suppress(OSError), open(theirs, "w", encoding="utf-8") as terminal:  # it cannot even be closed
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr("img2dataset.loggers.terminal.Bar.happened", _then(lambda: os.close(ours)))
        stats = download(write_list(tmp_path / "list.txt", rows), output_folder=str(tmp_path / "out"), thread_count=4)
    assert stats.count == 30
    checked_metadata(tmp_path / "out", rows)


def _then(end: Callable[[], None]) -> Callable[..., None]:
    """`Bar.happened`, which the first time does something else before."""
    from img2dataset.loggers.terminal import Bar

    happened, ends = Bar.happened, [end]

    def ending(*arguments: object) -> None:
        if ends:
            ends.pop()()
        happened(*arguments)  # type: ignore[arg-type]

    return ending


def test_what_a_stream_cannot_encode_is_written_in_escapes() -> None:
    buffer = io.BytesIO()
    stream = unfailing(io.TextIOWrapper(buffer, encoding="ascii"))
    print("é🐈\udcff", file=stream, flush=True)
    assert buffer.getvalue() == rb"\xe9\U0001f408\udcff" + b"\n"


def test_a_stream_that_is_none_or_closed_takes_everything() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (unfailing(None), unfailing(closed), unfailing(unfailing(None))):
        print("dropped", file=stream, flush=True)
        assert not stream.isatty()
