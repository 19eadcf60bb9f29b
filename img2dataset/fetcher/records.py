"""What goes into the fetcher and what comes out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A URL as it stands in the list: any string, the empty one included. `id` is the caller's, and handed back."""

    id: object
    url: str


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of a request: `body`, or `error`, which is one of `errors.Reason` or ``http <status>``.

    `attempts` counts the attempts in which a request was sent, 0 if none was; redirects are part of an attempt.
    `http_status` is the status of the last answer, if there was one. `final_url` is the address that redirects led to,
    None when there was no redirect.
    """

    id: object
    body: bytes | None
    error: str | None
    attempts: int = 0
    http_status: int | None = None
    final_url: str | None = None
