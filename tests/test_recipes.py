"""Every command of docs/recipes.md runs, on a small list of the shape that the dataset's own list has."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata
from mockserver import MockServer
from PIL import Image, ImageStat

from img2dataset.reader import READERS

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.+)\n(?:(?!^## ).*\n)*?```bash\n((?:.*\n)*?)```$", PAGE, re.MULTILINE))
BOX = [0.1, 0.1, 0.4, 0.4]
ROWS = 6


def noise() -> bytes:
    """A JPEG file in which any blurring shows."""
    file = io.BytesIO()
    Image.effect_noise((640, 480), 100).convert("RGB").save(file, "JPEG")
    return file.getvalue()


PHOTO = noise()
DIGEST = hashlib.sha256(PHOTO).hexdigest()

Urls = list[str]


def parquet(path: Path, columns: dict[str, object]) -> None:
    """A snappy-compressed parquet file, in a folder that is made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def captions(urls: Urls) -> list[str]:
    return [f'photo {number}, "großartig"' for number in range(len(urls))]


def laion(folder: str, **columns: object) -> Callable[[Path, Urls], None]:
    """A list as LAION makes them: URL, TEXT, sizes, and what else the part has."""

    def write(here: Path, urls: Urls) -> None:
        half = len(urls) // 2
        for part, some in enumerate((urls[:half], urls[half:])):
            first = {"URL": some, "TEXT": captions(some)}
            sizes = {
                "WIDTH": pa.array([640] * len(some), pa.int32()),
                "HEIGHT": pa.array([480] * len(some), pa.int32()),
            }
            others = {name: [value] * len(some) for name, value in columns.items()}
            parquet(here / folder / f"part-{part:05}-5b54c5d5-c000.snappy.parquet", first | sizes | others)

    return write


def coyo(here: Path, urls: Urls) -> None:
    scores = ["clip_similarity_vitb32", "clip_similarity_vitl14", "nsfw_score_opennsfw2", "nsfw_score_gantman"]
    scores += ["watermark_score", "aesthetic_score_laion_v2"]
    columns = {"id": [841814333321 + number for number in range(len(urls))], "url": urls, "text": captions(urls)}
    columns |= {
        "width": [640] * len(urls),
        "height": [480] * len(urls),
        "image_phash": ["e9bb8a3b3c4d1c4e"] * len(urls),
    }
    parquet(here / "coyo-700m" / "part-00000.parquet", columns | {name: [0.5] * len(urls) for name in scores})


def cc3m(here: Path, urls: Urls) -> None:
    lines = [f"photo number {number} on a table\t{url}\n" for number, url in enumerate(urls)]
    (here / "Train_GCC-training.tsv").write_text("".join(lines))


def cc12m(here: Path, urls: Urls) -> None:
    lines = [f'{url}\t<PERSON> "looks" at photo {number}, 5\' away\n' for number, url in enumerate(urls)]
    (here / "cc12m.tsv").write_text("".join(lines))


def sbu(here: Path, urls: Urls) -> None:
    columns = {"image_urls": urls, "user_ids": ["47889917@N08"] * len(urls), "captions": captions(urls)}
    (here / "sbu-captions-all.json").write_text(json.dumps(columns))


def coco(here: Path, urls: Urls) -> None:
    parquet(here / "mscoco.parquet", {"URL": urls, "TEXT": captions(urls)})


def datacomp(here: Path, urls: Urls) -> None:
    columns = {"uid": [f"{number:032x}" for number in range(len(urls))], "url": urls, "text": captions(urls)}
    columns |= {"original_width": [640] * len(urls), "original_height": [480] * len(urls)}
    columns |= {"clip_b32_similarity_score": [0.3] * len(urls), "clip_l14_similarity_score": [0.2] * len(urls)}
    columns |= {"face_bboxes": [[BOX]] + [[]] * (len(urls) - 1), "sha256": [DIGEST] * len(urls)}
    parquet(here / "datacomp" / "metadata" / "0020f0cbd157d470aa56bea08e304b90.parquet", columns)


