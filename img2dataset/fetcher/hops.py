"""What a thread does with a job: one hop, without waiting for anything but the server."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from img2dataset.errors import DownloadError, Reason, http_status_reason
from img2dataset.fetcher.engine import Answer, Body, ConnectError, Engine
from img2dataset.fetcher.guard import is_public
from img2dataset.fetcher.job import Job
from img2dataset.fetcher.memory import Room
from img2dataset.fetcher.preparation import Preparation
from img2dataset.fetcher.retries import retry_after_seconds
from img2dataset.fetcher.robots import PRODUCT_TOKEN, opted_out
from img2dataset.fetcher.schedule import Schedule
from img2dataset.fetcher.urls import join

MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_THROTTLES = frozenset({429, 503})


@dataclass(slots=True, kw_only=True, eq=False)
class Hops:
    """Takes jobs from the schedule until it is closed, and makes their hops with an engine of its own.

        take ─► hop ─► release ─► finish, or back to the preparation: another place, another time

    An exception that is not a `DownloadError` ends the engine too, of which nobody knows what state it is in.
    `directives` of an ``X-Robots-Tag`` for `token`, or for us, leave an image out.
    """

    schedule: Schedule
    preparation: Preparation
    make_engine: Callable[[], Engine]
    directives: Collection[str]
    token: str
    _engine: Engine | None = None

    def run(self) -> None:
        """Work until the schedule is closed."""
        last = None
        while (turn := self.schedule.take(last)) is not None:
            last = turn[0].target.host
            self._do(*turn)
        self._close_engine()

    def _do(self, job: Job, room: Room) -> None:
        body = Body(job.limit, room, functools.partial(self._opt_out, job), cut_at_limit=job.is_robots_txt)
        is_over = job.is_over()
        mistake = None if is_over else self._hop(job, body)
        if not body.data:
            room.free()
        # What comes next may bring the job to another thread at once, so all that it held is given back before.
        self.schedule.release(job, reached=body.answer is not None and body.answer.status not in _THROTTLES)
        if not is_over:
            self.preparation.step(job, self._go_on, body, mistake)
        room.free()

    def _hop(self, job: Job, body: Body) -> Exception | None:
        """Make the hop. Returns an exception that nobody expected."""
        try:
            body.problem = job.rules.refusal(job.target.url, self.token) if job.rules else None
            if not body.problem:
                self._count(job)
                self._fetch(job, body)
            body.finish()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next job has nothing to do with it
            self._close_engine()
            return error
        return None

    def _fetch(self, job: Job, body: Body) -> None:
        self._engine = self._engine or self.make_engine()
        started = time.monotonic()
        try:
            self._engine.get(job.hop, body)
        except DownloadError as error:
            unconnected = isinstance(error, ConnectError)
            body.unreachable = unconnected and not job.hop.proxy
            body.problem = Reason.PROXY_FAILED if unconnected and job.hop.proxy else str(error)
        job.seconds += time.monotonic() - started
        job.http_status = body.answer.status if body.answer else None

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _count(self, job: Job) -> None:
        if not job.sent:
            job.sent = True
            job.attempts += 1
        job.seen_public = job.seen_public or job.hop.proxy is not None or is_public(job.hop.addresses)

    def _opt_out(self, job: Job, answer: Answer) -> str | None:
        tokens = {PRODUCT_TOKEN, self.token}
        if not job.is_robots_txt and opted_out(answer.values(b"x-robots-tag"), self.directives, tokens):
            return Reason.DISALLOWED_BY_X_ROBOTS_TAG
        return None

    def _go_on(self, job: Job, body: Body, mistake: Exception | None) -> None:
        """Finish the job, or bring it back. Raises why it has failed."""
        if mistake is not None:
            raise mistake
        if body.unreachable:
            self.schedule.unreachable(job)
        if body.problem:
            raise DownloadError(body.problem)
        if body.needs is not None:
            job.needs = body.needs
            self.schedule.add(job)
        elif body.answer is not None and not body.answer.is_success:
            self._not_here(job, body.answer)
        elif not body.data:
            raise DownloadError(Reason.BODY_EMPTY)
        elif job.finish(body.data):
            body.room.hand_over()

    def _not_here(self, job: Job, answer: Answer) -> None:
        """Another place, another time, or never."""
        location = answer.value(b"location")
        if answer.status in _REDIRECTS and location is not None:
            self._redirect(job, location)
            return
        retry_after = retry_after_seconds(answer.value(b"retry-after"))
        if answer.status in _THROTTLES:
            self.schedule.throttled(job, retry_after)
        self.preparation.failed(job, http_status_reason(answer.status), retry_after)

    def _redirect(self, job: Job, location: str) -> None:
        if job.redirects >= MOST_REDIRECTS:
            raise DownloadError(Reason.TOO_MANY_REDIRECTS)
        job.redirect(join(job.target, _as_utf8(location)))
        self.preparation.prepare(job)


def _as_utf8(text: str) -> str:
    """A header's value, decoded as Latin-1, in the encoding that servers mean when they leave ASCII."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
