"""What is wrong in an option is said before anything runs."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from fetching import fetch_options
from mockserver import MockServer

from img2dataset import download
from img2dataset.errors import OptionsError
from img2dataset.options import ROBOTS_DIRECTIVES, FetchOptions, Limits, Trust


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("thread_count", 0),
        ("thread_count", -1),
        ("thread_count", 1.5),
        ("thread_count", True),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("timeout", "10"),
        ("retries", -1),
        ("retries", None),
        ("max_download_bytes", 0),
        ("max_connections_per_host", 0),
        ("ignore_ssl_certificate", "yes"),
        ("block_private_networks", 1),
        ("respect_robots_txt", None),
        ("user_agent", ""),
        ("user_agent", "a\r\nX-Evil: 1"),
        ("user_agent", "日本"),
        ("user_agent_token", "a\nb"),
        ("headers", "X: 1"),
        ("headers", ["X: 1"]),
        ("headers", {"X": 1}),
        ("headers", {"X Y": "1"}),
        ("headers", {"": "1"}),
        ("headers", {"X": "a\nb"}),
        ("headers", {"X": "日本"}),
        ("headers", {"Host": "example.test"}),
        ("headers", {"user-agent": "me"}),
        ("headers", {"Accept-Encoding": "br"}),
        ("disallowed_header_directives", "noai"),
        ("disallowed_header_directives", None),
        ("disallowed_header_directives", ["noai", ""]),
        ("disallowed_header_directives", [1]),
    ],
)
def test_a_wrong_value_is_named(option: str, value: object) -> None:
    with pytest.raises(OptionsError, match=option):
        fetch_options(**{option: value})


def test_values_that_are_right_pass() -> None:
    options = fetch_options(
        timeout=0.5,
        retries=0,
        headers={"Accept": "image/*", "X-Name": "Zoë"},
        user_agent="Example/1.0 (+http://example.test)",
        user_agent_token="example-bot",
        max_connections_per_host=1,
        disallowed_header_directives=["NoAI ", "noimageai"],
    )
    assert options.courtesy.disallowed_header_directives == ("noai", "noimageai")
    assert options.crawler.headers == {"Accept": "image/*", "X-Name": "Zoë"}


def test_defaults_are_the_ones_in_the_docs() -> None:
    options = FetchOptions()
    assert (options.thread_count, options.http_client, options.resolver) == (256, "curl", "c-ares")
    assert options.limits == Limits(timeout=10.0, retries=1, max_download_bytes=64 * 1024 * 1024)
    assert options.courtesy.disallowed_header_directives == ROBOTS_DIRECTIVES


def test_options_travel_to_other_processes() -> None:
    options = fetch_options(headers={"A": "b"}, disallowed_header_directives=())
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_blocked_networks_and_a_proxy_are_refused_together(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert FetchOptions()
    with pytest.raises(OptionsError, match="proxy"):
        Trust(block_private_networks=True)


@pytest.mark.parametrize(("directives", "successes"), [(None, 0), ([], 1), ("noindex", 1), (["noai"], 0)])
def test_only_an_empty_list_switches_opt_outs_off(
    server: MockServer, tmp_path: Path, directives: object, successes: int
) -> None:
    """None was the default of 1.x, which wrappers hand on."""
    (tmp_path / "list.txt").write_text(server.url("/x-robots?value=noai"))
    stats = download(
        str(tmp_path / "list.txt"),
        output_folder=str(tmp_path / "out"),
        output_format="dummy",
        disallowed_header_directives=directives,  # type: ignore[arg-type]
    )
    assert stats.successes == successes
