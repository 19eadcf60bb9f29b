"""The notebook runs from its first cell to its last, on photos from a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from mockserver import MockServer, photo

NOTEBOOK = Path(__file__).parents[1] / "notebook" / "img2dataset_getting_started.ipynb"
EXECUTE = "import sys; from nbclient.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def executed(session_server: MockServer, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in a folder of its own."""
    session_server.images["one.jpg"] = ("image/jpeg", photo(640, 480, seed=1))
    session_server.images["two.png"] = ("image/png", photo(300, 400, "png", seed=2))
    names = {"one.jpg": "the first", "two.png": "the second, with a comma", "three.jpg": "not there"}
    photos = {session_server.url(f"/image/{name}"): caption for name, caption in names.items()}
    folder = tmp_path_factory.mktemp("notebook")
    copy = folder / "notebook.ipynb"
    copy.write_text(NOTEBOOK.read_text())
    environment = os.environ | {
        "IMG2DATASET_NOTEBOOK_PHOTOS": json.dumps(photos),
        "IPYTHONDIR": str(folder / "ipython"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-c", EXECUTE, "--inplace", "--timeout=60", str(copy)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return nbformat.read(copy, as_version=4)


def output_of(notebook: nbformat.NotebookNode, beginning: str) -> str:
    """The text that the cell with a line of this beginning has put out."""
    (cell,) = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and any(line.startswith(beginning) for line in cell.source.splitlines())
    ]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(texts)


def test_the_function_saves_two_of_three_photos(executed: nbformat.NotebookNode) -> None:
    assert "[('success', 2), ('http 404', 1)]" in output_of(executed, "stats = download(")


def test_the_metadata_names_the_failure(executed: nbformat.NotebookNode) -> None:
    assert "http 404" in output_of(executed, "metadata = ")


def test_both_images_are_shown(executed: nbformat.NotebookNode) -> None:
    assert output_of(executed, "for row in metadata").count("<IPython.core.display.Image object>") == 2


def test_the_command_makes_tars_that_webdataset_reads(executed: nbformat.NotebookNode) -> None:
    read = output_of(executed, "samples = ").splitlines()
    assert sorted(read) == ["000000000 (224, 224) the first", "000000001 (224, 224) the second, with a comma"]


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
