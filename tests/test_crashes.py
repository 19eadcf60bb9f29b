"""What a run does when its workers crash or hang, and when disks, permissions and stores give way under it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import psutil
import pytest
from dataset import checked_metadata, run, start, stats, write_list
from mockserver import MockServer, photo
from PIL import Image

from img2dataset import download
from img2dataset.downloader import Downloader
from img2dataset.errors import Reason
from img2dataset.filesystem import open_folder
from img2dataset.options import FetchOptions, ReadOptions, ResizeOptions, ResumeOptions, RunOptions, WriteOptions
from img2dataset.run import run as run_here
from img2dataset.verify import check_shard

ROOT = Path(__file__).parent.parent

HOOK = """
import os, signal, time
from img2dataset.images import resizer

def resize(self, data, *arguments, original=resizer.Resizer.__call__, **options):
    if data.endswith(b"CRASH"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if data.endswith(b"HANG"):
        time.sleep(3600)
    if data.endswith(b"STUBBORN"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        time.sleep(3600)
    return original(self, data, *arguments, **options)

resizer.Resizer.__call__ = resize
"""


@pytest.fixture
def marked(server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Gives the URL of an image that does to its worker what it is named after. The product knows nothing of it."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hook"), str(ROOT)]))

    def url(mark: str) -> str:
        server.images[f"{mark}.jpg"] = ("image/jpeg", photo(64, 64) + mark.encode())
        return server.url(f"/image/{mark}.jpg?{uuid.uuid4().hex}")

    return url


def photos(server: MockServer, count: int, delay: float = 0) -> list[str]:
    return [server.url(f"/photo/64x64.jpg?seed={n % 5}&delay={delay}&row={n}") for n in range(count)]


def wait_for(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The real command, which does not outlive a test that fails."""
    with start(*words) as process:
        try:
            yield process
        finally:
            process.kill()


def hidden(out: Path) -> list[str]:
    return [path.name for path in out.iterdir() if path.name.startswith(".")]


def assert_finished_shards_are_sound(out: Path) -> None:
    for path in out.glob("*_stats.json"):
        check_shard(open_folder(str(out)), path.name.removesuffix("_stats.json"), True)


# Workers


def test_one_deadly_image_in_500_costs_one_row(
    server: MockServer, tmp_path: Path, marked: Callable[[str], str]
) -> None:
    urls = photos(server, 1000)
    for row in (77, 777):
        urls[row] = marked("CRASH")
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={out}", "--output_format=webdataset"]
    words += ["--image_size=64", "--processes_count=2", "--thread_count=8", "--number_sample_per_shard=500"]
    code, said = run(*words)
    assert code == 0, said
    assert said.count("killed by SIGSEGV") == 4
    table = checked_metadata(out, urls)
    assert Counter(table["error_message"].dropna()) == {Reason.WORKER_DIED: 2}
    assert table["error_message"].dropna().index.tolist() == [77, 777]
    assert_finished_shards_are_sound(out)
    assert hidden(out) == []


def test_a_worker_that_hangs_is_ended_and_its_row_recorded(
    server: MockServer, tmp_path: Path, marked: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    urls = photos(server, 20)
    urls[13] = marked("HANG")
    out = tmp_path / "out"
    downloader = Downloader(
        read=ReadOptions(url_list=write_list(tmp_path / "list.txt", urls), number_sample_per_shard=10),
        fetch=FetchOptions(thread_count=4),
        resize=ResizeOptions(image_size=64),
        write=WriteOptions(output_folder=str(out)),
    )
    run_here(downloader, ResumeOptions(), RunOptions(shard_patience=3))
    table = checked_metadata(out, urls)
    assert table["error_message"].dropna().to_dict() == {13: Reason.DECODING_TOO_SLOW}
    assert caplog.text.count("stuck, no progress for 3 s") == 1


def test_a_later_run_remembers_which_image_is_deadly(
    server: MockServer, tmp_path: Path, marked: Callable[[str], str]
) -> None:
    urls = [marked("CRASH"), *photos(server, 40, delay=0.2)]
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={out}", "--thread_count=2", "--image_size=64"]
    with running(words) as process:
        wait_for(lambda: out.exists() and ".00000.img2dataset-poisoned" in hidden(out))
        process.kill()
        process.communicate()
    code, said = run(*words)
    assert code == 0, said
    assert "SIGSEGV" not in said
    assert checked_metadata(out, urls)["error_message"].dropna().to_dict() == {0: Reason.WORKER_DIED}
    assert hidden(out) == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of every process that is started: the spools of an object store are there."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture(params=["local", "s3"])
def output_folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3_bucket") + "/out"


def fetched(output_folder: str, tmp_path: Path) -> Path:
    """The dataset on this machine."""
    if "://" in output_folder:
        files = fsspec.filesystem("s3")
        files.invalidate_cache()
        files.get(f"{output_folder}/", f"{tmp_path / 'fetched'}/", recursive=True)
    return tmp_path / ("fetched" if "://" in output_folder else "out")


@pytest.mark.parametrize("output_format", ["files", "webdataset", "parquet"])
def test_the_worker_that_takes_over_fetches_only_what_is_not_settled(
    server: MockServer,
    tmp_path: Path,
    temporary: Path,
    output_folder: str,
    marked: Callable[[str], str],
    output_format: str,
) -> None:
    urls = photos(server, 30)
    urls[5], urls[29] = server.url("/status/404"), marked("CRASH")
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={output_folder}", "--image_size=64"]
    code, said = run(*words, f"--output_format={output_format}", "--thread_count=1")
    assert code == 0, said
    assert said.count("killed by SIGSEGV") == 2
    asked = Counter(server.paths())
    assert asked.pop(urls[29].removeprefix(server.url(""))) == 3
    assert set(asked.values()) == {1}
    out = fetched(output_folder, tmp_path)
    assert checked_metadata(out, urls)["error_message"].dropna().to_dict() == {5: "http 404", 29: Reason.WORKER_DIED}
    assert stats(out)["successes"] == 28
    record = json.loads((out / "00000_stats.json").read_text())
    assert record["attempts"] == 30
    assert_finished_shards_are_sound(out)
    assert hidden(out) == list(temporary.iterdir()) == []


def test_a_shard_that_is_tried_again_fetches_nothing_twice(server: MockServer, tmp_path: Path) -> None:
    urls = photos(server, 20)
    out = tmp_path / "out"
    in_the_way = out / ".00000_stats.json.img2dataset-commit"
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={out}", "--max_shard_retry=100"]
    with running(words) as process:
        wait_for(lambda: server.requests)
        in_the_way.write_text("a commit record that is damaged: the next commit is refused")
        assert process.stderr
        while "is tried again later" not in process.stderr.readline():
            pass
        in_the_way.unlink()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    checked_metadata(out, urls)
    assert len(server.requests) == 20
    assert hidden(out) == []


@pytest.mark.parametrize("strike", [signal.SIGTERM, signal.SIGKILL])
def test_no_spool_stays_when_a_run_has_ended_or_the_next_begins(
    server: MockServer, tmp_path: Path, temporary: Path, output_folder: str, strike: signal.Signals
) -> None:
    urls = [*photos(server, 20), server.url("/silent")]
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={output_folder}", "--thread_count=2"]
    words += ["--output_format=webdataset", "--timeout=2", "--retries=0"]
    place = temporary if "://" in output_folder else tmp_path / "out"
    with running(words) as process:
        wait_for(lambda: list(place.rglob(".00000.img2dataset-open")))
        assert not [name for name in open_folder(output_folder).names() if "open" in name]
        wait_for(lambda: len(server.requests) > 10)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(strike)
        process.communicate(timeout=20)
    psutil.wait_procs(workers, timeout=10)
    assert bool(list(place.rglob(".00000.img2dataset-open"))) == (strike == signal.SIGKILL)
    code, said = run(*words)
    assert code == 0, said
    out = fetched(output_folder, tmp_path)
    checked_metadata(out, urls)
    assert hidden(out) == list(temporary.iterdir()) == []


def test_the_deadly_rows_of_another_list_say_nothing(server: MockServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".00000.img2dataset-poisoned").write_text('{"url_digest": "of others", "rows": {"1": "worker died"}}')
    urls = photos(server, 3)
    assert download(write_list(tmp_path / "list.txt", urls), output_folder=str(out)).successes == 3
    assert hidden(out) == []


# Signals


def test_a_second_ctrl_c_stops_at_once(server: MockServer, tmp_path: Path, marked: Callable[[str], str]) -> None:
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", [marked("STUBBORN")]), f"--output_folder={out}", "--thread_count=2"]
    with running(words) as process:
        wait_for(lambda: server.requests)
        time.sleep(1)  # until the image is being decoded
        workers = psutil.Process(process.pid).children()
        assert workers
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 1.5
    assert process.returncode == 130, said
    assert psutil.wait_procs(workers, timeout=2)[1] == []
    assert hidden(out) == []


def test_download_in_a_notebook_raises_keyboard_interrupt_and_leaves_the_handlers(
    server: MockServer, tmp_path: Path
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    out = tmp_path / "out"
    url_list = write_list(tmp_path / "list.txt", [server.url("/silent")])

    def interrupt() -> None:
        wait_for(lambda: psutil.Process().children())
        assert [signal.getsignal(number) for number in numbers] == before
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        download(url_list, output_folder=str(out), thread_count=2)
    interrupting.join()
    assert [signal.getsignal(number) for number in numbers] == before
    assert psutil.Process().children() == []
    assert list(out.iterdir()) == []


# Disks, permissions, stores


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here; RLIMIT_FSIZE stands in for it in another test")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def large_images(server: MockServer, count: int) -> list[str]:
    """URLs of images that take about 180 kB each however they are encoded."""
    import io

    noise = random.Random(1)
    for number in range(4):
        data = io.BytesIO()
        Image.frombytes("RGB", (300, 300), noise.randbytes(270_000)).save(data, "JPEG", quality=95)
        server.images[f"noise{number}.jpg"] = ("image/jpeg", data.getvalue())
    return [server.url(f"/image/noise{n % 4}.jpg?row={n}") for n in range(count)]


def large_words(url_list: str, out: Path, output_format: str) -> list[str]:
    return [
        *(url_list, f"--output_folder={out}", f"--output_format={output_format}", "--resize_mode=no"),
        *("--processes_count=2", "--thread_count=4", "--number_sample_per_shard=4"),
    ]


@pytest.mark.parametrize("output_format", ["files", "webdataset", "parquet"])
def test_a_disk_that_fills_up_fails_its_shards_and_no_other(
    server: MockServer, tmp_path: Path, small_disk: Path, output_format: str
) -> None:
    urls = large_images(server, 60)
    out = small_disk / "out"
    words = large_words(write_list(tmp_path / "list.txt", urls), out, output_format)
    code, said = run(*words)
    assert code == 1, said
    assert "No space left on device" in said
    done = len(list(out.glob("*_stats.json")))
    assert 2 < done < 15
    assert f"{15 - done} shards failed" in said
    assert stats(out)["count"] == 4 * done
    assert hidden(out) == []
    assert_finished_shards_are_sound(out)
    assert {path.name[:5] for path in out.iterdir()} == {path.name[:5] for path in out.glob("*_stats.json")}
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert run(*words)[0] == 0
    checked_metadata(out, urls)
    assert_finished_shards_are_sound(out)


@pytest.mark.parametrize("output_format", ["files", "webdataset"])
def test_a_file_that_grows_too_large_fails_its_shard(server: MockServer, tmp_path: Path, output_format: str) -> None:
    urls = photos(server, 12)
    urls[5] = large_images(server, 1)[0]
    out = tmp_path / "out"
    words = large_words(write_list(tmp_path / "list.txt", urls), out, output_format)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        process = start(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "shard 00001 failed: OSError: [Errno 27] File too large" in said
    assert sorted(path.name for path in out.glob("*_stats.json")) == ["00000_stats.json", "00002_stats.json"]
    assert hidden(out) == []
    assert run(*words)[0] == 0
    checked_metadata(out, urls)


def obedient(words: list[str]) -> list[str]:
    """The command as someone whom permissions bind, even when the tests run as root."""
    caps = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    return [*prefix, sys.executable, "-m", "img2dataset", *words]


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_folder_that_may_no_longer_be_written_fails_the_shards_that_are_not_done(
    server: MockServer, tmp_path: Path
) -> None:
    urls = photos(server, 120, delay=0.1)
    out = tmp_path / "out"
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder={out}", "--number_sample_per_shard=10"]
    words += ["--thread_count=4", "--image_size=64", "--output_format=webdataset"]
    with subprocess.Popen(obedient(words), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(list(out.glob("*_stats.json"))) >= 2)
        out.chmod(0o555)
        _, said = process.communicate(timeout=60)
    out.chmod(0o755)
    assert process.returncode == 1, said
    assert "PermissionError: [Errno 13] Permission denied" in said
    assert "Traceback" not in said.rpartition("img2dataset: ")[2]
    assert_finished_shards_are_sound(out)
    assert run(*words)[0] == 0
    checked_metadata(out, urls)
    assert hidden(out) == []


@pytest.mark.parametrize("output_format", ["files", "webdataset"])
def test_a_store_that_goes_away_fails_the_shards_that_are_not_done(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: str
) -> None:
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    _, port = store.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    keys["AWS_MAX_ATTEMPTS"] = "1"  # or every call is tried for half a minute
    for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}", skip_instance_cache=True)
    bucket = f"test-{uuid.uuid4().hex}"
    files.mkdir(bucket)
    urls = photos(server, 20, delay=0.2)
    words = [write_list(tmp_path / "list.txt", urls), f"--output_folder=s3://{bucket}/out", "--thread_count=2"]
    words += ["--number_sample_per_shard=5", "--image_size=64", f"--output_format={output_format}"]
    with running(words) as process:
        wait_for(lambda: files.invalidate_cache() or files.glob(f"{bucket}/out/*_stats.json"))
        store.stop()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert re.search(r"shards? failed|stopped early", said)
    again = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    again.start()
    try:
        code, said = run(*words)
        assert code == 0, said
        files.invalidate_cache()
        files.get(f"{bucket}/out/", f"{tmp_path / 'out'}/", recursive=True)
    finally:
        again.stop()
    checked_metadata(tmp_path / "out", urls)
    assert_finished_shards_are_sound(tmp_path / "out")
    assert hidden(tmp_path / "out") == []
