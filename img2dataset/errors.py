"""The errors of a run, and the fixed words in which a user reads them.

Img2datasetError
├── OptionsError (also a ValueError)   the command is wrong; nothing has been done
├── ShardError                         a shard could not be finished
└── SampleError                        one row failed; the run goes on
    ├── DownloadError                  status failed_to_download
    └── ResizeError                    status failed_to_resize

``str(error)`` is what the terminal, the metadata and the stats show.
"""

from __future__ import annotations


class Img2datasetError(Exception):
    """Base of every error this package raises on purpose."""


class OptionsError(Img2datasetError, ValueError):
    """An option is wrong. The message names the option, the value, and what would be right."""


class ShardError(Img2datasetError):
    """A shard could not be finished: the disk is full, the store is gone, the list is unreadable."""


class SampleError(Img2datasetError):
    """A row failed. The message is one of the few in `Reason`, so that counting them tells what is wrong."""


class DownloadError(SampleError):
    """The bytes of an image could not be fetched."""


class ResizeError(SampleError):
    """The bytes arrived and are no usable image."""


def in_one_line(error: Exception) -> str:
    """What a library's error says, for people: without line ends and control characters, and not for ever."""
    words = " ".join((str(error) or type(error).__name__).split())
    return "".join(character if character.isprintable() else "?" for character in words[:500])


class Reason:
    """The vocabulary of ``error_message``. An HTTP error status is ``http_status_reason(404)``: ``http 404``."""

    # fetching
    TIMED_OUT = "timed out"
    DNS_NOT_FOUND = "dns: name not found"
    DNS_TEMPORARY = "dns: temporary failure"
    DNS_NO_ANSWER = "dns: no answer"
    CONNECTION_REFUSED = "connection refused"
    CONNECTION_RESET = "connection reset"
    CONNECTION_FAILED = "connection failed"
    HOST_UNREACHABLE = "host unreachable"
    HOST_FAILING = "host failing: skipped for a while"
    TLS_CERTIFICATE = "tls: certificate verify failed"
    TLS_FAILED = "tls: handshake failed"
    PROTOCOL_ERROR = "protocol error"
    PROXY_FAILED = "proxy failed"
    BODY_CUT_SHORT = "body cut short"
    BODY_TOO_LARGE = "body too large"
    BODY_EMPTY = "empty body"
    BODY_UNDECODABLE = "body cannot be decompressed"
    TOO_MANY_REDIRECTS = "too many redirects"
    BLOCKED_ADDRESS = "blocked address"
    INVALID_URL = "invalid url"
    MISSING_URL = "missing url"
    MISSING_SCHEME = "missing scheme: write http:// or https:// in front"
    UNSUPPORTED_SCHEME = "unsupported scheme: only http and https"
    DISALLOWED_BY_ROBOTS_TXT = "disallowed by robots.txt"
    ROBOTS_TXT_UNREACHABLE = "robots.txt unreachable"
    DISALLOWED_BY_X_ROBOTS_TAG = "disallowed by X-Robots-Tag"
    HASH_MISMATCH = "hash mismatch"
    WORKER_DIED = "worker died"
    INTERNAL_ERROR = "internal error"

    # resizing
    NOT_AN_IMAGE = "not an image"
    IMAGE_DAMAGED = "image damaged"
    IMAGE_CUT_SHORT = "image cut short"
    TOO_MANY_PIXELS = "too many pixels"
    IMAGE_MEMORY = "image needs too much memory"
    DECODING_TOO_SLOW = "decoding too slow"
    DECODER_CRASHED = "decoder crashed"
    IMAGE_TOO_SMALL = "image too small"
    IMAGE_AREA_TOO_LARGE = "image area too large"
    ASPECT_RATIO_TOO_LARGE = "aspect ratio too large"
    TOO_LONG_FOR_FORMAT = "a side too long for the output format"
    INVALID_BOX = "invalid bounding box"


def http_status_reason(status: int) -> str:
    """The error message for an HTTP answer that is not a success: ``http 404``."""
    return f"http {status}"


def unsupported_format_reason(name: str) -> str:
    """The error message for a format that this build does not decode: ``unsupported format: SVG``."""
    return f"unsupported format: {name}"
