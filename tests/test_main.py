"""`download` refuses what is wrong in one sentence, and hands on the rest."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset import metadata, photo, write_list
from mockserver import MockServer

import img2dataset
from img2dataset import download
from img2dataset.errors import OptionsError, Reason
from img2dataset.kinds import wanted
from img2dataset.main import main

OPTIONS = inspect.signature(download).parameters
ANNOTATIONS = typing.get_type_hints(download)
WRONG: list[Any] = [5, "5", 0.5, True, None, [], [5], b"a", {"a": 5}, object()]


def refusal(**arguments: Any) -> str:
    """The sentence in which `download` refuses; nothing may have been created by it."""
    with pytest.raises(OptionsError) as refused:
        download(**{"url_list": "no-such-list", **arguments})
    return str(refused.value)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("url_list", 5, "url_list is 5; it must be a text that is not empty"),
        ("timeout", "3", "timeout is '3'; it must be a number"),
        ("thread_count", "8", "thread_count is '8'; it must be a whole number"),
        ("headers", 5, 'headers is 5; it must be texts by name, as {"Accept": "image/*"}'),
        ("headers", [], "headers is []; it must be texts by name"),
        ("save_additional_columns", 5, 'save_additional_columns is 5; it must be a list of texts, as ["a", "b"]'),
        ("verify_hash", 0, "verify_hash is 0; it must be a list of texts"),
        ("verify_hash", ["a"], """verify_hash is ('a',); write it as ["column", "md5"]"""),
        ("verify_hash", ["a", "crc"], "verify_hash's second part is 'crc'; it must be one of: md5, sha256, sha512"),
        ("disallowed_header_directives", False, "disallowed_header_directives is False; it must be a list of texts"),
        ("retry_statuses", [404], "retry_statuses is (404,); it must be a list of texts"),
        ("resolver", "foo", "resolver is 'foo'; it must be one of: c-ares, system"),
        ("http_client", 3, "http_client is 3; it must be one of: curl, requests"),
        ("input_format", 3, "input_format is 3; it must be one of: txt, csv, parquet"),
        ("input_format", "xml", "input_format is 'xml'; it must be one of: txt, csv, parquet"),
        (
            "output_format",
            "zip",
            "output_format is 'zip'; it must be one of: files, webdataset, tfrecord, ",
        ),
        ("distributor", None, "distributor is None; it must be one of: multiprocessing"),
        ("incremental_mode", ["auto"], "incremental_mode is ['auto']; it must be one of: auto, incremental, "),
        ("compute_hash", True, "compute_hash is True; it must be one of: md5, sha256, sha512"),
    ],
)
def test_a_wrong_value_is_refused_with_its_option_and_what_would_be_right(
    option: str, value: object, says: str
) -> None:
    assert refusal(**{option: value}).startswith(says)


@pytest.mark.parametrize("option", OPTIONS)
def test_no_value_of_a_wrong_type_passes_or_ends_in_another_error(option: str) -> None:
    annotation = ANNOTATIONS[option]
    right = wanted(annotation)
    lists = wanted(Sequence[str]).kind
    for value in WRONG:
        if right.holds(value) or (right.kind is lists and isinstance(value, str)):  # a text is a list of one
            continue
        assert refusal(**{option: value}).startswith(f"{option} is ")


def test_the_annotations_are_of_the_kinds_that_the_command_line_reads() -> None:
    for annotation in ANNOTATIONS.values():
        if annotation is not ANNOTATIONS["return"]:
            wanted(annotation)
    assert wanted(ANNOTATIONS["headers"]).kind is wanted(Mapping[str, str]).kind


def test_the_first_options_may_be_given_by_their_place() -> None:
    in_order = [name for name, option in OPTIONS.items() if option.kind is option.POSITIONAL_OR_KEYWORD]
    assert in_order == [
        *("url_list", "image_size", "output_folder", "processes_count", "resize_mode", "resize_only_if_bigger"),
        *("output_format", "input_format", "url_col", "caption_col", "thread_count", "number_sample_per_shard"),
        "save_metadata",
    ]


@pytest.mark.parametrize(("directives", "message"), [(None, Reason.DISALLOWED_BY_X_ROBOTS_TAG), ([], None)])
def test_only_an_empty_list_ignores_opt_outs(
    server: MockServer, tmp_path: Path, directives: list[str] | None, message: str | None
) -> None:
    url = server.url("/x-robots?value=noai")
    url_list = write_list(tmp_path / "list.txt", [url])
    download(url_list, output_folder=str(tmp_path / "out"), disallowed_header_directives=directives, thread_count=1)
    found = metadata(tmp_path / "out")["error_message"].replace({np.nan: None}).tolist()
    assert found == [message]


def test_a_single_text_is_a_list_of_one(server: MockServer, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"url,name\n{photo(server, 0)},a photo\n")
    download(str(tmp_path / "list.csv"), output_folder=str(tmp_path / "out"), save_additional_columns="name")
    assert metadata(tmp_path / "out")["name"].tolist() == ["a photo"]


def test_the_module_has_what_scripts_and_the_installed_command_import_from_it() -> None:
    assert img2dataset.main.download is download
    assert callable(main)
