"""Which addresses may be reached. No test here sends a packet to anything but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dnsserver import DnsServer
from fetching import asking, fetch_all, fetch_one, run_in_namespaces
from mockserver import PHOTO, MockServer

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher import FETCHERS
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.engine import Body, Engine, EngineSettings, Hop
from img2dataset.fetcher.guard import Guard, Reach, reach
from img2dataset.fetcher.memory import Memory
from img2dataset.tables import load

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
PRIVATE = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:0",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fec0::1",
    "ff02::1",
]
NEVER = [
    "169.254.0.1",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "::169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
]


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        *((address, Reach.PUBLIC) for address in PUBLIC),
        *((address, Reach.PRIVATE) for address in PRIVATE),
        *((address, Reach.NEVER) for address in NEVER),
    ],
)
def test_where_an_address_leads(address: str, leads: Reach) -> None:
    assert reach(address) is leads


def test_a_list_may_name_private_addresses_unless_they_are_blocked() -> None:
    usual, strict = Guard(block_private_networks=False), Guard(block_private_networks=True)
    for address in PRIVATE:
        assert usual.allowed([address], from_public=False) == (address,)
        with pytest.raises(DownloadError, match=Reason.BLOCKED_ADDRESS):
            strict.allowed([address], from_public=False)


def test_no_private_address_is_reached_from_a_public_one() -> None:
    guard = Guard(block_private_networks=False)
    for address in PRIVATE:
        with pytest.raises(DownloadError, match=Reason.BLOCKED_ADDRESS):
            guard.allowed([address], from_public=True)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("from_public", [False, True])
def test_link_local_is_never_reached_and_public_always(strict: bool, from_public: bool) -> None:
    guard = Guard(block_private_networks=strict)
    assert guard.allowed(PUBLIC, from_public=from_public) == tuple(PUBLIC)
    for address in NEVER:
        with pytest.raises(DownloadError, match=Reason.BLOCKED_ADDRESS):
            guard.allowed([address], from_public=from_public)


def test_of_a_hosts_addresses_only_the_allowed_are_left() -> None:
    guard = Guard(block_private_networks=True)
    assert guard.allowed(["10.0.0.1", "1.1.1.1", "fe80::1"], from_public=False) == ("1.1.1.1",)


def test_link_local_urls_fail_however_they_are_spelled(engine: str) -> None:
    hosts = [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "0xa9.254.0251.254",
        "169.254.43518",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[::ffff:0:169.254.169.254]",
        "１６９.254.169.254",
        "169。254。169。254",
    ]
    results = fetch_all([f"http://{host}/latest/meta-data/" for host in hosts], http_client=engine)
    assert {(result.error, result.attempts) for result in results} == {(Reason.BLOCKED_ADDRESS, 0)}


def test_blocked_networks_are_not_reached_however_they_are_spelled(server: MockServer, engine: str) -> None:
    hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[::127.0.0.1]",
    ]
    urls = [server.url("/chunked", host) for host in hosts]
    results = fetch_all(urls, http_client=engine, block_private_networks=True)
    assert {(result.error, result.attempts) for result in results} == {(Reason.BLOCKED_ADDRESS, 0)}
    assert server.requests == []


def test_a_name_that_leads_to_a_blocked_address_is_blocked(server: MockServer, dns: DnsServer, engine: str) -> None:
    dns.zone.update({"inside.test": ["127.0.0.1"], "metadata.test": ["169.254.169.254"]})
    inside, metadata = server.url("/chunked", "inside.test"), server.url("/chunked", "metadata.test")
    (blocked,) = fetch_all([inside], backend=asking(dns.server), http_client=engine, block_private_networks=True)
    assert blocked.error == Reason.BLOCKED_ADDRESS
    reached, never = fetch_all([inside, metadata], backend=asking(dns.server), http_client=engine)
    assert (reached.body, never.error) == (PHOTO, Reason.BLOCKED_ADDRESS)
    assert len(server.requests) == 1


def test_a_redirect_to_link_local_is_refused(server: MockServer, engine: str) -> None:
    result = fetch_one(server.url("/redirect?to=http://169.254.169.254/"), http_client=engine)
    assert (result.error, result.attempts, result.http_status) == (Reason.BLOCKED_ADDRESS, 1, 302)
    assert result.final_url == "http://169.254.169.254/"


def test_the_address_that_was_checked_is_the_one_connected_to(
    many_hosts: MockServer, dns: DnsServer, engine: str
) -> None:
    """A name with another address for each question: whatever is asked again, the connection goes to the first."""
    answers = iter([f"127.0.0.{number}" for number in range(2, 250)])
    dns.zone["turning.test"] = lambda: [next(answers)]
    dns.ttl = 0
    urls = [many_hosts.url("/redirect?to=/chunked", "turning.test")] * 5
    results = fetch_all(urls, backend=asking(dns.server), http_client=engine)
    assert {result.body for result in results} == {PHOTO}
    assert len({seen.host for seen in many_hosts.requests}) == 1
    assert dns.queries["turning.test"] == 2  # A and AAAA, once


@pytest.fixture
def bare_engine(engine: str) -> Iterator[Engine]:
    clock = Clock()
    made = load(FETCHERS, engine)(
        EngineSettings(
            max_download_bytes=1_000_000,
            kept_connections=5,
            headers={"User-Agent": "test"},
            private_headers={},
            ca_file=None,
            call_later=clock.call_later,
        )
    )
    yield made
    made.close()
    clock.close()


def _get(engine: Engine, url: str, port: int, *addresses: str) -> bytes:
    room = Memory(1_000_000, total=2_000_000).admit()
    assert room is not None
    body = Body(1_000_000, room, lambda _: None)
    engine.get(Hop(url, port, addresses, None, send_private_headers=True, timeout=5), body)
    body.finish()
    return body.data


def test_a_kept_connection_is_not_used_for_a_host_that_has_moved(many_hosts: MockServer, bare_engine: Engine) -> None:
    url, port = many_hosts.url("/chunked", "moving.test"), many_hosts.port
    for addresses in (["127.0.0.2"], ["127.0.0.2"], ["127.0.0.3"], ["127.0.0.4", "127.0.0.5"], ["127.0.0.5"]):
        assert _get(bare_engine, url, port, *addresses) == PHOTO
        assert many_hosts.requests[-1].host in addresses
        assert many_hosts.requests[-1].headers["host"] == f"moving.test:{port}"
    assert [seen.host for seen in many_hosts.requests[:3]] == ["127.0.0.2", "127.0.0.2", "127.0.0.3"]


def test_the_next_address_is_tried_when_one_refuses(server: MockServer, bare_engine: Engine) -> None:
    url = server.url("/chunked", "several.test")
    assert _get(bare_engine, url, server.port, "127.0.0.2", "::1", "127.0.0.1") == PHOTO
    assert _get(bare_engine, url, server.port, "127.0.0.1", "127.0.0.2") == PHOTO


def test_an_engine_never_resolves_a_name(many_hosts: MockServer, bare_engine: Engine) -> None:
    """``localhost`` means 127.0.0.1 to every resolver; the engine goes where it is sent."""
    assert _get(bare_engine, many_hosts.url("/chunked", "localhost"), many_hosts.port, "127.0.0.77") == PHOTO
    assert many_hosts.requests[0].host == "127.0.0.77"


def test_public_addresses_lead_nowhere_private(engine: str, tmp_path: Path) -> None:
    """In a network namespace of its own, where public addresses are this machine's: see the script."""
    assert run_in_namespaces("public_internet.py", engine, folder=tmp_path) == ("all held\n", "")
