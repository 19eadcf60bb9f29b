"""The validated option groups that travel through the stages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from img2dataset.errors import OptionsError
from img2dataset.kinds import above, at_least, at_most, check, check_types, one_of

HASHES = ("md5", "sha256", "sha512")
Hash = Annotated[str, one_of(HASHES)]
ROBOTS_DIRECTIVES = ("noai", "noimageai", "noindex", "noimageindex")
METADATA_COLUMNS = (
    *("url", "caption", "key", "shard_id", "status", "error_message", "width", "height"),
    *("original_width", "original_height", "exif", *HASHES, "http_status", "final_url", "attempts"),
)
RESIZE_MODES = ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
INTERPOLATIONS = ("nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4")


class Qualities(NamedTuple):
    """What `encode_quality` may be for a format. For png it is the compression level: 0 is fastest, 9 smallest."""

    lowest: int
    highest: int
    default: int


ENCODE_QUALITIES = {
    "jpg": Qualities(1, 100, 95),
    "png": Qualities(0, 9, 1),
    "webp": Qualities(0, 100, 95),
    "avif": Qualities(0, 100, 90),
}
LARGEST_IMAGE_SIZE = 13_379  # its square is the pixel limit
INCREMENTAL_MODES = ("auto", "incremental", "extend", "retry_failed", "overwrite")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Where the rows come from, and how many make a shard."""

    url_list: str
    input_format: str | None = None
    url_col: str = "url"
    caption_col: str | None = None
    bbox_col: str | None = None
    verify_hash: tuple[str, str] | None = None  # (column, algorithm)
    save_additional_columns: tuple[str, ...] = ()
    column_types: Mapping[str, str] = field(default_factory=dict)  # of additional columns, as Arrow calls them
    number_sample_per_shard: Annotated[int, at_least(1)] = 10_000
    retry_statuses: tuple[str, ...] | None = (
        None  # the error messages that retry_failed tries again; None: passing ones
    )

    def __post_init__(self) -> None:
        check_types(self)
        if self.verify_hash is not None:
            if len(self.verify_hash) != 2:
                raise OptionsError(f'verify_hash is {self.verify_hash!r}; write it as ["column", "md5"]')
            check("verify_hash's second part", self.verify_hash[1], Hash)
        for column in self.metadata_columns:
            if column in METADATA_COLUMNS:
                option = "save_additional_columns" if column in self.save_additional_columns else "bbox_col"
                raise OptionsError(f"{option} names {column!r}, which is a column of the metadata already")
        self._check_column_types()

    def _check_column_types(self) -> None:
        """The types of all other columns are those that the stages need."""
        needed = {self.url_col, self.caption_col, self.bbox_col, self.verify_hash and self.verify_hash[0]}
        for column in self.column_types:
            if column not in self.save_additional_columns or column in needed:
                raise OptionsError(
                    f"column_types names {column!r}; it may name columns of save_additional_columns "
                    "that no other option names"
                )

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """The input columns that are taken over into the metadata, each once."""
        asked = (*self.save_additional_columns, self.bbox_col)
        return tuple(dict.fromkeys(column for column in asked if column))

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """The input columns that a run needs beside url and caption, each once."""
        asked = (*self.save_additional_columns, self.bbox_col, self.verify_hash and self.verify_hash[0])
        return tuple(dict.fromkeys(column for column in asked if column))


