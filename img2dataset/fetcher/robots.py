"""What the owners of images have said about fetching and using them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from protego import Protego

from img2dataset import defects
from img2dataset.errors import Reason, http_status_reason
from img2dataset.fetcher.answers import Answers
from img2dataset.fetcher.records import FetchResult

PRODUCT_TOKEN = "img2dataset"

ROBOTS_TXT_BYTES = 500 * 1024  # RFC 9309, 2.5: parsers must take at least 500 KiB
_KNOWN_FOR_SECONDS = 24 * 3600.0  # RFC 9309, 2.4: not longer than a day
_UNREACHABLE_FOR_SECONDS = 60.0
_CACHED_BYTES = 16 * 1024 * 1024  # of text; parsed it is a few times as much
_BYTES_AT_LEAST = 512  # what an entry costs, however short its text

# Directives whose value has a colon in front, so that their name is no user agent's.
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_SCOPE = re.compile(r"\s*([^:,\s]+)\s*:\s*")
_MEANS_ALSO = {"none": "noindex"}  # none is short for noindex, nofollow


def opted_out(values: Iterable[str], directives: Collection[str], our_tokens: Collection[str]) -> bool:
    """Whether the ``X-Robots-Tag`` headers `values` say one of `directives` to everybody or to one of `our_tokens`.

    A header is a comma list; ``name:`` in front of a directive says whom that one and those after it concern.
    """
    return any(
        (scope is None or scope in our_tokens) and directive in directives
        for value in values
        for scope, directive in _directives(value.lower())
    )


def _directives(value: str) -> Iterator[tuple[str | None, str]]:
    scope = None
    for part in value.split(","):
        match = _SCOPE.match(part)
        if match and match[1] not in _WITH_VALUE:
            scope = None if match[1] == "*" else match[1]
            part = part[match.end() :]
        directive = part.strip()
        yield scope, _MEANS_ALSO.get(directive, directive)


@dataclass(frozen=True, slots=True)
class RobotsRules:
    """What an origin's robots.txt says; `parsed` is None when it allows everything, `error` is set when nothing.

    `size` is that of the file in bytes.
    """

    parsed: Protego | None = None
    error: str | None = None
    size: int = 0

    def refusal(self, url: str, token: str) -> str | None:
        """Why `token` may not fetch `url`, one of `Reason`; None when it may."""
        if self.error or self.parsed is None:
            return self.error
        return None if self.parsed.can_fetch(url, token) else Reason.DISALLOWED_BY_ROBOTS_TXT


class RobotsTxt(Answers[RobotsRules]):
    """The rules of each origin for `token`: read once, kept for a day, and bounded in memory. Thread-safe."""

    def __init__(self, token: str = PRODUCT_TOKEN) -> None:
        super().__init__(
            most=_CACHED_BYTES,
            known_for=lambda rules: _UNREACHABLE_FOR_SECONDS if rules.error else _KNOWN_FOR_SECONDS,
            cost=lambda rules: rules.size + _BYTES_AT_LEAST,
        )
        self._token = token

    def read(self, origin: str, result: FetchResult) -> None:
        """The robots.txt of `origin` has been fetched, or not."""
        try:
            rules = _rules(result, self._token)
        except Exception as error:  # noqa: BLE001 - many URLs wait for these rules
            defects.tell(error, f"{origin}/robots.txt")
            rules = RobotsRules(error=Reason.INTERNAL_ERROR)
        self.learn(origin, rules)


def _rules(result: FetchResult, token: str) -> RobotsRules:
    """As RFC 9309, 2.3.1: an answer of 4xx, and too many redirects, allow everything; no answer and 5xx nothing."""
    if result.body is not None:
        text = _whole_lines(result.body).decode("utf-8", "replace")
        parsed = Protego.parse("\n".join(_without_others(text.splitlines(), token)))
        return RobotsRules(parsed, size=len(result.body))
    status = result.http_status or 0
    if result.error == http_status_reason(status) and 400 <= status < 500:
        return RobotsRules()
    if result.error in (Reason.TOO_MANY_REDIRECTS, Reason.BODY_EMPTY):
        return RobotsRules()
    if result.error in _TELLS_MORE:
        return RobotsRules(error=result.error)
    return RobotsRules(error=Reason.ROBOTS_TXT_UNREACHABLE)


_USER_AGENT = re.compile(r"\s*user(?:-|\s*)agent(?=[\s:]|$)\s*:?(.*)", re.IGNORECASE)


def _without_others(lines: Iterable[str], token: str) -> Iterator[str]:
    """The same file, in which all that are not `token` have one name.

    The parser gives each name a copy of the rules below it, so time and memory go with the square of a file's size.
    """
    for line in lines:
        found = _USER_AGENT.match(line)
        if found:
            name = found[1].partition("#")[0].strip().lower()
            name = name if name == "*" else name.replace("*", "")
            line = f"User-agent: {name if _is_meant(name, token) else 'somebody-else'}"
        yield line


def _is_meant(name: str, token: str) -> bool:
    return name == "*" or (name != "" and (token.startswith(name) or name in re.split(r"[^\w-]+", token)))


def _whole_lines(text: bytes) -> bytes:
    """Without the last line of a file that was cut: half of ``Disallow: /private`` may say ``Disallow: /``."""
    return text[: text.rfind(b"\n") + 1] if len(text) >= ROBOTS_TXT_BYTES else text


# The image's own request would have failed in the same way.
_TELLS_MORE = {
    Reason.DNS_NOT_FOUND,
    Reason.DNS_NO_ANSWER,
    Reason.DNS_TEMPORARY,
    Reason.BLOCKED_ADDRESS,
    Reason.HOST_FAILING,
    Reason.INTERNAL_ERROR,
}
