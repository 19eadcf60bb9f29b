"""Several lists in one folder: each is known again, whichever of them have grown and however they took turns."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from dataset import checked_metadata, photo, run, write_list
from fuzzing import draw, fuzz, tries
from mockserver import MockServer
from resuming import OPTIONS, World, rows

from img2dataset.errors import OptionsError
from img2dataset.filesystem import open_folder
from img2dataset.filesystem.local import LocalFolder
from img2dataset.resume import make_plan
from img2dataset.shards import IDENTITY_ROWS, ListIdentity, urls_digest


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forget_identities(world: World) -> None:
    """Make the folder one that was begun before there were identities."""
    for path in world.output.glob("*_stats.json"):
        record = json.loads(path.read_text())
        record.pop("list_identity", None)
        path.write_text(json.dumps(record))


def identities(world: World) -> list[ListIdentity | None]:
    """Those in the stats files, in the order of the shards."""
    records = [json.loads(path.read_text()) for path in sorted(world.output.glob("*_stats.json"))]
    return [ListIdentity(**found) if (found := record.get("list_identity")) else None for record in records]


def test_a_grown_list_and_one_that_stands_where_its_rows_would_are_told_apart(
    server: MockServer, tmp_path: Path
) -> None:
    """The grown part of the first list has the numbers that it would have as a part of the second."""
    first, second = ([photo(server, 100 * number + row) for row in range(12)] for number in (1, 2))
    out = tmp_path / "out"

    def go_on(name: str, urls: list[str]) -> list[str]:
        """The real command; returns the paths that it asked for."""
        server.reset()
        words = ("--number_sample_per_shard=2", "--thread_count=4", "--image_size=16", "--output_format=webdataset")
        code, said = run(write_list(tmp_path / name, urls), f"--output_folder={out}", *words)
        assert code == 0, said
        return server.paths()

    assert len(go_on("first.txt", first[:6])) == 6
    assert len(go_on("second.txt", second[:6])) == 6
    assert len(go_on("first.txt", first)) == 6
    assert go_on("first.txt", first) == []
    assert go_on("second.txt", second[:6]) == []
    assert len(go_on("second.txt", second)) == 6
    assert go_on("second.txt", second) == go_on("first.txt", first) == []
    checked_metadata(out, first[:6] + second[:6] + first[6:] + second[6:])


def test_lists_that_take_turns_and_grow_go_on_where_they_stood(world: World) -> None:
    world.run(rows("x", 30))
    world.run(rows("l", 30))
    assert world.remaining(rows("x", 60)) == {6: 3, 7: 4, 8: 5}
    world.run(rows("x", 60))
    assert world.remaining(rows("l", 50)) == {9: 3, 10: 4}
    world.run(rows("l", 50))
    assert world.remaining(rows("x", 60)) == world.remaining(rows("l", 50)) == {}
    assert world.remaining(rows("x", 75)) == {11: 6, 12: 7}
    assert world.remaining(rows("x", 30), "extend") == {11: 0, 12: 1, 13: 2}


@fuzz
def test_however_lists_take_turns_grow_are_cut_and_repaired_each_row_is_there_once(world: World) -> None:
    for attempt in range(tries(25)):
        (world.path / str(attempt)).mkdir()
        take_turns(World(world.path / str(attempt)), draw(f"turns {attempt}"))


def take_turns(world: World, chance: random.Random) -> None:
    counts = dict.fromkeys("abc", 0)
    for _ in range(chance.randint(3, 12)):
        name = chance.choice("abc")
        counts[name] += chance.choice([0, 0, 3, 10, 27]) if counts[name] else chance.randint(1, 40)
        for stage in world.stages(rows(name, counts[name])):
            cut = chance.random() < 0.5
            finished = [shard for shard in stage if not cut or chance.random() < 0.5]
            for shard in finished:
                world.finish(shard)
            if len(finished) < len(stage):
                break
        if chance.random() < 0.2:
            take_away(world, chance)
    for name, count in counts.items():
        if count:
            world.run(rows(name, count))
            assert world.remaining(rows(name, count)) == {}
    found = Counter(json.loads(path.read_text())["url_digest"] for path in world.output.glob("*_stats.json"))
    lists = [rows(name, count) for name, count in counts.items()]
    wanted = [urls_digest(urls[first : first + 10]) for urls in lists for first in range(0, len(urls), 10)]
    assert found == Counter(wanted)


def take_away(world: World, chance: random.Random) -> None:
    """Some finished shards are broken, and ``verify --repair`` removes them."""
    for path in world.output.glob("*_stats.json"):
        if chance.random() < 0.3:
            path.unlink()
            path.with_name(path.name.replace("_stats.json", ".tar")).unlink()


def test_every_shard_of_a_list_keeps_the_identity_that_it_had_at_first(world: World) -> None:
    world.run(rows("a", 15))
    first = ListIdentity(15, urls_digest(rows("a", 15)))
    assert identities(world) == [first] * 2
    world.run(rows("a", 1500))
    assert identities(world) == [first] * 150
    world.run(rows("b", 1500))
    assert identities(world)[150:] == [ListIdentity(IDENTITY_ROWS, urls_digest(rows("b", 1000)))] * 150


def test_a_list_that_began_with_other_rows_is_refused_though_all_that_is_finished_fits(world: World) -> None:
    world.run(rows("a", 45), only=[3])
    changed = ["http://other", *rows("a", 45)[1:]]
    for mode in ("auto", "incremental"):
        with pytest.raises(OptionsError, match="only in part: the list that its shards were made from began with rows"):
            world.remaining(changed, mode)
    assert world.remaining(rows("a", 45)) == {0: 0, 1: 1, 2: 2, 4: 4}


def test_a_list_that_changed_where_it_goes_on_behind_another_is_refused(world: World) -> None:
    world.run(rows("a", 1000))
    world.run(rows("b", 10))
    world.run(rows("a", 1050))
    changed = [*rows("a", 1000), *rows("c", 50)]
    with pytest.raises(OptionsError, match="only in part: shard 00101"):
        world.remaining(changed)


def test_of_two_lists_that_begin_alike_and_were_added_on_purpose_each_goes_on(world: World) -> None:
    one, other = rows("a", 1050), [*rows("a", 1000), *rows("c", 50)]
    world.run(one)
    world.run(other, only=range(104), mode="extend")
    assert world.remaining(other) == {105 + 104: 104}
    assert world.remaining(one) == {}


class TestAListThatIsThereTwice:
    """As `extend` makes it: what one copy has is not done again for the other."""

    @pytest.fixture(autouse=True)
    def twice(self, world: World) -> None:
        world.run(rows("a", 25))
        world.run(rows("a", 25), mode="extend")

    def test_the_shard_where_it_grew_is_done_once(self, world: World) -> None:
        assert world.remaining(rows("a", 30)) == {2: 2}
        world.run(rows("a", 30))
        assert world.remaining(rows("a", 30)) == {}

    def test_a_row_that_failed_in_the_second_copy_alone_is_not_looked_for_in_the_first(self, world: World) -> None:
        path = world.output / "00004_stats.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status_dict": {"timed out": 10}}))
        assert world.remaining(rows("a", 25), "retry_failed") == {}


class TestAFolderWithoutIdentities:
    """Begun by 2.0.0 before its stats files said of which list they are."""

    def test_is_resumed_and_goes_on_without(self, world: World) -> None:
        world.run(rows("a", 45), only=[0, 3])
        forget_identities(world)
        assert world.remaining(rows("a", 45)) == {1: 1, 2: 2, 4: 4}
        world.run(rows("a", 65))
        assert identities(world) == [None] * 7
        assert world.remaining(rows("a", 65)) == {}

    def test_is_known_from_another_list(self, world: World) -> None:
        world.run(rows("a", 45))
        forget_identities(world)
        assert world.remaining(rows("b", 15)) == {5: 0, 6: 1}
        with pytest.raises(OptionsError, match="only in part: shard 00000"):
            world.remaining(["http://other", *rows("a", 45)[1:]])

    def test_has_lists_that_grow_behind_each_other(self, world: World) -> None:
        world.run(rows("x", 30))
        world.run(rows("l", 30), only=[0, 2])
        forget_identities(world)
        world.run(rows("x", 60))
        assert world.remaining(rows("x", 60)) == {}
        assert world.remaining(rows("l", 50)) == {4: 1, 9: 3, 10: 4}
        world.run(rows("l", 50))
        assert world.remaining(rows("x", 60)) == world.remaining(rows("l", 50)) == {}


def test_few_of_many_stats_files_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an object store each costs a request."""
    for name, count in (("a", 8000), ("b", 4000), ("a", 10_000), ("b", 6000)):
        world.run(rows(name, count))
    read: list[str] = []

    def counted(_: LocalFolder, name: str, limit: int = -1) -> bytes:
        read.append(name)
        return (world.output / name).read_bytes()[: None if limit < 0 else limit]

    monkeypatch.setattr(LocalFolder, "read", counted)
    reader = world.reader(rows("b", 6000))
    plan = make_plan(open_folder(str(world.output)), reader, "auto", OPTIONS)
    assert plan.done == 600
    assert [shard for stage in plan.stages(reader) for shard in stage] == []
    assert len(read) == len(set(read)) < 4 * (16 + 11)
