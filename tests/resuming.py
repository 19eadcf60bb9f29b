"""A list, a folder, and runs that get as far as they are told: what tests of coming back share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from img2dataset.filesystem import open_folder
from img2dataset.options import ReadOptions
from img2dataset.reader import Reader
from img2dataset.resume import make_plan
from img2dataset.shards import Rows, Shard, shard_name, urls_digest
from img2dataset.stats import Origin, ShardStats

OPTIONS = {"image_size": 256, "output_format": "webdataset"}


class World:
    """A list, a folder, and runs that get as far as they are told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path / "out"
        self.output.mkdir()

    def reader(self, rows: Sequence[str]) -> Reader:
        (self.path / "list.txt").write_text("\n".join(rows))
        return Reader(ReadOptions(url_list=str(self.path / "list.txt"), number_sample_per_shard=10))

    def stages(self, rows: Sequence[str], mode: str = "auto", **options: object) -> list[list[Shard]]:
        """What a run would do, stage by stage."""
        reader = self.reader(rows)
        plan = make_plan(open_folder(str(self.output)), reader, mode, OPTIONS | options)
        return [list(stage) for stage in plan.stages(reader)]

    def remaining(self, rows: Sequence[str], mode: str = "auto", **options: object) -> dict[int, int]:
        """The numbers of the shards that a run would do, each with its place in the list."""
        return {shard.id: shard.index for stage in self.stages(rows, mode, **options) for shard in stage}

    def run(self, rows: Sequence[str], only: Collection[int] | None = None, mode: str = "auto") -> None:
        """Finish the shards at those places of the list, as a run cut there would leave them."""
        for stage in self.stages(rows, mode):
            for shard in stage:
                if only is None or shard.index in only:
                    self.finish(shard)

    def finish(self, shard: Shard) -> None:
        origin = Origin(
            list_index=shard.index,
            list_identity=shard.identity,
            url_digest=urls_digest(Rows.of(shard, ReadOptions(url_list="x")).urls),
            options=OPTIONS,
        )
        stats = ShardStats(shard_id=shard.id, count=shard.count, origin=origin)
        (self.output / f"{shard_name(shard.id)}_stats.json").write_text(stats.to_json())
        (self.output / f"{shard_name(shard.id)}.tar").write_bytes(b"")


def rows(name: str, count: int) -> list[str]:
    """The first `count` rows of the list of that name."""
    return [f"http://{name}/{number}" for number in range(count)]
