"""A list in which everything that can be wrong is mixed: it costs its own rows, and nothing else."""

from __future__ import annotations

import itertools
import random
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hostile
import psutil
import pytest
from dataset import checked_metadata, photo, start, write_list
from dnsserver import DnsServer, Sends
from fetching import with_name_server
from hostile_dns import MALFORMED, REFUSALS, mutated_dns_answer
from mockserver import MockServer
from pictures import encoded, picture
from rawserver import RawServer

from img2dataset.errors import Reason
from img2dataset.filesystem import open_folder
from img2dataset.verify import check_shard

ROWS = 3600  # in two shards; enough that the retries of the last bad names are not what is measured
OK = "success"
LEAVING_ROWS = 300
NO_ADDRESS = frozenset({Reason.DNS_TEMPORARY, Reason.DNS_NO_ANSWER, Reason.DNS_NOT_FOUND})
NO_HTTP = frozenset({Reason.PROTOCOL_ERROR, Reason.CONNECTION_RESET, Reason.BODY_CUT_SHORT, Reason.NOT_AN_IMAGE})
ODD_ANSWERS = {
    "empty-line": b"\r\n\r\n",
    "empty-line-before": b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "small-letters": b"http/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "colon": b"HTTP/1.1 200: OK\r\nContent-Length: 1\r\n\r\nx",
    "no-space": b"HTTP/1.1 200OK\r\nContent-Length: 1\r\n\r\nx",
    "header-like-a-status-line": b"HTTP/1.1 200 OK\r\nHTTP/x: y\r\nContent-Length: 1\r\n\r\nx",
    "trailer-like-one": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nHTTP/x: y\r\n\r\n",
}
GIB = 1 << 30


@pytest.fixture
def raw() -> Iterator[RawServer]:
    """Sends the odd answers by their names."""
    with RawServer(lambda path: ODD_ANSWERS[path[1:].partition("?")[0]]) as server:
        yield server


@pytest.fixture
def twice() -> Iterator[RawServer]:
    """Sends each image, and a little later what nobody asked for."""
    body = encoded(picture(60, 40))
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with RawServer(lambda _: [good, 0.03, good], keep_alive=True) as server:
        yield server


@pytest.fixture
def leaving() -> Iterator[RawServer]:
    """Goes away for two seconds when it has been asked for so many rows that both processes have had an answer."""
    body = encoded(picture(60, 40))
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    asked = itertools.count(1)

    def answer(_: str) -> bytes:
        if next(asked) == LEAVING_ROWS * 3 // 5:
            server.stop_listening()
            threading.Timer(2, server.listen).start()
        return good

    with RawServer(answer, host="127.0.0.3") as server:
        yield server


def named_rows(server: MockServer, dns: DnsServer) -> dict[str, frozenset[str]]:
    """The URLs of names that are answered with garbage, and of good ones, whose addresses come amid that."""
    garbage = {
        f"{kind.replace(' ', '-')}.test": Sends(lambda query, of=of: [of(query)]) for kind, of in MALFORMED.items()
    }
    for seed in range(30):
        mutated = Sends(lambda query, seed=seed: [mutated_dns_answer(random.Random(seed), query, REFUSALS)])
        garbage[f"mutated{seed}.test"] = mutated
    good = [f"good{number}.test" for number in range(40)]
    dns.zone.update(garbage)
    dns.zone.update({name: ["127.0.0.1"] for name in good})
    rows = {server.url(f"/photo/200x300.jpg?{name}", name): NO_ADDRESS for name in garbage}
    return rows | {server.url(f"/photo/200x300.jpg?{name}", name): frozenset({OK}) for name in good}


def good_row(server: MockServer, number: int) -> str:
    """The URL of a photo, of which every second is as large as the web's are."""
    return server.url(f"/photo/1200x900.jpg?seed={number % 4}&row={number}") if number % 2 else photo(server, number)


def wrong_rows(
    server: MockServer, raw: RawServer, twice: RawServer, leaving: RawServer, refusing: int
) -> dict[str, frozenset[str]]:
    """The URLs of everything that is wrong, each with the words that may be said of it."""
    rows = {raw.url(f"/{name}?{copy}"): NO_HTTP for name in ODD_ANSWERS for copy in range(3)}
    for name, (body, reason) in hostile.refused_files().items():
        server.images[name] = ("image/jpeg", body)
        rows |= {server.url(f"/image/{name}?{copy}"): frozenset({reason}) for copy in range(2)}
    jpeg, webp = encoded(picture(1600, 1200)), encoded(picture(400, 300), "WEBP")
    files = {
        "slow.tif": (hostile.tiff_of_strips(), Reason.DECODING_TOO_SLOW),
        "large.ico": (hostile.icon_of_a_large_png(), Reason.IMAGE_MEMORY),
        "lost.jpg": (jpeg[: jpeg.index(b"\xff\xda") + 14] + jpeg[-9000:], Reason.IMAGE_CUT_SHORT),
        "lost.webp": (webp[:200] + webp[300:], Reason.IMAGE_CUT_SHORT),
    }
    for name, (body, reason) in files.items():
        server.images[name] = ("image/jpeg", body)
        rows[server.url(f"/image/{name}")] = frozenset({reason})
    refused = frozenset({Reason.CONNECTION_REFUSED, Reason.HOST_FAILING})
    rows |= {f"http://127.0.0.2:{refusing}/{number}": refused for number in range(20)}
    rows |= {twice.url(f"/{number}"): frozenset({OK}) for number in range(20)}
    rows |= {leaving.url(f"/{number}"): frozenset({OK}) for number in range(LEAVING_ROWS)}
    rows |= {server.url(f"/status/404?{number}"): frozenset({"http 404"}) for number in range(20)}
    rows["http://[::ffff:0:a9fe:a9fe]/latest/meta-data"] = frozenset({Reason.BLOCKED_ADDRESS})
    rows[server.url("/" + "x" * 8_000_000)] = frozenset({Reason.INVALID_URL})
    return rows


