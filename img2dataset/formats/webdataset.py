"""Samples ⇄ a tar a shard, as webdataset reads it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from img2dataset.formats.base import Format, Parts, extensions_with, grouped
from img2dataset.formats.features import json_features
from img2dataset.metadata import Sample

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.filesystem import Folder

TIME = 315_532_800  # of every file, 1980-01-01 UTC: the same samples give the same bytes
END = bytes(1024)  # of a tar: two blocks of zeros


class WebDatasetFormat(Format):
    """``00000.tar`` with ``000000000.jpg``, ``.txt`` and ``.json`` of each sample next to each other."""

    suffixes = (".tar",)
    takes_card = True

    @classmethod
    def card_files(cls, options: Mapping[str, Any]) -> list[str]:  # noqa: ARG003 - they are always called so
        return ["[0-9]*.tar"]

    @classmethod
    def card_features(cls, options: Mapping[str, Any], metadata: pa.Schema | None) -> list[dict[str, Any]]:
        """The files of a sample. The library looks at the first few, and a column may be null in all of these."""
        kinds: dict[str, dict[str, Any]] = {extension: {"dtype": "image"} for extension in extensions_with(options)}
        if options.get("caption_col"):
            kinds["txt"] = {"dtype": "string"}
        if options.get("save_metadata") and metadata is not None:
            kinds["json"] = {"struct": json_features(metadata)}
        kinds |= {"__key__": {"dtype": "string"}, "__url__": {"dtype": "string"}}
        return [{"name": name, **kind} for name, kind in kinds.items()]

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
