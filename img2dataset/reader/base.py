"""What every input format has in common: it looks at a file before the run, and reads it in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, ClassVar

from img2dataset.errors import in_one_line
from img2dataset.options import ReadOptions
from img2dataset.reader.misfits import Misfits
from img2dataset.reader.types import asked_types

if TYPE_CHECKING:
    import pyarrow as pa

IsNeeded = Callable[[int, int], bool]  # the first of some rows of a file, and how many → whether one of them is wanted


class InputFormat(ABC):
    """Reads the files of one format. They are decompressed already; names and columns are the options'.

    Whatever the library of a format raises is translated by the `Reader`, which asks `reason` for the words.
    """

    is_text: ClassVar[bool]  # UTF-8 text, which is refused before the run where it is none
    seeks: ClassVar[bool] = False  # needs more than one look at a file, which a pipe does not give

    def __init__(self, options: ReadOptions) -> None:
        """Raises `OptionsError` where an option means nothing in this format."""
        self.options = options
        self.asked: Mapping[str, pa.DataType] = asked_types(options)
        self.types = self.asked  # what columns become; others keep the type that they have
        self.misfits = Misfits()

    @abstractmethod
    def check(self, file: IO[bytes], path: str) -> None:
        """Look at the beginning of a file. Raises `OptionsError` where it lacks what the options ask for."""

    def decide_types(self, file: IO[bytes]) -> bool:
        """Decide `types` for the whole list by the beginning of a file, where a format has none of its own.

        Returns False where the file has nothing that would show them, and another is to be asked.
        """
        del file
        return True

    @abstractmethod
    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.Table | pa.RecordBatch]:
        """The rows of a file in order, in batches of any size, with at least the columns that are asked for.

        What stands in rows that are not needed does not matter, and need not be read; that they are there does.
        """

    def row_count(self, file: IO[bytes]) -> int | None:
        """The rows of a file where it says so itself; None where all of it would have to be read."""
        del file
        return None

    def reason(self, error: Exception) -> str:
        """What an error of the format's library says, in one line."""
        return in_one_line(error)
