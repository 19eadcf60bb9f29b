"""Samples ⇄ the files of a shard, in one of several formats."""

from __future__ import annotations

from img2dataset.formats.base import Format, Parts, image_of
from img2dataset.tables import load

# The values of the option `output_format`.
FORMATS = {
    "files": "img2dataset.formats.files:FilesFormat",
    "webdataset": "img2dataset.formats.webdataset:WebDatasetFormat",
    "parquet": "img2dataset.formats.parquet:ParquetFormat",
    "dummy": "img2dataset.formats.dummy:DummyFormat",
}


def load_format(output_format: str) -> type[Format]:
    """The class of a format in `FORMATS`; its module is imported now, and its library when it is used."""
    found: type[Format] = load(FORMATS, output_format)
    return found


def suffixes() -> frozenset[str]:
    """What the names of a shard's files and folders end with behind its number, in any format."""
    return frozenset(name for kind in FORMATS for name in load_format(kind).files("", save_metadata=True))


__all__ = ["FORMATS", "Format", "Parts", "image_of", "load_format", "suffixes"]
