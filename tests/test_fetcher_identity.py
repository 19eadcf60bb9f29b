"""Who we say we are, to whom, and whom we believe: headers, certificates, proxies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from conftest import CERTIFIED_NAMES
from dnsserver import DnsServer
from fetching import Stopwatch, asking, fetch_all, fetch_one, fetch_options
from mockserver import PHOTO, MockServer

from img2dataset import __version__
from img2dataset.errors import OptionsError, Reason
from img2dataset.fetcher import Fetcher, FetchRequest, FetchResult
from img2dataset.fetcher.proxies import Proxies
from img2dataset.fetcher.urls import parse


def headers_of(result: FetchResult) -> dict[str, str]:
    """What ``/echo`` was asked with."""
    assert result.body is not None, result.error
    return {name.lower(): value for name, value in json.loads(result.body)[1]}


# ---------------------------------------------------------------------------------------------------------- headers


def test_we_say_who_we_are(server: MockServer, engine: str) -> None:
    sent = headers_of(fetch_one(server.url("/echo"), http_client=engine))
    assert sent["user-agent"] == f"Mozilla/5.0 (compatible; img2dataset/{__version__})"


def test_a_token_is_added_and_a_user_agent_replaces_all(server: MockServer, engine: str) -> None:
    added = headers_of(fetch_one(server.url("/echo"), http_client=engine, user_agent_token="examplebot"))
    assert added["user-agent"] == f"Mozilla/5.0 (compatible; img2dataset/{__version__}; examplebot)"
    replaced = headers_of(fetch_one(server.url("/echo"), http_client=engine, user_agent="Example/1.0 (me)"))
    assert replaced["user-agent"] == "Example/1.0 (me)"


def test_both_engines_send_the_same_headers(server: MockServer) -> None:
    by_curl, by_requests = (
        headers_of(fetch_one(server.url("/echo"), http_client=name)) for name in ("curl", "requests")
    )
    by_requests.pop("connection", None)  # keep-alive, which is what HTTP/1.1 means without it
    assert by_curl == by_requests
    assert set(by_curl) == {"host", "user-agent", "accept", "accept-encoding"}


def test_headers_are_added(server: MockServer, engine: str) -> None:
    headers = {"X-Dataset": "mine", "accept": "image/*", "Referer": "http://example.test/", "X-Me": "Zoë", "X-None": ""}
    sent = headers_of(fetch_one(server.url("/echo"), http_client=engine, headers=headers, user_agent="Zoë's"))
    assert {name.lower(): value for name, value in headers.items()}.items() <= sent.items()
    assert sent["user-agent"] == "Zoë's"


def test_headers_stay_with_the_origin_that_the_list_names(many_hosts: MockServer, engine: str) -> None:
    here, there = many_hosts.url("/echo"), many_hosts.url("/echo", "127.0.0.9")
    options = {"http_client": engine, "headers": {"X-Secret": "key"}, "thread_count": 1}
    urls = [many_hosts.url("/redirect?to=/echo"), many_hosts.url(f"/redirect?to={there}"), here]
    same, other, again = fetch_all(urls, **options)
    assert headers_of(same)["x-secret"] == headers_of(again)["x-secret"] == "key"
    assert "x-secret" not in headers_of(other)
    assert headers_of(other)["user-agent"] == headers_of(same)["user-agent"]


def test_credentials_of_a_url_stay_with_its_origin(many_hosts: MockServer, engine: str) -> None:
    with_credentials = f"http://user:p%40ss@127.0.0.1:{many_hosts.port}"
    there = many_hosts.url("/echo", "127.0.0.9")
    urls = [
        f"{with_credentials}/echo",
        f"{with_credentials}/redirect?to=/echo",
        f"{with_credentials}/redirect?to={there}",
    ]
    direct, same, other = fetch_all(urls, http_client=engine, thread_count=1)
    assert headers_of(direct)["authorization"] == headers_of(same)["authorization"] == "Basic dXNlcjpwQHNz"
    assert "authorization" not in headers_of(other)
    assert other.final_url == there


# ----------------------------------------------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def many_https_hosts(certificate_authority: trustme.CA) -> Iterator[MockServer]:
    certificate = certificate_authority.issue_cert(*CERTIFIED_NAMES)
    with MockServer(every_loopback_address=True, certificate=certificate) as server:
        yield server


@pytest.fixture
def trusting(ca_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_bundle))


@pytest.mark.usefixtures("trusting")
def test_a_certificate_of_the_bundle_is_believed(https_server: MockServer, engine: str) -> None:
    results = fetch_all([https_server.url("/chunked")] * 4, http_client=engine, thread_count=1)
    assert {result.body for result in results} == {PHOTO}
    assert https_server.connections == 1


def test_an_unknown_authority_is_not_believed(https_server: MockServer, engine: str) -> None:
    result = fetch_one(https_server.url("/chunked"), http_client=engine, retries=1)
    assert (result.error, result.attempts) == (Reason.TLS_CERTIFICATE, 1)


@pytest.mark.usefixtures("trusting")
def test_a_certificate_for_another_name_is_not_believed(many_https_hosts: MockServer, engine: str) -> None:
    urls = [many_https_hosts.url("/chunked", host) for host in ("127.0.0.2", "127.0.0.99")]
    right, wrong = fetch_all(urls, http_client=engine)
    assert (right.body, wrong.error) == (PHOTO, Reason.TLS_CERTIFICATE)


@pytest.mark.usefixtures("trusting")
def test_a_name_is_what_the_certificate_must_say_not_the_address(
    many_https_hosts: MockServer, dns: DnsServer, engine: str
) -> None:
    dns.zone.update({"www.example.test": ["127.0.0.88"], "www.other.test": ["127.0.0.1"]})
    urls = [many_https_hosts.url("/chunked", host) for host in ("www.example.test", "www.other.test")]
    right, wrong = fetch_all(urls, http_client=engine, backend=asking(dns.server))
    assert (right.body, wrong.error) == (PHOTO, Reason.TLS_CERTIFICATE)


def test_certificates_need_not_be_checked(many_https_hosts: MockServer, engine: str) -> None:
    urls = [many_https_hosts.url("/chunked", host) for host in ("127.0.0.1", "127.0.0.99")]
    results = fetch_all(urls, http_client=engine, ignore_ssl_certificate=True)
    assert {result.body for result in results} == {PHOTO}


def test_a_server_without_tls_fails_the_handshake(server: MockServer, engine: str) -> None:
    result = fetch_one(f"https://127.0.0.1:{server.port}/", http_client=engine, timeout=2)
    assert result.error == Reason.TLS_FAILED


def test_the_bundle_is_read_once(
    many_https_hosts: MockServer, ca_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """After the first handshake the file is gone; a second host is trusted all the same."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(ca_bundle, bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with Fetcher(fetch_options(thread_count=1, http_client=engine)) as fetcher:
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            (result,) = fetcher.fetch([FetchRequest(0, many_https_hosts.url("/chunked", host))])
            assert result.body == PHOTO
            bundle.unlink(missing_ok=True)


