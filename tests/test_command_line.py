"""What a person types, and what they read when it is wrong."""

from __future__ import annotations

import inspect
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from dataset import metadata, photo, write_list
from mockserver import MockServer

from img2dataset import __version__, download
from img2dataset.command_line import typed_arguments
from img2dataset.errors import OptionsError


def command(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "img2dataset", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


@pytest.fixture
def url_list(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("http://127.0.0.1:1/a.jpg\n")
    return path


def refused(*words: object, cwd: Path) -> str:
    """The one sentence in which a command line is refused; nothing may have been created by it."""
    before = sorted(cwd.rglob("*"))
    result = command(*words, cwd=cwd)
    assert result.returncode == 2, result.stderr
    assert sorted(cwd.rglob("*")) == before
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("img2dataset: ")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--thread_cout=3", "there is no option --thread_cout (did you mean --thread_count?)"),
        ("--thread_count=0", "thread_count is 0; it must be a whole number of at least 1"),
        ("--thread_count=many", "thread_count is 'many'; it must be a whole number"),
        ("--image_size=-1", "image_size is -1; it must be a whole number of at least 1"),
        ("--timeout=0", "timeout is 0.0; it must be a number above 0"),
        ("--resize_mode=sideways", "resize_mode is 'sideways'; it must be one of: "),
        ("--output_format=zip", "output_format is 'zip'; it must be one of: files, webdataset, tfrecord, "),
        ("--input_format=xml", "input_format is 'xml'; it must be one of: txt, csv, tsv, json, jsonl, parquet, txt.gz"),
        ("--http_client=lynx", "http_client is 'lynx'; it must be one of: curl, requests"),
        ("--resolver=foo", "resolver is 'foo'; it must be one of: c-ares, system"),
        ("--distributor=moon", "distributor is 'moon'; it must be one of: "),
        ("--incremental_mode=maybe", "incremental_mode is 'maybe'; it must be one of: "),
        ("--compute_hash=crc", "compute_hash is 'crc'; it must be one of: md5, sha256, sha512"),
        ("--save_metadata=perhaps", "save_metadata is 'perhaps'; it must be true or false"),
        ("--caption_col=text", "caption_col needs columns"),
        ("--headers=x", """headers is 'x'; it must be texts by name, as {"Accept": "image/*"}"""),
        (
            "--save_additional_columns=[1]",
            """save_additional_columns is '[1]'; it must be a list of texts, as ["a", "b"]""",
        ),
        ("--url_col=", "url_col is ''; it must be a text that is not empty"),
        ("--output_folder=list.txt", "output_folder is 'list.txt', which cannot be written"),
        ("--output_folder=list.txt/out", "output_folder is 'list.txt/out', which cannot be written"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(url_list: Path, option: str, says: str) -> None:
    assert says in refused("--url_list=list.txt", option, cwd=url_list.parent)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--url_list=nothing.txt"], "there is no such file or folder"),
        (["--output_folder=out"], "url_list is missing"),
        (["report"], "'report' is a subcommand of a later version; for a list of that name write ./report"),
        (["summary"], "subcommand"),
        (["identity"], "subcommand"),
        (["list.txt", "--bbox_col=b", "--disable_all_reencoding"], "choose one of them"),
        (["list.txt", "--url_list=list.txt"], "url_list is given twice"),
        (["empty.txt"], "has no URL in it"),
        (["table.csv"], "has no column 'url'; its columns are: link, text"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(url_list: Path, words: list[str], says: str) -> None:
    (url_list.parent / "empty.txt").write_text("\n")
    (url_list.parent / "table.csv").write_text("link,text\na,b\n")
    assert says in refused(*words, cwd=url_list.parent)


def test_help_shows_every_option() -> None:
    result = command("--help")
    assert result.returncode == 0
    for option in inspect.signature(download).parameters:
        assert f"--{option}: " in result.stdout


def test_a_subcommand_has_a_help_of_its_own() -> None:
    assert "Subcommands, each with a --help of its own: verify" in command("--help").stdout
    assert command("verify", "--help").stdout.startswith("Usage: img2dataset verify [--option=value ...]\n")


def test_no_words_at_all_show_the_help() -> None:
    assert command().stdout == command("--help").stdout


def test_version() -> None:
    assert command("--version").stdout.strip() == __version__


def example(
    url_list: str,
    count: int = 1,
    folder: str | None = "images",
    *,
    share: float = 0.5,
    really: bool = True,
    names: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    size: int | Sequence[int] | None = 256,
) -> None:
    """A function with an option of every type."""


def read(*positional: str, **named: str) -> dict[str, Any]:
    return typed_arguments(example, positional, named)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ({"url_list": "1e5"}, "1e5"),
        ({"url_list": "out#2"}, "out#2"),
        ({"url_list": "None"}, "None"),
        ({"folder": "None"}, None),
        ({"folder": "[1]"}, "[1]"),
        ({"count": "1e4"}, 10_000),
        ({"share": "3"}, 3.0),
        ({"share": "inf"}, float("inf")),
        ({"really": "false"}, False),
        ({"really": "True"}, True),
        ({"really": "0"}, False),
        ({"names": "a,b c"}, ["a", "b c"]),
        ({"names": '["a", "b"]'}, ["a", "b"]),
        ({"names": "[]"}, []),
        ({"names": "[a]"}, ["a"]),
        ({"names": "[a, 'b']"}, ["a", "b"]),
        ({"names": "(a,)"}, ["a"]),
        ({"names": '("a",)'}, ["a"]),
        ({"names": '("a")'}, ["a"]),
        ({"names": "[http 404, timed out]"}, ["http 404", "timed out"]),
        ({"size": "3"}, 3),
        ({"size": "256.0"}, 256),
        ({"size": "(640,480)"}, [640, 480]),
        ({"size": "[640, 480]"}, [640, 480]),
        ({"size": "None"}, None),
        ({"headers": '{"Accept": "image/*", "X": 1}'}, {"Accept": "image/*", "X": "1"}),
    ],
)
def test_a_value_is_read_by_the_type_of_its_option(word: dict[str, str], value: object) -> None:
    (name,) = word
    found = read(**{"url_list": "x", **word})[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "word",
    [
        *({"count": "1.5"}, {"count": "inf"}, {"names": "[1]"}, {"names": "[a"}, {"names": "[a)"}, {"headers": "[]"}),
        *({"size": "(640,)"}, {"size": "(640"}, {"size": "a"}),
    ],
)
def test_a_value_of_another_type_is_refused(word: dict[str, str]) -> None:
    with pytest.raises(OptionsError, match=f"{next(iter(word))} is .*; it must be "):
        read("x", **word)


def test_words_without_a_name_come_in_the_order_of_the_signature() -> None:
    assert read("list", "3", really="no") == {"url_list": "list", "count": 3, "really": False}
    with pytest.raises(OptionsError, match="'more' is one word too many"):
        read("list", "3", "folder", "more")


def test_none_is_the_default_of_the_opt_outs_and_only_an_empty_list_ignores_them() -> None:
    for word, value in {"None": None, "": None, "[]": [], "noai": ["noai"]}.items():
        found = typed_arguments(download, ["list"], {"disallowed_header_directives": word})
        assert found["disallowed_header_directives"] == value


def test_one_letter_stands_for_the_one_option_that_begins_with_it() -> None:
    assert read("x", c="2") == {"url_list": "x", "count": 2}
    with pytest.raises(OptionsError, match="there is no option --s;"):  # share, or size
        read("x", s="0.25")


def test_the_letters_of_1_47_stand_for_its_options_whatever_others_begin_with_them() -> None:
    letters = {"b": "boxes", "n": "10", "p": "2", "v": "[hash,md5]", "w": "project"}
    assert typed_arguments(download, ["list"], letters) == {
        "url_list": "list",
        "bbox_col": "boxes",
        "number_sample_per_shard": 10,
        "processes_count": 2,
        "verify_hash": ["hash", "md5"],
        "wandb_project": "project",
    }


EVERY_OPTION_OF_1_47 = """
    --url_list list.csv --image_size 64 --output_folder out -p 1 --resize_mode border --resize_only_if_bigger False
    --upscale_interpolation lanczos --downscale_interpolation area --encode_quality 95 --encode_format jpg
    --noskip_reencode --output_format webdataset --input_format csv --url_col url --caption_col caption
    --bbox_col=None --thread-count=4 -n 10000 --extract_exif=true --save_additional_columns [id]
    --timeout 10 --enable_wandb False -w img2dataset --oom_shard_count=5 --compute_hash=sha256 --verify_hash=None
    --distributor=multiprocessing --subjob_size=1000 --retries 0 --disable_all_reencoding=0 --min_image_size=0
    --max_image_area=inf --max_aspect_ratio inf --incremental_mode=incremental --max_shard_retry=1
    --user_agent_token "my bot" --disallowed_header_directives [noai,noindex]
"""


def test_a_command_with_every_option_of_1_47_runs(server: MockServer, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"url,caption,id\n{photo(server, 0)},a photo,7\n")
    result = command(*shlex.split(EVERY_OPTION_OF_1_47), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    assert metadata(tmp_path / "out")[["status", "caption"]].to_numpy().tolist() == [["success", "a photo"]]
    assert "my bot" in server.requests[-1].headers["user-agent"]


def test_flags_without_a_value_are_true_and_with_no_before_them_false(server: MockServer, tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", [photo(server, 0)])
    result = command("list.txt", "--output_folder=out", "--noextract_exif", "--enable_wandb", cwd=tmp_path)
    assert result.returncode == 0
    assert "exif" not in metadata(tmp_path / "out") or metadata(tmp_path / "out")["exif"].isna().all()
    (said,) = [line for line in result.stderr.splitlines() if "WARNING" in line]
    assert "sends nothing to Weights & Biases" in said


@pytest.mark.parametrize("program", ["from img2dataset import main", "from img2dataset.main import main"])
def test_main_is_a_function_under_both_of_its_names(program: str) -> None:
    argv = [sys.executable, "-c", f"{program}; main(['--version'])"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == __version__


def test_importing_the_package_and_showing_help_load_nothing_heavy() -> None:
    heavy = {
        "pandas",
        "pyarrow",
        "PIL",
        "requests",
        "pycurl",
        "numpy",
        "wandb",
        "pyspark",
        "ray",
        "webdataset",
        "fsspec",
    }
    show = "print(*{name.partition('.')[0] for name in sys.modules})"
    page = "from img2dataset.help_page import help_page; help_page(img2dataset.download, '')"
    for program in (f"import sys, img2dataset; {show}", f"import sys, img2dataset; {page}; {show}"):
        loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        assert not heavy & set(loaded.split())
