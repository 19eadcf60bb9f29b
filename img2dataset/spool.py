"""The settled rows of a shard that is open, in a local file that outlives the process that writes it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from img2dataset.filesystem.names import spool_name, temporary_name
from img2dataset.metadata import OUTCOME, Sample

_RECORD = struct.Struct("<IIIIQQ")  # checksum of all that follows; row; bytes of outcome, of image; the tally
_HEADER = 2**32 - 1  # the row of the first record
_NOT_SETTLED = -1
_EXTENSION = OUTCOME.index("extension")


@dataclass(slots=True)
class Tally:
    """What the rows of a shard have cost so far."""

    attempts: int = 0  # HTTP fetches begun
    bytes_downloaded: int = 0


class Spool:
    """An append-only file: a header that tells of which shard it is, then a record for every settled row, as it came.

    A record is written whole or cut, and one that is cut is known by its checksum. So what a killed process leaves is
    good up to its last record, and whoever opens the shard next goes on from there::

        nobody's ── opened ──► ours ── close ──► nobody's, and kept for the next
                                 └──── remove ─► gone

    One process at a time owns the file, by a lock on it. Where it cannot be had (another process holds it, something
    else has its name, the file system has no locks) this spool is a file without a name, which nobody goes on with.
    """

    def __init__(self, folder: str, shard: str, header: bytes, count: int) -> None:
        """Open that of the shard named `shard`, which has `count` rows; one with another header is begun anew."""
        self.tally = Tally()
        self._path: str | None = os.path.join(folder, spool_name(shard))
        self._offsets = array("q", [_NOT_SETTLED]) * count
        self.extensions: set[str] = set()  # of the images
        self._settled = 0
        self._end = 0
        descriptor = _owned(self._path)
        if descriptor is None:
            self._path = None
            descriptor = _nameless(os.path.join(folder, temporary_name(shard)))
        self._descriptor = descriptor
        try:
            self._go_on(header)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """How many rows are settled."""
        return self._settled

    def __contains__(self, row: int) -> bool:
        """Whether a row is settled."""
        return self._offsets[row] != _NOT_SETTLED

    def append(self, sample: Sample) -> None:
        """Settle a row. Raises OSError, and keeps what was there, when the disk does not take it."""
        outcome = json.dumps([getattr(sample, name) for name in OUTCOME]).encode()
        offset = self._append(sample.index, outcome, sample.image or b"")
        self._note(sample.index, offset, sample.extension)

    def outcome(self, row: int) -> dict[str, Any]:
        """What became of a settled row, by the names of `Sample`: `OUTCOME`, and ``image``."""
        head = os.pread(self._descriptor, _RECORD.size, self._offsets[row])
        _, _, outcome_size, image_size, _, _ = _RECORD.unpack(head)
        body = os.pread(self._descriptor, outcome_size + image_size, self._offsets[row] + _RECORD.size)
        known = dict(zip(OUTCOME, json.loads(body[:outcome_size]), strict=True))
        return known | {"image": body[outcome_size:] if known["extension"] else None}

    def close(self) -> None:
        """Let go of the file. It stays for whoever opens the shard next."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def remove(self) -> None:
        """Remove the file: the shard is done, or its disk needs the room."""
        if self._path and self._descriptor >= 0:
            with suppress(FileNotFoundError):
                os.remove(self._path)
        self.close()

    def _go_on(self, header: bytes) -> None:
        """Find the settled rows of another process, and cut off what it did not write whole."""
        records = self._records()
        if next(records, None) == (0, _HEADER, header):
            for offset, row, outcome in records:
                self._note(row, offset, json.loads(outcome)[_EXTENSION])
        else:
            self._end, self.tally = 0, Tally()
        os.ftruncate(self._descriptor, self._end)
        if not self._end:
            self._append(_HEADER, header, b"")

    def _records(self) -> Iterator[tuple[int, int, bytes]]:
        """Offset, row and outcome of the records up to the first that is not whole; that is where `_end` is then."""
        size = os.fstat(self._descriptor).st_size
        while self._end + _RECORD.size <= size:
            head = os.pread(self._descriptor, _RECORD.size, self._end)
            checksum, row, outcome_size, image_size, attempts, bytes_downloaded = _RECORD.unpack(head)
            end = self._end + _RECORD.size + outcome_size + image_size
            if end > size or (row >= len(self._offsets) and row != _HEADER):
                return
            body = os.pread(self._descriptor, outcome_size + image_size, self._end + _RECORD.size)
            if zlib.crc32(body, zlib.crc32(head[4:])) != checksum:
                return
            offset, self._end = self._end, end
            self.tally = Tally(attempts, bytes_downloaded)
            yield offset, row, body[:outcome_size]

    def _append(self, row: int, outcome: bytes, image: bytes) -> int:
        """Write a record behind the last. Returns its offset."""
        rest = _RECORD.pack(0, row, len(outcome), len(image), self.tally.attempts, self.tally.bytes_downloaded)[4:]
        checksum = zlib.crc32(image, zlib.crc32(outcome, zlib.crc32(rest)))
        record = memoryview(b"".join((checksum.to_bytes(4, "little"), rest, outcome, image)))
        written = 0
        while written < len(record):  # a disk that is nearly full takes a part
            written += os.pwrite(self._descriptor, record[written:], self._end + written)
        offset, self._end = self._end, self._end + len(record)
        return offset

    def _note(self, row: int, offset: int, extension: str | None) -> None:
        self._settled += row not in self
        self._offsets[row] = offset
        if extension is not None:
            self.extensions.add(extension)


def _owned(path: str) -> int | None:
    """The descriptor of the file at this path, created or found, and locked; None where it cannot be had."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        while True:
            descriptor = os.open(path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_there(descriptor, path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its owner has removed it in between
    except OSError:
        return None


def _is_there(descriptor: int, path: str) -> bool:
    """Whether the path leads to this file still. Raises OSError when it is no plain file of one name."""
    mine = os.fstat(descriptor)
    if not stat.S_ISREG(mine.st_mode) or mine.st_nlink > 1:
        raise OSError("it is no file of ours")
    with suppress(FileNotFoundError):
        return os.path.samestat(mine, os.lstat(path))
    return False


def _nameless(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor
