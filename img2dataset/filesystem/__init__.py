"""Where every path goes through: read, list, remove, and write so that nothing half-written is ever visible."""

from __future__ import annotations

from img2dataset.errors import OptionsError
from img2dataset.filesystem.base import Folder, Transaction
from img2dataset.filesystem.local import LocalFolder
from img2dataset.filesystem.names import LOCK_NAME
from img2dataset.filesystem.remote import RemoteFolder
from img2dataset.filesystem.store import Store

__all__ = ["LOCK_NAME", "Folder", "Transaction", "open_folder"]


def open_folder(path: str) -> Folder:
    """The folder at a local path or at any URL fsspec knows (``s3://bucket/dataset``). Nothing is created.

    Raises `OptionsError` when the protocol is unknown or its package is not installed.
    """
    if "://" not in path:
        return LocalFolder(path)
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        extra = path.partition("://")[0]
        hint = f": pip install img2dataset[{extra}]" if extra in ("s3", "gs") else ""
        raise OptionsError(f"{path!r} cannot be opened: {error}{hint}") from error
    if "file" in filesystem.protocol:
        return LocalFolder(root)
    return RemoteFolder(path, Store(filesystem, root))
