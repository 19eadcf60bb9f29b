"""The demo makes the dataset that it says it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "examples" / "photos"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo made, and what it printed when it was run for the second time."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "demo_output"]
    for _ in range(2):
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return folder / "demo_output", result.stdout


def test_every_photo_becomes_an_image_of_256_pixels_with_its_caption(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    metadata = pd.read_parquet(folder / "00000.parquet")
    saved = metadata[metadata["status"] == "success"]
    assert len(saved) == len([path for path in PHOTOS.iterdir() if path.suffix not in (".md", ".html")])
    for key, caption in zip(saved["key"], saved["caption"], strict=True):
        with Image.open(folder / "00000" / f"{key}.jpg") as image:
            assert image.size == (256, 256)
        assert (folder / "00000" / f"{key}.txt").read_text() == caption


def test_what_fails_is_recorded_with_its_reason(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    metadata = pd.read_parquet(folder / "00000.parquet")
    failed = metadata[metadata["status"] != "success"]
    assert sorted(failed["error_message"]) == ["http 404", "not an image"]


def test_the_photo_with_an_orientation_stands_upright(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    metadata = pd.read_parquet(folder / "00000.parquet")
    (cat,) = metadata[metadata["url"].str.endswith("cat-turned.jpg")].itertuples()
    with Image.open(PHOTOS / "cat-turned.jpg") as stored:
        assert stored.size == (cat.original_height, cat.original_width)
    assert cat.original_width > cat.original_height


def test_a_second_demo_replaces_the_first(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    assert sorted(path.name for path in folder.iterdir()) == ["00000", "00000.parquet", "00000_stats.json"]


def test_the_demo_shows_list_tree_metadata_and_how_to_go_on(demo: tuple[Path, str]) -> None:
    _, printed = demo
    for shown in ("url,caption", "00000_stats.json", "failed_to_download", "img2dataset --url_list=urls.txt"):
        assert shown in printed


def test_the_photos_are_small_and_their_origin_is_told() -> None:
    origin = (PHOTOS / "ORIGIN.md").read_text()
    files = [path for path in PHOTOS.iterdir() if path.name != "ORIGIN.md"]
    assert all(f"`{path.name}`" in origin for path in files)
    assert sum(path.stat().st_size for path in files) < 1_000_000
