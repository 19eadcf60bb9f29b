"""What every input format has in common: it looks at a file before the run, and reads it in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, ClassVar

from img2dataset.errors import in_one_line
from img2dataset.options import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa


class InputFormat(ABC):
    """Reads the files of one format. They are decompressed already; names and columns are the options'.

    Whatever the library of a format raises is translated by the `Reader`, which asks `reason` for the words.
    """

    is_text: ClassVar[bool]  # UTF-8 text, which is refused before the run where it is none

    def __init__(self, options: ReadOptions) -> None:
        """Raises `OptionsError` where an option means nothing in this format."""
        self.options = options

    @abstractmethod
    def check(self, file: IO[bytes], path: str) -> None:
        """Look at the beginning of a file. Raises `OptionsError` where it lacks what the options ask for."""

    @abstractmethod
    def batches(self, file: IO[bytes]) -> Iterator[pa.Table | pa.RecordBatch]:
        """The rows of a file in order, in batches of any size, with at least the columns that are asked for."""

    def reason(self, error: Exception) -> str:
        """What an error of the format's library says, in one line."""
        return in_one_line(error)
