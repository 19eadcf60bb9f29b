"""Turn a list of image URLs into an image dataset."""

from img2dataset._version import __version__
from img2dataset.main import download, main

__all__ = ["__version__", "download", "main"]
