"""Fetched bytes → samples."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from img2dataset import defects
from img2dataset.errors import DownloadError, Reason, ResizeError, SampleError, ShardError
from img2dataset.fetcher import FetchResult
from img2dataset.images import Resizer, Sandbox, read_exif
from img2dataset.metadata import Sample, digest
from img2dataset.open_shard import OpenShard
from img2dataset.options import ReadOptions, ResizeOptions, WriteOptions
from img2dataset.stats import FAILED_TO_DOWNLOAD, FAILED_TO_RESIZE, SUCCESS


class SampleMaker:
    """Makes the samples of rows. A row that fails is a sample too; nothing that a file holds raises here."""

    def __init__(self, read: ReadOptions, resize: ResizeOptions, write: WriteOptions, sandbox: Sandbox) -> None:
        self._read = read
        self._write = write
        self._resizer = Resizer(resize, sandbox)

    def samples(self, shard: OpenShard, rows: list[int], result: FetchResult) -> Iterator[Sample]:
        """A sample for each of the rows that asked for these bytes.

        They share one picture, unless rows have boxes to blur or digests to compare, each its own.
        """
        poisoned = shard.poisoned.get(rows[0])  # the row that stands for them all when it is announced
        if shard.rows.boxes is None and shard.rows.expected_digests is None:
            made = self._sample(shard, rows[0], result, poisoned)
            yield from (replace(made, **shard.identity(row)) for row in rows)
        else:
            yield from (self._sample(shard, row, result, poisoned) for row in rows)

    def _sample(self, shard: OpenShard, row: int, result: FetchResult, poisoned: str | None) -> Sample:
        """The one place where a failed row is recorded."""
        sample = Sample(
            **shard.identity(row),
            status=SUCCESS,
            http_status=result.http_status,
            final_url=result.final_url,
            attempts=result.attempts,
        )
        started = time.perf_counter()
        try:
            self._fill(sample, shard, result, poisoned)
        except DownloadError as error:
            sample.status, sample.error_message = FAILED_TO_DOWNLOAD, str(error)
        except SampleError as error:
            sample.status, sample.error_message = FAILED_TO_RESIZE, str(error)
        except MemoryError:
            sample.status, sample.error_message = FAILED_TO_RESIZE, Reason.IMAGE_MEMORY
        except ShardError:
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of ours that a file has found costs the file's row
            sample.status, sample.error_message = FAILED_TO_RESIZE, Reason.INTERNAL_ERROR
            defects.tell(error, sample.url or "")
        shard.seconds["resizing"] += time.perf_counter() - started
        return sample

    def _fill(self, sample: Sample, shard: OpenShard, result: FetchResult, poisoned: str | None) -> None:
        if result.body is None:
            raise DownloadError(result.error)
        self._check_digest(result.body, shard.rows.expected_digests, sample.index)
        if self._write.compute_hash:
            sample.digest = digest(result.body, self._write.compute_hash)
        if poisoned:
            raise ResizeError(poisoned)
        boxes = None if shard.rows.boxes is None else shard.rows.boxes[sample.index]
        image = self._resizer(result.body, boxes)
        if self._write.extract_exif:
            sample.exif = read_exif(result.body)
        sample.width, sample.height = image.width, image.height
        sample.original_width, sample.original_height = image.original_width, image.original_height
        sample.image, sample.extension = image.data, image.extension

    def _check_digest(self, body: bytes, expected: list[str | None] | None, row: int) -> None:
        if self._read.verify_hash is None or expected is None:
            return
        wanted = expected[row]
        if wanted is None or digest(body, self._read.verify_hash[1]) != wanted.lower():
            raise DownloadError(Reason.HASH_MISMATCH)
