"""Names to addresses by c-ares, so that what one name is answered fails no other."""

from __future__ import annotations

import functools
import inspect
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from img2dataset.errors import Reason
from img2dataset.fetcher.resolver import MOST_ADDRESSES, Resolution, resolution_of

# c-ares expects the next answer as fast as the last ones, within a quarter of a second from a caching name server, and
# waits twice as long with each try. So many reach beyond the usual `timeout`: a name that the server has to look for
# must not fail because the others were in its cache.
_TRIES = 6
# How many names are asked for alone at once, and for how many seconds each is sure of it. Garbage comes as fast as any
# answer: six round trips tell a name that gets nothing else. Each channel takes about five of the process's open files.
_ALONE_AT_ONCE = 16
_ALONE_SECONDS = 0.25
# So often a name is asked for among others before their garbage is taken for its own.
_MOST_TURNS = 2

# A failure that may be another name's.
_DOUBTFUL = Resolution(error=Reason.DNS_TEMPORARY)
_NOT_FOUND = Resolution(error=Reason.DNS_NOT_FOUND)


class CaresBackend:
    """c-ares: asks the name servers of the system itself, with its hosts file and search domains.

        all ─┬─► an answer
             └─► one that is doubtful ─► alone ─┬─► an answer
                                         ▲      └─► nothing, and others wait ─► quiet ─┬─► an answer
                                         └─────────────────────────────────────────────┴─► one that is doubtful

    `servers` (``host:port``) are asked instead of the system's.

    All names are asked for from one socket, or over one TCP connection if their answers are long. c-ares throws it away
    when a malformed answer comes, and with it the answers that all the others wait for, which costs each of them one of
    its tries. (It could give every question its own socket, `udp_max_queries`: pycares does not let us say so, and all
    healthy names would pay for it.) So what may have failed for another name's answers is asked for again, on a channel
    of its own: there it is the only one that its answers can fail.

    When more names wait than there may be channels, one that has had its own for a while gives it up, and is asked for
    together with the others that had to: as it has got no garbage so far, it may be slow or silent, but does no harm.
    """

    def __init__(self, servers: Sequence[str] | None = None) -> None:
        self._make_channel = functools.partial(_Channel, servers)
        self._all = self._make_channel()
        self._quiet: _Channel | None = None
        self._alone: SimpleQueue[tuple[str, Callable[[Resolution], None], int] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []  # one for each name that is asked for alone
        self._lock = threading.RLock()  # c-ares may call back at once
        self._closed = False

    def start(self, host: str, done: Callable[[Resolution], None]) -> None:
        """See `Backend.start`."""
        self._ask(self._all, host, done, turn=0)

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            self._closed = True
            self._all.close()
            if self._quiet:
                self._quiet.close()
        for _ in self._threads:
            self._alone.put(None)
        for thread in self._threads:
            thread.join(2 * _ALONE_SECONDS)

    def _ask(self, channel: _Channel | None, host: str, done: Callable[[Resolution], None], turn: int) -> None:
        """Ask on a channel of many names; None: the quiet one."""

        def answered(reply: Resolution) -> None:
            if reply is _DOUBTFUL and turn < _MOST_TURNS:
                self._ask_again(host, done, turn + 1)
            else:
                done(reply)

        with self._lock:
            if self._closed:
                return
            if channel is None:
                channel = self._quiet = self._quiet or self._make_channel()
            channel.ask(host, answered)

    def _ask_again(self, host: str, done: Callable[[Resolution], None], turn: int) -> None:
        self._alone.put((host, done, turn))  # for a thread, as c-ares must not be asked from its own callbacks
        if len(self._threads) < _ALONE_AT_ONCE:
            thread = threading.Thread(target=self._work, name="fetcher c-ares", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        channel = None
        for host, done, turn in iter(self._alone.get, None):
            if self._closed:
                break
            try:
                channel = channel or self._make_channel()
                reply = self._ask_alone(channel, host)
                if reply is None:
                    self._ask(None, host, done, turn)
                else:
                    done(reply)
            except OSError:
                done(_DOUBTFUL)
        if channel:
            channel.close()

    def _ask_alone(self, channel: _Channel, host: str) -> Resolution | None:
        """The answer; None when the channel is to be given up before there is one."""
        replies: SimpleQueue[Resolution] = SimpleQueue()
        channel.ask(host, replies.put)
        while not self._closed:
            with suppress(Empty):
                return replies.get(timeout=_ALONE_SECONDS)
            if not self._alone.empty():
                break
        channel.cancel()
        return None


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
            **dict.fromkeys((errors.ARES_ENOTFOUND, errors.ARES_ENODATA, errors.ARES_EBADNAME), _NOT_FOUND),
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
            return _NOT_FOUND
        addresses = dict.fromkeys(node.addr[0].decode("ascii") for node in result.nodes[:MOST_ADDRESSES])
        return Resolution(tuple(addresses), ttl=min(node.ttl for node in result.nodes))

    def cancel(self) -> None:
        """Ask for nothing any more; who waits is called back at once."""
        self._channel.cancel()

    def close(self) -> None:
        """Cancel, and be of no use any more."""
        self.cancel()  # `close` would call back from a thread, at any time later
        self._channel.close()
