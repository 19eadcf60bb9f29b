"""Makes a dataset with the img2dataset command from photos that a small web server on this machine serves.

Run it as ``python examples/demo.py [OUTPUT_FOLDER]``.
"""

from __future__ import annotations

import csv
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PHOTOS = Path(__file__).parent / "photos"
CAPTIONS = {
    "astronaut.jpg": "an astronaut in an orange suit",
    "cat-turned.jpg": "a tabby cat, very close",
    "coffee.webp": "espresso on a wooden table",
    "galaxies.jpg": "thousands of galaxies on a black sky",
    "photographer.png": "a man behind a camera on a tripod",
    "rocket.jpg": "a rocket on its launch pad at dawn",
    "lost.jpg": "a photo that is no longer there",
    "moved.html": "a page where a photo used to be",
}
COLUMNS = ["key", "status", "error_message", "original_width", "original_height", "width", "height", "caption"]


def main(output_folder: str = "demo_output") -> None:
    """Serve the photos, run the command, show what it made."""
    with served(PHOTOS) as address, tempfile.TemporaryDirectory() as folder:
        url_list = Path(folder, "photos.csv")
        write_list(url_list, address)
        show("The list, photos.csv", url_list.read_text(encoding="utf-8"))
        run_command(url_list, output_folder)
    show(f"What is in {output_folder}/", tree(Path(output_folder)))
    show(f"The first rows of {output_folder}/00000.parquet", head(Path(output_folder, "00000.parquet")))
    show("With a list of your own", OWN_LIST.format(command=command()))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder over HTTP on a free port; yields the server's address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Answers as its base does, without a line on the terminal for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def write_list(path: Path, address: str) -> None:
    """Write the url list: a csv file with a caption beside every URL."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "caption"])
        rows.writerows([f"{address}/{name}", caption] for name, caption in CAPTIONS.items())


def run_command(url_list: Path, output_folder: str) -> None:
    """Run img2dataset as a shell would. The server has another port each time, so what is there is overwritten."""
    options = [
        f"--output_folder={output_folder}",
        "--caption_col=caption",
        "--image_size=256",
        "--incremental_mode=overwrite",
    ]
    show("The command", shlex.join(["img2dataset", f"--url_list={url_list.name}", *options]))
    environment = os.environ | {"no_proxy": "127.0.0.1"}
    subprocess.run([command(), f"--url_list={url_list}", *options], env=environment, check=True)


def command() -> str:
    """The img2dataset command of the Python that runs this."""
    return os.path.relpath(Path(sys.executable).with_name("img2dataset"))


def tree(folder: Path, indent: str = "") -> str:
    """The names and sizes of all files below a folder."""
    lines = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            lines += [f"{indent}{path.name}/", tree(path, indent + "    ")]
        else:
            lines.append(f"{indent}{path.name:<20} {path.stat().st_size:>8,} bytes")
    return "\n".join(lines)


def head(path: Path) -> str:
    """The first rows of a parquet file as text."""
    import pandas as pd

    table = pd.read_parquet(path, columns=COLUMNS, dtype_backend="numpy_nullable")  # sizes stay whole beside nulls
    text: str = table.head(8).astype(object).fillna("-").to_string(index=False)
    return text


def show(title: str, text: str) -> None:
    """Print a titled block."""
    print(f"\n{title}\n{'-' * len(title)}\n{text.rstrip()}\n", flush=True)


OWN_LIST = """\
Write one URL a line into urls.txt, then:

    {command} --url_list=urls.txt --output_folder=my_images --image_size=256

For a csv or parquet file with captions, as tars for training:

    {command} --url_list=list.csv --url_col=url --caption_col=caption \\
        --output_folder=my_dataset --output_format=webdataset --processes_count=4 --thread_count=128

All options: {command} --help"""


if __name__ == "__main__":
    main(*sys.argv[1:])
