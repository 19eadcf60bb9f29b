"""Names to addresses by c-ares, so that what one name is answered fails no other."""

from __future__ import annotations

import functools
import inspect
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

from img2dataset.errors import Reason
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.resolver import MOST_ADDRESSES, Resolution, resolution_of

# c-ares expects the next answer as fast as the last ones, within a quarter of a second from a caching name server, and
# waits twice as long with each try. So many reach beyond the usual `timeout`: a name that the server has to look for
# must not fail because the others were in its cache.
_TRIES = 6
# How many names are asked for alone at once, and for how many seconds each is sure of it. Garbage comes as fast as any
# answer: six round trips tell a name that gets nothing else. Each channel takes about five of the process's open files.
_ALONE_AT_ONCE = 16
_ALONE_SECONDS = 0.25
# So often a name may be thrown out by another one's garbage before it is given up.
_MOST_TURNS = 4

# A failure that may be another name's.
_DOUBTFUL = Resolution(error=Reason.DNS_TEMPORARY)


class CaresBackend:
    """c-ares: asks the name servers of the system itself, with its hosts file and search domains.

    `servers` (``host:port``) are asked instead of the system's.

    All names are asked for from one socket, or over one TCP connection if their answers are long. c-ares throws it away
    when a malformed answer comes, and with it the answers that all the others wait for, which costs each of them one of
    its tries. (It could give every question its own socket, `udp_max_queries`: pycares does not let us say so, and all
    healthy names would pay for it.) So what may have failed for another name's answers is asked for again, alone.
    """

    def __init__(self, servers: Sequence[str] | None = None) -> None:
        self._channel = _Channel(servers)
        self._again = _AskAgain(functools.partial(_Channel, servers))

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        """See `Backend.start`."""

        def answered(reply: Resolution) -> None:
            if reply is _DOUBTFUL:
                self._again.start(host, done)
            else:
                done(reply)

        self._channel.ask(host, answered)

    def close(self) -> None:
        """See `Backend.close`."""
        self._again.close()
        self._channel.close()


class _Channel:
    """A channel of c-ares: a socket and a thread that waits for its answers.

    A name whose tries were used up because the socket was lost, for its own answers or another's, gets `_DOUBTFUL`.
    Raises `OSError` when the system has no more open files.
    """

    def __init__(self, servers: Sequence[str] | None) -> None:
        import pycares

        options: dict[str, Any] = {"servers": servers, "tries": _TRIES}
        if "event_thread" in inspect.signature(pycares.Channel).parameters:
            options["event_thread"] = True  # which pycares 4 has to be told, or nobody would read the socket
        try:
            self._channel = pycares.Channel(**options)
        except pycares.AresError as error:
            raise OSError(str(error)) from error
        errors = pycares.errno
        self._refusals = {
            errors.ARES_ENOTFOUND: Resolution(error=Reason.DNS_NOT_FOUND),
            errors.ARES_ENODATA: Resolution(error=Reason.DNS_NOT_FOUND),
            errors.ARES_EBADNAME: Resolution(error=Reason.DNS_NOT_FOUND),
            errors.ARES_ETIMEOUT: Resolution(error=Reason.DNS_NO_ANSWER),
            errors.ARES_EBADRESP: _DOUBTFUL,
            errors.ARES_ECONNREFUSED: _DOUBTFUL,  # also where the server hung up on a connection over TCP
        }

    def ask(self, host: str, done: Callable[[Resolution], None]) -> None:
        """Look `host` up; `done` is called once, from any thread, which may hold locks of c-ares."""

        def called_back(result: Any, error: int | None) -> None:
            done(resolution_of(host, functools.partial(self._reply, result, error)))

        self._channel.getaddrinfo(host, None, type=socket.SOCK_STREAM, callback=called_back)

    def _reply(self, result: Any, error: int | None) -> Resolution:
        if error is not None:
            return self._refusals.get(error, Resolution(error=Reason.DNS_TEMPORARY))
        if not result.nodes:
            return Resolution(error=Reason.DNS_NOT_FOUND)
        addresses = dict.fromkeys(node.addr[0].decode("ascii") for node in result.nodes[:MOST_ADDRESSES])
        return Resolution(tuple(addresses), ttl=min(node.ttl for node in result.nodes))

    def cancel(self) -> None:
        """Ask for nothing any more; who waits is called back at once."""
        self._channel.cancel()

    def close(self) -> None:
        """Cancel, and be of no use any more."""
        self.cancel()  # `close` would call back from a thread, at any time later
        self._channel.close()


