"""Coming back to a folder: what is done, and what a finished shard says."""

from __future__ import annotations

from img2dataset.resume.plan import ResumePlan, make_plan, overwrite

__all__ = ["ResumePlan", "make_plan", "overwrite"]
