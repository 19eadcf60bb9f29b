"""What a thread does with a job: one hop, without waiting for anything but the server."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

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


class _After(NamedTuple):
    """What a hop has led to: `go_on` is called with the job when it has given back its host and its room."""

    go_on: Callable[[Job], None]
    reached: bool = False
    body: bytes | None = None


def _nothing(_: Job) -> None:
    """Nobody waits for the job any more."""


class Hops:
    """Takes jobs from the schedule until it is closed, and makes their hops with an engine of its own.

        take ─► hop ─► release ─► finish, or back to the preparation: another place, another time

    An exception that is not a `DownloadError` ends the engine too, of which nobody knows what state it is in.
    `directives` of an ``X-Robots-Tag`` for `token`, or for us, leave an image out.
    """

    def __init__(
        self,
        schedule: Schedule,
        preparation: Preparation,
        make_engine: Callable[[], Engine],
        *,
        directives: Collection[str],
        token: str,
    ) -> None:
        self._schedule = schedule
        self._preparation = preparation
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._directives = directives
        self._token = token
        self._tokens = frozenset({PRODUCT_TOKEN, token})

    def run(self) -> None:
        """Work until the schedule is closed."""
        last = None
        while (turn := self._schedule.take(last)) is not None:
            last = turn.job.target.host
            self._do(*turn)
        self._close_engine()

    def _do(self, job: Job, room: Room) -> None:
        try:
            after = self._hop(job, room)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next job has nothing to do with it
            self._close_engine()
            after = _After(functools.partial(self._preparation.mistake, error=error))
        if after.body is None:
            room.free()
        self._schedule.release(job, reached=after.reached)
        self._preparation.step(job, after.go_on)
        if after.body is not None:
            self._deliver(job, room, after.body)

    def _deliver(self, job: Job, room: Room, body: bytes) -> None:
        if job.finish(body):
            room.hand_over()
        room.free()

    def _hop(self, job: Job, room: Room) -> _After:
        if job.is_over():
            return _After(_nothing)
        refusal = job.rules.refusal(job.target.url, self._token) if job.rules else None
        if refusal:
            return self._failure(refusal)
        body = Body(job.limit, room, functools.partial(self._opt_out, job), cut_at_limit=job.is_robots_txt)
        self._count(job)
        started = time.monotonic()
        try:
            answer = self._engine_now().get(job.hop, body)
        except DownloadError as error:
            return self._no_answer(job, body, error)
        job.seconds += time.monotonic() - started
        job.http_status = answer.status
        return self._answered(job, answer, body)

    def _failure(self, reason: str, *, reached: bool = False) -> _After:
        return _After(functools.partial(self._preparation.failed, reason=reason), reached)

    def _engine_now(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _count(self, job: Job) -> None:
        if not job.sent:
            job.sent = True
            job.attempts += 1
        job.http_status = None
        job.seen_public = job.seen_public or job.hop.proxy is not None or is_public(job.hop.addresses)

    def _opt_out(self, job: Job, answer: Answer) -> str | None:
        if job.is_robots_txt or not self._directives:
            return None
        values = answer.header.all(b"x-robots-tag")
        if values and opted_out(values, self._directives, self._tokens):
            return Reason.DISALLOWED_BY_X_ROBOTS_TAG
        return None

    # ---------------------------------------------------------------------------------------------- what it gave

    def _no_answer(self, job: Job, body: Body, error: DownloadError) -> _After:
        if body.answer is not None:
            job.http_status = body.answer.status
            return self._failure(str(error), reached=True)
        if isinstance(error, ConnectError) and job.hop.proxy:
            return self._failure(Reason.PROXY_FAILED)
        if isinstance(error, ConnectError):
            return _After(functools.partial(self._unreachable, reason=str(error)))
        return self._failure(str(error))

    def _unreachable(self, job: Job, reason: str) -> None:
        self._schedule.unreachable(job, self._preparation.limits.timeout)
        self._preparation.failed(job, reason)

    def _answered(self, job: Job, answer: Answer, body: Body) -> _After:
        if body.needs is not None:
            job.needs = body.needs
            return _After(self._schedule.add, reached=True)
        if body.problem:
            return self._failure(body.problem, reached=True)
        if answer.is_success:
            data = body.whole()
            return _After(_nothing, reached=True, body=data) if data else self._failure(Reason.BODY_EMPTY, reached=True)
        go_on = functools.partial(self._not_here, answer=answer)
        return _After(go_on, reached=answer.status not in _THROTTLES)

    def _not_here(self, job: Job, answer: Answer) -> None:
        """Another place, another time, or never."""
        location = answer.header.first(b"location")
        if answer.status in _REDIRECTS and location is not None:
            self._redirect(job, location)
            return
        retry_after = retry_after_seconds(answer.header.first(b"retry-after"))
        if answer.status in _THROTTLES:
            self._schedule.throttled(job, retry_after, self._preparation.limits.timeout)
        self._preparation.failed(job, http_status_reason(answer.status), retry_after)

    def _redirect(self, job: Job, location: str) -> None:
        if job.redirects >= MOST_REDIRECTS:
            raise DownloadError(Reason.TOO_MANY_REDIRECTS)
        job.redirect(join(job.target, _as_utf8(location)))
        self._preparation.prepare(job)


def _as_utf8(text: str) -> str:
    """A header's value, decoded as Latin-1, in the encoding that servers mean when they leave ASCII."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
