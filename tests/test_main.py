"""`download` refuses what is wrong in one sentence, and hands on the rest."""

from __future__ import annotations

import inspect
import logging
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset import metadata, photo, write_list
from mockserver import MockServer

import img2dataset
from img2dataset import download, main
from img2dataset.errors import OptionsError, Reason
from img2dataset.kinds import wanted

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
        ("url_list", 5, "url_list is of type int; it must be a path, a list of paths"),
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
        ("input_format", 3, "input_format is 3; it must be one of: txt, csv, "),
        ("input_format", "xml", "input_format is 'xml'; it must be one of: txt, csv, "),
        ("output_format", "zip", "output_format is 'zip'; it must be one of: files, webdataset, "),
        ("distributor", "pyspark", "distributor is 'pyspark', which a later version has; this one has multiprocessing"),
        ("distributor", "ray", "distributor is 'ray', which a later version has; this one has multiprocessing"),
        ("subjob_size", 0, "subjob_size is 0; it must be a whole number of at least 1"),
        ("image_size", 0, "image_size is 0; it must be a whole number of at least 1"),
        ("image_size", (640, 480), "image_size is (640, 480); it must be a whole number of at least 1"),
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
        if option == "image_size" and value is None:  # right where nothing is resized, which border is not
            right = wanted(int)
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
    module = sys.modules["img2dataset.main"]
    assert module.download is download
    assert module.main is img2dataset.main
    assert inspect.isfunction(main)


@pytest.mark.parametrize("unused", [0, None, (640, 480), [640, 480]])
def test_where_nothing_is_resized_any_size_of_1_47_passes(server: MockServer, tmp_path: Path, unused: Any) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    download(url_list, output_folder=str(tmp_path / "out"), resize_mode="no", image_size=unused)
    again = download(url_list, output_folder=str(tmp_path / "out"), resize_mode="no")
    assert metadata(tmp_path / "out")[["width", "height"]].to_numpy().tolist() == [[640, 480]]
    assert again.count == 0  # these are no other images than those of the default


def test_jpeg_is_another_name_of_jpg(server: MockServer, tmp_path: Path) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    download(url_list, output_folder=str(tmp_path / "out"), encode_format="jpeg")
    assert (tmp_path / "out" / "00000" / "000000000.jpg").exists()


@pytest.mark.parametrize(
    ("option", "ignored"),
    [
        ({"resize_mode": "keep_ratio"}, "resize_mode=keep_ratio"),
        ({"encode_format": "png", "encode_quality": 9}, "encode_format=png, encode_quality=9"),
        ({"skip_reencode": True}, "skip_reencode"),
    ],
)
def test_what_disable_all_reencoding_leaves_without_a_meaning_is_ignored_with_one_line(
    server: MockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, option: dict[str, Any], ignored: str
) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    with caplog.at_level(logging.WARNING):
        download(url_list, output_folder=str(tmp_path / "out"), disable_all_reencoding=True, **option)
    assert caplog.messages == [f"disable_all_reencoding keeps images as they came; ignored: {ignored}"]
    assert (tmp_path / "out" / "00000" / "000000000.jpg").exists()  # as the file is, not as encode_format says


def test_that_nothing_is_sent_to_wandb_is_said_in_one_line(
    server: MockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url_list = write_list(tmp_path / "list.txt", [photo(server, 0)])
    for enable_wandb in (False, True):
        download(
            url_list, output_folder=str(tmp_path / "out"), enable_wandb=enable_wandb, wandb_project="p", subjob_size=5
        )
    assert caplog.messages == ["enable_wandb is true, and this version sends nothing to Weights & Biases yet"]
