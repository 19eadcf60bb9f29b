"""Short ways to fetch in tests: one URL or many, with a Fetcher of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from dnsserver import DnsServer

from img2dataset.fetcher import Fetcher, FetchRequest, FetchResult
from img2dataset.fetcher.cares import CaresBackend
from img2dataset.fetcher.resolver import Backend
from img2dataset.options import FetchOptions

ENGINES = ("curl", "requests")


def fetch_all(urls: Iterable[str], *, backend: Backend | None = None, **options: object) -> list[FetchResult]:
    """The results in the order of `urls`. Few threads and no retries, unless the options say so."""
    settings = {"thread_count": 8, "timeout": 5.0, "retries": 0, **options}
    with Fetcher(FetchOptions(**settings), backend=backend) as fetcher:  # type: ignore[arg-type]
        results = list(fetcher.fetch(FetchRequest(index, url) for index, url in enumerate(urls)))
    return sorted(results, key=lambda result: result.id)  # type: ignore[arg-type, return-value]


def fetch_one(url: str, *, backend: Backend | None = None, **options: object) -> FetchResult:
    """The result of one URL."""
    (result,) = fetch_all([url], backend=backend, **options)
    return result


def asking(*servers: str) -> CaresBackend:
    """c-ares with these name servers (``host:port``) in place of the system's."""
    return CaresBackend(servers=servers)


def run_in_namespaces(script: str, *arguments: str, folder: Path) -> tuple[str, str]:
    """Run a script beside this file in Linux namespaces of its own: no network but loopback, mounts of its own.

    Returns what it wrote to stdout and stderr. Skips the test where the system forbids such namespaces.
    """
    here = Path(__file__).parent
    process = subprocess.run(
        [*_unshare("--net", "--mount"), sys.executable, str(here / script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{here}:{here.parent}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return process.stdout, process.stderr


def with_name_server(dns: DnsServer, folder: Path) -> list[str]:
    """The words before a command that make it look up names here: its `/etc/resolv.conf` is one of its own.

    Skips the test where the system forbids that.
    """
    own = folder / "resolv.conf"
    own.write_text(f"nameserver {dns.server}\n")  # c-ares takes a port here, too
    own.chmod(0o644)
    return [*_unshare("--mount"), "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(own)]


def _unshare(*namespaces: str) -> list[str]:
    command = ["unshare", *namespaces, "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no network and mount namespaces")
    return command


class Stopwatch:
    """The seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started
