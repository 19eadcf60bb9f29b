"""How the tests that draw their input at random are seeded, and how much of it they draw.

``make fuzz`` runs them over and over with other seeds; each runs once, with the same seed, in ``make test``.
"""

from __future__ import annotations

import os
import random

import pytest

SEED = int(os.environ.get("FUZZ_SEED", "1"))
PARTS = float(os.environ.get("FUZZ_PARTS", "1"))

fuzz = pytest.mark.fuzz


def draw(name: str) -> random.Random:
    """The generator of one test: others may draw more or less without changing what it draws."""
    return random.Random(f"{SEED} {name}")


def tries(usual: int) -> int:
    """How many inputs a test draws that usually draws so many."""
    return max(1, round(usual * PARTS))
