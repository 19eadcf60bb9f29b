"""The validated option groups that travel through the stages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from img2dataset.errors import OptionsError, is_passing

HASHES = ("md5", "sha256", "sha512")
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


def require_one_of(option: str, value: object, allowed: Sequence[object]) -> None:
    """Raise `OptionsError` unless `value` is one of `allowed`; the sentence lists them."""
    if value not in allowed or isinstance(value, bool):
        choices = ", ".join(str(choice) for choice in allowed)
        raise OptionsError(f"{option} is {value!r}; it must be one of: {choices}")


def require_whole(option: str, value: object, minimum: int) -> None:
    """Raise `OptionsError` unless `value` is an int (no bool) of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise OptionsError(f"{option} is {value!r}; it must be a whole number of at least {minimum}")


def require_number(option: str, value: object, above: float) -> None:
    """Raise `OptionsError` unless `value` is a number greater than `above` (infinity passes, NaN does not)."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value) or value <= above:
        raise OptionsError(f"{option} is {value!r}; it must be a number above {above:g}")


def require_bool(option: str, value: object) -> None:
    """Raise `OptionsError` unless `value` is True or False."""
    if not isinstance(value, bool):
        raise OptionsError(f"{option} is {value!r}; it must be true or false")


def require_text(option: str, value: object) -> None:
    """Raise `OptionsError` unless `value` is a string with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise OptionsError(f"{option} is {value!r}; it must be a text that is not empty")


