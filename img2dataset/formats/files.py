"""Samples → a folder of files a shard."""

from __future__ import annotations

from img2dataset.formats.base import SampleWriter
from img2dataset.metadata import Sample


class FilesWriter(SampleWriter):
    """``00000/000000000.jpg``, with ``.txt`` and ``.json`` beside it."""

    def _open(self) -> None:
        self.transaction.open_folder(self.name)

    def _write_image(self, sample: Sample) -> None:
        for extension, data in self.parts(sample).items():
            self.transaction.write_into(self.name, f"{sample.key}.{extension}", data)