def mixed(good: list[str], wrong: list[str]) -> list[str]:
    """Two shards of both kinds; the last third is good, so that what waits for a retry has others to wait behind."""
    draw = random.Random(5)
    draw.shuffle(wrong)
    urls = []
    for shard in range(2):
        rows, last = wrong[shard::2] + good[shard::2][: -ROWS // 6], good[shard::2][-ROWS // 6 :]
        draw.shuffle(rows)
        urls += rows + last
    return urls


def timed_run(path: Path, urls: list[str], before: Sequence[str], *words: str) -> tuple[float, int, str]:
    """The real command on those rows: seconds, the most bytes that one of its processes held, and what it said."""
    options = [
        "--timeout=5",
        "--retries=2",
        "--processes_count=2",
        "--number_sample_per_shard=1800",
        "--thread_count=32",
    ]
    began = time.monotonic()
    command = (write_list(path / "list.txt", urls), f"--output_folder={path / 'out'}", *options, *words)
    with start(*command, before=before) as process, watched_memory(process.pid) as peak:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return time.monotonic() - began, peak[0], said


def asked_again(paths: Sequence[str]) -> int:
    """How many requests there were beyond one for each path."""
    return len(paths) - len(set(paths))


@contextmanager
def watched_memory(pid: int) -> Iterator[list[int]]:
    """Looks at the children of a process, and theirs, twenty times a second."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], *memory_of_children(pid), 0)

    thread = threading.Thread(target=look)
    thread.start()
    yield peak
    over.set()
    thread.join()


def memory_of_children(pid: int) -> list[int]:
    """The bytes that each of them holds; none where one ends meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return [child.memory_info().rss for child in psutil.Process(pid).children(recursive=True)]
    return []


@pytest.mark.parametrize("output_format", ["files", "webdataset"])
def test_everything_at_once_costs_its_own_rows(
    server: MockServer,
    raw: RawServer,
    twice: RawServer,
    leaving: RawServer,
    dns: DnsServer,
    unused_port: int,
    tmp_path: Path,
    engine: str,
    output_format: str,
) -> None:
    here = with_name_server(dns, tmp_path)
    wrong = wrong_rows(server, raw, twice, leaving, unused_port) | named_rows(server, dns)
    good = [good_row(server, number) for number in range(ROWS - len(wrong))]
    for name in ("alone", "mixed"):
        (tmp_path / name).mkdir()
    for url in good[:48]:
        urllib.request.urlopen(url).close()  # the server draws each photo once
    words = (f"--http_client={engine}", f"--output_format={output_format}")
    seconds_alone, _, _ = timed_run(tmp_path / "alone", good, here, *words)
    server.requests.clear()

    urls = mixed(good, list(wrong))
    seconds, peak, said = timed_run(tmp_path / "mixed", urls, here, *words)

    cut = [url[:65_536] for url in urls]  # what the reader makes of the line of eight megabytes
    table = checked_metadata(tmp_path / "mixed" / "out", cut)
    shards = {path.name[:5] for path in (tmp_path / "mixed" / "out").glob("*_stats.json")}
    for shard in shards:
        check_shard(open_folder(str(tmp_path / "mixed" / "out")), shard, decode=True)
    told = dict(zip(cut, table["error_message"].fillna(OK), strict=True))
    assert {told[url] for url in good} == {OK}
    unexpected = {url[:100]: told[url[:65_536]] for url, words in wrong.items() if told[url[:65_536]] not in words}
    assert unexpected == {}
    assert Reason.INTERNAL_ERROR not in told.values()
    assert "ended at" not in said  # a worker died or hung
    assert "TIFF" not in said.replace("unsupported format: TIFF", "")
    assert asked_again(server.paths()) <= 1
    assert asked_again(twice.paths) <= 1
    retried = [path for path in set(raw.paths) if told[raw.url(path)] == Reason.CONNECTION_RESET]
    assert asked_again(raw.paths) <= 1 + len(retried)
    assert asked_again(leaving.paths) <= 1 + leaving.cut
    assert leaving.cut
    assert peak < GIB
    assert seconds < 2 * seconds_alone
