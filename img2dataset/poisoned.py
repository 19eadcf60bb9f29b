"""The rows that ended workers, remembered in the output folder until their shard is finished."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress

from img2dataset.filesystem import Folder
from img2dataset.filesystem.names import poisoned_name

logger = logging.getLogger(__name__)


class PoisonedRows:
    """What stands in the folder about one shard, which is known by its name and the digest of its URLs.

    A run that is stopped before the shard is finished would else pay for its deadly rows once more.
    """

    def __init__(self, folder: Folder, shard: str, url_digest: str) -> None:
        self._folder = folder
        self._name = poisoned_name(shard)
        self._url_digest = url_digest

    def together_with(self, rows: Mapping[int, str]) -> dict[int, str]:
        """The rows that are remembered, and `rows`, which are remembered from now on: index → error message."""
        known = self._read()
        together = {**known, **rows}
        if together != known:
            record = {"url_digest": self._url_digest, "rows": {str(row): reason for row, reason in together.items()}}
            self._folder.write(self._name, json.dumps(record).encode())
        return together

    def forget(self) -> None:
        """The shard is about to be finished."""
        with suppress(FileNotFoundError):
            self._folder.remove(self._name)

    def _read(self) -> dict[int, str]:
        """What is remembered. A record of other rows, or that is none of ours, is removed."""
        with suppress(FileNotFoundError):
            try:
                record = json.loads(self._folder.read(self._name))
                if record["url_digest"] == self._url_digest:
                    return {int(row): str(reason) for row, reason in record["rows"].items()}
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                logger.warning("%s in %s is damaged, and removed", self._name, self._folder)
            self.forget()
        return {}