class _Question:
    __slots__ = ("done", "host", "since", "turn")

    def __init__(self, host: str, done: Callable[[Resolution], None]) -> None:
        self.host = host
        self.done = done
        self.turn = 0  # counted up each time it is asked, so that what an earlier turn brings is known as late
        self.since = 0.0


class _AskAgain:
    """Asks for each name on a channel of its own: there it is the only one that its answers can fail.

    When all the channels are taken, the name that has had its own for longest gives it up, and is asked for together
    with the others that had to: as it has got no garbage so far, it may be slow or silent, but does no harm.
    """

    def __init__(self, make_channel: Callable[[], _Channel]) -> None:
        self._make_channel = make_channel
        self._clock = Clock()  # c-ares must not be asked from its own callbacks
        self._lock = threading.Lock()
        self._waiting: deque[_Question] = deque()
        self._alone: OrderedDict[_Question, _Channel] = OrderedDict()
        self._idle: list[_Channel] = []
        self._shared: _Channel | None = None
        self._closed = False

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        """See `Backend.start`; may be called from a callback of c-ares."""
        self._clock.call_later(0, functools.partial(self._enqueue, _Question(host, done)))

    def close(self) -> None:
        """See `Backend.close`."""
        self._clock.close()
        with self._lock:
            self._closed = True
            shared = [self._shared] if self._shared else []
            for channel in (*self._alone.values(), *self._idle, *shared):
                channel.close()

    def _enqueue(self, question: _Question) -> None:
        with self._lock:
            self._waiting.append(question)
            self._ask_alone()

    def _proceed(self) -> None:
        with self._lock:
            self._ask_alone()

    def _ask_alone(self) -> None:
        while self._waiting and not self._closed:
            try:
                channel = self._channel_for_one()
            except OSError:
                self._waiting.popleft().done(_DOUBTFUL)
                continue
            if channel is None:
                return
            question = self._waiting.popleft()
            self._alone[question] = channel
            self._ask(question, channel)

    def _channel_for_one(self) -> _Channel | None:
        if self._idle:
            return self._idle.pop()
        if len(self._alone) < _ALONE_AT_ONCE:
            return self._make_channel()
        longest = next(iter(self._alone))
        too_early = longest.since + _ALONE_SECONDS - time.monotonic()
        if too_early > 0:
            self._clock.call_later(too_early, self._proceed)
            return None
        return self._move_to_the_others(longest)

    def _move_to_the_others(self, question: _Question) -> _Channel:
        self._shared = self._shared or self._make_channel()
        left = self._alone.pop(question)
        self._ask(question, self._shared)
        left.cancel()
        return left

    def _ask(self, question: _Question, channel: _Channel) -> None:
        question.turn += 1
        question.since = time.monotonic()
        turn = question.turn

        def answered(reply: Resolution) -> None:
            self._clock.call_later(0, functools.partial(self._answered, question, turn, reply))

        channel.ask(question.host, answered)

    def _answered(self, question: _Question, turn: int, reply: Resolution) -> None:
        with self._lock:
            if turn != question.turn:
                return
            channel = self._alone.pop(question, None)
            if channel:
                self._idle.append(channel)
            thrown_out = reply is _DOUBTFUL and channel is None and turn < _MOST_TURNS
            if thrown_out:
                self._waiting.append(question)
            self._ask_alone()
        if not thrown_out:
            question.done(reply)
