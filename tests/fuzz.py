"""Runs every test marked ``fuzz`` with one seed after another, until the time is over.

    python tests/fuzz.py --seconds 600 --seed 42

Prints each seed and what it took. A round that fails ends the run, with the command that repeats it, and exit code 1:
what it has found becomes a small file, or a case, in the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="no round is begun that would end after so many")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the first; the clock's, if not given")
    parser.add_argument("--parts", type=float, default=1.0, help="how much each test draws, in parts of the usual")
    options = parser.parse_args()
    began, longest, rounds = time.monotonic(), 0.0, 0
    while not rounds or time.monotonic() - began + longest < options.seconds:
        seed = options.seed + rounds
        round_began = time.monotonic()
        if not passes(seed, options.parts):
            sys.exit(f"seed {seed} has found something: FUZZ_SEED={seed} FUZZ_PARTS={options.parts} pytest -m fuzz")
        longest = max(longest, time.monotonic() - round_began)
        rounds += 1
        print(f"seed {seed}: nothing found in {time.monotonic() - round_began:.0f} s", flush=True)  # noqa: T201


def passes(seed: int, parts: float) -> bool:
    """Whether all of them hold with this seed."""
    environment = os.environ | {"FUZZ_SEED": str(seed), "FUZZ_PARTS": str(parts)}
    command = [sys.executable, "-m", "pytest", "-m", "fuzz", "-q", "--no-header", "-p", "no:cacheprovider"]
    return subprocess.run(command, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    main()
