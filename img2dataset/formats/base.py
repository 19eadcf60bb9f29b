"""What every output format has in common: metadata, stats, commit and abort."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeAlias

from img2dataset.arrow import python_rows
from img2dataset.errors import OptionsError
from img2dataset.metadata import Sample, metadata_json, metadata_table
from img2dataset.shards import STATS_SUFFIX, Rows, Shard, shard_name

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from img2dataset.filesystem import Folder
    from img2dataset.options import ReadOptions, WriteOptions
    from img2dataset.stats import ShardStats

Parts: TypeAlias = dict[str, bytes]  # the files of a sample by their extensions, the image among them


class Format:
    """One way to keep the samples of a shard; an instance writes one shard.

    A format says what its files are called (`data_files`), how a sample that has an image is written to them (`_open`,
    `_write`, `_close`), and how the samples are read back (`read`). It gets every sample of the shard once, in key
    order. The base keeps their metadata and writes it behind the images, and the stats behind that.

    Leaving the ``with`` block without `commit` leaves nothing of the shard behind.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()  # of what holds the images: a file ``00000.tar`` has ``.tar``
    card_by_default: ClassVar[bool] = False
    takes_card: ClassVar[bool] = False  # by which the Hub and its library open the folder: dataset_card.py
    has_metadata: ClassVar[bool] = True  # in a file of its own, ``00000.parquet``, unless ``save_metadata`` is off

    @classmethod
    def check(cls, read: ReadOptions, write: WriteOptions) -> None:  # noqa: ARG003 - some ask for it
        """Raises `OptionsError` where the format cannot do what is asked, or lacks a package."""
        if write.dataset_card and not cls.takes_card:
            raise OptionsError(
                f"dataset_card is true, and what output_format={write.output_format} writes is not opened by a card; "
                "use output_format=huggingface, files or webdataset"
            )

    @classmethod
    def has_card(cls, write: WriteOptions) -> bool:
        """Whether the dataset gets a card."""
        return cls.card_by_default if write.dataset_card is None else write.dataset_card

    @classmethod
    def card_files(cls, options: Mapping[str, Any]) -> list[str]:  # noqa: ARG003 - of the format, by the run's options
        """What a card tells the Hub's library to open: patterns of the files that hold images."""
        return []

    @classmethod
    def card_features(cls, options: Mapping[str, Any], metadata: pa.Schema | None) -> list[dict[str, Any]]:  # noqa: ARG003
        """What a card tells of the columns, where the library would guess them wrong."""
        return []

    @classmethod
    def data_files(cls, name: str) -> list[str]:
        """The names of what holds the images of the shard `name`."""
        return [name + suffix for suffix in cls.suffixes]

    @classmethod
    def files(cls, name: str, *, save_metadata: bool) -> list[str]:
        """The names of the files and folders of the shard `name`, in the order in which they appear."""
        metadata = [f"{name}.parquet"] if cls.has_metadata and save_metadata else []
        return [*cls.data_files(name), *metadata, name + STATS_SUFFIX]

    @classmethod
    def is_there(cls, name: str, names: Collection[str]) -> bool:
        """Whether `names` has what holds the images of the shard `name` in this format."""
        files = cls.data_files(name)
        return bool(files) and all(file in names for file in files)

    @classmethod
    def read(cls, folder: Folder, name: str) -> Iterator[tuple[str, Parts]]:
        """The samples of the shard `name` that have an image: key and parts, in the order in which they are kept."""
        raise NotImplementedError(f"{cls.__name__} is not read back")

    def __init__(
        self, shard: Shard, rows: Rows, folder: Folder, options: WriteOptions, extensions: Iterable[str] = ()
    ) -> None:
        """Begin the files of `shard`. `extensions` are those of the images that will come."""
        self.name = shard_name(shard.id, options.oom_shard_count)
        self.options = options
        self.extensions = frozenset(extensions)
        self._shard = shard
        self._rows = rows
        self._samples: list[Sample] = []  # without their images
        self._additional_rows: list[dict[str, Any]] | None = None
        self._is_closed = False
        self.transaction = folder.transaction(self.files(self.name, save_metadata=options.save_metadata))
        try:
            self._open()
        except BaseException:
            self.transaction.discard()
            raise

    def __enter__(self) -> Format:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._is_closed:
            with suppress(OSError, ValueError):  # a full disk refuses the end of a file that is discarded anyway
                self._abort()
        self.transaction.discard()

    def write(self, sample: Sample) -> None:
        """Write the next sample. Takes its image out of it."""
        if sample.index != len(self._samples):
            raise ValueError(f"row {len(self._samples)} of shard {self.name} is missing, or not in its place")
        if sample.image is not None:
            self._write(sample)
            sample.image = None
        self._samples.append(sample)

    def commit(self, stats: ShardStats) -> None:
        """Make the shard visible: images, then metadata, then stats. Every row must have been written."""
        if missing := self._shard.count - len(self._samples):
            raise ValueError(f"{missing} rows of shard {self.name} have not been written")
        self._close()
        self._is_closed = True
        if self.has_metadata and self.options.save_metadata:
            self._write_metadata()
        self.open_file(STATS_SUFFIX).write(stats.to_json().encode("utf-8", "surrogatepass"))
        self.transaction.commit()

    def open_file(self, suffix: str) -> IO[bytes]:
        """The file of the shard that has this suffix, for writing; `commit` closes it."""
        return self.transaction.open(self.name + suffix)

    def metadata(self, start: int = 0) -> pa.Table:
        """The metadata of the samples written so far, a row for each, from row `start` on."""
        samples = self._samples[start:]
        additional = self._rows.additional.slice(start, len(samples))
        return metadata_table(samples, additional, self._shard.id, self.options)

    def parts(self, sample: Sample) -> Parts:
        """The files of a sample by their extensions: the image, the caption and the JSON record."""
        assert sample.image is not None
        parts = {sample.extension or "bin": sample.image}
        if self._rows.captions is not None:
            parts["txt"] = (sample.caption or "").encode("utf-8", "surrogatepass")
        if self.options.save_metadata:
            parts["json"] = metadata_json(sample, self._additional_row(sample.index), self._shard.id, self.options)
        return parts

    def _additional_row(self, index: int) -> dict[str, Any]:
        if not self._rows.additional.num_columns:
            return {}
        if self._additional_rows is None:
            self._additional_rows = python_rows(self._rows.additional)
        return self._additional_rows[index]

    def _write_metadata(self) -> None:
        import pyarrow.parquet as pq

        pq.write_table(self.metadata(), self.open_file(".parquet"), write_page_checksum=True)

    def _open(self) -> None:
        """Begin the files that hold the images."""

    def _write(self, sample: Sample) -> None:
        """Write a sample, which has an image."""

    def _close(self) -> None:
        """Complete the files that hold the images."""

    def _abort(self) -> None:
        """Let go of the files that hold the images, which are discarded."""
        self._close()


@cache
def image_extensions() -> frozenset[str]:
    """What images may be called by, of whatever format they are."""
    from img2dataset.images.sniff import FORMATS

    return frozenset({*(made.extension for made in FORMATS.values()), "jpeg", "bin"})


def extensions_with(options: Mapping[str, Any]) -> list[str]:
    """What the images of a run with these options are called by."""
    if options.get("disable_all_reencoding"):
        return sorted(image_extensions())
    return [str(options.get("encode_format", "jpg"))]


def grouped(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Parts]]:
    """Names and contents of files → keys and parts: neighbours with the same key are one sample."""
    current, parts = "", Parts()
    for name, content in files:
        key, _, extension = name.partition(".")
        if key != current and parts:
            yield current, parts
            parts = {}
        current = key
        parts[extension] = content
    if parts:
        yield current, parts


def image_of(parts: Parts) -> tuple[str, bytes] | None:
    """The extension and bytes of a sample's image."""
    images = [(extension, data) for extension, data in parts.items() if extension not in ("txt", "json")]
    return images[0] if images else None
