"""URLs as people write them."""

from __future__ import annotations

import json

import pytest
from dnsserver import DnsServer
from fetching import asking, fetch_all, fetch_one
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mockserver import MockServer

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.guard import Reach, reach
from img2dataset.fetcher.urls import join, parse
from img2dataset.shards import LONGEST_URL


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://example.test", "http://example.test/"),
        ("  http://example.test/a.jpg\t", "http://example.test/a.jpg"),
        ("HTTP://EXAMPLE.test:80/A.jpg", "http://example.test/A.jpg"),
        ("https://example.test:443/a", "https://example.test/a"),
        ("http://example.test:8080/a b.jpg", "http://example.test:8080/a%20b.jpg"),
        ("http://example.test/ä/日本.jpg?q=ü", "http://example.test/%C3%A4/%E6%97%A5%E6%9C%AC.jpg?q=%C3%BC"),
        ("http://münchen.test/a", "http://xn--mnchen-3ya.test/a"),
        ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://example.test/a.jpg#top", "http://example.test/a.jpg"),
        ("http://example.test/a.jpg?x=1#top", "http://example.test/a.jpg?x=1"),
        ("http://example.test/%7euser/%c3%A4/100%/%zz", "http://example.test/%7euser/%c3%A4/100%/%zz"),
        ("http://example.test/a/../b/./c", "http://example.test/b/c"),
        ("http://example.test\\a\\b", "http://example.test/a/b"),
        ("http:/example.test/a", "http://example.test/a"),
        ("http:example.test/a", "http://example.test/a"),
        ("http:///example.test/a", "http://example.test/a"),
        ("http://exa\nmple.test/a\tb", "http://example.test/ab"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ("http://user:pass@example.test/", "http://user:pass@example.test/"),
        ("http://under_score.test/", "http://under_score.test/"),
        ("http://example.test/a+b&c=d;e,f", "http://example.test/a+b&c=d;e,f"),
    ],
)
def test_what_is_written_is_understood_as_browsers_do(text: str, url: str) -> None:
    assert parse(text).url == url


def test_a_url_may_have_65532_bytes_and_no_more() -> None:
    longest = "http://example.test/" + "é" * ((LONGEST_URL - 20) // 2)
    assert parse(longest).host == "example.test"
    for text in (longest + "x", "x" * 8_000_001, "http://example.test/\ud800" + "x" * LONGEST_URL):
        with pytest.raises(DownloadError, match=Reason.INVALID_URL):
            parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.MISSING_URL),
        (" \t\n", Reason.MISSING_URL),
        ("example.test/a.jpg", Reason.MISSING_SCHEME),
        ("www.example.test", Reason.MISSING_SCHEME),
        ("//example.test/a.jpg", Reason.MISSING_SCHEME),
        ("/a.jpg", Reason.MISSING_SCHEME),
        ("?", Reason.MISSING_SCHEME),
        ("example.test:8080/a.jpg", Reason.MISSING_SCHEME),
        ("localhost:8080/a.jpg", Reason.MISSING_SCHEME),
        ("localhost:8080", Reason.MISSING_SCHEME),
        ("127.0.0.1:80/", Reason.MISSING_SCHEME),
        ("ftp://example.test/", Reason.UNSUPPORTED_SCHEME),
        ("file:///etc/passwd", Reason.UNSUPPORTED_SCHEME),
        ("data:image/png;base64,AAAA", Reason.UNSUPPORTED_SCHEME),
        ("gopher://example.test:70/", Reason.UNSUPPORTED_SCHEME),
        ("mailto:someone@example.test", Reason.UNSUPPORTED_SCHEME),
        ("httpx://example.test/", Reason.UNSUPPORTED_SCHEME),
        ("s3://bucket/a.jpg", Reason.UNSUPPORTED_SCHEME),
        ("http://", Reason.INVALID_URL),
        ("http://exa mple.test/", Reason.INVALID_URL),
        ("http://example.test:99999/", Reason.INVALID_URL),
        ("http://[::1/", Reason.INVALID_URL),
        ("http://256.0.0.1/", Reason.INVALID_URL),
        ("http://\ud800/", Reason.INVALID_URL),
        ("http://a<b>.test/", Reason.INVALID_URL),
        ("http://a%00b.test/", Reason.INVALID_URL),
    ],
)
def test_what_cannot_be_fetched_says_why(text: str, reason: str) -> None:
    with pytest.raises(DownloadError) as caught:
        parse(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://example.test/b"),
        ("b c", "http://example.test/dir/b%20c"),
        ("//other.test/b", "http://other.test/b"),
        ("https://other.test/b", "https://other.test/b"),
        ("?q", "http://example.test/dir/a.jpg?q"),
        ("", "http://example.test/dir/a.jpg?x"),
        ("#f", "http://example.test/dir/a.jpg?x"),
        ("../../../up", "http://example.test/up"),
    ],
)
def test_a_location_is_relative_to_where_it_was_found(location: str, url: str) -> None:
    assert join(parse("http://example.test/dir/a.jpg?x"), location).url == url


def test_the_parts_of_a_target() -> None:
    named, literal = parse("https://Example.test/a"), parse("http://[::1]:8080/a")
    assert (named.scheme, named.host, named.port, named.is_address) == ("https", "example.test", 443, False)
    assert (literal.scheme, literal.host, literal.port, literal.is_address) == ("http", "::1", 8080, True)
    assert named.origin == "https://example.test:443"


