"""Counts that add up."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2dataset.shards import ListIdentity
from img2dataset.stats import STATUSES, CappedCounter, Origin, RunStats, ShardStats

ROWS = st.lists(st.tuples(st.sampled_from(STATUSES), st.text(max_size=3)))
COUNTS = st.integers(0, 2**40)
TIMES = st.floats(0, 2**40)
PLAIN = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
ORIGINS = st.builds(
    Origin,
    list_index=st.integers(0, 9),
    list_identity=st.none() | st.builds(ListIdentity, st.integers(1, 1000), st.text(max_size=3)),
    input_file=st.text(max_size=3),
    first_row=COUNTS,
    url_digest=st.text(max_size=3),
    options=st.dictionaries(st.text(max_size=3), PLAIN | st.lists(PLAIN, max_size=2), max_size=2),
)
STATS = st.builds(
    ShardStats,
    shard_id=st.integers(9, 99),
    **dict.fromkeys(("count", "successes", "failed_to_download", "failed_to_resize"), COUNTS),
    **dict.fromkeys(("attempts", "bytes_downloaded"), COUNTS),
    **dict.fromkeys(("start_time", "end_time"), TIMES),
    status_dict=st.builds(CappedCounter, st.dictionaries(st.text(max_size=3), COUNTS, max_size=2)),
    seconds=st.dictionaries(st.text(max_size=3), TIMES, max_size=2),
    origin=ORIGINS,
)


@given(STATS)
def test_a_stats_file_says_what_it_was_written_with(stats: ShardStats) -> None:
    assert ShardStats.from_json(json.loads(stats.to_json()), stats.shard_id) == stats
    assert {field.name for field in fields(ShardStats)} - {"origin"} <= json.loads(stats.to_json()).keys()


@given(ORIGINS)
def test_an_origin_is_json_by_itself(origin: Origin) -> None:
    assert Origin.from_json(json.loads(json.dumps(origin.to_json()))) == origin


def test_a_stats_file_of_version_1_is_read() -> None:
    record = {"count": 3, "successes": 2, "failed_to_download": 1, "failed_to_resize": 0, "duration": 1.5}
    record |= {"start_time": 10.0, "end_time": 11.5, "status_dict": {"success": 2, "HTTP Error 404": 1}}  # type: ignore[dict-item]
    stats = ShardStats.from_json(record, 7)
    assert (stats.shard_id, stats.count, stats.successes, stats.duration) == (7, 3, 2, 1.5)
    assert stats.status_dict["HTTP Error 404"] == 1
    assert stats.origin == Origin(list_index=7)


WHOLE = json.loads(ShardStats(shard_id=5, count=1, successes=1, origin=Origin(url_digest="x")).to_json())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (name, value)
            for name in ("count", "successes", "attempts", "first_row")
            for value in (-1, True, "1", None, 1.0)
        ),
        *(("start_time", value) for value in ("1", None, True, float("nan"), float("inf"), 10**400)),
        *(("seconds", value) for value in ([], None, {"waiting": "1"})),
        *(("list_identity", value) for value in ([], None, {}, "x", {"rows": 1}, {"rows": "1", "digest": "x"})),
        *(
            ("list_identity", value)
            for value in ({"rows": 1, "digest": 1}, {"rows": 0, "digest": "x"}, {"rows": 1, "digest": "x", "more": 1})
        ),
        ("list_index", 6),
        ("url_digest", 1),
        ("input_file", 1),
        ("status_dict", {"success": "1"}),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, value: Any) -> None:
    ShardStats.from_json(WHOLE, 5)
    with pytest.raises(ValueError, match=f"^is no stats file: {field} is missing or wrong$"):
        ShardStats.from_json(WHOLE | {field: value}, 5)


@pytest.mark.parametrize("field", ["count", "url_digest"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(ValueError, match=f"^is no stats file: {field} is missing or wrong$"):
        ShardStats.from_json({name: value for name, value in WHOLE.items() if name != field}, 5)


@pytest.mark.parametrize("record", [[], None, 1, "x"])
def test_what_is_no_record_is_no_stats_file(record: object) -> None:
    with pytest.raises(ValueError, match=r"^is no stats file$"):
        ShardStats.from_json(record, 5)


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
