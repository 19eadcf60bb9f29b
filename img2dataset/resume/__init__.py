"""Coming back to a folder: what is done, and what a finished shard says."""

from __future__ import annotations
