"""Shards on worker processes of this machine."""

from __future__ import annotations
