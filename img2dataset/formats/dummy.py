"""Samples → nothing but stats, to measure the stages before the format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from img2dataset.formats.base import Format, Parts

if TYPE_CHECKING:
    from img2dataset.filesystem import Folder


class DummyFormat(Format):
    """Only ``00000_stats.json``: neither images nor metadata are kept."""

    has_metadata = False

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:  # noqa: ARG003 - there is nothing
        return iter(())
