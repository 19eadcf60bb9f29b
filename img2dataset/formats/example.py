"""`tf.train.Example`, the message that a record of a tfrecord holds, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

Values: TypeAlias = list[bytes] | list[int] | list[float]  # of a feature

PACKAGE = "tensorflow"
_KINDS = {bytes: "bytes_list", float: "float_list", int: "int64_list"}


def to_bytes(features: Mapping[str, tuple[type, Values]]) -> bytes:
    """An example. `features` has, by their names, what the values are (`bytes`, `int` or `float`), and the values."""
    example = _example()()
    for name, (kind, values) in features.items():
        entry = example.features.feature.add(key=name)
        field = getattr(entry.value, _KINDS[kind])
        field.SetInParent()  # no values are values of a kind too
        field.value.extend(values)
    data: bytes = example.SerializeToString()
    return data


def from_bytes(data: bytes) -> dict[str, Values]:
    """The features of an example. Raises ValueError where it is none."""
    from google.protobuf.message import DecodeError

    try:
        features = _example().FromString(data).features.feature
    except DecodeError as error:
        raise ValueError(f"it is no tf.train.Example: {error}") from error
    return {entry.key: _values(entry.value) for entry in features}


def _values(feature: Any) -> Values:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


@cache
def _example() -> Any:
    """The class of the message. It has a pool of its own, as TensorFlow may be there too and have the same names.

    On the wire a map is a list of entries; as one it keeps their order, so that the same samples give the same bytes.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=PACKAGE, syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto
    _add(file, "BytesList", ("value", kind.LABEL_REPEATED, kind.TYPE_BYTES, None))
    _add(file, "FloatList", ("value", kind.LABEL_REPEATED, kind.TYPE_FLOAT, None))
    _add(file, "Int64List", ("value", kind.LABEL_REPEATED, kind.TYPE_INT64, None))
    lists = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
    feature = _add(file, "Feature", *((each, kind.LABEL_OPTIONAL, kind.TYPE_MESSAGE, of) for each, of in lists))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    value = ("value", kind.LABEL_OPTIONAL, kind.TYPE_MESSAGE, "Feature")
    _add(file, "Entry", ("key", kind.LABEL_OPTIONAL, kind.TYPE_STRING, None), value)
    _add(file, "Features", ("feature", kind.LABEL_REPEATED, kind.TYPE_MESSAGE, "Entry"))
    _add(file, "Example", ("features", kind.LABEL_OPTIONAL, kind.TYPE_MESSAGE, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Example"))


def _add(file: Any, name: str, *fields: tuple[str, int, int, str | None]) -> Any:
    """Add a message to a file. Of each field: its name, its label, its type and, if this is a message, which."""
    message = file.message_type.add(name=name)
    for number, (field, label, type_of_field, of) in enumerate(fields, 1):
        message.field.add(
            name=field, number=number, label=label, type=type_of_field, type_name=of and f".{PACKAGE}.{of}"
        )
    return message
