"""A URL on its way through the fetcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from img2dataset.fetcher.resolver import Resolution
from img2dataset.fetcher.urls import Target

if TYPE_CHECKING:
    from img2dataset.fetcher.robots import RobotsRules


class Outcome(NamedTuple):
    """How a job ended: with `body`, or with `error`, one of `Reason`. The rest is as in `FetchResult`."""

    body: bytes | None
    error: str | None
    attempts: int = 0
    http_status: int | None = None
    final_url: str | None = None


def _always() -> bool:
    return True


@dataclass(slots=True, eq=False)
class Job:
    """What is known of a URL between its first step and its outcome.

    `finish` is called once, from any thread. `is_wanted` is asked before each step: a job that nobody waits for any
    more is dropped. `limit` is the largest body in bytes. A robots.txt itself is fetched without asking for leave.
    """

    first: Target
    limit: int
    finish: Callable[[Outcome], None]
    is_wanted: Callable[[], bool] = _always
    is_robots_txt: bool = False

    # The next hop. `room` is the size in bytes of a body that is known to be large, `reserved` the memory it has got.
    target: Target = field(init=False)
    resolution: Resolution | None = None
    rules: RobotsRules | None = None
    room: int | None = None
    reserved: int = 0
    number: int = 0
    skipped: bool = False

    # This attempt.
    seconds: float = 0.0
    redirects: int = 0
    seen_public: bool = False
    sent: bool = False

    # All attempts.
    attempts: int = 0
    retries: int = 0
    http_status: int | None = None
    last_error: str | None = None

    def __post_init__(self) -> None:
        self.target = self.first

    def start_again(self) -> None:
        """Begin a new attempt, at the first hop."""
        self.target = self.first
        self.resolution = self.rules = self.room = None
        self.seconds = 0.0
        self.redirects = 0
        self.seen_public = False
        self.sent = False

    def redirect(self, target: Target) -> None:
        """Go on with another hop."""
        self.target = target
        self.resolution = self.rules = self.room = None
        self.redirects += 1

    def outcome(self, body: bytes | None, error: str | None) -> Outcome:
        """The outcome, if the job ends here."""
        final_url = self.target.url if self.redirects else None
        return Outcome(body, error, self.attempts, self.http_status, final_url)
