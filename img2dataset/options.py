"""The validated option groups that travel through the stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from img2dataset.errors import OptionsError

INPUT_FORMATS = ("txt", "csv", "parquet")
HASHES = ("md5", "sha256", "sha512")
ROBOTS_DIRECTIVES = ("noai", "noimageai", "noindex", "noimageindex")
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
        require_whole("retries", self.retries, 0)


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

    def __post_init__(self) -> None:
        require_whole("image_size", self.image_size, 1)
        require_bool("resize_only_if_bigger", self.resize_only_if_bigger)


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
