"""What follows from the end of a worker, case by case."""

from __future__ import annotations

import pytest
from toy_downloaders import make_shard

from img2dataset.distributor.process_pool.blame import Blame, End
from img2dataset.errors import Reason
from img2dataset.shards import Shard

SHARD = make_shard(12)


def end(row: int | None, *, hung: bool = False, shard: Shard = SHARD) -> End:
    return End(pid=77, cause="exit code 7", hung=hung, shard=shard, row=row)


@pytest.mark.parametrize(
    ("ends", "again", "message"),
    [
        ([end(2)], SHARD, "worker 77 ended at row 2 of shard 012, which is done again: exit code 7"),
        (
            [end(2), end(2)],
            SHARD.without({2: Reason.WORKER_DIED}),
            "worker 77 ended at row 2 of shard 012 again, which is done without that row: exit code 7",
        ),
        (
            [end(2, hung=True)],
            SHARD.without({2: Reason.DECODING_TOO_SLOW}),
            "worker 77 hung at row 2 of shard 012, which is done without that row: exit code 7",
        ),
        ([end(None)], SHARD, "worker 77 ended at shard 012, which is done again: exit code 7"),
        ([end(None), end(None)], SHARD, "worker 77 ended at shard 012, which is done again: exit code 7"),
        ([end(None), end(None), end(None)], None, "worker 77 ended at shard 012: exit code 7"),
        ([end(None, hung=True)], None, "worker 77 ended at shard 012: exit code 7"),
        ([end(2), end(3)], SHARD, "worker 77 ended at row 3 of shard 012, which is done again: exit code 7"),
        (
            [end(2, shard=make_shard(11)), end(2)],
            SHARD,
            "worker 77 ended at row 2 of shard 012, which is done again: exit code 7",
        ),
    ],
)
def test_what_follows_for_the_shard(ends: list[End], again: Shard | None, message: str) -> None:
    blame = Blame(digits=3)
    verdicts = [blame.judge(each) for each in ends]
    assert (verdicts[-1].again, verdicts[-1].message) == (again, message)


def test_a_settled_shard_that_comes_back_has_no_past() -> None:
    blame = Blame(digits=5)
    blame.judge(end(2))
    blame.forget(SHARD)
    assert blame.judge(end(2)).again == SHARD
