"""What the docs say of errors and fetching is what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from fetching import GROUPS

from img2dataset.errors import Reason, http_status_reason
from img2dataset.fetcher import FETCHERS, RESOLVERS
from img2dataset.fetcher.retries import PASSING, RETRIED
from img2dataset.options import FetchOptions

OPTIONS = [
    field.name
    for group in (FetchOptions, *GROUPS.values())
    for field in dataclasses.fields(group)
    if field.name not in GROUPS
]
DOCS = Path(__file__).parent.parent / "docs"
ERRORS = (DOCS / "errors.md").read_text()
FETCHING = (DOCS / "fetching.md").read_text()

REASONS = {name: value for name, value in vars(Reason).items() if name.isupper()}
DOWNLOAD_ROWS = dict(
    re.findall(r"^\| `([^`]+)` \| .* \| ((?:yes|no) \| (?:yes|no)) \|$", ERRORS, flags=re.MULTILINE),
)


@pytest.mark.parametrize("name", REASONS)
def test_every_message_is_documented(name: str) -> None:
    assert re.search(rf"^\| `{re.escape(REASONS[name])}` \|", ERRORS, flags=re.MULTILINE)


def test_no_message_is_documented_that_does_not_exist() -> None:
    documented = set(re.findall(r"^\| `([^`]+)`", ERRORS, flags=re.MULTILINE))
    assert documented - set(REASONS.values()) == {"http 404", "unsupported format: SVG"}


def test_it_says_what_is_tried_again_and_what_is_passing() -> None:
    assert len(DOWNLOAD_ROWS) > 20
    for message, said in DOWNLOAD_ROWS.items():
        facts = (message in RETRIED, message in PASSING)
        assert said == " | ".join("yes" if fact else "no" for fact in facts), message


def test_the_statuses_it_names_are_the_ones() -> None:
    retried, passing = re.findall(r"^\| `http 404` .* \| ([\d, ]+) \| ([\d, ]+) \|$", ERRORS, flags=re.MULTILINE)[0]
    statuses = range(100, 600)
    assert [int(s) for s in retried.split(", ")] == [s for s in statuses if http_status_reason(s) in RETRIED]
    assert [int(s) for s in passing.split(", ")] == [s for s in statuses if http_status_reason(s) in PASSING]


def test_what_failed_to_be_resized_is_not_passing() -> None:
    resizing = ERRORS.partition("## `failed_to_resize`")[2]
    messages = re.findall(r"^\| `([^`]+)`", resizing, flags=re.MULTILINE)
    assert len(messages) > 5
    assert not any(message in PASSING for message in messages)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_explained(option: str) -> None:
    assert option == "thread_count" or re.search(rf"`{option}\b", FETCHING), option


def test_every_engine_and_resolver_is_explained() -> None:
    for name in (*FETCHERS, *RESOLVERS):
        assert f"`{name}`" in FETCHING
