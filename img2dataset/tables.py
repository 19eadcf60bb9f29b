"""The tables of what is interchangeable: a name → "module:object", loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load(table: Mapping[str, str], name: str) -> Any:
    """The object that a table has under a name; its module, and the libraries that this takes, are imported now."""
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
