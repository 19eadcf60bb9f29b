"""Coming back to a folder: what is done, what is missing, and under which numbers it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from resuming import OPTIONS, World, rows

from img2dataset.errors import OptionsError
from img2dataset.filesystem import open_folder
from img2dataset.filesystem.local import LocalFolder
from img2dataset.options import ReadOptions
from img2dataset.reader import Reader
from img2dataset.resume import make_plan, overwrite
from img2dataset.shards import shard_name


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_empty_folder_takes_every_shard_under_its_own_number(world: World) -> None:
    assert world.remaining(rows("a", 25)) == {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("mode", ["auto", "incremental"])
def test_the_same_list_does_what_is_missing(world: World, mode: str) -> None:
    world.run(rows("a", 45), only=[0, 2, 4])
    assert world.remaining(rows("a", 45), mode) == {1: 1, 3: 3}
    world.run(rows("a", 45))
    assert world.remaining(rows("a", 45), mode) == {}


def test_another_list_continues_at_the_next_number(world: World) -> None:
    world.run(rows("a", 25))
    assert world.remaining(rows("b", 15)) == {3: 0, 4: 1}


def test_each_of_several_lists_is_resumed(world: World) -> None:
    world.run(rows("a", 25))
    world.run(rows("b", 45), only=[1, 3])
    assert world.remaining(rows("b", 45)) == {3: 0, 5: 2, 7: 4}
    assert world.remaining(rows("a", 25)) == {}


def test_a_list_that_another_one_overtook_goes_on_behind_it(world: World) -> None:
    world.run(rows("a", 55), only=[0, 1, 2])
    world.run(rows("b", 15))
    assert world.remaining(rows("a", 55)) == {5: 3, 6: 4, 7: 5}
    world.run(rows("a", 55), only=[4])
    assert world.remaining(rows("a", 55)) == {5: 3, 7: 5}
    world.run(rows("a", 55))
    assert world.remaining(rows("a", 55)) == {}
    assert world.remaining(rows("b", 15)) == {}


def test_a_hole_before_a_shard_of_another_list_is_not_filled_from_behind_it(world: World) -> None:
    """So the numbers of a run stay an interval, and bisection finds its ends."""
    world.run(rows("a", 55), only=[0, 1])
    world.run(rows("b", 5))
    world.run(rows("a", 55), only=[2])  # as number 3
    for number in (0, 1):
        (world.output / f"0000{number}_stats.json").unlink()
        (world.output / f"0000{number}.tar").unlink()
    assert world.remaining(rows("a", 55)) == {4: 0, 5: 1, 7: 3, 8: 4, 9: 5}
    world.run(rows("a", 55), only=[1])
    assert world.remaining(rows("a", 55)) == {4: 0, 7: 3, 8: 4, 9: 5}
    world.run(rows("a", 55))
    assert world.remaining(rows("a", 55)) == {}
    assert world.remaining(rows("b", 5)) == {}


def test_a_list_that_grew_does_its_short_last_shard_again(world: World) -> None:
    world.run(rows("a", 25))
    assert world.remaining(rows("a", 44)) == {2: 2, 3: 3, 4: 4}
    assert world.remaining(rows("a", 30), "incremental") == {2: 2}


def test_a_short_shard_is_found_again_when_the_run_that_continues_it_is_cut(world: World) -> None:
    world.run(rows("a", 255))
    reader = world.reader(rows("a", 500))
    plan = make_plan(open_folder(str(world.output)), reader, "auto", OPTIONS)
    assert [[shard.id for shard in stage] for stage in plan.stages(reader)] == [[25], list(range(26, 50))]


def test_a_list_that_grew_in_its_middle_is_refused(world: World) -> None:
    (world.path / "list.txt").unlink(missing_ok=True)
    folder = world.path / "lists"
    folder.mkdir()

    def remaining(first: int) -> list[int]:
        for name, count in (("a", first), ("b", 15)):
            (folder / f"{name}.txt").write_text("\n".join(rows(name, count)))
        reader = Reader(ReadOptions(url_list=str(folder), number_sample_per_shard=10))
        plan = make_plan(open_folder(str(world.output)), reader, "auto", OPTIONS)
        shards = [shard for stage in plan.stages(reader) for shard in stage]
        for shard in shards:
            world.finish(shard)
        return [shard.id for shard in shards]

    assert remaining(15) == [0, 1, 2, 3]
    with pytest.raises(OptionsError, match="only in part: shard 00001"):
        remaining(18)


def test_a_list_that_fits_in_part_is_refused(world: World) -> None:
    world.run(rows("a", 45))
    changed = rows("a", 45)
    changed[27] = "http://other"
    for mode in ("auto", "incremental"):
        with pytest.raises(OptionsError, match="only in part: shard 00002"):
            world.remaining(changed, mode)
    with pytest.raises(OptionsError, match="only in part"):
        world.remaining(rows("a", 35))


def test_incremental_refuses_another_list(world: World) -> None:
    world.run(rows("a", 25))
    with pytest.raises(OptionsError, match="another list"):
        world.remaining(rows("b", 25), "incremental")


def test_extend_always_continues_at_the_next_number(world: World) -> None:
    world.run(rows("a", 25))
    assert world.remaining(rows("a", 25), "extend") == {3: 0, 4: 1, 5: 2}


@pytest.mark.parametrize("mode", ["auto", "incremental", "extend"])
def test_other_options_are_refused_by_name(world: World, mode: str) -> None:
    world.run(rows("a", 25))
    with pytest.raises(OptionsError, match="made with image_size=256, and this run has image_size=512"):
        world.remaining(rows("a", 25), mode, image_size=512)


def test_shards_of_unknown_origin_are_not_touched(world: World) -> None:
    (world.output / "00004.tar").write_bytes(b"someone's")
    (world.output / "readme.md").write_bytes(b"someone's")
    assert world.remaining(rows("a", 15)) == {5: 0, 6: 1}


FOREIGN = ["00001.tar", "00001.parquet", "00001", "1.tar", "000001.zip"]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("mode", ["auto", "incremental"])
def test_somebody_elses_file_in_a_hole_is_refused_by_its_name(world: World, mode: str, name: str) -> None:
    world.run(rows("a", 45), only=[0, 2, 3])
    (world.output / name).write_bytes(b"someone's")
    with pytest.raises(OptionsError, match=rf"holds '{name}', which has no 00001_stats.json.*would write shard 00001"):
        world.remaining(rows("a", 45), mode)
    assert world.remaining(rows("b", 15)) == {4: 0, 5: 1}
    assert world.remaining(rows("a", 15), "extend") == {4: 0, 5: 1}


def test_somebody_elses_file_before_the_first_finished_shard_is_refused(world: World) -> None:
    world.run(rows("a", 45), only=[2])
    (world.output / "00000.tar").write_bytes(b"someone's")
    with pytest.raises(OptionsError, match=r"holds '00000.tar'"):
        world.remaining(rows("a", 45))


def test_somebody_elses_file_in_a_hole_of_another_list_is_left_alone(world: World) -> None:
    world.run(rows("a", 25))
    world.run(rows("b", 45), only=[0, 2])
    (world.output / "00004.tar").write_bytes(b"someone's")
    assert world.remaining(rows("a", 25)) == {}
    with pytest.raises(OptionsError, match=r"holds '00004.tar'"):
        world.remaining(rows("b", 45))


def test_somebody_elses_file_behind_the_last_shard_moves_what_is_added(world: World) -> None:
    world.run(rows("a", 45), only=[0, 1])
    (world.output / "00002.tar").write_bytes(b"someone's")
    assert world.remaining(rows("a", 45)) == {3: 2, 4: 3, 5: 4}


def test_sampling_finds_the_run_of_every_list_among_many_shards(world: World) -> None:
    world.run(rows("a", 400))
    world.run(rows("b", 900), only=range(0, 90, 7))
    left = world.remaining(rows("b", 900))
    assert left == {40 + index: index for index in range(90) if index % 7}


class TestAFolderOfVersion1:
    """Its stats files know no digest, its parquet files have the url column."""

    @pytest.fixture(autouse=True)
    def old_folder(self, world: World) -> None:
        for index in (0, 2):
            urls = rows("a", 30)[index * 10 : index * 10 + 10]
            stats = {"count": 10, "successes": 10, "failed_to_download": 0, "failed_to_resize": 0}
            (world.output / f"{shard_name(index)}_stats.json").write_text(json.dumps(stats))
            pq.write_table(pa.table({"url": urls}), world.output / f"{shard_name(index)}.parquet")

    def test_is_resumed_under_auto_when_the_urls_match(self, world: World) -> None:
        assert world.remaining(rows("a", 30)) == {1: 1}
        assert world.remaining(rows("b", 30)) == {3: 0, 4: 1, 5: 2}

    def test_is_resumed_under_incremental_without_them(self, world: World) -> None:
        for path in world.output.glob("*.parquet"):
            path.unlink()
        assert world.remaining(rows("a", 30), "incremental") == {1: 1}
        assert world.remaining(rows("a", 30), "auto") == {3: 0, 4: 1, 5: 2}

    def test_is_resumed_though_its_rows_stand_as_they_came(self, world: World) -> None:
        for path in world.output.glob("*.parquet"):
            table = pq.read_table(path).append_column("key", [[f"{path.stem}{row}" for row in range(10)]])
            pq.write_table(table.take(list(reversed(range(10)))), path)
        assert world.remaining(rows("a", 30)) == {1: 1}

    def test_what_a_killed_run_left_is_done_again_under_its_number(self, world: World) -> None:
        (world.output / "00003.tar").write_bytes(b"half")
        assert world.remaining(rows("a", 45)) == {1: 1, 3: 3, 4: 4}
        assert world.remaining(rows("b", 15)) == {4: 0, 5: 1}

    def test_what_a_killed_run_left_is_done_again_also_when_that_is_cut(self, world: World) -> None:
        for name in ("00001.tar", "00003.tar", "00004.tar"):
            (world.output / name).write_bytes(b"half")
        world.run(rows("a", 55), only=[3])
        assert world.remaining(rows("a", 55)) == {1: 1, 4: 4, 5: 5}
        world.run(rows("a", 55), only=[0, 1, 5])
        assert world.remaining(rows("a", 55)) == {4: 4}

    def test_shards_of_another_size_are_not_vouched_for(self, world: World) -> None:
        for path in world.output.glob("*_stats.json"):
            path.write_text(path.read_text().replace("10", "5"))
        with pytest.raises(OptionsError, match="only in part"):
            world.remaining(rows("a", 30), "incremental")


def test_overwrite_removes_what_this_tool_wrote(world: World) -> None:
    world.run(rows("a", 25))
    overwrite(open_folder(str(world.output)))
    assert list(world.output.iterdir()) == []


def test_overwrite_that_was_killed_is_finished_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(rows("a", 25))
    removed = []

    def remove(_: LocalFolder, name: str) -> None:
        if len(removed) == 4:
            raise RuntimeError("killed")
        removed.append(name)
        (world.output / name).unlink()

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(LocalFolder, "remove", remove)
        overwrite(open_folder(str(world.output)))
    assert list(world.output.glob("*.tar"))
    open_folder(str(world.output)).recover()
    assert list(world.output.iterdir()) == []


def test_overwrite_refuses_a_folder_that_holds_anything_else(world: World) -> None:
    world.run(rows("a", 25))
    (world.output / "thesis.tex").write_text("years of work")
    with pytest.raises(OptionsError, match=r"'thesis.tex', which img2dataset did not write"):
        overwrite(open_folder(str(world.output)))
    assert len(list(world.output.iterdir())) == 7


def test_a_stats_file_that_is_none_is_named(world: World) -> None:
    (world.output / "00000_stats.json").write_text("{")
    with pytest.raises(OptionsError, match=r"00000_stats.json cannot be read"):
        world.remaining(rows("a", 25))