def require_optional_text(option: str, value: object) -> None:
    """As `require_text`, and None passes."""
    if value is not None:
        require_text(option, value)


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
    number_sample_per_shard: int = 10_000
    retry_statuses: tuple[str, ...] | None = (
        None  # the error messages that retry_failed tries again; None: passing ones
    )

    def __post_init__(self) -> None:
        require_text("url_list", self.url_list)
        require_text("url_col", self.url_col)
        require_optional_text("caption_col", self.caption_col)
        require_optional_text("bbox_col", self.bbox_col)
        require_whole("number_sample_per_shard", self.number_sample_per_shard, 1)
        if self.verify_hash is not None:
            if len(self.verify_hash) != 2:
                raise OptionsError(f'verify_hash is {self.verify_hash!r}; write it as ["column", "md5"]')
            require_one_of("verify_hash's second part", self.verify_hash[1], HASHES)
        for column in self.save_additional_columns:
            require_text("save_additional_columns", column)
            if column in METADATA_COLUMNS:
                raise OptionsError(
                    f"save_additional_columns names {column!r}, which is a column of the metadata already"
                )

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """The input columns that a run needs beside url and caption, each once."""
        asked = (*self.save_additional_columns, self.bbox_col, self.verify_hash and self.verify_hash[0])
        return tuple(dict.fromkeys(column for column in asked if column))

    def is_to_retry(self, error_message: str) -> bool:
        """Whether ``incremental_mode=retry_failed`` fetches a row again that failed with this message."""
        return is_passing(error_message) if self.retry_statuses is None else error_message in self.retry_statuses


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How URLs become bytes. Times are in seconds, sizes in bytes."""

    thread_count: int = 256
    timeout: float = 10.0
    retries: int = 1
    http_client: str = "curl"
    resolver: str = "c-ares"
    max_download_bytes: int = 64 * 1024 * 1024
    user_agent: str | None = None
    user_agent_token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ignore_ssl_certificate: bool = False
    max_connections_per_host: int | None = None
    block_private_networks: bool = False
    respect_robots_txt: bool = False
    disallowed_header_directives: tuple[str, ...] = ROBOTS_DIRECTIVES

    def __post_init__(self) -> None:
        require_whole("thread_count", self.thread_count, 1)
        require_number("timeout", self.timeout, 0)
        if math.isinf(self.timeout):
            raise OptionsError(
                "timeout is infinite; it must end some day, or a silent server would never let the run end"
            )
        require_whole("retries", self.retries, 0)
        require_whole("max_download_bytes", self.max_download_bytes, 1)
        if self.max_connections_per_host is not None:
            require_whole("max_connections_per_host", self.max_connections_per_host, 1)
        for flag in ("ignore_ssl_certificate", "block_private_networks", "respect_robots_txt"):
            require_bool(flag, getattr(self, flag))
        for text in ("user_agent", "user_agent_token"):
            require_optional_text(text, getattr(self, text))
            _require_header_text(text, getattr(self, text) or "")
        if self.user_agent_token and not _HEADER_NAME.fullmatch(self.user_agent_token):
            raise OptionsError(
                f"user_agent_token is {self.user_agent_token!r}; it must be one word, such as examplebot"
            )
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        object.__setattr__(self, "disallowed_header_directives", _directives(self.disallowed_header_directives))
        if self.block_private_networks:
            _require_no_proxy()


_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What these say is decided by the fetcher, for each request.
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"}


def _require_header_text(option: str, value: str) -> None:
    if not all(" " <= character <= "\xff" and character != "\x7f" for character in value):
        raise OptionsError(
            f"{option} is {value!r}; it goes into a header, so it must be Latin-1 without control characters"
        )


def _checked_headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise OptionsError(f"headers is {headers!r}; it must map names to values, such as {{'Accept': 'image/*'}}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise OptionsError(f"headers has the name {name!r}; a name is made of letters, digits and dashes")
        if not isinstance(value, str):
            raise OptionsError(f"headers has {value!r} for {name}; a value must be a text")
        if name.lower() in _OWN_HEADERS:
            hint = "; user_agent sets it" if name.lower() == "user-agent" else ""
            raise OptionsError(f"headers has {name}, which img2dataset decides for each request{hint}")
        _require_header_text(f"headers[{name!r}]", value)
    return dict(headers)


def _directives(directives: object) -> tuple[str, ...]:
    right = isinstance(directives, (list, tuple, set, frozenset)) and all(
        isinstance(directive, str) and directive.strip() for directive in directives
    )
    if not right:
        raise OptionsError(
            f"disallowed_header_directives is {directives!r}; it must be a list such as {list(ROBOTS_DIRECTIVES)}, "
            "or [] to fetch whatever X-Robots-Tag says"
        )
    return tuple(directive.strip().lower() for directive in directives)  # type: ignore[attr-defined]


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

    image_size: int = 256
    resize_mode: str = "border"
    resize_only_if_bigger: bool = False
    upscale_interpolation: str = "lanczos"
    downscale_interpolation: str = "area"
    encode_format: str = "jpg"
    encode_quality: int | None = None
    skip_reencode: bool = False
    disable_all_reencoding: bool = False
    min_image_size: int = 0
    max_image_area: float = math.inf
    max_aspect_ratio: float = math.inf
    max_image_memory: int = 512 * 1024 * 1024  # bytes

    def __post_init__(self) -> None:
        require_whole("image_size", self.image_size, 1)
        if self.image_size > LARGEST_IMAGE_SIZE:
            raise OptionsError(f"image_size is {self.image_size}; it must be at most {LARGEST_IMAGE_SIZE}")
        require_one_of("resize_mode", self.resize_mode, RESIZE_MODES)
        require_bool("resize_only_if_bigger", self.resize_only_if_bigger)
        require_one_of("upscale_interpolation", self.upscale_interpolation, INTERPOLATIONS)
        require_one_of("downscale_interpolation", self.downscale_interpolation, INTERPOLATIONS)
        self._check_encoding()
        self._check_filters()

    def _check_encoding(self) -> None:
        require_one_of("encode_format", self.encode_format, tuple(ENCODE_QUALITIES))
        require_bool("skip_reencode", self.skip_reencode)
        require_bool("disable_all_reencoding", self.disable_all_reencoding)
        if self.encode_quality is not None:
            lowest, highest, _ = ENCODE_QUALITIES[self.encode_format]
            require_whole("encode_quality", self.encode_quality, lowest)
            if self.encode_quality > highest:
                raise OptionsError(
                    f"encode_quality is {self.encode_quality}; "
                    f"for encode_format={self.encode_format} it must be from {lowest} to {highest}"
                )
        if self.disable_all_reencoding:
            self._refuse_what_needs_encoding()

    def _refuse_what_needs_encoding(self) -> None:
        """Options that change the image contradict keeping it as it came; the default resize_mode is let through."""
        asked = {
            f"resize_mode={self.resize_mode}": self.resize_mode not in ("no", "border"),
            f"encode_format={self.encode_format}": self.encode_format != "jpg",
            f"encode_quality={self.encode_quality}": self.encode_quality is not None,
            "skip_reencode": self.skip_reencode,
        }
        for option in (option for option, given in asked.items() if given):
            raise OptionsError(f"disable_all_reencoding keeps images as they came and contradicts {option}; drop one")

    def _check_filters(self) -> None:
        require_whole("min_image_size", self.min_image_size, 0)
        require_whole("max_image_memory", self.max_image_memory, 1)
        require_number("max_image_area", self.max_image_area, 0)
        require_number("max_aspect_ratio", self.max_aspect_ratio, 0)
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
    compute_hash: str | None = "sha256"
    extract_exif: bool = True
    save_fetch_details: bool = False
    oom_shard_count: int = 5

    def __post_init__(self) -> None:
        require_text("output_folder", self.output_folder)
        require_bool("save_metadata", self.save_metadata)
        require_bool("extract_exif", self.extract_exif)
        require_bool("save_fetch_details", self.save_fetch_details)
        require_whole("oom_shard_count", self.oom_shard_count, 1)
        if self.compute_hash is not None:
            require_one_of("compute_hash", self.compute_hash, HASHES)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Who does the shards, and how often."""

    processes_count: int = 1
    distributor: str = "multiprocessing"
    max_shard_retry: int = 1
    shard_patience: float = 120.0  # seconds without any event from a worker that holds shards: it is stuck

    def __post_init__(self) -> None:
        require_whole("processes_count", self.processes_count, 1)
        require_whole("max_shard_retry", self.max_shard_retry, 0)
