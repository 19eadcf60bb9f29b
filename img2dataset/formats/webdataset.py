"""Samples ⇄ a tar a shard, as webdataset reads it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from img2dataset.formats.base import Format, Parts, grouped
from img2dataset.metadata import Sample

if TYPE_CHECKING:
    from img2dataset.filesystem import Folder

TIME = 315_532_800  # of every file, 1980-01-01 UTC: the same samples give the same bytes
END = bytes(1024)  # of a tar: two blocks of zeros


class WebDatasetFormat(Format):
    """``00000.tar`` with ``000000000.jpg``, ``.txt`` and ``.json`` of each sample next to each other."""

    suffixes = (".tar",)

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        with folder.open(f"{name}.tar") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield from grouped((member.name, _content(tar, member)) for member in tar if member.isfile())
            file.seek(tar.offset)
            if file.read(len(END)) != END:  # tarfile takes one cut between two files for a whole one
                raise tarfile.ReadError("it has no end")

    def _open(self) -> None:
        import webdataset

        self._tar = webdataset.TarWriter(self.open_file(".tar"), encoder=False, mtime=TIME)

    def _write(self, sample: Sample) -> None:
        self._tar.write({"__key__": sample.key, **self.parts(sample)})

    def _close(self) -> None:
        self._tar.close()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""
