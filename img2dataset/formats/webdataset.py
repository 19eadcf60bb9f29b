"""Samples → a tar a shard, as webdataset reads it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import webdataset as wds

from img2dataset.formats.base import SampleWriter
from img2dataset.metadata import Sample


class WebDatasetWriter(SampleWriter):
    """``00000.tar`` with ``000000000.jpg``, ``.txt`` and ``.json`` of each sample next to each other."""

    def _open(self) -> None:
        # whole seconds: a fraction would cost every file another header of a kilobyte
        self._tar = wds.TarWriter(self.transaction.open(f"{self.name}.tar"), encoder=False, mtime=int(time.time()))

    def __exit__(self, *error: Any) -> None:
        with suppress(OSError):  # a full disk refuses the end of a tar that is discarded anyway
            self._tar.close()
        super().__exit__(*error)

    def _write_image(self, sample: Sample) -> None:
        self._tar.write({"__key__": sample.key, **self.parts(sample)})

    def _finish(self) -> None:
        self._tar.close()
        super()._finish()