@dataclass(frozen=True, kw_only=True)
class Crawler:
    """Who we say we are, to every server; `headers` only to those that the url list names."""

    user_agent: str | None = None
    user_agent_token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        _require_header_text("user_agent", self.user_agent or "")
        _require_header_text("user_agent_token", self.user_agent_token or "")
        _check_headers(self.headers)
        object.__setattr__(self, "headers", dict(self.headers))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a URL may cost: `timeout` in seconds for each attempt, `max_download_bytes` in bytes."""

    timeout: Annotated[float, above(0)] = 10.0
    retries: Annotated[int, at_least(0)] = 1
    max_download_bytes: Annotated[int, at_least(1)] = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        check_types(self)
        if math.isinf(self.timeout):
            raise OptionsError(
                "timeout is infinite; it must end some day, or a silent server would never let the run end"
            )


@dataclass(frozen=True, kw_only=True)
class Courtesy:
    """What the owners of servers and images may ask of us."""

    max_connections_per_host: Annotated[int, at_least(1)] | None = None
    respect_robots_txt: bool = False
    disallowed_header_directives: tuple[str, ...] = ROBOTS_DIRECTIVES

    def __post_init__(self) -> None:
        check_types(self)
        directives = tuple(directive.strip().lower() for directive in self.disallowed_header_directives)
        object.__setattr__(self, "disallowed_header_directives", directives)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom we believe, and where a stranger's URL may lead us."""

    ignore_ssl_certificate: bool = False
    block_private_networks: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.block_private_networks:
            _require_no_proxy()


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How URLs become bytes: by how many threads of which engine, and what each stage of it must know."""

    thread_count: Annotated[int, at_least(1)] = 256
    http_client: str = "curl"
    resolver: str = "c-ares"
    crawler: Crawler = field(default_factory=Crawler)
    limits: Limits = field(default_factory=Limits)
    courtesy: Courtesy = field(default_factory=Courtesy)
    trust: Trust = field(default_factory=Trust)

    def __post_init__(self) -> None:
        check_types(self)


_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What these say is decided by the fetcher, for each request.
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"}


def _require_header_text(option: str, value: str) -> None:
    if not all(" " <= character <= "\xff" and character != "\x7f" for character in value):
        raise OptionsError(
            f"{option} is {value!r}; it goes into a header, so it must be Latin-1 without control characters"
        )


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise OptionsError(f"headers has the name {name!r}; a name is made of letters, digits and dashes")
        if name.lower() in _OWN_HEADERS:
            hint = "; user_agent sets it" if name.lower() == "user-agent" else ""
            raise OptionsError(f"headers has {name}, which img2dataset decides for each request{hint}")
        _require_header_text(f"headers[{name!r}]", value)


def _require_no_proxy() -> None:
    from urllib.request import getproxies  # takes 20 ms

    found = [scheme for scheme in ("http", "https", "all") if scheme in getproxies()]
    if found:
        raise OptionsError(
            f"block_private_networks is true and the environment sets {found[0]}_proxy; behind a proxy the proxy "
            "resolves names, so what they lead to cannot be checked: unset it, or let the proxy do the blocking"
        )


@dataclass(frozen=True, kw_only=True)
class ResizeOptions:
    """How bytes become an encoded image. Sizes are in pixels."""

    image_size: Annotated[int, at_least(1), at_most(LARGEST_IMAGE_SIZE)] = 256
    resize_mode: Annotated[str, one_of(RESIZE_MODES)] = "border"
    resize_only_if_bigger: bool = False
    upscale_interpolation: Annotated[str, one_of(INTERPOLATIONS)] = "lanczos"
    downscale_interpolation: Annotated[str, one_of(INTERPOLATIONS)] = "area"
    encode_format: Annotated[str, one_of(ENCODE_QUALITIES)] = "jpg"
    encode_quality: int | None = None
    skip_reencode: bool = False
    disable_all_reencoding: bool = False
    min_image_size: Annotated[int, at_least(0)] = 0
    max_image_area: Annotated[float, above(0)] = math.inf
    max_aspect_ratio: Annotated[float, above(0)] = math.inf
    max_image_memory: Annotated[int, at_least(1)] = 512 * 1024 * 1024  # bytes

    def __post_init__(self) -> None:
        check_types(self)
        self._check_encode_quality()
        self._check_filters()

    def _check_encode_quality(self) -> None:
        lowest, highest, _ = ENCODE_QUALITIES[self.encode_format]
        if self.encode_quality is not None and not lowest <= self.encode_quality <= highest:
            raise OptionsError(
                f"encode_quality is {self.encode_quality}; "
                f"for encode_format={self.encode_format} it must be a whole number from {lowest} to {highest}"
            )

    @property
    def ignored(self) -> tuple[str, ...]:
        """The options that were given and change nothing, as images are kept as they came."""
        changed = {
            f"resize_mode={self.resize_mode}": self.resize_mode not in ("no", "border"),
            f"encode_format={self.encode_format}": self.encode_format != "jpg",
            f"encode_quality={self.encode_quality}": self.encode_quality is not None,
            "skip_reencode": self.skip_reencode,
        }
        return tuple(option for option, given in changed.items() if given and self.disable_all_reencoding)

    def _check_filters(self) -> None:
        if self.max_aspect_ratio < 1:
            raise OptionsError(
                f"max_aspect_ratio is {self.max_aspect_ratio:g}; it is the longer side over the shorter, so at least 1"
            )
        if self.min_image_size**2 > self.max_image_area:
            raise OptionsError(
                f"min_image_size is {self.min_image_size} and max_image_area is {self.max_image_area:g}: "
                "no image can pass both"
            )


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What is kept of a row, and in which form."""

    output_folder: str = "images"
    output_format: str = "files"
    encode_format: str = "jpg"  # the name of the image column of output_format=parquet
    save_metadata: bool = True
    compute_hash: Hash | None = "sha256"
    extract_exif: bool = True
    save_fetch_details: bool = False
    dataset_card: bool | None = None  # None: with output_format=huggingface only
    oom_shard_count: Annotated[int, at_least(1)] = 5

    def __post_init__(self) -> None:
        check_types(self)
        if self.output_folder.startswith("hf://"):
            raise OptionsError(
                f"output_folder is {self.output_folder!r}; write to a folder with output_format=huggingface and upload "
                "it with the Hub's own command: hf upload NAME/DATASET FOLDER --repo-type=dataset"
            )


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """What to do in a folder that has shards already."""

    incremental_mode: Annotated[str, one_of(INCREMENTAL_MODES)] = "auto"

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Where a run is shown beside the terminal."""

    enable_wandb: bool = False
    wandb_project: str = "img2dataset"

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Who does the shards, how often, and how a shard is called where people read of it."""

    processes_count: Annotated[int, at_least(1)] = 1
    distributor: str = "multiprocessing"
    subjob_size: Annotated[int, at_least(1)] = 1000  # shards in one job of a cluster; processes take them one by one
    max_shard_retry: Annotated[int, at_least(0)] = 1
    oom_shard_count: Annotated[int, at_least(1)] = 5  # as in WriteOptions
    shard_patience: Annotated[float, above(0)] = 120.0  # seconds without a sign of life after which a worker is stuck

    def __post_init__(self) -> None:
        check_types(self)
