"""Samples → nothing but stats, to measure the stages before the writer."""

from __future__ import annotations

from img2dataset.formats.base import SampleWriter


class DummyWriter(SampleWriter):
    """Writes only ``00000_stats.json``."""

    def _finish(self) -> None:
        """Neither images nor metadata are kept."""
