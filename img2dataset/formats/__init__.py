"""Samples → the files of a shard, in one of several formats."""

from __future__ import annotations

from importlib import import_module

from img2dataset.formats.base import SampleWriter

WRITERS = {
    "files": "img2dataset.formats.files:FilesWriter",
    "webdataset": "img2dataset.formats.webdataset:WebDatasetWriter",
    "parquet": "img2dataset.formats.parquet:ParquetWriter",
    "dummy": "img2dataset.formats.dummy:DummyWriter",
}


def load_writer(output_format: str) -> type[SampleWriter]:
    """The writer class of a format in `WRITERS`; its library is imported now."""
    module, _, name = WRITERS[output_format].partition(":")
    writer: type[SampleWriter] = getattr(import_module(module), name)
    return writer


__all__ = ["WRITERS", "SampleWriter", "load_writer"]
