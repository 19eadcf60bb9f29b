"""Turn a list of image URLs into an image dataset."""

from img2dataset._version import __version__

__all__ = ["__version__"]