def test_a_bundle_that_cannot_be_read_is_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    with pytest.raises(OptionsError, match="SSL_CERT_FILE"):
        Fetcher(fetch_options())


# ---------------------------------------------------------------------------------------------------------- proxies


@pytest.fixture
def proxy(many_hosts: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """A proxy on 127.0.0.1 for http and https: it answers in the place of every http host, and tunnels to https."""
    monkeypatch.setenv("http_proxy", many_hosts.url(""))
    monkeypatch.setenv("HTTPS_PROXY", many_hosts.url(""))
    return many_hosts


def test_the_environments_proxy_is_used_and_resolves(proxy: MockServer, dns: DnsServer, engine: str) -> None:
    url = "http://only.the.proxy.knows.test/chunked"
    result = fetch_one(url, http_client=engine, backend=asking(dns.server))
    assert result.body == PHOTO
    assert proxy.requests[0].headers["host"] == "only.the.proxy.knows.test"
    assert dns.queries.total() == 0


@pytest.mark.usefixtures("trusting")
def test_https_goes_through_a_tunnel(proxy: MockServer, https_server: MockServer, engine: str) -> None:
    results = fetch_all([https_server.url("/chunked")] * 3, http_client=engine, thread_count=1)
    assert {result.body for result in results} == {PHOTO}
    assert proxy.paths() == [f"CONNECT 127.0.0.1:{https_server.port}"]


def test_a_proxy_that_refuses_a_tunnel_is_the_proxys_failure(proxy: MockServer, engine: str) -> None:
    result = fetch_one("https://nowhere.test/", http_client=engine)
    assert result.error == Reason.PROXY_FAILED
    assert proxy.paths() == ["CONNECT nowhere.test:443"]


def test_a_proxy_that_is_not_there_is_the_proxys_failure(
    monkeypatch: pytest.MonkeyPatch, unused_port: int, engine: str
) -> None:
    monkeypatch.setenv("all_proxy", f"127.0.0.1:{unused_port}")
    results = fetch_all(["http://one.test/", "https://two.test/"], http_client=engine)
    assert [result.error for result in results] == [Reason.PROXY_FAILED] * 2


def test_redirects_go_through_the_proxy_too(proxy: MockServer, engine: str) -> None:
    result = fetch_one("http://one.test/redirect?to=http://two.test/chunked", http_client=engine)
    assert (result.body, result.final_url) == (PHOTO, "http://two.test/chunked")
    assert [seen.headers["host"] for seen in proxy.requests] == ["one.test", "two.test"]


@pytest.mark.parametrize("no_proxy", ["127.0.0.5", "127.0.0.0/8", "*", "example.test, .local.test", "local.test"])
def test_no_proxy_is_obeyed(
    proxy: MockServer, monkeypatch: pytest.MonkeyPatch, dns: DnsServer, engine: str, no_proxy: str
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    named = "test" in no_proxy
    dns.zone["a.local.test"] = ["127.0.0.5"]
    url = proxy.url("/chunked", "a.local.test" if named else "127.0.0.5")
    assert fetch_one(url, http_client=engine, backend=asking(dns.server)).body == PHOTO
    assert proxy.requests[0].host == "127.0.0.5"  # it was reached there, and not at the proxy's address


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_exempt"),
    [
        ("example.test", "http://www.Example.test./", True),
        ("example.test", "http://notexample.test/", False),
        (".example.test", "http://example.test/", True),
        ("example.test:8080", "http://example.test:8080/", True),
        ("example.test:8080", "http://example.test/", False),
        ("::1", "http://[::1]:8080/", True),
        ("fc00::/7", "http://[fd00::1]/", True),
        ("fc00::/7", "http://10.0.0.1/", False),
        ("10.0.0.0/8, no network/99", "http://10.1.2.3/", True),
        ("", "http://10.1.2.3/", False),
        (" * ", "http://example.test/", True),
    ],
)
def test_what_no_proxy_exempts(monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_exempt: bool) -> None:
    monkeypatch.setenv("all_proxy", "socks5://proxy.test:1080")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert Proxies().of(parse(url)) == (None if is_exempt else "socks5h://proxy.test:1080")


def test_literal_link_local_addresses_do_not_go_through_a_proxy(proxy: MockServer, engine: str) -> None:
    urls = ["http://169.254.169.254/", "http://one.test/redirect?to=http://[fe80::1]/"]
    results = fetch_all(urls, http_client=engine)
    assert {result.error for result in results} == {Reason.BLOCKED_ADDRESS}
    assert len(proxy.requests) == 1


def test_what_a_proxy_redirects_to_must_not_be_a_private_address(proxy: MockServer, engine: str) -> None:
    result = fetch_one("http://one.test/redirect?to=http://10.0.0.1/", http_client=engine)
    assert result.error == Reason.BLOCKED_ADDRESS
    assert len(proxy.requests) == 1


def test_blocked_networks_and_a_proxy_do_not_go_together(proxy: MockServer) -> None:
    assert proxy.requests == []
    with pytest.raises(OptionsError, match="proxy"):
        fetch_options(block_private_networks=True)


def test_a_proxy_keeps_the_deadline(proxy: MockServer, engine: str) -> None:
    watch = Stopwatch()
    results = fetch_all(
        ["http://one.test/silent", "http://one.test/trickle", "http://one.test/header-trickle"],
        http_client=engine,
        timeout=1,
    )
    assert {result.error for result in results} == {Reason.TIMED_OUT}
    assert watch.seconds < 2.5
    assert len(proxy.requests) == 3
