"""The house: what is public, and that a room imports only from rooms above it, types included."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import img2dataset
import img2dataset.blurrer
import img2dataset.distributor
import img2dataset.main  # under that name stands the function, as in 1.47

PACKAGE = Path(img2dataset.__file__).parent
PAGES = PACKAGE.parent / "docs"
ROOMS = [  # each imports only from those before it
    *("_version", "errors", "defects", "interpreter", "streams", "tables", "kinds", "options", "filesystem", "shards"),
    *("arrow", "events", "metadata", "stats", "reader", "fetcher", "images", "formats", "dataset_card", "spool"),
    *("poisoned", "resume", "open_shard", "sample_maker", "downloader", "distributor", "loggers", "verify", "run"),
    *("blurrer", "short_forms", "help_page", "command_line", "main", "__init__", "__main__"),
]


def modules() -> dict[str, Path]:
    """Every module, by the name under which it is imported."""
    paths = {path.relative_to(PACKAGE.parent).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}


MODULES = modules()


def imports(name: str) -> set[str]:
    """The modules of this package that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {each for alias in node.names if (each := f"{node.module}.{alias.name}") in MODULES} or {
                node.module
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module in MODULES} - {name}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_from_rooms_above_it(module: str) -> None:
    here = ROOMS.index(room(module))
    assert [each for each in imports(module) if ROOMS.index(room(each)) > here] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {name: imports(name) for name in MODULES}
    while leaves := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in leaves:
            del left[name]
    assert sorted(left) == []


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (img2dataset, ["__version__", "download", "main"]),
        (sys.modules["img2dataset.main"], ["download", "main"]),
        (img2dataset.blurrer, ["BoundingBoxBlurrer"]),
        (img2dataset.distributor, ["DISTRIBUTORS", "distribute"]),
    ],
)
def test_the_public_names(module: object, names: list[str]) -> None:
    assert module.__all__ == names  # type: ignore[attr-defined]


def test_the_architecture_page_has_a_line_for_each_room_in_this_order() -> None:
    table = (PACKAGE.parent / "docs" / "architecture.md").read_text().partition("## Decisions")[0]
    told = re.findall(r"^\| \[(\w+)(?:\.py|/)\]", table, re.MULTILINE)
    assert told == [name for name in ROOMS if not name.startswith("_")]
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == set(ROOMS)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted(PAGES.glob("*.md")))])
def test_what_a_page_links_to_is_there(page: str) -> None:
    path = PACKAGE.parent / page
    targets = {
        target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if ":" not in target
    }
    assert {target for target in targets - {""} if not (path.parent / target).exists()} == set()
