"""How fast a list of URLs is read, in how much memory, and how soon; beside Arrow reading it whole.

    python benchmarks/read.py                                         # 200,000 rows of every format
    python benchmarks/read.py --rows 5000000 --only parquet
    python benchmarks/read.py --rows 2000000 --only csv tsv jsonl json

Every measurement is a process of its own. Memory is what it grows by, at its peak, from what it has with the libraries
imported. "Nothing wanted" is a resume whose shards are all finished.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FORMATS = ("txt", "csv", "tsv", "json", "jsonl", "parquet")
ROWS_AT_ONCE = 50_000
CAPTION = "a photograph of a small brown dog that runs over wet grass in the evening"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--only", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "LIST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(*options.measure)))
        return
    print(f"{options.rows:,} rows\n")
    print("| list | MB | who | rows/s | first shard, s | memory, MB |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            path = Path(folder) / f"list.{name}"
            write(path, options.rows)
            for what in WAYS:
                show(path, what, options.rows)
            path.unlink()


def write(path: Path, rows: int) -> None:
    """A list with captions and a number."""
    if path.suffix == ".parquet":
        write_parquet(path, rows)
        return
    line = LINES[path.suffix]
    with path.open("w") as file:
        file.write(HEADS.get(path.suffix, ""))
        for row in range(rows):
            file.write(line(row, url(row)))
        file.write("]" if path.suffix == ".json" else "")


def url(row: int) -> str:
    """Each row has another one."""
    return f"https://images-{row % 1000}.example.com/photos/{row:09d}/original/large.jpg?width=1024"


def record(row: int, address: str) -> str:
    """A row as JSON."""
    return json.dumps({"url": address, "caption": CAPTION, "n": row})


LINES: dict[str, Callable[[int, str], str]] = {
    ".txt": lambda _, address: f"{address}\n",
    ".csv": lambda row, address: f"{address},{CAPTION},{row}\n",
    ".tsv": lambda row, address: f"{address}\t{CAPTION}\t{row}\n",
    ".jsonl": lambda row, address: f"{record(row, address)}\n",
    ".json": lambda row, address: f"{',' if row else '['}{record(row, address)}\n",
}
HEADS = {".csv": "url,caption,n\n", ".tsv": "url\tcaption\tn\n"}


def write_parquet(path: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pa.schema({"url": pa.string(), "caption": pa.string(), "n": pa.int64()})) as file:
        for start in range(0, rows, 20 * ROWS_AT_ONCE):
            numbers = range(start, min(start + 20 * ROWS_AT_ONCE, rows))
            table = pa.table({"url": list(map(url, numbers)), "caption": [CAPTION] * len(numbers), "n": list(numbers)})
            file.write_table(table)


def show(path: Path, what: str, rows: int) -> None:
    """One line of the table, of a process of its own."""
    command = [sys.executable, __file__, "--measure", what, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"| {path.suffix} | | {what} | {(done.stderr.strip().splitlines() or ['failed'])[-1]} | | |", flush=True)
        return
    seconds, first, memory = json.loads(done.stdout)
    size = path.stat().st_size / 1e6
    print(f"| {path.suffix} | {size:.0f} | {what} | {rows / seconds:,.0f} | {first:.2f} | {memory:.0f} |", flush=True)


def measured(what: str, path: str) -> tuple[float, float, float]:
    """Seconds in all, seconds to the first shard, and MB."""
    import fsspec  # noqa: F401 - what is imported is not what the list takes
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401

    import img2dataset.reader  # noqa: F401

    before = peak()
    began = time.monotonic()
    first = None
    for _ in WAYS[what](path):
        first = first or time.monotonic() - began
    seconds = time.monotonic() - began
    return seconds, first or seconds, peak() - before


def peak() -> float:
    """MB; what getrusage says may be the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def shards(path: str, wanted: Callable[[int], bool] | None = None) -> Iterator[object]:
    """As a run reads it, the look before included."""
    from img2dataset.options import ReadOptions
    from img2dataset.reader import Reader

    columns = {} if path.endswith(".txt") else {"caption_col": "caption", "save_additional_columns": ("n",)}
    reader = Reader(ReadOptions(url_list=path, **columns))  # type: ignore[arg-type]
    reader.check()
    return reader.shards(wanted)


def whole(path: str) -> Iterator[object]:
    """The file as one table."""
    import pyarrow.csv as arrow_csv
    import pyarrow.json as arrow_json
    import pyarrow.parquet as pq

    extension = Path(path).suffix
    if extension == ".parquet":
        yield pq.read_table(path)
    elif extension == ".jsonl":
        yield arrow_json.read_json(path)
    elif extension == ".json":
        yield json.loads(Path(path).read_bytes())  # Arrow reads no arrays
    else:
        names = ["url"] if extension == ".txt" else None
        delimiter = "\t" if extension == ".tsv" else "," if extension == ".csv" else "\x01"
        parsing = arrow_csv.ParseOptions(delimiter=delimiter)
        yield arrow_csv.read_csv(path, arrow_csv.ReadOptions(column_names=names), parsing)


WAYS: dict[str, Callable[[str], Iterator[object]]] = {
    "img2dataset": shards,
    "nothing wanted": lambda path: shards(path, lambda _: False),
    "Arrow, whole": whole,
}

if __name__ == "__main__":
    main()
