"""What temporary files, spools, commit records and the lock are called, so that no reader takes them for data."""

from __future__ import annotations

import re
import uuid

LOCK_NAME = ".img2dataset.lock"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_POISONED = re.compile(r"\..+\.img2dataset-poisoned")
_COMMIT_RECORD = re.compile(r"\..+\.img2dataset-commit")
_SPOOL = re.compile(r"\..+\.img2dataset-open")


def temporary_name(name: str) -> str:
    """A name that nobody else chooses, for what will be `name`; for a file of a folder, in a folder of such a name."""
    first, slash, file = name.partition("/")
    return f".{first.lstrip('.')}.{uuid.uuid4().hex}.tmp{slash}{file}"


def is_temporary_of(temporary: str, name: str) -> bool:
    """Whether `temporary_name` chose it for `name`, or did so for the folder that is named before a slash."""
    first, slash, file = name.partition("/")
    before, after = f".{first.lstrip('.')}.", f".tmp{slash}{file}"
    middle = temporary.removeprefix(before).removesuffix(after)
    return temporary == f"{before}{middle}{after}" and bool(re.fullmatch("[0-9a-f]{32}", middle))


def commit_record_name(name: str) -> str:
    """The name for the record of a commit that ends with `name`: there is one at a time."""
    return f".{name.rpartition('/')[2]}.img2dataset-commit"


def claim_name(holder: str) -> str:
    """What only one of those can create who would take over a dead holder's lock. `holder` is 32 hex digits."""
    return f"{LOCK_NAME}.{holder}.tmp"


def poisoned_name(shard: str) -> str:
    """The name for the record of the rows of a shard that ended workers."""
    return f".{shard}.img2dataset-poisoned"


def spool_name(shard: str) -> str:
    """The name for the settled rows of a shard that is open."""
    return f".{shard}.img2dataset-open"


def is_spool(name: str) -> bool:
    """Whether this holds the settled rows of a shard that is, or was, open."""
    return bool(_SPOOL.fullmatch(name))


def is_commit_record(name: str) -> bool:
    """Whether this is the record of a commit that has begun and not ended."""
    return bool(_COMMIT_RECORD.fullmatch(name))


def is_hidden(name: str) -> bool:
    """Whether this is none of the dataset's files."""
    return name == LOCK_NAME or is_left_over(name) or bool(_POISONED.fullmatch(name))


def is_left_over(name: str) -> bool:
    """Whether this is what a run that was killed has not removed. The lock is not, which has its own rules."""
    return bool(_TEMPORARY.fullmatch(name)) or is_commit_record(name) or is_spool(name)
