"""What is wrong with a dataset is found, named and repaired."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset import checked_metadata, metadata, photo, run, write_list
from mockserver import MockServer
from moto.moto_api import recorder

from img2dataset import download
from img2dataset.errors import OptionsError
from img2dataset.filesystem import Folder, open_folder
from img2dataset.filesystem import lock as locking
from img2dataset.filesystem.lock import Lock
from img2dataset.formats import names_in, shards_of
from img2dataset.verify import verify

FORMATS = ["files", "webdataset", "parquet", "huggingface", "tfrecord"]
ROWS = 9  # three shards; of each the first row fails
BROKEN = "00001"


@pytest.fixture(scope="module")
def sound(session_server: MockServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in every format, and its list."""
    path = tmp_path_factory.mktemp("sound")
    urls = [photo(session_server, n) if n % 3 else session_server.url(f"/status/404?row={n}") for n in range(ROWS)]
    write_list(path / "list.txt", urls)
    for output_format in FORMATS:
        make(path / "list.txt", path / output_format)
    return path


def make(url_list: Path, out: Path) -> None:
    options = {"number_sample_per_shard": 3, "thread_count": 4, "output_format": out.name}
    download(str(url_list), 64, str(out), **options)  # type: ignore[arg-type]


@pytest.fixture
def out(request: pytest.FixtureRequest, sound: Path, tmp_path: Path) -> Path:
    """A copy to damage, of the format that the test is parametrized with."""
    return Path(shutil.copytree(sound / request.param, tmp_path / request.param))


each_format = pytest.mark.parametrize("out", FORMATS, indirect=True)
files = pytest.mark.parametrize("out", ["files"], indirect=True)
webdataset = pytest.mark.parametrize("out", ["webdataset"], indirect=True)
parquet = pytest.mark.parametrize("out", ["parquet"], indirect=True)


def problem(out: Path, *, decode: bool = False) -> str:
    """What is wrong with the one shard that is broken."""
    broken = verify(str(out), decode=decode)
    assert list(broken) == [BROKEN]
    return broken[BROKEN]


def edit_stats(out: Path, **changes: object) -> None:
    path = out / f"{BROKEN}_stats.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_metadata(out: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    path = out / f"{BROKEN}.parquet"
    pq.write_table(edit(pq.read_table(path)), path)


