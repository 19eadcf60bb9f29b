"""The files of a list: where they are, and of which format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

from img2dataset.errors import Img2datasetError, OptionsError, in_one_line
from img2dataset.filesystem import find_store
from img2dataset.reader.pipe import STANDARD_INPUT, Pipe, is_pipe

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip", ".zst": "zstd"}  # as fsspec calls them


@dataclass(frozen=True, slots=True)
class InputFile:
    """One of them."""

    path: str
    filesystem: Any  # the fsspec one that it is on, or a `Pipe`
    compression: str | None = None  # of `COMPRESSIONS`

    @property
    def reads_once(self) -> bool:
        """Whether it is a pipe."""
        return isinstance(self.filesystem, Pipe)

    @property
    def reads_forward(self) -> bool:
        """Whether nothing can go back in it."""
        return self.reads_once or self.compression == "zstd"

    def open(self) -> IO[bytes]:
        """Its content, decompressed."""
        from fsspec.compression import compr

        file: IO[bytes] = self.filesystem.open(self.path, "rb")
        if self.compression == "zstd":
            return _of_zstd(file)
        return cast("IO[bytes]", compr[self.compression](file, mode="r")) if self.compression else file


def _of_zstd(file: IO[bytes]) -> IO[bytes]:
    """Arrow has it built in; fsspec asks for another package."""
    import pyarrow as pa

    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files of a list in the order in which they are read, all of one format."""

    files: Sequence[InputFile]
    input_format: str

    @staticmethod
    def of(places: Sequence[str], input_format: str | None, extensions: Mapping[str, str]) -> InputFiles:
        """The files at those paths, the files of folders and globs in sorted order.

        Args:
            places: Paths of files, folders or globs.
            input_format: A name of a format, maybe with its compression: ``csv.gz``. None: the names tell.
            extensions: The format of a file's extension, ``.csv``.

        Raises:
            OptionsError: There is no file, or its format is unclear.
        """
        name, _, compression = (input_format or "").partition(".")
        usual = COMPRESSIONS.get(f".{compression}")
        found = [file for place in places for file in _found(place, name or None, extensions)]
        files = [InputFile(path, filesystem, _compression(path) or usual) for path, filesystem in found]
        return InputFiles(files, name or _only_format([file.path for file in files], extensions))


def _found(place: str, input_format: str | None, extensions: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The paths of the files at a place, each with the file system it is on."""
    try:
        place = STANDARD_INPUT if place == "-" else place
        if is_pipe(place):
            paths, filesystem = [place], Pipe(place)
        else:
            paths, filesystem = _stored(place, input_format, extensions)
    except Img2datasetError:
        raise
    except Exception as error:  # translated, not swallowed: each store has errors of its own
        raise OptionsError(f"url_list is {place!r}, which cannot be opened: {in_one_line(error)}") from error
    return ((path, filesystem) for path in paths)


def _stored(place: str, input_format: str | None, extensions: Mapping[str, str]) -> tuple[list[str], Any]:
    from fsspec.core import has_magic

    filesystem, path = find_store("url_list", place)
    if filesystem.isfile(path):
        return [path], filesystem
    if filesystem.isdir(path):
        entries, what = filesystem.ls(path, detail=True), "a folder with no file to read in it"
    elif has_magic(path):
        entries, what = filesystem.glob(path, detail=True).values(), "a pattern that no file has"
    else:
        raise OptionsError(f"url_list is {place!r}; there is no such file or folder")
    found = [entry["name"] for entry in entries if entry["type"] == "file"]
    visible = sorted(name for name in found if not os.path.basename(name).startswith((".", "_")))
    chosen = _of_format(visible, input_format, extensions)
    if not chosen:
        raise OptionsError(f"url_list is {place!r}, {what}")
    return chosen, filesystem


def _of_format(paths: list[str], input_format: str | None, extensions: Mapping[str, str]) -> list[str]:
    """The files whose extension says the format; all of them where none says so."""
    formats = {path: _format(path, extensions) for path in paths}
    if input_format:
        return [path for path in paths if formats[path] == input_format] or paths
    return [path for path in paths if formats[path]] or paths


def _only_format(paths: list[str], extensions: Mapping[str, str]) -> str:
    formats = {_format(path, extensions) or "txt" for path in paths}
    if len(formats) > 1:
        raise OptionsError(f"url_list has files of several formats ({', '.join(sorted(formats))}); give input_format")
    return formats.pop()


def _format(path: str, extensions: Mapping[str, str]) -> str | None:
    stem, extension = os.path.splitext(path.lower())
    if extension in COMPRESSIONS:
        extension = os.path.splitext(stem)[1]
    return extensions.get(extension)


def _compression(path: str) -> str | None:
    return COMPRESSIONS.get(os.path.splitext(path.lower())[1])
