"""Fixtures that more than one test module uses."""

from __future__ import annotations

import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import the helpers beside them

from dnsserver import DnsServer
from fetching import ENGINES
from mockserver import MockServer

CERTIFIED_NAMES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "localhost", "*.example.test")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where nobody watches (``CI=true``) a skipped test counts as failed: it has shown nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"\nCI=true and {len(skipped)} skipped: failed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _sigint_interrupts() -> Iterator[None]:
    """Ctrl-C interrupts, the processes that a test starts too: a shell's background job begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def session_server() -> Iterator[MockServer]:
    """The http server of the whole test run, for fixtures of a wider scope than a test."""
    with MockServer() as server:
        yield server


@pytest.fixture
def server(session_server: MockServer) -> MockServer:
    """The http server on 127.0.0.1, with no memory of other tests (registered images stay)."""
    session_server.reset()
    return session_server


@pytest.fixture(scope="session")
def certificate_authority() -> trustme.CA:
    """The authority that signed the certificate of `https_server`."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(certificate_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file that trusts `certificate_authority`: for ``SSL_CERT_FILE``."""
    path = tmp_path_factory.mktemp("ca") / "bundle.pem"
    certificate_authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def session_https_server(certificate_authority: trustme.CA) -> Iterator[MockServer]:
    """The https server of the whole test run."""
    with MockServer(certificate=certificate_authority.issue_cert(*CERTIFIED_NAMES)) as server:
        yield server


@pytest.fixture
def https_server(session_https_server: MockServer) -> MockServer:
    """The https server on 127.0.0.1, with no memory of other tests."""
    session_https_server.reset()
    return session_https_server


@pytest.fixture(scope="session")
def session_many_hosts() -> Iterator[MockServer]:
    """The http server on every 127.x.y.z of the whole test run."""
    with MockServer(every_loopback_address=True) as server:
        yield server


@pytest.fixture
def many_hosts(session_many_hosts: MockServer) -> MockServer:
    """An http server that answers on every 127.x.y.z, with no memory of other tests."""
    session_many_hosts.reset()
    return session_many_hosts


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 endpoint on loopback, with credentials and address in the environment for every child process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        yield settings["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> str:
    """The URL of a new bucket."""
    import fsspec

    bucket = f"test-{uuid.uuid4().hex}"
    fsspec.filesystem("s3", endpoint_url=s3_endpoint).mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each value of ``http_client``: both engines pass the same tests."""
    return str(request.param)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the usual wait before a retry, for tests that are not about the wait."""
    monkeypatch.setattr("img2dataset.fetcher.retries.FIRST_BACK_OFF", 0.1)


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    """A DNS server that knows no name."""
    with DnsServer() as server:
        yield server


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A TCP port of 127.0.0.1 that refuses: it is bound, so that nobody else gets it, and does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def swallowing_port() -> Iterator[int]:
    """A UDP port of 127.0.0.1 that takes everything and answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """`datasets.load_dataset` of the train split, without a network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    datasets.disable_progress_bars()
    caches = iter(range(100))
    return lambda out: datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / f"cache{next(caches)}"))
