"""What a thread does with a job: one hop at a time, never waiting for anything but the server."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from img2dataset import defects
from img2dataset.errors import DownloadError, Reason, http_status_reason
from img2dataset.fetcher import urls
from img2dataset.fetcher.budget import ByteBudget
from img2dataset.fetcher.exchange import Answer, Body, ConnectError, Engine, Hop
from img2dataset.fetcher.guard import Guard, is_public
from img2dataset.fetcher.job import Finish, Job, Outcome
from img2dataset.fetcher.proxies import Proxies
from img2dataset.fetcher.resolver import Resolution, Resolver
from img2dataset.fetcher.robots import ROBOTS_TXT_BYTES, RobotsRules, RobotsTxt, opted_out
from img2dataset.fetcher.schedule import Schedule
from img2dataset.options import FetchOptions

MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_THROTTLES = frozenset({429, 503})
# What may pass within seconds. A timeout is not among them: it has cost enough.
RETRIED = frozenset(
    {
        Reason.DNS_TEMPORARY,
        Reason.CONNECTION_REFUSED,
        Reason.CONNECTION_RESET,
        *(http_status_reason(status) for status in (429, 500, 502, 503, 504)),
    }
)
FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all workers of a fetcher share."""

    options: FetchOptions
    schedule: Schedule
    budget: ByteBudget
    resolver: Resolver
    guard: Guard
    proxies: Proxies
    robots: RobotsTxt
    robots_token: str
    our_tokens: frozenset[str]


