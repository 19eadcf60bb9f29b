"""Fetched bytes → the bytes of an image that is saved."""

from __future__ import annotations
