"""Whatever a server sends, a request gives one result and costs nothing else."""

from __future__ import annotations

import random
import re

import pytest
from fetching import fetch_options
from fuzzing import SEED, fuzz, tries
from mutated_answers import mutated_answer
from rawserver import RawServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest

COUNT = tries(2000)
WORDS = {value for name, value in vars(Reason).items() if name.isupper()}


def answer_number(seed: int, path: str) -> bytes:
    """The answer to ``/17`` is the 17th of this seed."""
    return mutated_answer(random.Random(f"{seed} {path}"))


def check_answers(seed: int, count: int, engine: str) -> None:
    """Fetch so many mutated answers; each is a body or a word, and the fetcher is as it was."""
    options = fetch_options(http_client=engine, thread_count=32, timeout=1, retries=0, max_download_bytes=1_000_000)
    with RawServer(lambda path: answer_number(seed, path)) as server, Fetcher(options) as fetcher:
        requests = [FetchRequest(number, server.url(f"/{number}")) for number in range(count)]
        results = list(fetcher.fetch(requests))
        assert fetcher.memory.used == 0
        assert all(thread.is_alive() for thread in fetcher._threads._threads)
    assert sorted(result.id for result in results) == list(range(count))  # type: ignore[type-var]
    for result in results:
        assert (result.body is None) == (result.error is not None)
        assert result.error is None or result.error in WORDS or re.fullmatch(r"http \d{3}", result.error)
        assert result.error != Reason.INTERNAL_ERROR, answer_number(seed, f"/{result.id}")[:300]
    assert sum(result.body is not None for result in results) > count / 20


@fuzz
def test_a_mutated_answer_is_a_body_or_a_known_word(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    check_answers(SEED, COUNT, engine)
    assert capfd.readouterr() == ("", "")
