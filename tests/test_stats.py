"""Counts that add up."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from img2dataset.stats import STATUSES, CappedCounter, RunStats, ShardStats

ROWS = st.lists(st.tuples(st.sampled_from(STATUSES), st.text(max_size=3)))


@given(ROWS)
def test_every_row_is_counted_once(rows: list[tuple[str, str]]) -> None:
    stats = ShardStats(shard_id=3)
    for status, message in rows:
        stats.record(status, message)
    assert stats.count == stats.successes + stats.failed_to_download + stats.failed_to_resize == len(rows)
    assert stats.status_dict.total() == len(rows)
    assert json.loads(stats.to_json())["status_dict"] == dict(stats.status_dict)


@given(st.lists(ROWS, max_size=4))
def test_a_run_is_the_sum_of_its_shards(shards: list[list[tuple[str, str]]]) -> None:
    run = RunStats()
    for rows in shards:
        stats = ShardStats(shard_id=0)
        for status, message in rows:
            stats.record(status, message)
        run.add(stats)
    assert (run.shards, run.count) == (len(shards), sum(map(len, shards)))
    assert run.status_dict.total() == run.count


def test_a_counter_of_messages_does_not_grow_without_end() -> None:
    counter = CappedCounter()
    for number in range(1000):
        counter.count(f"message {number}", 2)
        counter.count("message 1")
    assert len(counter) <= CappedCounter.CAP + 1
    assert counter.total() == 3000
    assert counter["message 1"] == 1002
