"""Whether the hashes in a list are of the kind that images will be compared with."""

from __future__ import annotations

import hashlib

from img2dataset.errors import OptionsError
from img2dataset.options import ReadOptions
from img2dataset.shards import Rows, Shard


def require_digests(shard: Shard, options: ReadOptions) -> None:
    """Raises `OptionsError` where a hash of a shard has not the length of one of ``verify_hash``'s algorithm."""
    if options.verify_hash is None:
        return
    column, algorithm = options.verify_hash
    length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    for value in Rows.of(shard, options).expected_digests or ():
        if value and len(value) != length:
            raise OptionsError(
                f"verify_hash is {list(options.verify_hash)}, but {column} holds {value!r}, "
                f"which is no {algorithm}: that has {length} characters"
            )
