"""The address that a row's text means, by the WHATWG rules that browsers follow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ada_url import URL, HostType

from img2dataset.errors import DownloadError, Reason
from img2dataset.shards import LONGEST_URL

_DEFAULT_PORTS = {"http:": 80, "https:": 443}
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*:")
# "example.com:8080/a.jpg" and "localhost:8080" begin with a scheme for a parser, with a host for who wrote them.
_HOST_AND_PORT = re.compile(r"[^/?#]*\.[^/?#]*:|[^/?#:]*:\d+(?:[/?#]|$)")


@dataclass(frozen=True, slots=True)
class Target:
    """A normalised http(s) URL and the parts of it that decide how it is fetched.

    `url` has no fragment; `host` is in lower case, international names in their ASCII form, an IPv6 address without its
    brackets. `is_address` says that the host is a literal IPv4 or IPv6 address.
    """

    url: str
    scheme: str
    host: str
    port: int
    is_address: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port: ``https://example.com:443``."""
        return f"{self.scheme}://{self.host}:{self.port}"

    def shares_secrets_with(self, other: Target) -> bool:
        """Whether headers meant for this origin may be sent to `other`: the same origin, or its move to https."""
        if self is other or self.origin == other.origin:
            return True
        upgraded = (self.scheme, self.port, other.scheme, other.port) == ("http", 80, "https", 443)
        return upgraded and self.host == other.host


def parse(text: str) -> Target:
    """The target that `text`, a line of a url list, means.

    Raises `DownloadError`: missing url, missing scheme, unsupported scheme, invalid url (one too long among them).
    """
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST_URL:
        raise DownloadError(Reason.INVALID_URL)
    text = text.strip()
    if not text:
        raise DownloadError(Reason.MISSING_URL)
    if not _SCHEME.match(text):
        raise DownloadError(Reason.MISSING_SCHEME)
    return _parse(text, None)


def join(base: Target, location: str) -> Target:
    """The target of a redirect from `base` to `location`. Raises `DownloadError` as `parse` does."""
    return _parse(location, base.url)


def _parse(text: str, base: str | None) -> Target:
    try:
        url = URL(text, base)
    except ValueError:
        raise DownloadError(_why_invalid(text)) from None
    port = _DEFAULT_PORTS.get(url.protocol)
    if port is None:
        raise DownloadError(_why_unsupported(text))
    return Target(
        url=url.href.partition("#")[0],
        scheme=url.protocol[:-1],
        host=url.hostname.strip("[]"),
        port=int(url.port) if url.port else port,
        is_address=url.host_type != HostType.DEFAULT.value,
    )


def _why_invalid(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme and scheme[0].lower() not in _DEFAULT_PORTS:
        return _why_unsupported(text)
    return Reason.INVALID_URL


def _why_unsupported(text: str) -> str:
    return Reason.MISSING_SCHEME if _HOST_AND_PORT.match(text) else Reason.UNSUPPORTED_SCHEME