def edit_tar(out: Path, edit: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    """Write the tar anew with other members."""
    path = out / f"{BROKEN}.tar"
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for name, content in edit(members).items():
            info = tarfile.TarInfo(name.partition("#")[0])  # what follows # tells two of the same name apart
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda members: {other: content for other, content in members.items() if other != name}


@each_format
def test_a_sound_dataset_is_sound(out: Path) -> None:
    (out / "notes.txt").write_text("someone's")
    assert verify(str(out), decode=True, processes_count=2) == {}
    code, said = run("verify", f"--output_folder={out}", "--decode")
    assert (code, said) == (0, "")


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(OptionsError, match="no finished shard"):
            verify(str(path))


# What all formats have


@each_format
def test_stats_that_are_no_stats(out: Path) -> None:
    (out / f"{BROKEN}_stats.json").write_text("{")
    assert problem(out).startswith("00001_stats.json cannot be read")
    (out / f"{BROKEN}_stats.json").write_text("[]")
    assert problem(out) == "00001_stats.json is no stats file"


@each_format
def test_counts_that_do_not_add_up(out: Path) -> None:
    edit_stats(out, successes=1)
    assert problem(out) == "the counts of its stats do not add up"


@each_format
def test_counts_that_are_not_those_of_the_metadata(out: Path) -> None:
    edit_stats(out, successes=1, failed_to_resize=1)
    assert problem(out) == "its metadata has 2 rows of success, its stats 1"
    edit_stats(out, count=4, successes=3, failed_to_resize=0)
    assert problem(out) == "its metadata has 3 rows, its stats 4"


@each_format
def test_a_parquet_file_that_is_cut(out: Path) -> None:
    path = out / f"{BROKEN}.parquet"
    for keep in (path.stat().st_size - 20, 10, 0):
        path.write_bytes(path.read_bytes()[:keep])
        assert problem(out).startswith("00001.parquet cannot be read")
    path.unlink()
    assert problem(out).startswith("00001.parquet cannot be read")


@each_format
def test_a_key_that_stands_twice_in_the_metadata(out: Path) -> None:
    edit_metadata(out, lambda table: pa.concat_tables([table.slice(0, 2), table.slice(1, 1)]))
    assert problem(out) == "a key stands twice in its metadata"


@each_format
def test_metadata_of_another_shard(out: Path) -> None:
    shutil.copy(out / "00000.parquet", out / f"{BROKEN}.parquet")
    assert problem(out) == "its metadata has keys of another shard"


@each_format
def test_a_column_that_is_missing(out: Path) -> None:
    edit_metadata(out, lambda table: table.drop(["status"]))
    assert problem(out) == "00001.parquet has no column 'status'"


@each_format
def test_images_and_metadata_that_tell_of_different_rows(out: Path) -> None:
    status = ["success", "failed_to_download", "success"]
    edit_metadata(out, lambda t: t.set_column(t.column_names.index("status"), "status", [status]))
    assert problem(out) == "its metadata and its images differ, first in 000010"


# Folders


@files
def test_an_image_that_is_missing(out: Path) -> None:
    (out / BROKEN / "000011.jpg").unlink()
    assert problem(out) == "the sample 000011 has no image"
    (out / BROKEN / "000011.json").unlink()
    assert problem(out) == "it has 1 images, and its stats count 2"
    shutil.rmtree(out / BROKEN)
    assert problem(out) == "it has 0 images, and its stats count 2"


@files
def test_an_image_that_is_one_too_many(out: Path) -> None:
    shutil.copy(out / BROKEN / "000011.jpg", out / BROKEN / "000010.jpg")
    assert problem(out) == "it has 3 images, and its stats count 2"


@files
def test_a_record_that_is_another_samples(out: Path) -> None:
    first, second = (out / BROKEN / f"00001{n}.json" for n in (1, 2))
    first.rename(out / "kept"), second.rename(first), (out / "kept").rename(second)
    assert problem(out) == "the json of 000011 is not its own"
    first.write_text("{")
    assert problem(out) == "the json of 000011 is not its own"


@files
def test_an_image_that_does_not_decode_is_found_when_asked(out: Path) -> None:
    path = out / BROKEN / "000012.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    assert verify(str(out)) == {}
    assert problem(out, decode=True).startswith("the image of 000012 cannot be decoded")
    path.write_bytes(b"")
    assert problem(out, decode=True).startswith("the image of 000012 cannot be decoded")


# Tars


@webdataset
def test_a_tar_that_is_cut(out: Path) -> None:
    path = out / f"{BROKEN}.tar"
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        offsets = [member.offset for member in tar.getmembers()] + [tar.offset]
    end = offsets[-1] + 1024  # what follows is filling
    places = {place + delta for place in offsets for delta in (-513, -1, 0, 1, 512, 1023)}
    for keep in sorted(place for place in places if 0 <= place < end):
        path.write_bytes(content[:keep])
        assert problem(out), f"cut at {keep} of {len(content)}"
    path.unlink()
    assert "cannot be read" in problem(out)


@webdataset
def test_a_tar_with_a_flipped_header(out: Path) -> None:
    path = out / f"{BROKEN}.tar"
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[2].offset
    content[offset + 3] ^= 1
    path.write_bytes(content)
    assert problem(out)


@webdataset
def test_a_tar_without_an_image_or_with_one_too_many(out: Path) -> None:
    edit_tar(out, without("000011.jpg"))
    assert problem(out) == "the sample 000011 has no image"
    edit_tar(out, without("000011.json"))
    assert problem(out) == "it has 1 images, and its stats count 2"
    edit_tar(out, lambda members: {"000011.jpg": b"x", "000010.jpg": b"x"} | members)
    assert problem(out) == "it has 3 images, and its stats count 2"


@webdataset
def test_a_key_that_stands_twice_in_a_tar(out: Path) -> None:
    edit_tar(out, lambda members: members | {f"{name}#": content for name, content in members.items()})
    assert problem(out) in ("the key 000011 stands twice", "the key 000012 stands twice")


# Parquet


@parquet
def test_a_parquet_row_without_its_image(out: Path) -> None:
    edit_metadata(out, lambda t: t.set_column(t.column_names.index("jpg"), "jpg", [pa.nulls(3, pa.binary())]))
    assert problem(out) == "it has 0 images, and its stats count 2"


@parquet
def test_a_parquet_file_with_flipped_bits_inside(out: Path) -> None:
    path = out / f"{BROKEN}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    assert problem(out, decode=True)


# What it costs


def listings(out: str) -> int:
    """How often the store is asked for what is in a folder, while `verify` looks at a sound dataset."""
    recorder.reset_recording()
    recorder.start_recording()
    try:
        assert verify(out) == {}
    finally:
        recorder.stop_recording()
    requests = map(json.loads, recorder.download_recording().splitlines())
    return sum("list-type=2" in request["url"] for request in requests)


def test_a_folder_is_listed_once_a_process_and_not_once_a_shard(
    server: MockServer, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the store's server writes down what it is asked
    counts = []
    for shards in (2, 8):
        url_list = write_list(tmp_path / f"{shards}.txt", [photo(server, row) for row in range(shards)])
        out = f"{s3_bucket}/{shards}"
        download(url_list, 64, out, number_sample_per_shard=1, output_format="webdataset", thread_count=4)
        counts.append(listings(out))
    assert counts[0] == counts[1]


# What is done about it


@each_format
def test_repair_removes_what_is_broken_and_the_next_run_does_it_again(out: Path, sound: Path) -> None:
    broken = {
        "files": f"{BROKEN}/000011.jpg",
        "webdataset": f"{BROKEN}.tar",
        "parquet": f"{BROKEN}.parquet",
        "tfrecord": f"{BROKEN}.tfrecord",
        "huggingface": f"data/train-{BROKEN}.parquet",
    }[out.name]
    (out / broken).write_bytes((out / broken).read_bytes()[:700])
    (out / "notes.txt").write_text("someone's")
    code, said = run("verify", f"--output_folder={out}", "--decode")
    assert (code, said) == (1, "img2dataset: 1 shards are broken\n")
    assert run("verify", f"--output_folder={out}", "--decode", "--repair")[0] == 1
    assert shards_of(names_in(open_folder(str(out)))) == {"00000", "00002"}
    assert (out / "notes.txt").exists()
    assert verify(str(out), decode=True) == {}
    make(sound / "list.txt", out)
    assert verify(str(out), decode=True) == {}
    (out / "notes.txt").unlink()
    pd.testing.assert_frame_equal(checked_metadata(out, metadata(sound / out.name)["url"]), metadata(sound / out.name))
    assert sorted(path.name for path in out.rglob("*")) == sorted(path.name for path in (sound / out.name).rglob("*"))


@webdataset
def test_repair_leaves_what_is_called_otherwise(out: Path) -> None:
    (out / "1.tar").write_bytes(b"someone's")
    (out / f"{BROKEN}.tar").write_bytes(b"")
    assert list(verify(str(out), repair=True)) == [BROKEN]
    assert (out / "1.tar").read_bytes() == b"someone's"
    assert not (out / f"{BROKEN}.tar").exists()


@files
def test_repair_waits_for_no_run(out: Path) -> None:
    (out / BROKEN / "000011.jpg").unlink()
    with locking.locked(open_folder(str(out))), pytest.raises(OptionsError, match="being written by another run"):
        verify(str(out), repair=True)
    assert (out / BROKEN).exists()


@webdataset
def test_what_was_mended_before_repair_got_to_it_stays(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that a run was writing when it was looked at is no broken shard."""
    path = out / f"{BROKEN}.tar"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    lock = locking.locked

    def then_mended(folder: Folder) -> AbstractContextManager[Lock]:
        path.write_bytes(content)
        return lock(folder)

    monkeypatch.setattr(locking, "locked", then_mended)
    assert verify(str(out), repair=True) == {}
    assert path.exists()


@webdataset
def test_a_file_that_cannot_be_read_for_now_is_not_removed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = [(BROKEN, "worker died: killed by SIGKILL (out of memory?)")]
    monkeypatch.setattr("img2dataset.verify._check", lambda *_: killed)
    assert list(verify(str(out), repair=True)) == [BROKEN]
    assert (out / f"{BROKEN}.tar").exists()


# What img2dataset 1.x wrote


@each_format
def test_a_folder_of_version_1(out: Path) -> None:
    counts = ("count", "successes", "failed_to_download", "failed_to_resize", "duration", "status_dict")
    for path in out.glob("*_stats.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: record[name] for name in counts}))
    assert verify(str(out), decode=True) == {}
    edit_stats(out, successes=1, failed_to_resize=1)
    assert problem(out) == "its metadata has 2 rows of success, its stats 1"
    if out.name != "parquet":
        for path in out.glob("*.parquet"):
            path.unlink()
        assert problem(out) == "it has 2 images, and its stats count 1"


@webdataset
def test_a_tar_that_a_killed_version_1_left_is_named(out: Path) -> None:
    (out / f"{BROKEN}_stats.json").unlink()
    assert problem(out).startswith("it has no stats file")
    verify(str(out), repair=True)
    assert (out / f"{BROKEN}.tar").exists()
