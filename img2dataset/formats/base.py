"""What every output format has in common: open, metadata, stats, commit and abort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from img2dataset.arrow import python_rows
from img2dataset.metadata import Sample, metadata_json, metadata_table
from img2dataset.shards import STATS_SUFFIX, Rows, Shard, shard_name

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from img2dataset.filesystem import Folder
    from img2dataset.options import WriteOptions
    from img2dataset.stats import ShardStats


class SampleWriter:
    """Writes one shard. Leaving the ``with`` block without `commit` leaves nothing behind.

    A format says how the images of a shard are kept: `_open`, `_write_image` and `_finish`. The base keeps the
    metadata row of every sample and writes them, in key order, after the images and before the stats.

    """

    def __init__(self, shard: Shard, rows: Rows, folder: Folder, options: WriteOptions) -> None:
        self.name = shard_name(shard.id, options.oom_shard_count)
        self.shard = shard
        self.options = options
        self.transaction = folder.transaction()
        self._rows = rows
        self._additional_rows: list[dict[str, Any]] | None = None
        self._samples: list[Sample | None] = [None] * shard.count
        try:
            self._open()
        except BaseException:
            self.transaction.discard()
            raise

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.transaction.discard()

    def write(self, sample: Sample) -> None:
        """Keep a sample: its metadata row, and its image when there is one."""
        if sample.image is not None:
            self._write_image(sample)
            sample.image = None
        self._samples[sample.index] = sample

    def commit(self, stats: ShardStats) -> None:
        """Make the shard visible: images, then metadata, then stats. Every row must have been written."""
        self._finish()
        self.transaction.open(self.name + STATS_SUFFIX).write(stats.to_json().encode("utf-8", "surrogatepass"))
        self.transaction.commit()

    def metadata(self) -> pa.Table:
        """The metadata row of every sample, in key order."""
        missing = self._samples.count(None)
        if missing:
            raise ValueError(f"{missing} rows of shard {self.name} have not been written")
        samples = [sample for sample in self._samples if sample is not None]
        return metadata_table(samples, self._rows.additional, self.shard.id, self.options)

    def parts(self, sample: Sample) -> dict[str, bytes]:
        """The files of a sample by their extensions: the image, the caption and the JSON record."""
        assert sample.image is not None
        parts = {sample.extension or "bin": sample.image}
        if self._rows.captions is not None:
            parts["txt"] = (sample.caption or "").encode("utf-8", "surrogatepass")
        if self.options.save_metadata:
            parts["json"] = metadata_json(sample, self._additional_row(sample.index), self.shard.id, self.options)
        return parts

    def _additional_row(self, index: int) -> dict[str, Any]:
        if not self._rows.additional.num_columns:
            return {}
        if self._additional_rows is None:
            self._additional_rows = python_rows(self._rows.additional)
        return self._additional_rows[index]

    def _open(self) -> None:
        """Begin the shard's files."""

    def _write_image(self, sample: Sample) -> None:
        """Keep the image of a sample."""

    def _finish(self) -> None:
        """Complete the images, then write the metadata file."""
        if self.options.save_metadata:
            import pyarrow.parquet as pq

            file = self.transaction.open(f"{self.name}.parquet")
            pq.write_table(self.metadata(), file, write_page_checksum=True)
