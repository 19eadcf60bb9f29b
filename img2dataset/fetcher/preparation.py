"""What must be known before a hop can be made: the addresses of its host, and what its robots.txt says."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from img2dataset import defects
from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.engine import Hop
from img2dataset.fetcher.guard import Guard
from img2dataset.fetcher.job import Job
from img2dataset.fetcher.memory import Memory
from img2dataset.fetcher.proxies import Proxies
from img2dataset.fetcher.records import FetchResult
from img2dataset.fetcher.resolver import Resolution, Resolver
from img2dataset.fetcher.retries import wait_before_retry
from img2dataset.fetcher.robots import ROBOTS_TXT_BYTES, RobotsRules, RobotsTxt
from img2dataset.fetcher.schedule import Schedule
from img2dataset.fetcher.urls import join
from img2dataset.options import Limits

_LOOK_AGAIN_SECONDS = 0.02  # in which no fetcher uses up its window


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Brings jobs to the schedule, at their beginning, after a redirect, and for another attempt.

        prepare ─► host up? ─► addresses? ─► allowed? ─► robots.txt? ─► schedule
                   └► away      └► lookup ─┐             └► fetched ─┐
                                ◄──────────┘             ◄───────────┘

    No thread waits for an answer: whoever brings it goes on with the jobs that need it. An exception that is not a
    `DownloadError` is our own mistake: it ends the job, and not the thread, which may be anybody's.

    `robots` is None where robots.txt is not asked for. `window` is how many jobs may be ready, and names and robots.txt
    asked for, before `feed` waits.
    """

    limits: Limits
    schedule: Schedule
    clock: Clock
    memory: Memory
    resolver: Resolver
    guard: Guard
    proxies: Proxies
    robots: RobotsTxt | None
    window: int

    def feed(self, job: Job) -> None:
        """Prepare a new job, once the fetcher is not too far ahead of its threads."""
        while self._ahead() >= self.window and not self.schedule.is_closed:
            time.sleep(_LOOK_AGAIN_SECONDS)
        self.prepare(job)

    def _ahead(self) -> int:
        return self.schedule.ready + self.resolver.asked + (self.robots.asked if self.robots else 0)

    def prepare(self, job: Job) -> None:
        """Queue the job's next hop, as soon as all that it needs is known; or end the job."""
        self.step(job, self._find_addresses)

    def step(self, job: Job, step: Callable[..., None], *arguments: Any) -> None:
        """Call `step` with the job. What it raises ends this attempt, or the job."""
        try:
            step(job, *arguments)
        except DownloadError as error:
            self.failed(job, str(error))
        except Exception as error:  # noqa: BLE001 - whoever called has nothing to do with this job
            if not self.schedule.is_closed:  # for then the libraries are right to complain
                defects.tell(error, job.first.url)
            job.finish(None, Reason.INTERNAL_ERROR)

    def _find_addresses(self, job: Job) -> None:
        if job.is_over() or not self.schedule.admit(job):
            return
        host = job.target.host
        proxy = self.proxies.of(job.target)
        if proxy or job.target.is_address:
            self._address(job, (host,) if job.target.is_address else (), proxy)
        elif known := self.resolver.resolve(host, functools.partial(self.step, job, self._resolved)):
            self._use(job, known)

    def _resolved(self, job: Job, resolution: Resolution) -> None:
        job.seconds += resolution.seconds
        self._use(job, resolution)

    def _use(self, job: Job, resolution: Resolution) -> None:
        if resolution.error in (Reason.DNS_TEMPORARY, Reason.DNS_NO_ANSWER):
            if not self.schedule.admit(job):  # for others have learnt of the same lookup that the host is down
                return
            self.schedule.unreachable(job, resolution)
        if resolution.error:
            raise DownloadError(resolution.error)
        self._address(job, resolution.addresses, None)

    def _address(self, job: Job, addresses: tuple[str, ...], proxy: str | None) -> None:
        if addresses:
            addresses = self.guard.allowed(addresses, from_public=job.seen_public)
        left = self.limits.timeout - job.seconds
        if left <= 0:
            raise DownloadError(Reason.TIMED_OUT)
        send_private_headers = job.first.shares_secrets_with(job.target)
        job.hop = Hop(
            job.target.url, job.target.port, () if proxy else addresses, proxy, send_private_headers, timeout=left
        )
        if self.robots is None or job.is_robots_txt:
            self.schedule.add(job)
        else:
            self._find_rules(job, self.robots)

    def _find_rules(self, job: Job, robots: RobotsTxt) -> None:
        done = functools.partial(self.step, job, self._ruled)
        known = robots.ask(job.target.origin, done, functools.partial(self._fetch_rules, job, robots))
        if known:
            self._ruled(job, known)

    def _fetch_rules(self, job: Job, robots: RobotsTxt, origin: str) -> None:
        def read(result: FetchResult) -> None:
            self.memory.release(len(result.body or b""))
            robots.read(origin, result)

        reader = Job(origin, join(job.target, "/robots.txt"), ROBOTS_TXT_BYTES, read, is_robots_txt=True)
        reader.seen_public = job.seen_public
        reader.is_probe = job.is_probe
        self.prepare(reader)

    def _ruled(self, job: Job, rules: RobotsRules) -> None:
        job.rules = rules
        self.schedule.add(job)

    def failed(self, job: Job, reason: str, retry_after: float | None = None) -> None:
        """Try again, if that may help, or finish."""
        if reason == Reason.HOST_FAILING:
            job.finish(None, job.last_error or reason)
            return
        job.last_error = reason
        wait = wait_before_retry(reason, job.retries, retry_after, self.limits)
        if wait is None:
            job.finish(None, reason)
            return
        job.retries += 1
        job.start_again()
        self.clock.call_later(wait, functools.partial(self.prepare, job))