def wit(here: Path, urls: Urls) -> None:
    names = [
        *("language", "page_url", "image_url", "page_title", "section_title", "hierarchical_section_title"),
        *("caption_reference_description", "caption_attribution_description", "caption_alt_text_description"),
        *("mime_type", "original_height", "original_width", "is_main_image", "attribution_passes_lang_id"),
        *("page_changed_recently", "context_page_description", "context_section_description"),
    ]
    some = {
        "language": "de",
        "page_url": "https://de.wikipedia.org/wiki/Foto",
        "page_title": "Foto",
        "mime_type": "image/jpeg",
    }
    rows = [names, *([(some | {"image_url": url}).get(name, "") for name in names] for url in urls)]
    (here / "wit").mkdir()
    with gzip.open(here / "wit" / "wit_v1.train.all-00000-of-00010.tsv.gz", "wt") as file:
        file.writelines("\t".join(row) + "\n" for row in rows)


def own_csv(here: Path, urls: Urls) -> None:
    lines = [f'{url},"a, b",somebody,19{number:02}\n' for number, url in enumerate(urls)]
    (here / "my-photos.csv").write_text("link,title,author,year\n" + "".join(lines))


SCORES = {"similarity": 0.3, "punsafe": 0.01, "pwatermark": 0.2}
LISTS: dict[str, Callable[[Path, Urls], None]] = {
    "LAION-400M": laion("laion400m-meta", SAMPLE_ID=1.0, LICENSE="?", NSFW="UNLIKELY", similarity=0.3),
    "Re-LAION-5B": laion("relaion2B-en", **SCORES),
    "LAION-Aesthetics": laion("laion-aesthetic", AESTHETIC_SCORE=6.5, hash=-7, **SCORES),
    "LAION-high-resolution": laion("laion-high-resolution", LANGUAGE="en", hash=-7, **SCORES),
    "LAION-Face": laion("laion-face", face_bboxes=[BOX], NSFW="UNLIKELY"),
    "COYO-700M": coyo,
    "CC3M": cc3m,
    "CC12M": cc12m,
    "SBU captions": sbu,
    "COCO": coco,
    "DataComp": datacomp,
    "WIT": wit,
    "A csv of your own": own_csv,
}


@pytest.fixture
def path_with_commands(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which ``img2dataset`` and ``python`` are those of this test run."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in {"img2dataset": "-m img2dataset", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_every_recipe_has_its_list() -> None:
    assert list(RECIPES) == list(LISTS)


def run_recipe(name: str, urls: Urls, here: Path, path: str) -> tuple[Path, str]:
    """Make the list and run the recipe's script in a folder; the output folder, and what was said."""
    LISTS[name](here, urls)
    script = re.sub(r"(--processes_count|--thread_count) \d+", r"\1 2", RECIPES[name])
    environment = os.environ | {"PATH": path}
    command = ["bash", "-ec", script]
    result = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (output,) = re.findall(r"--output_folder (\S+)", script)
    return here / output, result.stderr


@pytest.mark.parametrize("name", LISTS)
def test_its_command_makes_the_dataset(name: str, server: MockServer, tmp_path: Path, path_with_commands: str) -> None:
    if "tsv" in RECIPES[name] and "tsv" not in READERS:
        pytest.skip("lists in tsv are not read yet")
    server.images["photo.jpg"] = ("image/jpeg", PHOTO)
    urls = [server.url(f"/image/photo.jpg?row={number}") for number in range(ROWS)]
    output, said = run_recipe(name, urls, tmp_path, path_with_commands)
    assert "WARNING" not in said
    found = checked_metadata(output, urls)
    assert found["status"].tolist() == ["success"] * ROWS
    for words in re.findall(r"--save_additional_columns (\S+)", RECIPES[name]):
        assert set(re.findall(r"\w+", words)) <= set(found)


@pytest.mark.parametrize("name", ["DataComp", "LAION-Face"])
def test_faces_are_blurred(name: str, server: MockServer, tmp_path: Path, path_with_commands: str) -> None:
    server.images["photo.jpg"] = ("image/jpeg", PHOTO)
    output, _ = run_recipe(name, [server.url("/image/photo.jpg")] * 2, tmp_path, path_with_commands)
    with tarfile.open(min(output.glob("*.tar"))) as archive:
        first = next(member for member in archive if member.name.endswith(".jpg"))
        image = Image.open(archive.extractfile(first)).convert("L")  # type: ignore[arg-type]
    assert contrast(image, BOX) < contrast(image, [0.6, 0.6, 0.9, 0.9]) / 2


def contrast(image: Image.Image, box: list[float]) -> float:
    """How much the pixels of a box, given in parts of the image, differ from their mean."""
    corners = (round(side * length) for side, length in zip(box, image.size * 2, strict=True))
    return ImageStat.Stat(image.crop(tuple(corners))).stddev[0]  # type: ignore[arg-type]
