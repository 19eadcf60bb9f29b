"""The README tells the truth: its options, its commands, its code and its links."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mockserver import MockServer, photo

from img2dataset import download
from img2dataset.command_line import typed_arguments
from img2dataset.errors import OptionsError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PARAMETERS = inspect.signature(download).parameters
REQUIRED = "required"


def blocks(language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(beginning: str) -> list[list[str]]:
    """The words after "img2dataset" of every command in the README's shell blocks that begins so."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"img2dataset {beginning}")]


def table_of_options() -> dict[str, str]:
    """Option → default, from the rows of the tables under "Options"."""
    section = README.partition("\n## Options\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \| .+ \|$", section, re.MULTILINE))


def test_every_option_is_in_the_tables_and_no_other() -> None:
    assert sorted(table_of_options()) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_default_in_the_tables_is_the_default(name: str) -> None:
    word, default = table_of_options()[name], PARAMETERS[name].default
    if default is inspect.Parameter.empty:
        assert word == REQUIRED
    else:
        value = typed_arguments(download, ["urls.txt"], {name: word})[name]
        assert value == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("argv", commands("--"), ids=" ".join)
def test_every_command_is_accepted_up_to_its_list(argv: list[str], tmp_path: Path) -> None:
    words = dict(word.removeprefix("--").split("=", 1) for word in argv)
    arguments = typed_arguments(download, [], words | {"url_list": str(tmp_path / "no-such-list")})
    with pytest.raises(OptionsError, match="there is no such file"):
        download(**arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_local_links_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        name, _, heading = target.partition("#")
        if not target.startswith("https://"):
            linked = document.parent / name if name else document
            assert linked.exists(), target
            assert not heading or heading in headings_of(linked), target


def headings_of(document: Path) -> set[str]:
    """As links name them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-").lower() for title in titles}


def test_every_error_message_it_names_is_in_the_vocabulary() -> None:
    from img2dataset.errors import Reason

    section = README.partition("\n## When images fail\n")[2].partition("\n## ")[0]
    named = [
        word for cell in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for word in re.findall(r"`(.+?)`", cell)
    ]
    fixed = {value for name, value in vars(Reason).items() if name.isupper()}
    assert named
    assert [word for word in named if word not in fixed and not re.match(r"http \d+$|unsupported format: ", word)] == []


def test_nothing_of_the_machine_it_was_written_on() -> None:
    for path in (*DOCUMENTS, ROOT / "Makefile", ROOT / "setup.py"):
        for word in ("pypi", "pythonhosted", str(ROOT) + "/", str(Path.home()) + "/"):
            assert word not in path.read_text(), path


@pytest.fixture(scope="module")
def played(session_server: MockServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands on its own two lists were run, with lists of this machine's server."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        session_server.images[name] = ("image/jpeg", photo(640, 480, seed=ord(name[0])))
    urls = [session_server.url(f"/image/{name}") for name in ("a.jpg", "b.jpg", "c.jpg")]
    folder = tmp_path_factory.mktemp("readme")
    (folder / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
    (folder / "captions.csv").write_text("url,caption\n" + "".join(f'{url},"one, two"\n' for url in urls))
    for argv in commands("--"):
        if {"--url_list=urls.txt", "--url_list=captions.csv"} & set(argv):
            subprocess.run([sys.executable, "-m", "img2dataset", *argv], cwd=folder, check=True, timeout=60)
    return folder


def test_its_commands_make_what_it_says(played: Path) -> None:
    assert {"00000", "00000.parquet", "00000_stats.json"} <= set(os.listdir(played / "my_images"))
    assert {"00000.tar", "00000.parquet", "00000_stats.json"} <= set(os.listdir(played / "my_dataset"))


@pytest.mark.parametrize("argv", commands("verify"), ids=" ".join)
def test_its_other_commands_run_on_what_was_made(argv: list[str], played: Path) -> None:
    subprocess.run([sys.executable, "-m", "img2dataset", *argv], cwd=played, check=True, timeout=60)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n", 1)[0])
def test_its_python_runs(code: str, played: Path) -> None:
    result = run_python(without_torch(code), played)
    assert result.returncode == 0, result.stderr


def without_torch(code: str) -> str:
    """PyTorch is too large for a test's requirement: what a worker of its DataLoader does is done without it."""
    code = code.replace("from torch.utils.data import DataLoader\n", "").replace("torchrgb", "rgb")
    return re.sub(r"DataLoader\((\w+), .*?\)", r"\1", code)


def run_python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, without the network that `datasets` would look for."""
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "huggingface")}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("worker", ["0", "1"])
def test_its_loader_may_have_more_workers_than_there_are_tars(worker: str, played: Path) -> None:
    (code,) = [code for code in blocks("python") if "DataLoader" in code]
    code = without_torch(code).replace("    ...\n", "    print(len(images))\n")
    result = run_python(code, played, WORKER=worker, NUM_WORKERS="2")
    assert (result.returncode, result.stdout) == (0, {"0": "3\n", "1": ""}[worker]), result.stderr


def test_the_user_agent_it_names_is_the_one_that_is_sent(server: MockServer, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(server.url("/photo/64x64.jpg"))
    command = [sys.executable, "-m", "img2dataset", "urls.txt", "--output_format=dummy"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert f"`{server.requests[-1].headers['user-agent']}`" in README
