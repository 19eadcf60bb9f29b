"""Names of shards and samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2dataset.shards import (
    ListIdentity,
    is_stats_file,
    parse_shard_file,
    sample_key,
    shard_name,
    shard_of_file,
    urls_digest,
)


def test_a_key_is_the_shard_number_and_the_index_in_the_digits_it_needs() -> None:
    assert sample_key(1, 5, 10_000) == "000010005"
    assert sample_key(0, 0, 1) == "000000"
    assert sample_key(12, 9, 10) == "000129"
    assert sample_key(12, 10, 11, digits=3) == "01210"


@given(st.integers(0, 300_000), st.integers(0, 300_000), st.integers(1, 2000))
def test_keys_are_unique_even_past_the_padding(one: int, other: int, samples: int) -> None:
    keys = {sample_key(shard, index, samples) for shard in (one, other) for index in (0, samples - 1)}
    assert len(keys) == len({one, other}) * len({0, samples - 1})


@pytest.mark.parametrize("file", ["{}", "{}.tar", "{}.parquet", "{}_stats.json", "data/train-{}.parquet"])
@given(number=st.integers(0, 10**7))
def test_a_shard_is_read_back_from_every_file_that_it_has(file: str, number: int) -> None:
    name = file.format(shard_name(number))
    assert parse_shard_file(name) == number
    assert shard_of_file(name) == shard_name(number)
    assert is_stats_file(name) == (file == "{}_stats.json")


@pytest.mark.parametrize(
    "name",
    [
        *("readme.txt", "a00000.tar", "00000.tar.bak", "stats.json", "x_stats.json", ".00000.tar.tmp"),
        *("20261124170000.tar", "data", "data/00000.parquet", "data/train-00000.tar", "data/train-00000_stats.json"),
    ],
)
def test_other_files_are_no_shards(name: str) -> None:
    assert parse_shard_file(name) is None
    assert not is_stats_file(name)


def test_the_digest_tells_lists_apart() -> None:
    assert urls_digest(["a", "b"]) != urls_digest(["b", "a"])
    assert urls_digest(["a", None]) == urls_digest(["a", ""])
    assert len({urls_digest(urls) for urls in (["ab"], ["a", "b"], ["a", "b", ""])}) == 3


@given(st.integers(1, 1200), st.integers(0, 1200))
def test_a_list_that_grew_at_its_end_keeps_its_identity(rows: int, more: int) -> None:
    urls: list[str | None] = [str(number) for number in range(rows + more)]
    identity = ListIdentity.of(urls[:rows])
    assert identity.rows == min(rows, 1000)
    assert identity.is_of(urls)


def test_other_first_rows_or_too_few_are_another_list() -> None:
    identity = ListIdentity.of(["a", "b", None])
    assert identity.is_of(["a", "b", "", "c"])
    assert not identity.is_of(["a", "b"])
    assert not identity.is_of(["a", "c", None])
    assert not identity.is_of([])
