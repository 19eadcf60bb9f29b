"""Requests by the requests library, for where libcurl cannot be installed."""

from __future__ import annotations

import http.client
import logging
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from urllib.parse import unquote_to_bytes, urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.engine import ERRNO_REASONS, Answer, Body, ConnectError, EngineSettings, Header, Hop
from img2dataset.fetcher.engine.pinned import Deadline, PinnedAdapter, this_thread

logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns on the terminal of every odd header

_CHUNK_BYTES = 64 * 1024

# The first that is found in the chain of causes says what happened, so the most telling come first.
_TYPE_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.ProxyError, Reason.PROXY_FAILED),
    (ssl.SSLCertVerificationError, Reason.TLS_CERTIFICATE),
    (urllib3.exceptions.IncompleteRead, Reason.BODY_CUT_SHORT),
    (http.client.IncompleteRead, Reason.BODY_CUT_SHORT),
    (urllib3.exceptions.InvalidChunkLength, Reason.BODY_CUT_SHORT),
    (urllib3.exceptions.DecodeError, Reason.BODY_UNDECODABLE),
    (urllib3.exceptions.LocationParseError, Reason.INVALID_URL),
    (TimeoutError, Reason.TIMED_OUT),
    (ConnectionError, Reason.CONNECTION_RESET),
    (ssl.SSLError, Reason.TLS_FAILED),
    (http.client.HTTPException, Reason.PROTOCOL_ERROR),
)


class RequestsEngine:
    """An adapter with its connections. Its TLS context, and so the parsed CA bundle, is that of all engines."""

    def __init__(self, settings: EngineSettings) -> None:
        self._call_later = settings.call_later
        shared = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", **settings.headers}
        self._headers = {False: shared, True: _merged(shared, settings.private_headers)}
        self._adapter = PinnedAdapter(settings)

    def get(self, hop: Hop, body: Body) -> None:
        """See `Engine.get`."""
        deadline = Deadline(hop)
        self._call_later(hop.timeout, deadline.expire)
        this_thread.deadline = deadline
        try:
            self._exchange(hop, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            reason = Reason.TIMED_OUT if deadline.expired else _reason(error)
            raise (DownloadError if deadline.connected else ConnectError)(reason) from error
        finally:
            deadline.over()

    def close(self) -> None:
        """See `Engine.close`."""
        self._adapter.close()

    def _exchange(self, hop: Hop, body: Body) -> None:
        response = self._adapter.send(
            self._request(hop),
            stream=True,
            timeout=hop.timeout,
            proxies={"http": hop.proxy, "https": hop.proxy} if hop.proxy else None,
        )
        raw: urllib3.HTTPResponse = response.raw
        with closing(raw):  # which closes the connection, unless it has been given back
            answer = Answer(response.status_code, Header([_line(*item) for item in raw.headers.iteritems()]))
            if body.begin(answer) and all(body.write(chunk) for chunk in _chunks(raw)):
                this_thread.deadline.check()
                raw.release_conn()

    def _request(self, hop: Hop) -> requests.PreparedRequest:
        # Not `prepare`, which would rewrite the URL that has been normalised.
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.url = hop.url
        request.prepare_headers(self._headers[hop.send_private_headers])
        request.prepare_cookies({})
        request.prepare_body(None, None)
        request.headers.update(_authorization(hop.url))
        return request


def _authorization(url: str) -> dict[str, str]:
    """The credentials of a URL, in any character; the library takes only those of Latin-1."""
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    if not userinfo:
        return {}
    user, _, password = userinfo.partition(":")
    return {"Authorization": f"Basic {b64encode(unquote_to_bytes(user) + b':' + unquote_to_bytes(password)).decode()}"}


def _merged(shared: Mapping[str, str], private: Mapping[str, str]) -> dict[str, str]:
    names = {name.lower() for name in private}
    return {**{name: value for name, value in shared.items() if name.lower() not in names}, **private}


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1", "replace")


def _chunks(raw: urllib3.HTTPResponse) -> Iterator[bytes]:
    while chunk := _read(raw):
        yield chunk


def _read(raw: urllib3.HTTPResponse) -> bytes:
    try:
        return raw.read(_CHUNK_BYTES, decode_content=True)
    except ValueError as error:  # a chunk of less than no bytes: http.client takes any number for a size
        raise http.client.HTTPException(str(error)) from error


def _reason(error: BaseException) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in ERRNO_REASONS:
            return ERRNO_REASONS[cause.errno]
    for kind, reason in _TYPE_REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return Reason.PROTOCOL_ERROR


def _causes(error: object, depth: int = 8) -> Iterator[BaseException]:
    """The exceptions that an exception of requests is wrapped around, in all the ways in which it wraps."""
    if isinstance(error, BaseException) and depth:
        yield error
        for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
            yield from _causes(inner, depth - 1)
