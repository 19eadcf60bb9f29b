"""Fetched bytes → the bytes of an image that is saved."""

from __future__ import annotations

from img2dataset.images.exif import read_exif
from img2dataset.images.resized import ResizedImage
from img2dataset.images.resizer import Resizer
from img2dataset.images.sandbox import Sandbox

__all__ = ["ResizedImage", "Resizer", "Sandbox", "read_exif"]
