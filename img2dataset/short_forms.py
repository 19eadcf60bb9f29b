"""One letter stands for an option: ``-p`` for ``--processes_count``."""

from __future__ import annotations

from collections.abc import Collection

# These stand for what they do in 1.47, whatever options come. Any other stands for the one option that begins with it.
SHORT_FORMS = {
    "b": "bbox_col",
    "n": "number_sample_per_shard",
    "p": "processes_count",
    "v": "verify_hash",
    "w": "wandb_project",
}


def in_full(name: str, options: Collection[str]) -> str:
    """The option that a letter stands for; any other name stays as it is."""
    if len(name) != 1:
        return name
    if (chosen := SHORT_FORMS.get(name)) in options:
        return str(chosen)
    beginning = [option for option in options if option.startswith(name)]
    return beginning[0] if len(beginning) == 1 else name
