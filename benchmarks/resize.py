"""CPU time of the Resizer beside OpenCV (full decode, INTER_AREA, JPEG quality 95, one thread) on a web-like corpus.

    python benchmarks/resize.py --count 500 --rounds 3

Prints CPU milliseconds for one image, by format of the input and by resize mode, and the ratio of ours to OpenCV's:
below 1 is faster. The first line is decoding alone, for `border`. Both decode, resize to 256 pixels, pad, and encode.
The best of some rounds, in turns, counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import PIL
from corpus import FORMATS, CorpusImage, corpus
from PIL import Image

from img2dataset.errors import ResizeError
from img2dataset.images import Resizer
from img2dataset.images.modes import RESIZE_MODES
from img2dataset.images.source import open_source
from img2dataset.options import ResizeOptions

IMAGE_SIZE = 256
WHITE = (255, 255, 255)
Resize = Callable[[bytes], object]


def opencv_resizer(mode: str) -> Resize:
    """What img2dataset's Resizer does, by OpenCV."""

    def resize(body: bytes) -> bytes:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        plan = RESIZE_MODES[mode](width, height, IMAGE_SIZE)
        if plan.scaled != (width, height):
            shrinks = plan.scaled[0] < width
            image = cv2.resize(image, plan.scaled, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
        left, top, right, bottom = plan.crop
        image = image[top:bottom, left:right]
        across, down = plan.canvas[0] - image.shape[1], plan.canvas[1] - image.shape[0]
        if across or down:
            sides = (down // 2, down - down // 2, across // 2, across - across // 2)
            image = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=WHITE)
        return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()

    return resize


def pillow_decode(body: bytes) -> None:
    """The first step of ours: for `border`, a JPEG at the scale that leaves twice the size."""
    image = Image.open(BytesIO(body))
    scale = 2 * IMAGE_SIZE / max(image.size)
    image.draft(None, (round(image.width * scale), round(image.height * scale)))
    image.load()


def opencv_decode(body: bytes) -> None:
    cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)


def cpu_ms(resize: Resize, images: Sequence[CorpusImage]) -> float:
    """CPU milliseconds for one image, of all threads."""
    start = time.process_time()
    for image in images:
        resize(image.body)
    return 1000 * (time.process_time() - start) / len(images)


def compare(ours: Resize, theirs: Resize, images: Sequence[CorpusImage], rounds: int) -> tuple[float, float]:
    """The best of `rounds`, in turns, so that a busy machine slows both."""
    pairs = [(cpu_ms(ours, images), cpu_ms(theirs, images)) for _ in range(rounds)]
    return min(own for own, _ in pairs), min(their for _, their in pairs)


def report(rows: Iterable[tuple[str, int, tuple[float, float]]]) -> None:
    print(f"{'':<28}{'images':>8}{'ours ms':>10}{'OpenCV ms':>11}{'ratio':>8}")
    for name, count, (ours, theirs) in rows:
        print(f"{name:<28}{count:>8}{ours:>10.2f}{theirs:>11.2f}{ours / theirs:>8.2f}")


def images_of(folder: Path | None, count: int, seed: int) -> list[CorpusImage]:
    """The corpus, made now or by ``corpus.py`` into a folder, less the formats that this Pillow lacks."""
    images = corpus(count, seed) if folder is None else map(read, sorted(folder.iterdir())[:count])
    return [image for image in images if is_known(image)]


def read(path: Path) -> CorpusImage:
    return CorpusImage(path.name.partition(".")[2], path.read_bytes())


def is_known(image: CorpusImage) -> bool:
    try:
        return open_source(image.body).width > 0
    except ResizeError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, help="a folder that corpus.py made, for a Pillow that cannot make it")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    images = images_of(arguments.corpus, arguments.count, arguments.seed)
    by_format = {kind: [image for image in images if image.kind == kind] for kind in FORMATS}
    print(f"Pillow {PIL.__version__}, OpenCV {cv2.__version__}, {len(images)} images")

    def row(name: str, mode: str, chosen: Sequence[CorpusImage]) -> tuple[str, int, tuple[float, float]]:
        ours = Resizer(ResizeOptions(resize_mode=mode, image_size=IMAGE_SIZE))
        return name, len(chosen), compare(ours, opencv_resizer(mode), chosen, arguments.rounds)

    decoding = compare(pillow_decode, opencv_decode, images, arguments.rounds)
    report(
        [("all, decoding alone", len(images), decoding), *(row(f"all, {mode}", mode, images) for mode in RESIZE_MODES)]
    )
    print()
    report(row(f"{kind}, border", "border", chosen) for kind, chosen in by_format.items() if chosen)


if __name__ == "__main__":
    main()
