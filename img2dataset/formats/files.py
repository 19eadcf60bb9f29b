"""Samples ⇄ a folder of files a shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from img2dataset.errors import OptionsError
from img2dataset.formats.base import Format, Parts, extensions_with, grouped
from img2dataset.formats.features import json_features
from img2dataset.metadata import Sample, metadata_json

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.filesystem import Folder
    from img2dataset.options import ReadOptions, WriteOptions

LINES = "metadata.jsonl"
FILE_NAME = "file_name"  # the column by which the Hub's library finds the picture of a line


class FilesFormat(Format):
    """``00000/000000000.jpg``, with ``.txt`` and ``.json`` beside it.

    With a dataset card the folder has a ``metadata.jsonl`` too: the records once more, a line each, by which the Hub's
    library knows what belongs to a picture.
    """

    suffixes = ("",)
    takes_card = True

    @classmethod
    def check(cls, read: ReadOptions, write: WriteOptions) -> None:
        super().check(read, write)
        if write.dataset_card and FILE_NAME in read.save_additional_columns:
            raise OptionsError(
                f"save_additional_columns names {FILE_NAME!r}, by which {LINES} names the picture; "
                "rename it in the list, or leave out dataset_card"
            )

    @classmethod
    def card_files(cls, options: Mapping[str, Any]) -> list[str]:
        return [f"[0-9]*/*.{extension}" for extension in extensions_with(options)] + [f"[0-9]*/{LINES}"]

    @classmethod
    def card_features(cls, options: Mapping[str, Any], metadata: pa.Schema | None) -> list[dict[str, Any]]:  # noqa: ARG003
        """The columns of the lines. The library looks at one file of them, where a column may be all null."""
        if metadata is None:
            columns = [{"name": name, "dtype": "string"} for name in ("key", "url", "caption")]
        else:
            columns = json_features(metadata)
        return [{"name": "image", "dtype": "image"}, *columns]

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        inside = folder.inside(name)
        return grouped(inside.read_each(name for name in inside.names() if name != LINES))

    def _open(self) -> None:
        self._lines: list[bytes] = []
        self.transaction.open_folder(self.name)

    def _write(self, sample: Sample) -> None:
        for extension, data in self.parts(sample).items():
            self.transaction.write_into(self.name, f"{sample.key}.{extension}", data)
        if self.has_card(self.options):
            self._lines.append(self._line(sample))

    def _line(self, sample: Sample) -> bytes:
        """The record of a sample, after the name of its picture."""
        row = self._additional_row(sample.index) if self.options.save_metadata else {}
        name = {FILE_NAME: f"{sample.key}.{sample.extension or 'bin'}"}
        return metadata_json(sample, name | row, self._shard.id, self.options)

    def _close(self) -> None:
        if self._lines:
            self.transaction.write_into(self.name, LINES, b"".join(line + b"\n" for line in self._lines))

    def _abort(self) -> None:
        """Nothing is held open."""
