"""Fills the spool of a shard from its finished version, when only its failed rows are done again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from img2dataset.errors import ShardError
from img2dataset.fetcher.retries import is_to_retry
from img2dataset.filesystem import Folder
from img2dataset.formats import image_of
from img2dataset.metadata import Sample, own_columns
from img2dataset.options import ReadOptions, WriteOptions
from img2dataset.resume.finished import FinishedShard
from img2dataset.shards import Shard, shard_name
from img2dataset.spool import Spool
from img2dataset.stats import SUCCESS


class FinishedVersion:
    """The rows of a shard as they were finished. `to_retry` are those that failed in a way worth another try."""

    def __init__(self, shard: Shard, folder: Folder, read: ReadOptions, write: WriteOptions) -> None:
        self._finished = FinishedShard(folder, shard_name(shard.id, write.oom_shard_count))
        self._write = write
        self._rows = self._finished.rows()
        if [row["url"] for row in self._rows] != shard.table().column("url").to_pylist():
            raise ShardError(f"the rows of {self._finished.name}.parquet are not those of the list")
        self.to_retry = {
            index
            for index, row in enumerate(self._rows)
            if row["status"] != SUCCESS and is_to_retry(row["error_message"], read.retry_statuses)
        }

    def fill(self, spool: Spool) -> Iterator[Sample]:
        """Append every other row, as it was, that the spool does not have; tells each when it is there.

        Raises `ShardError` when an image is missing.
        """
        for sample in self._samples():
            if sample.index not in spool:
                spool.append(sample)
            yield sample

    def _samples(self) -> Iterator[Sample]:
        kept = {row["key"]: index for index, row in enumerate(self._rows) if index not in self.to_retry}
        for key, parts in self._finished.samples(self._write.output_format):
            if key in kept and (image := image_of(parts)):
                yield self._sample(kept.pop(key), *image)
        for key, index in kept.items():
            if self._rows[index]["status"] == SUCCESS:
                raise ShardError(f"the image of {key} is missing; img2dataset verify --repair removes such a shard")
            yield self._sample(index, None, None)

    def _sample(self, index: int, extension: str | None, image: bytes | None) -> Sample:
        row = self._rows[index]
        ours = own_columns(self._write).keys() & row.keys()  # an additional column may be called ``index``
        known: dict[str, Any] = {field.name: row[field.name] for field in fields(Sample) if field.name in ours}
        digest = row.get(self._write.compute_hash or "")
        return Sample(**{"caption": None} | known, index=index, digest=digest, image=image, extension=extension)
