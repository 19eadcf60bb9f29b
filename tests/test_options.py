"""What is wrong in the options of reading, writing, resuming and running is said before anything runs."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions, ResumeOptions, RunOptions, WriteOptions


@pytest.mark.parametrize(
    ("group", "wrong", "says"),
    [
        (ReadOptions, {"url_list": " "}, "url_list is ' '; it must be a text that is not empty"),
        (ReadOptions, {"url_list": None}, "url_list is None; it must be a text that is not empty"),
        (ReadOptions, {"url_col": ""}, "url_col is ''; it must be a text that is not empty"),
        (ReadOptions, {"caption_col": 3}, "caption_col is 3; it must be a text that is not empty"),
        (ReadOptions, {"number_sample_per_shard": 0}, "it must be a whole number of at least 1"),
        (ReadOptions, {"verify_hash": ("a", "md5", "b")}, """write it as ["column", "md5"]"""),
        (ReadOptions, {"verify_hash": ("a", "crc")}, "it must be one of: md5, sha256, sha512"),
        (ReadOptions, {"save_additional_columns": "a"}, "it must be a list of texts"),
        (ReadOptions, {"save_additional_columns": ("a", "url")}, "names 'url', which is a column of the metadata"),
        (ReadOptions, {"retry_statuses": (404,)}, "retry_statuses is (404,); it must be a list of texts"),
        (WriteOptions, {"output_folder": ""}, "output_folder is ''; it must be a text that is not empty"),
        (WriteOptions, {"save_metadata": 1}, "save_metadata is 1; it must be true or false"),
        (WriteOptions, {"compute_hash": "crc"}, "compute_hash is 'crc'; it must be one of: md5, sha256, sha512"),
        (WriteOptions, {"oom_shard_count": 0}, "oom_shard_count is 0; it must be a whole number of at least 1"),
        (ResumeOptions, {"incremental_mode": "maybe"}, "incremental_mode is 'maybe'; it must be one of: auto, "),
        (RunOptions, {"processes_count": 0}, "processes_count is 0; it must be a whole number of at least 1"),
        (RunOptions, {"max_shard_retry": -1}, "max_shard_retry is -1; it must be a whole number of at least 0"),
        (RunOptions, {"shard_patience": 0}, "shard_patience is 0; it must be a number above 0"),
    ],
)
def test_refuses(group: Any, wrong: dict[str, object], says: str) -> None:
    needed = {"url_list": "list.txt"} if group is ReadOptions else {}
    with pytest.raises(OptionsError) as refusal:
        group(**{**needed, **wrong})
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        ReadOptions(url_list="s3://bucket/list.parquet", verify_hash=("sum", "md5"), save_additional_columns=("a",)),
        WriteOptions(compute_hash=None),
        ResumeOptions(),
        RunOptions(max_shard_retry=0),
    ],
)
def test_options_travel_to_other_processes(options: object) -> None:
    assert pickle.loads(pickle.dumps(options)) == options


def test_a_column_that_is_used_twice_is_read_once() -> None:
    options = ReadOptions(
        url_list="list.csv", save_additional_columns=("a", "b"), bbox_col="b", verify_hash=("a", "md5")
    )
    assert options.extra_columns == ("a", "b")
