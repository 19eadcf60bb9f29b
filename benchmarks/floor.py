"""The least that the job takes in Python: fetch with libcurl, decode, resize and encode with Pillow, append to a tar.

No metadata, no hash, no colour profile, no limit, no robots directive, no recovery: what it leaves out is what
img2dataset's own code costs. It takes the flags of img2dataset that it knows, and ignores all others.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import pycurl
import webdataset as wds
from PIL import Image

QUALITY = 95
QUEUE_SIZE = 128


def fetch(urls: queue.SimpleQueue[str | None], bodies: queue.Queue[bytes | None], timeout: float) -> None:
    """What a thread does: fetch until there is no URL left. A failure is None."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.CAINFO, os.environ["SSL_CERT_FILE"])
    curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
    curl.setopt(pycurl.TIMEOUT_MS, round(timeout * 1000))
    while (url := urls.get()) is not None:
        chunks: list[bytes] = []
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.WRITEFUNCTION, chunks.append)
        try:
            curl.perform()
            bodies.put(b"".join(chunks) if curl.getinfo(pycurl.RESPONSE_CODE) == 200 else None)
        except pycurl.error:
            bodies.put(None)
    curl.close()


def resize(body: bytes, size: int) -> bytes:
    """To a white square of `size`, as resize_mode=border: JPEG decoded at the DCT scale that leaves twice the size."""
    image = Image.open(BytesIO(body))
    scale = size / max(image.size)
    target = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image.draft("RGB", (2 * target[0], 2 * target[1]))
    resized = image.convert("RGB").resize(target, Image.Resampling.HAMMING if scale < 1 else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), "white")
    square.paste(resized, ((size - target[0]) // 2, (size - target[1]) // 2))
    file = BytesIO()
    square.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def work(url_list: list[str], part: int, arguments: argparse.Namespace) -> None:
    """What a process does: one tar with the images of its URLs."""
    urls: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    bodies: queue.Queue[bytes | None] = queue.Queue(QUEUE_SIZE)
    for url in [*url_list, *[None] * arguments.thread_count]:
        urls.put(url)
    for _ in range(arguments.thread_count):
        threading.Thread(target=fetch, args=(urls, bodies, arguments.timeout)).start()
    output = Path(arguments.output_folder)
    successes = 0
    with (output / f"{part:05d}.tar").open("wb") as file, wds.TarWriter(file, encoder=False) as tar:
        for number in range(len(url_list)):
            body = bodies.get()
            if body is not None:
                tar.write({"__key__": f"{part:05d}{number:05d}", "jpg": resize(body, arguments.image_size)})
                successes += 1
    (output / f"{part:05d}_stats.json").write_text(json.dumps({"count": len(url_list), "successes": successes}))


def main() -> None:
    """Split the list over processes; each is this script again, with its part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--url_list", type=Path, required=True)
    parser.add_argument("--output_folder", required=True)
    parser.add_argument("--processes_count", type=int, default=1)
    parser.add_argument("--thread_count", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=256)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--part", type=int)
    arguments, _ = parser.parse_known_args()
    os.makedirs(arguments.output_folder, exist_ok=True)
    if arguments.part is not None:
        urls = arguments.url_list.read_text().splitlines()
        work(urls[arguments.part :: arguments.processes_count], arguments.part, arguments)
        return
    parts = [
        subprocess.Popen([sys.executable, *sys.argv, f"--part={part}"]) for part in range(arguments.processes_count)
    ]
    failed = [part for part in parts if part.wait()]
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
