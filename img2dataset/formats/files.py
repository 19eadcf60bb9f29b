"""Samples ⇄ a folder of files a shard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from img2dataset.formats.base import Format, Parts, grouped
from img2dataset.metadata import Sample

if TYPE_CHECKING:
    from img2dataset.filesystem import Folder


class FilesFormat(Format):
    """``00000/000000000.jpg``, with ``.txt`` and ``.json`` beside it."""

    suffixes = ("",)

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        inside = folder.inside(name)
        return grouped(inside.read_each(inside.names()))

    def _open(self) -> None:
        self.transaction.open_folder(self.name)

    def _write(self, sample: Sample) -> None:
        for extension, data in self.parts(sample).items():
            self.transaction.write_into(self.name, f"{sample.key}.{extension}", data)
