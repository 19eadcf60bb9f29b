"""The fetcher alone: CPU time for one request, with each engine and with libcurl in a bare loop.

    python benchmarks/fetch.py                    4,000 requests a run, 3 rounds: about 5 minutes on 2 cores
    python benchmarks/fetch.py --count 1000 --rounds 5 --threads 256

A run is a process of its own, and the clients take turns. What is counted is the process's user and system time from
its first tenth of results to its last: libraries, threads, handles and certificates have been loaded by then, most of
them. It is measured on one core, for a run of img2dataset has a process for each core, and with all cores free: threads
on several cores take Python's lock from each other, which costs CPU and gains nothing.

With nginx installed every https host has a certificate of its own, as on the web; without it there is one for all,
whose thousand names cost every client half a millisecond a handshake.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import queue
import resource
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from compare import corpus_folder, corpus_names, machine
from contestants import CHECKOUT, environment
from isolation import isolate
from sections import Section, Verdict, progress, spread, verdict_table
from servers import TLS_HOSTS, Servers, http_host, servers

CORPUS_COUNT = 800
TIMEOUT = 30.0
MOST_CPU = {"http, many hosts": 0.7, "https, many hosts": 1.8}
"""Milliseconds, for curl."""


@dataclass(frozen=True)
class Job:
    """What a run has to do."""

    client: str
    threads: int
    one_core: bool
    urls: list[str]


@dataclass(frozen=True)
class Took:
    """What it took, for one request."""

    cpu_ms: float
    rate: float


def workloads(web: Servers, names: list[str], count: int) -> dict[str, list[str]]:
    """The URLs of every workload."""
    files = [f"{names[number % len(names)]}?{number}" for number in range(count)]
    tls = [TLS_HOSTS[number % len(TLS_HOSTS)] for number in range(count)]
    return {
        "http, many hosts": [f"http://{http_host(number)}:{web.http}/{file}" for number, file in enumerate(files)],
        "http, one host": [f"http://{http_host(0)}:{web.http}/{file}" for file in files],
        "https, many hosts": [f"https://{host}:{web.https}/{file}" for host, file in zip(tls, files, strict=True)],
        "https, one host": [f"https://{TLS_HOSTS[0]}:{web.https}/{file}" for file in files],
    }


def fetched(job: Job) -> Iterator[bytes | None]:
    """The bodies, by img2dataset's fetcher."""
    from img2dataset.fetcher import Fetcher, FetchRequest
    from img2dataset.options import FetchOptions, Limits

    limits = Limits(timeout=TIMEOUT, retries=0)
    options = FetchOptions(http_client=job.client, thread_count=job.threads, limits=limits)
    with Fetcher(options) as fetcher:
        for result in fetcher.fetch(FetchRequest(number, url) for number, url in enumerate(job.urls)):
            yield result.body


def fetched_bare(job: Job) -> Iterator[bytes | None]:
    """The bodies, by a handle in each thread and nothing else: no guard, no limits, no retries."""
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for url in [*job.urls, *[None] * job.threads]:
        waiting.put(url)
    for _ in range(job.threads):
        threading.Thread(target=_fetch_bare, args=(waiting, done), daemon=True).start()
    for _ in job.urls:
        yield done.get()


def _fetch_bare(waiting: queue.SimpleQueue[str | None], done: queue.SimpleQueue[bytes]) -> None:
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.TIMEOUT_MS, int(TIMEOUT * 1000))
    handle.setopt(pycurl.CAINFO, os.environ["SSL_CERT_FILE"])
    while (url := waiting.get()) is not None:
        chunks: list[bytes] = []
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.WRITEFUNCTION, chunks.append)
        handle.perform()
        done.put(b"".join(chunks))


CLIENTS: dict[str, Callable[[Job], Iterator[bytes | None]]] = {
    "curl": fetched,
    "requests": fetched,
    "bare pycurl": fetched_bare,
}


def measure_here(job: Job) -> Took:
    """Do the job in this process."""
    if job.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warm, whole = len(job.urls) // 10, 0
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    for number, body in enumerate(CLIENTS[job.client](job), 1):
        whole += body is not None
        if number == warm:
            before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    if whole != len(job.urls):
        raise SystemExit(f"{len(job.urls) - whole} of {len(job.urls)} requests failed")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(cpu_ms=1000 * cpu / (whole - warm), rate=(whole - warm) / (ended - started))


def measure(job: Job, web: Servers) -> Took:
    """Do the job in a process of its own."""
    command = [sys.executable, __file__, "--job"]
    variables = {**environment(web.ca_bundle), **CHECKOUT}
    done = subprocess.run(command, input=json.dumps(asdict(job)), env=variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{job.client}: {done.stderr}")
    return Took(**json.loads(done.stdout))


def section(web: Servers, names: list[str], count: int, threads: int, rounds: int) -> Section:
    """All clients on all workloads, in turns."""
    rows, verdicts = [], []
    for title, urls in workloads(web, names, count).items():
        taken: dict[tuple[str, bool], list[Took]] = {key: [] for key in itertools.product(CLIENTS, (True, False))}
        for number in range(rounds):
            for (client, one_core), results in taken.items():
                results.append(measure(Job(client, threads, one_core, urls), web))
                progress(f"{title}, round {number + 1}, {client}: {results[-1].cpu_ms:.2f} ms")
        rows += [(title, client, *_cells(taken[client, True]), *_cells(taken[client, False])) for client in CLIENTS]
        if title in MOST_CPU:
            verdicts.append(_verdict(title, [took.cpu_ms for took in taken["curl", False]]))
    header = ("workload", "client", "one core: CPU ms", "requests/s", "all cores: CPU ms", "requests/s")
    return Section(title="The fetcher alone, for one request", header=header, rows=rows, verdicts=verdicts)


def _cells(taken: list[Took]) -> tuple[str, str]:
    return spread([took.cpu_ms for took in taken], 2), spread([took.rate for took in taken], 0)


def _verdict(title: str, cpu: list[float]) -> Verdict:
    most = MOST_CPU[title]
    return Verdict(
        target=f"curl, all cores, {title}: CPU of a request",
        measured=f"{spread(cpu, 2)} ms",
        wanted=f"≤ {most} ms",
        is_reached=sorted(cpu)[len(cpu) // 2] <= most,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(asdict(measure_here(Job(**json.load(sys.stdin))))))
        return
    isolated = isolate()
    with servers(corpus_folder(), has_names=isolated, own_certificates=True) as web:
        print(f"    python {shlex.join(sys.argv)}\n\n{datetime.date.today()}, {machine()}; server: {web.program};")
        print(f"{arguments.threads} threads; median (lowest–highest) of {arguments.rounds} runs each, in turns.\n")
        result = section(web, corpus_names(CORPUS_COUNT), arguments.count, arguments.threads, arguments.rounds)
    print(result.markdown())
    print(verdict_table(result.verdicts))
    sys.exit(not all(verdict.is_reached for verdict in result.verdicts))


if __name__ == "__main__":
    main()
