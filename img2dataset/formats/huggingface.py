"""Samples ⇄ parquet files with pictures, as the Hugging Face Hub and `datasets.load_dataset` read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from img2dataset.arrow import binaries, integers, strings
from img2dataset.errors import OptionsError
from img2dataset.formats.base import Parts
from img2dataset.formats.parquet import READ_TOGETHER, ParquetFormat
from img2dataset.shards import train_file

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.filesystem import Folder
    from img2dataset.options import ReadOptions, WriteOptions

IMAGE = "image"  # the column
ABOUT = {"huggingface": '{"info":{"features":{"image":{"_type":"Image"}}}}'}  # that its structs are pictures


class HuggingFaceFormat(ParquetFormat):
    """``data/train-00000.parquet``: the metadata and the picture of each sample that has one.

    The rows that failed are in ``00000.parquet``, with all others, as in every format that keeps its images elsewhere.
    """

    suffixes = ()
    has_metadata = True
    card_by_default = True
    takes_card = True

    @classmethod
    def check(cls, read: ReadOptions, write: WriteOptions) -> None:
        super().check(read, write)
        if not write.save_metadata:
            raise OptionsError(
                "save_metadata is false and output_format is huggingface, which keeps the rows that failed in the "
                "metadata alone; drop one of them"
            )
        if IMAGE in read.save_additional_columns:
            raise OptionsError(
                f"save_additional_columns names {IMAGE!r}, which is the column of the pictures with "
                "output_format=huggingface; rename it in the list"
            )

    @classmethod
    def data_files(cls, name: str) -> list[str]:
        return [train_file(name)]

    @classmethod
    def card_files(cls, options: Mapping[str, Any]) -> list[str]:  # noqa: ARG003 - they are always there
        return [train_file("*")]

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        import pyarrow.parquet as pq

        with folder.open(train_file(name)) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True)
            for group in range(table.num_row_groups):  # a batch over several would be held in memory as a whole
                for batch in table.iter_batches(READ_TOGETHER, [group], ["key", IMAGE]):
                    for row in batch.to_pylist():
                        yield str(row["key"]), _parts(row[IMAGE])

    def _open(self) -> None:
        import pyarrow as pa

        self._begin_groups()
        # The library takes a struct for a picture if it is exactly this one, nullable and in this order.
        image = pa.field(IMAGE, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        file = self.transaction.open(train_file(self.name))
        self._table = self._writer(file, [image], ABOUT, write_page_index=True)

    def _write_rows(self, metadata: pa.Table) -> None:
        import pyarrow as pa

        if not self._group:
            return
        kept = metadata.take(integers([row - self._first_row for row in self._group]))
        images = binaries([image for _, image in self._group.values()])
        paths = strings([self._path(row) for row in self._group])
        pictures = pa.StructArray.from_arrays([images, paths], fields=list(self._schema.field(IMAGE).type))
        self._table.write_table(pa.table([*kept.columns, pictures], schema=self._schema))

    def _path(self, row: int) -> str:
        """What the picture's file would be called: the Hub's viewer goes by its extension."""
        return f"{self._samples[row].key}.{self._group[row][0] or 'bin'}"


def _parts(picture: dict[str, str | bytes | None] | None) -> Parts:
    """The image by its extension; none where the struct has none."""
    if not picture or not isinstance(picture["bytes"], bytes):
        return {}
    return {str(picture["path"] or "").rpartition(".")[2] or "bin": picture["bytes"]}
