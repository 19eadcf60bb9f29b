"""docs/from-1.x.md compares every option of 1.47 and of this version, once."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from img2dataset import download
from img2dataset.command_line import typed_arguments
from img2dataset.short_forms import SHORT_FORMS

PAGE = (Path(__file__).parents[1] / "docs" / "from-1.x.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| `?(.*?)`? \| `?(.*?)`? \| (.+) \|$", PAGE, re.MULTILINE)
PARAMETERS = inspect.signature(download).parameters

# As ``img2dataset --help`` of 1.47.0 shows them.
DEFAULTS_OF_1_47 = {
    "url_list": "required",
    "image_size": "256",
    "output_folder": "images",
    "processes_count": "1",
    "resize_mode": "border",
    "resize_only_if_bigger": "False",
    "upscale_interpolation": "lanczos",
    "downscale_interpolation": "area",
    "encode_quality": "95",
    "encode_format": "jpg",
    "skip_reencode": "False",
    "output_format": "files",
    "input_format": "txt",
    "url_col": "url",
    "caption_col": "None",
    "bbox_col": "None",
    "thread_count": "256",
    "number_sample_per_shard": "10000",
    "extract_exif": "True",
    "save_additional_columns": "None",
    "timeout": "10",
    "enable_wandb": "False",
    "wandb_project": "img2dataset",
    "oom_shard_count": "5",
    "compute_hash": "sha256",
    "verify_hash": "None",
    "distributor": "multiprocessing",
    "subjob_size": "1000",
    "retries": "0",
    "disable_all_reencoding": "False",
    "min_image_size": "0",
    "max_image_area": "inf",
    "max_aspect_ratio": "inf",
    "incremental_mode": "incremental",
    "max_shard_retry": "1",
    "user_agent_token": "None",
    "disallowed_header_directives": "None",
}


def test_every_option_of_both_stands_in_it_once() -> None:
    assert sorted(name for name, *_ in ROWS) == sorted(PARAMETERS)
    assert set(DEFAULTS_OF_1_47) <= set(PARAMETERS)


@pytest.mark.parametrize(("name", "here", "there", "difference"), ROWS, ids=[row[0] for row in ROWS])
def test_the_defaults_it_names_are_the_defaults(name: str, here: str, there: str, difference: str) -> None:
    default = PARAMETERS[name].default
    if default is inspect.Parameter.empty:
        assert here == "required"
    else:
        value = typed_arguments(download, ["list"], {name: here})[name]
        assert value == (list(default) if isinstance(default, tuple) else default)
    assert there == DEFAULTS_OF_1_47.get(name, "not there")
    assert not difference.startswith("same") or here in (there, f"{there}.0") or name == "disallowed_header_directives"


@pytest.mark.parametrize("name", DEFAULTS_OF_1_47)
def test_the_default_of_1_47_may_be_written_out(name: str) -> None:
    given = {"url_list": "list"} | {name: DEFAULTS_OF_1_47[name]}
    assert name in typed_arguments(download, [], given)


def test_it_names_the_letters() -> None:
    letters = ", ".join(f"`-{letter}`" for letter in list(SHORT_FORMS)[:-1])
    options = ", ".join(f"`{option}`" for option in list(SHORT_FORMS.values())[:-1])
    text = " ".join(PAGE.split())
    assert f"{letters} and `-w` stand for {options} and `wandb_project`" in text