class Worker:
    """Takes jobs from the schedule until it is closed.

    A hop that needs something that is not known yet, addresses or a robots.txt, is left to whoever finds it out: the
    job goes back into the schedule then, and the thread to its next job. An exception that is not a `DownloadError` is
    our own mistake: it ends the job, and the engine, of which nobody knows what state it is in.
    """

    def __init__(self, workshop: Workshop, make_engine: Callable[[], Engine]) -> None:
        self._shop = workshop
        self._options = workshop.options
        self._schedule = workshop.schedule
        self._make_engine = make_engine
        self._engine: Engine | None = None

    def run(self) -> None:
        """Work until the schedule is closed."""
        last = None
        while (job := self._schedule.take(last)) is not None:
            last = job.target.host
            self._do(job)
        self._close_engine()

    def _do(self, job: Job) -> None:
        try:
            self._step(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next job has nothing to do with it
            self._mistake(job, error)

    @contextlib.contextmanager
    def _mistakes_end(self, job: Job) -> Iterator[None]:
        """What is raised inside ends the job, and not the thread, which may be anybody's."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whoever called has nothing to do with this job
            self._mistake(job, error)

    def _mistake(self, job: Job, error: Exception) -> None:
        """End a job by an exception that nobody expected; what it held is given back."""
        if not self._schedule.is_closed:  # for then the libraries are right to complain
            defects.tell(error, job.first.url)
        self._schedule.release(job)
        job.finish(job.outcome(None, Reason.INTERNAL_ERROR))

    def _step(self, job: Job) -> None:
        if job.is_over():
            self._schedule.release(job)
        elif job.skipped:
            self._schedule.release(job)
            job.finish(job.outcome(None, job.last_error or Reason.HOST_FAILING))
        else:
            self._go_on(job)

    def _go_on(self, job: Job) -> None:
        try:
            if self._needs_addresses(job):
                return self._find_addresses(job)
            hop = self._hop(job)
            if self._needs_rules(job):
                return self._find_rules(job)
            self._ask_leave(job)
        except DownloadError as error:
            self._schedule.release(job)
            return self._failed(job, str(error))
        return self._make_hop(job, hop)

    # ------------------------------------------------------------------------------------- what a hop needs before

    def _needs_addresses(self, job: Job) -> bool:
        if job.resolution is None and not job.target.is_address and self._shop.proxies.of(job.target) is None:
            job.resolution = self._shop.resolver.cached(job.target.host)
            return job.resolution is None
        return False

    def _find_addresses(self, job: Job) -> None:
        # Released first: from the moment that the lookup begins, another thread may have the job.
        self._schedule.release(job)
        self._shop.resolver.resolve(job.target.host, functools.partial(self._resolved, job))

    def _resolved(self, job: Job, resolution: Resolution) -> None:
        with self._mistakes_end(job):
            job.seconds += resolution.seconds
            if resolution.error:  # at once: while the job waited for its turn, another lookup might find more
                self._unresolved(job, resolution)
                self._failed(job, resolution.error)
            else:
                job.resolution = resolution
                self._schedule.resume(job)

    def _unresolved(self, job: Job, resolution: Resolution) -> None:
        if resolution.error in (Reason.DNS_TEMPORARY, Reason.DNS_NO_ANSWER):
            self._schedule.unreachable(job, self._options.timeout, resolution)

    def _hop(self, job: Job) -> Hop:
        """The next hop, to addresses that may be connected to. Raises `DownloadError` if there are none."""
        target = job.target
        proxy = self._shop.proxies.of(target)
        addresses: tuple[str, ...] = (target.host,) if target.is_address else ()
        if job.resolution is not None:
            addresses = self._found(job, job.resolution)
        if addresses:
            addresses = self._shop.guard.allowed(addresses, from_public=job.seen_public)
        left = self._options.timeout - job.seconds
        if left <= 0:
            raise DownloadError(Reason.TIMED_OUT)
        send_private_headers = job.first.shares_secrets_with(target)
        return Hop(target.url, target.port, () if proxy else addresses, proxy, send_private_headers, left)

    def _found(self, job: Job, resolution: Resolution) -> tuple[str, ...]:
        if resolution.error:
            self._unresolved(job, resolution)
            raise DownloadError(resolution.error)
        return resolution.addresses

    def _needs_rules(self, job: Job) -> bool:
        if self._options.respect_robots_txt and job.rules is None and not job.is_robots_txt:
            job.rules = self._shop.robots.known(job.target.origin)
            return job.rules is None
        return False

    def _find_rules(self, job: Job) -> None:
        self._schedule.release(job)
        origin = job.target.origin
        file = urls.join(job.target, "/robots.txt")
        reader = Job(file, ROBOTS_TXT_BYTES, Finish(functools.partial(self._read, origin)), is_robots_txt=True)
        reader.seen_public = job.seen_public
        reader.is_probe = job.is_probe
        if self._shop.robots.wait(origin, functools.partial(self._ruled, job)):
            with self._mistakes_end(reader):
                self._schedule.resume(reader)

    def _read(self, origin: str, outcome: Outcome) -> None:
        self._shop.budget.release(len(outcome.body or b""))
        self._shop.robots.learn(origin, outcome)

    def _ruled(self, job: Job, rules: RobotsRules) -> None:
        with self._mistakes_end(job):
            job.rules = rules
            self._schedule.resume(job)

    def _ask_leave(self, job: Job) -> None:
        refusal = job.rules.refusal(job.target.url, self._shop.robots_token) if job.rules else None
        if refusal:
            raise DownloadError(refusal)

    # ---------------------------------------------------------------------------------- the hop, and what it gave

    def _make_hop(self, job: Job, hop: Hop) -> None:
        refusal = functools.partial(self._opt_out, job)
        body = Body(job.limit, self._shop.budget, job.reserved, refusal, cut_at_limit=job.is_robots_txt)
        job.reserved = 0
        self._count(job, hop)
        try:
            self._exchange(job, hop, body)
        except Exception:
            body.give_up()
            self._close_engine()
            raise

    def _exchange(self, job: Job, hop: Hop, body: Body) -> None:
        self._engine = self._engine or self._make_engine()
        started = time.monotonic()
        try:
            answer = self._engine.get(hop, body)
        except DownloadError as error:
            self._no_answer(job, hop, body, error)
        else:
            self._answered(job, answer, body, time.monotonic() - started)

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _count(self, job: Job, hop: Hop) -> None:
        if not job.sent:
            job.sent = True
            job.attempts += 1
        job.http_status = None
        job.seen_public = job.seen_public or hop.proxy is not None or is_public(hop.addresses)

    def _opt_out(self, job: Job, answer: Answer) -> str | None:
        directives = self._options.disallowed_header_directives
        if job.is_robots_txt or not directives:
            return None
        values = answer.header.all(b"x-robots-tag")
        if values and opted_out(values, directives, self._shop.our_tokens):
            return Reason.DISALLOWED_BY_X_ROBOTS_TAG
        return None

    def _no_answer(self, job: Job, hop: Hop, body: Body, error: DownloadError) -> None:
        body.give_up()
        job.http_status = body.answer.status if body.answer else None
        self._schedule.release(job, reached=body.answer is not None)
        reason = str(error)
        if isinstance(error, ConnectError) and hop.proxy:
            reason = Reason.PROXY_FAILED
        elif isinstance(error, ConnectError):
            self._schedule.unreachable(job, self._options.timeout)
        self._failed(job, reason)

    def _answered(self, job: Job, answer: Answer, body: Body, seconds: float) -> None:
        job.http_status = answer.status
        if body.needs is not None:
            job.room = body.needs
            self._leave(job, body)
            self._schedule.resume(job)
        elif body.problem:
            self._leave(job, body)
            self._failed(job, body.problem)
        elif answer.is_success:
            self._succeeded(job, body)
        else:
            job.seconds += seconds
            self._leave(job, body, reached=answer.status not in _THROTTLES)
            self._not_here(job, answer)

    def _leave(self, job: Job, body: Body, *, reached: bool = True) -> None:
        body.give_up()
        self._schedule.release(job, reached=reached)

    def _succeeded(self, job: Job, body: Body) -> None:
        data = body.take()
        self._schedule.release(job, reached=True)
        if not data:
            self._failed(job, Reason.BODY_EMPTY)
        elif job.finish(job.outcome(data, None)):
            body.hand_over()
        else:
            body.give_up()

    def _not_here(self, job: Job, answer: Answer) -> None:
        """Another place, another time, or never."""
        location = answer.header.first(b"location")
        if answer.status in _REDIRECTS and location is not None:
            self._redirect(job, location)
            return
        retry_after = retry_after_seconds(answer.header.first(b"retry-after"))
        if answer.status in _THROTTLES:
            self._schedule.throttled(job, retry_after, self._options.timeout)
        self._failed(job, http_status_reason(answer.status), retry_after)

    def _redirect(self, job: Job, location: str) -> None:
        if job.redirects >= MOST_REDIRECTS:
            self._failed(job, Reason.TOO_MANY_REDIRECTS)
            return
        try:
            job.redirect(urls.join(job.target, _as_utf8(location)))
        except DownloadError as error:
            self._failed(job, str(error))
        else:
            self._schedule.resume(job)

    def _failed(self, job: Job, reason: str, retry_after: float | None = None) -> None:
        """Try again, if that may help, or finish."""
        job.last_error = reason
        fits = retry_after is None or retry_after <= self._options.timeout
        if reason not in RETRIED or job.retries >= self._options.retries or not fits:
            job.finish(job.outcome(None, reason))
            return
        wait = back_off(job.retries) if retry_after is None else retry_after + _jitter()
        job.retries += 1
        job.start_again()
        self._schedule.resume_later(job, wait)


def _jitter() -> float:
    return random.uniform(0, 0.25)


def back_off(retries: int) -> float:
    """Seconds before the next attempt, so many `retries` having been made."""
    return random.uniform(0.5, 1.0) * min(FIRST_BACK_OFF * 2.0**retries, _LONGEST_BACK_OFF)


def _as_utf8(text: str) -> str:
    """A header's value, decoded as Latin-1, in the encoding that servers mean when they leave ASCII."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def retry_after_seconds(value: str | None) -> float | None:
    """The seconds to wait that a ``Retry-After`` header asks for, given in seconds or as a date."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
