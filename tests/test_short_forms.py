"""What one letter stands for."""

from __future__ import annotations

import pytest

from img2dataset.short_forms import in_full


@pytest.mark.parametrize(
    ("name", "options", "stands_for"),
    [
        ("p", ["processes_count"], "processes_count"),
        ("b", ["bbox_col", "block_private_networks"], "bbox_col"),
        ("b", ["block_private_networks"], "block_private_networks"),
        ("t", ["timeout", "thread_count"], "t"),
        ("x", ["timeout"], "x"),
        ("ti", ["timeout"], "ti"),
    ],
)
def test_a_letter_is_that_of_1_47_or_the_one_that_begins_with_it(
    name: str, options: list[str], stands_for: str
) -> None:
    assert in_full(name, options) == stands_for
