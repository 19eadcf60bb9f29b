"""What is shipped: the sdist can be built from, the wheel has the package, its command and its needs."""

from __future__ import annotations

import email.message
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from img2dataset import __version__

ROOT = Path(__file__).parents[1]
EXTRAS = {"s3", "gs", "heif", "tfrecord", "test"}
BUILD = "import sys, setuptools.build_meta as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a distribution as pip does, without an isolated environment, which would take a network."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD, f"build_{kind}", str(target)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return target / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of a copy of this checkout, which is left as it is."""
    copy = tmp_path_factory.mktemp("checkout") / "img2dataset"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "demo_output", "benchmarks")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from nothing but what is in the sdist."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    """The wheel's own description of itself."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"img2dataset-{__version__}.dist-info/METADATA").decode()
    return Parser().parsestr(text)


def required(name: str) -> set[str]:
    """The requirements that a file asks for, as `METADATA` would write them."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {line.replace(" ", "") for line in lines if line}


def test_the_wheel_has_every_module_and_nothing_else(wheel: Path) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "img2dataset").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == expected | {"img2dataset/py.typed"}


def test_the_version_stands_in_one_place(wheel: Path, metadata: email.message.Message) -> None:
    assert wheel.name == f"img2dataset-{__version__}-py3-none-any.whl"
    assert metadata["Version"] == __version__


def test_the_wheel_needs_what_requirements_txt_lists(metadata: email.message.Message) -> None:
    needs = {need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need}
    assert {need.replace(" ", "") for need in needs} == required("requirements.txt")
    assert metadata["Requires-Python"] == ">=3.10"


def test_every_extra_is_named_and_asks_for_something(metadata: email.message.Message) -> None:
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" in need]
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert all(any(f'extra == "{extra}"' in need for need in needs) for extra in EXTRAS)


def test_license_and_readme_are_shipped(wheel: Path, metadata: email.message.Message) -> None:
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    with zipfile.ZipFile(wheel) as archive:
        licenses = [name for name in archive.namelist() if name.endswith("LICENSE")]
        assert archive.read(licenses[0]).decode() == (ROOT / "LICENSE").read_text()


def test_the_installed_command_runs(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--quiet", "--target", str(tmp_path)]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    command = [str(tmp_path / "bin" / "img2dataset"), "--version"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == __version__
