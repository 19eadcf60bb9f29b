"""The page that --help shows."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import pytest

from img2dataset import download
from img2dataset.help_page import WIDEST, help_page
from img2dataset.short_forms import SHORT_FORMS
from img2dataset.verify import verify


def example(
    url_list: str,
    count: int = 1,
    share: float = 0.5,
    really: bool = True,
    names: Sequence[str] | None = ("a", "b"),
    headers: Mapping[str, str] | None = None,
) -> None:
    """Do something.

    It is done at once.
    And without words.

    Args:
        url_list: The list.
        count: How many, of which there
            may be many.
        share: Of them.
        really: Do it.
        names: What they are called.
        headers: What is sent.

    Returns:
        Nothing.
    """


PAGE = """\
Usage: program --url_list=... [--option=value ...]

Do something.

It is done at once. And without words.

Write options as --name=value, lists as a,b, mappings as JSON, and None for no value; --name alone
is true.

Options:

  -u, --url_list: text, required
      The list.

  -c, --count: whole number, 1 by default
      How many, of which there may be many.

  -s, --share: number, 0.5 by default
      Of them.

  -r, --really: true or false, True by default
      Do it.

  -n, --names: list, a,b by default
      What they are called.

  -h, --headers: JSON object, None by default
      What is sent."""


def test_an_option_has_its_type_its_default_and_its_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert help_page(example, "program") == PAGE


@pytest.mark.parametrize("function", [download, verify])
def test_every_option_is_on_the_page_once(function: object) -> None:
    shown = re.findall(r"^  (?:-\w, )?--(\w+): ", help_page(function, "program"), re.MULTILINE)  # type: ignore[arg-type]
    assert sorted(shown) == sorted(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_options_stand_in_groups() -> None:
    titles = re.findall(r"^(\w[\w ]+):$", help_page(download, "img2dataset"), re.MULTILINE)
    assert titles == ["Reading the list", "Fetching", "Images", "Writing", "Running"]


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_lines_are_as_wide_as_the_terminal_at_most(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    paragraphs = [line for line in help_page(download, "img2dataset").splitlines() if not line.startswith("  -")]
    widest = max(map(len, paragraphs[1:]))
    assert min(columns, WIDEST) - 12 < widest <= min(columns, WIDEST)


def test_a_short_form_is_shown_where_one_option_has_it_and_as_1_47_has_it() -> None:
    shown = re.findall(r"^  -(\w), --(\w+): ", help_page(download, "img2dataset"), re.MULTILINE)
    assert set(SHORT_FORMS.items()) <= set(shown)
    for letter, name in set(shown) - set(SHORT_FORMS.items()):
        assert [option for option in inspect.signature(download).parameters if option[0] == letter] == [name]


def test_it_is_there_at_once() -> None:
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "img2dataset", "--help"], capture_output=True, check=True)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 0.5
