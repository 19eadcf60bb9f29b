"""The files of a list: where they are, and of which format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from img2dataset.errors import OptionsError, in_one_line
from img2dataset.options import ReadOptions

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files of a list in the order in which they are read, all of one format."""

    paths: Sequence[str]
    input_format: str
    filesystem: Any  # the fsspec one that they are on

    @staticmethod
    def of(options: ReadOptions, extensions: Mapping[str, str]) -> InputFiles:
        """The file, or those of a folder in sorted order. `extensions` tells the format (``.csv``) of a file's name.

        Raises `OptionsError` where there are none, or where their format is unclear.
        """
        try:
            paths, filesystem = _found(options, extensions)
        except OptionsError:
            raise
        except Exception as error:  # translated, not swallowed: each store has errors of its own
            why = in_one_line(error)
            raise OptionsError(f"url_list is {options.url_list!r}, which cannot be opened: {why}") from error
        return InputFiles(paths, options.input_format or _only_format(paths, options.url_list, extensions), filesystem)

    def open(self, path: str) -> IO[bytes]:
        """One of them, decompressed when its name says that it is compressed."""
        from fsspec.utils import infer_compression

        file: IO[bytes] = self.filesystem.open(path, "rb", compression=infer_compression(path))
        return file


def _found(options: ReadOptions, extensions: Mapping[str, str]) -> tuple[list[str], Any]:
    """The paths of the list, and the fsspec file system they are on."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(options.url_list)
    if filesystem.isfile(path):
        return [path], filesystem
    if not filesystem.isdir(path):
        raise OptionsError(f"url_list is {options.url_list!r}; there is no such file or folder")
    found = [entry["name"] for entry in filesystem.ls(path, detail=True) if entry["type"] == "file"]
    visible = sorted(name for name in found if not os.path.basename(name).startswith((".", "_")))
    chosen = _of_format(visible, options.input_format, extensions)
    if not chosen:
        raise OptionsError(f"url_list is {options.url_list!r}, a folder with no file to read in it")
    return chosen, filesystem


def _of_format(paths: list[str], input_format: str | None, extensions: Mapping[str, str]) -> list[str]:
    """The files whose extension says the format; all of them where none says so."""
    formats = {path: _format(path, extensions) for path in paths}
    if input_format:
        return [path for path in paths if formats[path] == input_format] or paths
    return [path for path in paths if formats[path]] or paths


def _only_format(paths: list[str], url_list: str, extensions: Mapping[str, str]) -> str:
    formats = {_format(path, extensions) or "txt" for path in paths}
    if len(formats) > 1:
        found = ", ".join(sorted(formats))
        raise OptionsError(f"url_list is {url_list!r}, a folder with several formats ({found}); give input_format")
    return formats.pop()


def _format(path: str, extensions: Mapping[str, str]) -> str | None:
    stem, extension = os.path.splitext(path.lower())
    if extension in COMPRESSIONS:
        extension = os.path.splitext(stem)[1]
    return extensions.get(extension)
