"""Where every path goes through: read, list, remove, and write so that nothing half-written is ever visible."""

from __future__ import annotations

from typing import Any

from img2dataset.errors import OptionsError
from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.local import LocalFolder
from img2dataset.filesystem.names import LOCK_NAME
from img2dataset.filesystem.remote import RemoteFolder
from img2dataset.filesystem.store import Store

__all__ = ["LOCK_NAME", "Folder", "Transaction", "find_store", "open_folder"]

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # by the protocol of a URL, what brings its package


def open_folder(path: str) -> Folder:
    """The folder at a local path or at any URL fsspec knows (``s3://bucket/dataset``). Nothing is created.

    Raises `OptionsError` when the protocol is unknown or its package is not installed.
    """
    if "://" not in path:
        return LocalFolder(path)
    filesystem, root = find_store("output_folder", path)
    if "file" in filesystem.protocol:
        return LocalFolder(root)
    return RemoteFolder(path, Store(filesystem, root))


def find_store(option: str, url: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, which is the value of `option`, and the path on it.

    Raises `OptionsError`, with what to install, when nobody knows the protocol or its package is missing.
    """
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(url.partition("://")[0])
        hint = f": pip install img2dataset[{extra}]" if extra else ""
        raise OptionsError(f"{option} is {url!r}, which cannot be opened: {error}{hint}") from error
    return filesystem, path
