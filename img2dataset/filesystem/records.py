"""What a commit record says, which is the only file that tells a run to rename and to remove."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from img2dataset.errors import OptionsError
from img2dataset.filesystem.base import Folder
from img2dataset.filesystem.names import commit_record_name, is_temporary_of

Steps: TypeAlias = Sequence[tuple[str | None, str]]  # temporary name → name, in order; None: the name goes away


def text_of(steps: Steps) -> bytes:
    """The content of a record."""
    return json.dumps({"steps": steps, "sha256": _digest(steps)}).encode()


def _digest(steps: Any) -> str:
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()


def steps_of(folder: Folder, record: str) -> Steps:
    """What the record says. Raises FileNotFoundError when there is none, `OptionsError` when it is damaged."""
    try:
        steps = _whole(folder.read_json(record))
    except ValueError:
        steps = []
    if not steps or commit_record_name(steps[-1][1]) != record:
        raise OptionsError(
            f"{folder} holds {record!r}, which is a damaged commit record, or not img2dataset's; "
            "remove it, and let img2dataset verify see whether the shard it names is whole"
        )
    return steps


def _whole(content: Any) -> Steps:
    """The steps, if none of them was lost or changed: a record that is damaged moves and removes nothing."""
    if isinstance(content, list):  # as the first versions of img2dataset 2 wrote it
        content = {"steps": content, "sha256": _digest(content)}
    steps = content.get("steps") if isinstance(content, dict) else None
    if not (isinstance(steps, list) and all(map(_is_step, steps)) and content.get("sha256") == _digest(steps)):
        return []
    return [(temporary, name) for temporary, name in steps]


def _is_step(step: Any) -> bool:
    """Whether it is one of ours, which leads to nothing outside the folder."""
    if not (isinstance(step, list) and len(step) == 2 and isinstance(step[1], str)):
        return False
    temporary, name = step
    if name.count("/") > 1 or not all(part.strip(".") and part.isprintable() for part in name.split("/")):
        return False
    return temporary is None or (isinstance(temporary, str) and is_temporary_of(temporary, name))
