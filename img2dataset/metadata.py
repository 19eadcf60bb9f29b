"""The metadata row: what is told of every sample, as a JSON record and as a row of the shard's Arrow table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from img2dataset.arrow import integers, strings
from img2dataset.options import WriteOptions

if TYPE_CHECKING:
    import pyarrow as pa

BUILDERS: dict[str, Callable[[list[Any]], pa.Array]] = {"string": strings, "int32": integers}


@dataclass(slots=True, kw_only=True)
class Sample:
    """One input row and what became of it. Sizes are in pixels; what is not known is None."""

    index: int  # in the shard
    key: str
    url: str | None
    caption: str | None
    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    exif: str | None = None
    digest: str | None = None
    http_status: int | None = None
    final_url: str | None = None
    attempts: int = 0
    image: bytes | None = None  # encoded; None when the row failed
    extension: str | None = None  # of the image, without a dot


IDENTITY = ("index", "key", "url", "caption")  # what the list says of a sample
OUTCOME = tuple(field.name for field in fields(Sample) if field.name not in (*IDENTITY, "image"))  # what became of it


def digest(body: bytes, algorithm: str) -> str:
    """The hexadecimal digest of the original bytes."""
    return hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()


def own_columns(options: WriteOptions) -> dict[str, str]:
    """The columns this tool adds after the additional ones, in order, each with its Arrow type's name."""
    columns = {"url": "string", "caption": "string", "key": "string", "shard_id": "int32"}
    if not options.save_metadata:
        return {name: columns[name] for name in ("key", "url", "caption")}
    columns |= {"status": "string", "error_message": "string"}
    columns |= dict.fromkeys(("width", "height", "original_width", "original_height"), "int32")
    if options.extract_exif:
        columns["exif"] = "string"
    if options.compute_hash:
        columns[options.compute_hash] = "string"
    if options.save_fetch_details:
        columns |= {"http_status": "int32", "final_url": "string", "attempts": "int32"}
    return columns


def metadata_schema(additional: Sequence[pa.Field], options: WriteOptions) -> pa.Schema:
    """The schema of a shard's metadata: the additional input columns with their types, then `own_columns`."""
    import pyarrow as pa

    kept = list(additional) if options.save_metadata else []
    return pa.schema(kept + [pa.field(name, getattr(pa, kind)()) for name, kind in own_columns(options).items()])


def own_values(sample: Sample, shard_id: int, options: WriteOptions) -> dict[str, Any]:
    """A sample's values for `own_columns`."""
    values = {"shard_id": shard_id, options.compute_hash: sample.digest}
    return {name: values[name] if name in values else getattr(sample, name) for name in own_columns(options)}


def metadata_json(sample: Sample, additional: dict[str, Any], shard_id: int, options: WriteOptions) -> bytes:
    """A sample's ``.json``: the same keys as the metadata's columns; what JSON does not know becomes text."""
    record = additional | own_values(sample, shard_id, options)
    return json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def metadata_table(samples: Sequence[Sample], additional: pa.Table, shard_id: int, options: WriteOptions) -> pa.Table:
    """The metadata of a shard, a row for each of `samples`, which are in key order as `additional`'s rows are."""
    import pyarrow as pa

    rows = [own_values(sample, shard_id, options) for sample in samples]
    own = [BUILDERS[kind]([row[name] for row in rows]) for name, kind in own_columns(options).items()]
    kept = additional.columns if options.save_metadata else []
    return pa.table([*kept, *own], schema=metadata_schema(list(additional.schema), options))
