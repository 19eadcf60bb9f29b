"""Samples ⇄ a tfrecord a shard, as TensorFlow, JAX and DALI read it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from img2dataset.errors import OptionsError
from img2dataset.formats import example
from img2dataset.formats.base import Format, Parts, image_extensions
from img2dataset.metadata import Sample, metadata_schema, own_values

if TYPE_CHECKING:
    import pyarrow as pa

    from img2dataset.filesystem import Folder
    from img2dataset.options import ReadOptions, WriteOptions


class TFRecordFormat(Format):
    """``00000.tfrecord``: an example for each sample, with the features `key`, `jpg`, `caption` and the metadata.

    Whole numbers are int64, others float (of 32 bits), lists of numbers such lists; all else is bytes: text as UTF-8,
    what is nested as JSON. What is null is an empty text, or no number.
    """

    suffixes = (".tfrecord",)

    @classmethod
    def check(cls, read: ReadOptions, write: WriteOptions) -> None:
        super().check(read, write)
        try:
            import crc32c  # noqa: F401
            import google.protobuf  # noqa: F401
        except ImportError as error:
            raise OptionsError(
                f"output_format is tfrecord, which needs a package more ({error}): pip install img2dataset[tfrecord]"
            ) from error
        for column in image_extensions().intersection(read.save_additional_columns):
            raise OptionsError(
                f"save_additional_columns names {column!r}, which is what images are called with "
                "output_format=tfrecord; rename it in the list"
            )

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        with folder.open(f"{name}.tfrecord") as file:
            for record in _records(file):
                features = example.from_bytes(record)
                yield str(features["key"][0], "utf-8"), _parts(features)  # type: ignore[arg-type]  # or a TypeError: damage

    def _open(self) -> None:
        schema = metadata_schema(list(self._rows.additional.schema), self.options)
        self._kinds = {field.name: _kind(field.type) for field in schema}
        self._file = self.open_file(".tfrecord")

    def _write(self, sample: Sample) -> None:
        _write_record(self._file, example.to_bytes(self._features(sample)))

    def _features(self, sample: Sample) -> dict[str, tuple[type, example.Values]]:
        assert sample.image is not None
        features: dict[str, tuple[type, example.Values]] = {
            "key": (bytes, [sample.key.encode()]),
            sample.extension or "bin": (bytes, [sample.image]),
        }
        if self._rows.captions is not None:
            features["caption"] = (bytes, _values(sample.caption, bytes))
        if self.options.save_metadata:
            row = self._additional_row(sample.index) | own_values(sample, self._shard.id, self.options)
            for name, value in row.items():
                features.setdefault(name, (self._kinds[name], _values(value, self._kinds[name])))
        return features


def _kind(kind: pa.DataType) -> type:
    """What the values of a column are in a record."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _kind(kind.value_type) if types.is_primitive(kind.value_type) else bytes
    if types.is_boolean(kind) or (types.is_integer(kind) and kind != "uint64"):  # which int64 does not hold
        return int
    return float if types.is_floating(kind) else bytes


def _values(value: Any, kind: type) -> example.Values:
    """A value of the metadata as the values of its feature."""
    if kind is bytes:
        return [_bytes(value)]
    values = value if isinstance(value, list) else [value]
    return [] if None in values else [kind(each) for each in values]


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return ("" if value is None else str(value)).encode("utf-8", "surrogatepass")


def _parts(features: dict[str, example.Values]) -> Parts:
    """The image by its extension; none where the example has none."""
    found = {name: values[0] for name, values in features.items() if name in image_extensions() and values}
    return {name: value for name, value in found.items() if isinstance(value, bytes)}


def _write_record(file: IO[bytes], data: bytes) -> None:
    """A record is its length, its bytes, and behind each a checksum (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(data))
    file.write(length + _checksum(length))
    file.write(data)
    file.write(_checksum(data))


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of each record. Raises ValueError or EOFError where the file is damaged or cut."""
    while length := file.read(8):
        _require_checksum(file, length)
        (count,) = struct.unpack("<Q", length)
        data = file.read(count)
        _require_checksum(file, data)
        yield data


def _require_checksum(file: IO[bytes], data: bytes) -> None:
    found = file.read(4)
    if len(found) < 4:
        raise EOFError("it is cut short")
    if found != _checksum(data):
        raise ValueError("a checksum is wrong")


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked as records have it: the bare one of data that ends with its own is always the same."""
    from crc32c import crc32c

    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
