"""Samples ⇄ the files of a shard, in one of several formats."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from img2dataset.formats.base import Format, Parts, image_of
from img2dataset.shards import DATA_FOLDER, shard_of_file
from img2dataset.tables import load

if TYPE_CHECKING:
    from img2dataset.filesystem import Folder

# The values of the option `output_format`. A folder whose stats files tell of none is of the first whose files it has.
FORMATS = {
    "files": "img2dataset.formats.files:FilesFormat",
    "webdataset": "img2dataset.formats.webdataset:WebDatasetFormat",
    "tfrecord": "img2dataset.formats.tfrecord:TFRecordFormat",
    "huggingface": "img2dataset.formats.huggingface:HuggingFaceFormat",
    "parquet": "img2dataset.formats.parquet:ParquetFormat",
    "dummy": "img2dataset.formats.dummy:DummyFormat",
}


def load_format(output_format: str) -> type[Format]:
    """The class of a format in `FORMATS`; its module is imported now, and its library when it is used."""
    found: type[Format] = load(FORMATS, output_format)
    return found


def names_in(folder: Folder) -> list[str]:
    """The names of what is in a dataset's folder, sorted; what is in the folder that shards share goes by its path."""
    names = folder.names()
    if DATA_FOLDER not in names:
        return names
    inside = folder.inside(DATA_FOLDER).names()
    return sorted({*names, *(f"{DATA_FOLDER}/{name}" for name in inside)} - {DATA_FOLDER})


def shards_of(files: Collection[str]) -> set[str]:
    """The names of the shards that have at least one of their files, in any format, among `files`."""
    there = set(files)
    names = {name for file in there if (name := shard_of_file(file))}
    return {name for name in names if not there.isdisjoint(_files_in_any_format(name))}


def _files_in_any_format(name: str) -> set[str]:
    return {file for kind in FORMATS for file in load_format(kind).files(name, save_metadata=True)}


__all__ = ["FORMATS", "Format", "Parts", "image_of", "load_format", "names_in", "shards_of"]