def test_secrets_may_follow_to_the_same_origin_and_to_its_https() -> None:
    first = parse("http://example.test/a")
    may = ["http://example.test/b", "http://example.test:80/", "https://example.test/a"]
    may_not = ["http://www.example.test/", "http://example.test:8080/", "https://example.test:8443/", "https://o.test/"]
    assert all(first.shares_secrets_with(parse(url)) for url in may)
    assert not any(first.shares_secrets_with(parse(url)) for url in may_not)
    assert not parse("https://example.test/").shares_secrets_with(first)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/echo/a b", "/echo/a%20b"),
        ("/echo/ä", "/echo/%C3%A4"),
        ("/echo/%7e%c3%A4%zz%", "/echo/%7e%c3%A4%zz%"),
        ("/echo?a=%20+%2B&b=ü#part", "/echo?a=%20+%2B&b=%C3%BC"),
        ("/echo/x/../y", "/echo/y"),
        ("/echo/{a}|b^c[d]", "/echo/%7Ba%7D|b%5Ec[d]"),
        ("/echo/a;b=c,d!$'()*", "/echo/a;b=c,d!$'()*"),
        ("/echo//double", "/echo//double"),
        ('/echo/"<>`', "/echo/%22%3C%3E%60"),
    ],
)
def test_the_server_is_asked_what_was_written(server: MockServer, engine: str, written: str, asked: str) -> None:
    result = fetch_one(server.url(written), http_client=engine)
    assert result.body is not None, result.error
    assert json.loads(result.body)[0] == asked


def test_an_international_name_is_looked_up_in_its_ascii_form(server: MockServer, dns: DnsServer, engine: str) -> None:
    dns.zone["xn--mnchen-3ya.test"] = ["127.0.0.1"]
    result = fetch_one(server.url("/echo", "münchen.test"), http_client=engine, backend=asking(dns.server))
    assert result.body is not None
    assert server.requests[0].headers["host"] == f"xn--mnchen-3ya.test:{server.port}"
    assert result.final_url is None


@pytest.mark.parametrize("location", ["/echo/ä", "/echo/%C3%A4", "/echo/a b"])
def test_redirects_are_normalised_too(server: MockServer, engine: str, location: str) -> None:
    server.raw_location = location.encode()
    result = fetch_one(server.url("/raw-redirect"), http_client=engine)
    assert result.body is not None, result.error
    assert result.final_url == server.url(location.replace("ä", "%C3%A4").replace(" ", "%20"))


def test_urls_that_mean_nothing_are_failed_rows(engine: str) -> None:
    urls = ["", "no url", "http://", "ftp://127.0.0.1/", "http://a b/", "\ud800", "http://127.0.0.1:99999/"]
    results = fetch_all(urls, http_client=engine)
    assert [result.id for result in results] == list(range(len(urls)))
    assert {(result.body, result.attempts, result.http_status) for result in results} == {(None, 0, None)}


# ------------------------------------------------------------------------------------------------------------- fuzz

_PIECES = st.sampled_from(
    [
        *(
            "http://",
            "https://",
            "http:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            "#",
            "?",
            "%",
            "%00",
            "%zz",
            "[",
            "]",
            "::",
            "..",
            ".",
        ),
        *("127.0.0.1", "[::1]", "0x7f.1", "2130706433", "localhost", "a.test", "xn--", "xn--a", "ß", "İ", "é", "🎨"),
        *("ftp://", "file:///", "data:,", "user:pw@", ":0", ":80", ":99999", ":-1", "$(id)", "%s", "Host: evil", ";"),
        *("{}", "|", "^", '"', "<", ">", "`", " ", "\t", "\n", "\r\n", "\x00", "\x7f", "\u200b", "\u202e", "\ufeff"),
        *("\ud800", "a" * 64, "a." * 130, "1" * 400),
    ]
)
_MIXTURES = st.lists(_PIECES, max_size=8).map("".join)
_HOSTILE = st.one_of(
    _MIXTURES,
    _MIXTURES.map("http://127.0.0.1:9/{}".format),
    _MIXTURES.map("http://{}".format),
    st.text(max_size=40),
    st.text(st.characters(exclude_categories=()), max_size=20).map("https://a.test/{}".format),
)


@pytest.fixture(scope="module")
def hostile_urls() -> list[str]:
    """Ten thousand strings, the same in each run, none of which leads out of this machine."""
    found: list[str] = []

    @settings(max_examples=10_000, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(_HOSTILE)
    def collect(text: str) -> None:
        found.append("" if _leads_outside(text) else text)

    collect()
    return found


def _leads_outside(text: str) -> bool:
    try:
        target = parse(text)
    except DownloadError:
        return False
    return target.is_address and reach(target.host) is Reach.PUBLIC


def test_ten_thousand_hostile_strings_are_ten_thousand_results(
    server: MockServer, dns: DnsServer, hostile_urls: list[str], engine: str
) -> None:
    dns.default = ["127.0.0.1"]
    assert len(set(hostile_urls)) > 5000
    urls = [url.replace("http://127.0.0.1:9/", server.url("/echo/")) for url in hostile_urls]
    results = fetch_all(urls, backend=asking(dns.server), http_client=engine, max_download_bytes=100_000)
    assert [result.id for result in results] == list(range(10_000))
    assert len(server.requests) > 500
    known = {value for name, value in vars(Reason).items() if name.isupper()}
    assert {result.error for result in results} <= {None, "http 404", *known}
