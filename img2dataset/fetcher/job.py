"""A URL on its way through the fetcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from img2dataset.fetcher.engine import Hop
from img2dataset.fetcher.records import FetchResult
from img2dataset.fetcher.robots import RobotsRules
from img2dataset.fetcher.urls import Target


@dataclass(slots=True, eq=False)
class Job:
    """What is known of a URL between its first step and its outcome. One thread has it at a time.

        prepared ──► queued ──► taken: its hop is made ──► finished
        ▲                       │
        └── a redirect, a retry ┘

    `ended` is called with the result, once, from any thread. `is_wanted` is asked before each step: a job that nobody
    waits for any more is dropped. `limit` is the largest body in bytes. A robots.txt itself is fetched without asking
    for leave.
    """

    id: object
    first: Target
    limit: int
    ended: Callable[[FetchResult], None]
    is_wanted: Callable[[], bool] = lambda: True
    is_robots_txt: bool = False

    # The next hop, and what the robots.txt of its origin says; `hop` is there when the job has been prepared. `needs`
    # is the size in bytes of a body that is known to be large. `is_probe`: it tries a host that is down.
    target: Target = field(init=False)
    hop: Hop = field(init=False)
    rules: RobotsRules | None = None
    needs: int | None = None
    number: int = 0  # its place in the queue; 0: it has had none yet
    is_probe: bool = False

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
    is_finished: bool = False

    def __post_init__(self) -> None:
        self.target = self.first

    def is_over(self) -> bool:
        """Whether nothing is to be done any more."""
        return self.is_finished or not self.is_wanted()

    def start_again(self) -> None:
        """Begin a new attempt, at the first hop."""
        self._go_to(self.first)
        self.seconds = 0.0
        self.redirects = 0
        self.seen_public = False
        self.sent = False

    def redirect(self, target: Target) -> None:
        """Go on with another hop."""
        self._go_to(target)
        self.redirects += 1

    def _go_to(self, target: Target) -> None:
        self.target = target
        self.rules = self.needs = None
        self.is_probe = False

    def finish(self, body: bytes | None, error: str | None = None) -> bool:
        """End here. Returns False when the job has ended before, by a mistake."""
        if self.is_finished:
            return False
        self.is_finished = True
        final_url = self.target.url if self.redirects else None
        self.ended(FetchResult(self.id, body, error, self.attempts, self.http_status, final_url))
        return True
