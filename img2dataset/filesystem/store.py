"""An fsspec file system as this package needs it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any


class Store:
    """A place in an fsspec file system, all of whose methods raise nothing but OSError: each has errors of its own."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self.root = root.rstrip("/")

    def inside(self, name: str) -> Store:
        """A place in this one."""
        return Store(self._filesystem, self.path(name))

    def path(self, name: str) -> str:
        """The path of what has this name here, as the file system's own methods want it."""
        return f"{self.root}/{name}"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._filesystem, name)

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except OSError:
                raise
            except Exception as error:  # translated, not swallowed
                raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error

        return call
