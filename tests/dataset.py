"""What tests of whole runs share: lists to run on, and a look at the dataset that came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from mockserver import MockServer

from img2dataset.stats import SUCCESS

COUNTS = ("count", "successes", "failed_to_download", "failed_to_resize")
SIZES = [(640, 480), (200, 300), (100, 100), (50, 400)]
FORMATS = ["jpg", "png", "webp"]


def photo(server: MockServer, number: int) -> str:
    """The URL of a photo; no two numbers have the same URL, few have the same bytes."""
    width, height = SIZES[number % len(SIZES)]
    return server.url(f"/photo/{width}x{height}.{FORMATS[number % len(FORMATS)]}?seed={number % 4}&row={number}")


def mixed_rows(server: MockServer, count: int) -> list[str]:
    """A list as the web gives it: of ten rows seven are photos, two are gone, and one is no image."""
    server.images["page"] = ("text/html", b"<html>no image</html>")
    broken = {3: "/status/404", 6: "/image/page", 9: "/status/410"}
    return [server.url(f"{broken[n % 10]}?row={n}") if n % 10 in broken else photo(server, n) for n in range(count)]


def write_list(path: Path, rows: Sequence[str]) -> str:
    """A text list with those rows; returns its path."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def metadata(folder: Path) -> pd.DataFrame:
    """The metadata of a dataset, in the order of its shards."""
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))], ignore_index=True)


def stats(folder: Path) -> Counter[str]:
    """The stats files of a dataset, added up; each adds up in itself."""
    total: Counter[str] = Counter()
    for path in folder.glob("*_stats.json"):
        record = json.loads(path.read_text())
        counts = {name: record[name] for name in COUNTS}
        assert counts["count"] == sum(record["status_dict"].values()) == sum(counts.values()) - counts["count"]
        total.update(counts)
    return total


def checked_metadata(folder: Path, rows: Sequence[str | None]) -> pd.DataFrame:
    """The metadata, after it is known that every input row was counted once and is exactly one row, in order."""
    table = metadata(folder)
    assert table["url"].astype(object).where(table["url"].notna(), None).tolist() == list(rows)
    assert table["key"].is_unique
    assert table["key"].is_monotonic_increasing
    statuses = Counter(table["status"])
    expected = [statuses[status] for status in (SUCCESS, "failed_to_download", "failed_to_resize")]
    total = stats(folder)
    assert [total[name] for name in COUNTS] == [len(rows), *expected]
    return table


def start(*words: object, cwd: Path | None = None, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The real command, in a process group of its own; `before` are words that start it."""
    argv = [*before, sys.executable, "-m", "img2dataset", *map(str, words)]
    return subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, start_new_session=True, env=os.environ
    )


def run(*words: object, cwd: Path | None = None, timeout: float = 120) -> tuple[int, str]:
    """The real command to its end: exit code, and what it said."""
    with start(*words, cwd=cwd) as process:
        _, said = process.communicate(timeout=timeout)
    return process.returncode, said
