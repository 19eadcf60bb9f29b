"""img2dataset beside its peer and a bare loop, with a verdict for every target.

    python benchmarks/compare.py                   everything, about 40 minutes on 2 cores
    python benchmarks/compare.py --only https http
    python benchmarks/compare.py --quick           the https mix alone, short: what CI asks for

Prints Markdown; what is going on goes to standard error. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

import long_runs
import parts
import whole_runs
from contestants import HERE, PEER, cache_folder, peer
from corpus import corpus
from isolation import isolate
from sections import Section, Setup, verdict_table
from servers import servers

CHUNK = 200
"""The corpus is made in chunks, so that all cores make it and a short run needs but its beginning."""

CORPUS_COUNT, QUICK_CORPUS_COUNT = 4000, 800
ROUNDS, QUICK_ROUNDS = 3, 2


def corpus_folder() -> Path:
    """The corpus of this `corpus.py` and this Pillow: another one makes other files."""
    digest = hashlib.sha256((HERE / "corpus.py").read_bytes()).hexdigest()
    return cache_folder(f"corpus-{digest[:8]}-pillow-{version('pillow')}")


def chunk_of_corpus(number: int) -> list[str]:
    """The names of a chunk's files, which are made when they are not there yet."""
    folder = corpus_folder()
    chunk = folder / f"{number:03d}"
    if not chunk.exists():
        unfinished = folder / f"{number:03d}.unfinished"
        unfinished.mkdir(exist_ok=True)
        for index, image in enumerate(corpus(CHUNK, seed=number)):
            (unfinished / f"{index:03d}.{image.extension}").write_bytes(image.body)
        unfinished.rename(chunk)
    return sorted(str(path.relative_to(folder)) for path in chunk.iterdir())


def corpus_names(count: int) -> list[str]:
    """The files of a corpus of `count` images, below `corpus_folder()`."""
    with ProcessPoolExecutor() as pool:
        return [name for names in pool.map(chunk_of_corpus, range(count // CHUNK)) for name in names]


def machine() -> str:
    """What the numbers were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


def sections(setup: Setup, names: list[str], quick: bool) -> Iterator[Section]:
    """Measure, section by section."""
    if quick:
        yield whole_runs.quick(setup)
    else:
        for name in names:
            yield SECTIONS[name](setup)


SECTIONS = whole_runs.SECTIONS | long_runs.SECTIONS | parts.SECTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rival = peer()  # before the network is gone
    isolated = isolate()
    names = corpus_names(QUICK_CORPUS_COUNT if arguments.quick else CORPUS_COUNT)
    with servers(corpus_folder(), has_names=isolated) as started:
        rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
        setup = Setup(servers=started, corpus=corpus_folder(), names=names, peer=rival, rounds=rounds)
        print(f"    python {shlex.join(sys.argv)}\n\n{datetime.date.today()}, {machine()}; server: {started.program};")
        print(f"peer: {PEER}; median (lowest–highest) of {rounds} runs each, in turns.\n", flush=True)
        verdicts = []
        for section in sections(setup, arguments.only, arguments.quick):
            print(section.markdown(), flush=True)
            verdicts.extend(section.verdicts)
    if verdicts:
        print(verdict_table(verdicts))
    sys.exit(not all(verdict.is_reached for verdict in verdicts))


if __name__ == "__main__":
    main()
