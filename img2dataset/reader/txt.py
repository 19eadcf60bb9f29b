"""A text list: one URL a line, verbatim."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from img2dataset.arrow import strings
from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions
from img2dataset.reader.base import InputFormat, IsNeeded
from img2dataset.shards import KEPT_OF_URL

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20  # bytes read at a time
HELD = KEPT_OF_URL + 4  # bytes of a line that goes on in the next block: what is kept, and a character that is cut

logger = logging.getLogger(__name__)


class Txt(InputFormat):
    """Only a byte order mark, line ends and blank lines are left out."""

    is_text = True

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(options)
        if asked := _options_that_need_columns(options):
            raise OptionsError(
                f"{asked[0]} needs columns, and a txt list has only URLs; give the input_format of a list that has some"
            )
        if options.caption_col:  # img2dataset 1.x said nothing, and commands for it exist that give both
            logger.warning("caption_col is ignored: input_format is txt, a list of nothing but URLs")

    def check(self, file: IO[bytes], path: str) -> None:
        """Any text will do."""

    def batches(self, file: IO[bytes], path: str, is_needed: IsNeeded) -> Iterator[pa.Table]:
        import pyarrow as pa

        del path, is_needed
        for block in _whole_lines(file):
            lines = [line.removesuffix("\r")[:KEPT_OF_URL] for line in block.decode("utf-8", "replace").split("\n")]
            urls = [line for line in lines if line and not line.isspace()]
            yield pa.table({"url": strings(urls)})


def _options_that_need_columns(options: ReadOptions) -> list[str]:
    asked = [option for option in ("bbox_col", "verify_hash") if getattr(options, option) is not None]
    asked += ["caption_col"] if options.caption_col and not options.input_format else []
    asked += ["save_additional_columns"] if options.save_additional_columns else []
    asked += ["url_col"] if options.url_col != "url" else []
    return asked


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines; what a line has beyond `HELD` bytes is not all there."""
    begun = b""
    block = file.read(BLOCK).removeprefix(b"\xef\xbb\xbf")
    while block:
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield begun + whole
            begun = b""
        begun = (begun + rest)[:HELD]
        block = file.read(BLOCK)
    yield begun
