"""Requests by libcurl, which keeps the whole deadline by itself and works without the GIL."""

from __future__ import annotations

import re
from contextlib import suppress

import pycurl

from img2dataset.errors import DownloadError, Reason
from img2dataset.fetcher.engine import ERRNO_REASONS, Answer, Body, ConnectError, EngineSettings, Hop
from img2dataset.fetcher.engine.kept_sockets import KeptSockets

# Every thread has such a buffer. With libcurl's 16 KB a request costs 0.06 ms more, with 256 KB 0.02 ms less.
_BUFFER_BYTES = 64 * 1024
# More of a host's addresses are not tried: the deadline would not be enough for them.
_MOST_ADDRESSES = 4

_HEADER_BYTES = 256 * 1024
_LINE_ENDS = (b"\r", b"\n")  # so begins the line after a header
# libcurl takes more for a status line than the standard allows.
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? ([1-9]\d\d)\s")
# Without the post-quantum exchange, which OpenSSL would offer first: it takes 0.1 of a handshake's 1.1 ms, and public
# images need no secrecy for decades.
_KEY_EXCHANGES = "X25519:P-256:P-384:P-521"

# For these pycurl has no name.
_SUPPRESS_CONNECT_HEADERS = 265
_WEIRD_SERVER_REPLY = 8

_REASONS = {
    pycurl.E_OPERATION_TIMEDOUT: Reason.TIMED_OUT,
    pycurl.E_COULDNT_RESOLVE_PROXY: Reason.PROXY_FAILED,
    97: Reason.PROXY_FAILED,  # CURLE_PROXY, for which pycurl has no name
    pycurl.E_URL_MALFORMAT: Reason.INVALID_URL,
    pycurl.E_PEER_FAILED_VERIFICATION: Reason.TLS_CERTIFICATE,
    pycurl.E_SSL_ISSUER_ERROR: Reason.TLS_CERTIFICATE,
    pycurl.E_SSL_CONNECT_ERROR: Reason.TLS_FAILED,
    pycurl.E_SSL_CIPHER: Reason.TLS_FAILED,
    pycurl.E_RECV_ERROR: Reason.CONNECTION_RESET,
    pycurl.E_SEND_ERROR: Reason.CONNECTION_RESET,
    pycurl.E_GOT_NOTHING: Reason.CONNECTION_RESET,
    pycurl.E_PARTIAL_FILE: Reason.BODY_CUT_SHORT,
    pycurl.E_FILESIZE_EXCEEDED: Reason.BODY_TOO_LARGE,
    pycurl.E_BAD_CONTENT_ENCODING: Reason.BODY_UNDECODABLE,
}

# Of all handles: a host that one thread has shaken hands with costs the others half as much CPU.
_TLS_SESSIONS = pycurl.CurlShare()
_TLS_SESSIONS.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)


class CurlEngine:
    """One easy handle, with its connections, TLS sessions and parsed CA bundle."""

    def __init__(self, settings: EngineSettings) -> None:
        self._lines: list[bytes] = []
        self._body: Body | None = None
        self._raised: Exception | None = None
        self._resolve_entry: str | None = None
        shared = [_header_line(*item) for item in settings.headers.items()]
        private = [_header_line(*item) for item in settings.private_headers.items()]
        self._headers = {False: shared, True: shared + private}
        self._kept = KeptSockets(settings.kept_connections)
        self._curl = pycurl.Curl()
        self._configure(settings)

    def _configure(self, settings: EngineSettings) -> None:
        curl = self._curl
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.SHARE, _TLS_SESSIONS)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        # One request at a time gains nothing from HTTP/2, which costs more CPU.
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.ACCEPT_ENCODING, "gzip, deflate")
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
        # Addresses come from the fetcher; libcurl's own cache would only be searched, in vain and each time.
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        curl.setopt(pycurl.MAXCONNECTS, settings.kept_connections)
        curl.setopt(pycurl.MAXFILESIZE_LARGE, settings.max_download_bytes)
        curl.setopt(pycurl.NOPROXY, "")  # or libcurl would read the environment's
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # what a proxy says before its tunnel stands is not the answer
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._take)
        if settings.ca_file:
            curl.setopt(pycurl.CAINFO, settings.ca_file)
            curl.setopt(pycurl.PROXY_CAINFO, settings.ca_file)
        else:
            for check in (
                pycurl.SSL_VERIFYPEER,
                pycurl.SSL_VERIFYHOST,
                pycurl.PROXY_SSL_VERIFYPEER,
                pycurl.PROXY_SSL_VERIFYHOST,
            ):
                curl.setopt(check, 0)
        with suppress(pycurl.error, AttributeError):  # an older pycurl, or a libcurl without OpenSSL
            curl.setopt(pycurl.SSL_EC_CURVES, _KEY_EXCHANGES)

    def get(self, hop: Hop, body: Body) -> None:
        """See `Engine.get`."""
        self._lines.clear()
        self._body, self._raised = body, None
        self._prepare(hop)
        code = self._perform()
        self._body = None  # an engine that waits for its next hop holds no image
        if self._raised is not None:
            raise self._raised
        if code is not None:
            self._unless_ended_by_body(code, hop, body)
        if body.answer is None:
            body.begin(self._answer())

    def _perform(self) -> int | None:
        """Do what has been prepared; returns libcurl's code if that failed."""
        fresh = self._kept.in_doubt()
        self._curl.setopt(pycurl.FRESH_CONNECT, fresh)
        self._curl.setopt(pycurl.FORBID_REUSE, fresh)
        try:
            self._curl.perform()
        except pycurl.error as error:
            code, text = error.args
            is_odd = code == pycurl.E_RECV_ERROR and "chunk" in text  # its code alone is that of a reset
            return _WEIRD_SERVER_REPLY if is_odd else int(code)
        finally:
            descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
            if descriptor >= 0:
                self._kept.add(descriptor)
        return None

    def _take(self, chunk: bytes) -> int | None:
        """A piece of the body, from libcurl, which is told -1 to end the transfer."""
        assert self._body is not None
        try:
            wanted = (self._body.answer or self._body.begin(self._answer())) and self._body.write(chunk)
        except Exception as error:  # noqa: BLE001 - raised again by `get`: pycurl would print it and go on
            self._raised = error
            return -1
        return None if wanted else -1

    def close(self) -> None:
        """See `Engine.close`."""
        self._curl.close()

    def _prepare(self, hop: Hop) -> None:
        curl = self._curl
        curl.setopt(pycurl.URL, hop.url)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, int(hop.timeout * 1000)))
        curl.setopt(pycurl.HTTPHEADER, self._headers[hop.send_private_headers])
        # Which proxy is used is the fetcher's decision: libcurl must not read the environment.
        curl.setopt(pycurl.PROXY, hop.proxy or "")
        curl.setopt(pycurl.REQUEST_TARGET, hop.request_target)  # libcurl would change the case of percent-encodings
        self._pin(hop.addresses[:_MOST_ADDRESSES], hop.port)

    def _pin(self, addresses: tuple[str, ...], port: int) -> None:
        """Make libcurl connect to these addresses, whatever it thinks the URL's host is: it never resolves a name.

        Several addresses become one made-up name that only libcurl's own cache knows. It is made of the addresses, so
        a kept connection is used again only for a host that was found, and checked, to have the same ones.
        """
        if not addresses:
            self._curl.unsetopt(pycurl.CONNECT_TO)
            self._set_resolve_entry(None, ())
        elif len(addresses) == 1:
            self._curl.setopt(pycurl.CONNECT_TO, [f"::{_bracketed(addresses[0])}:"])
            self._set_resolve_entry(None, ())
        else:
            name = "_".join(("of", *addresses)).replace(".", "-").replace(":", "-")
            self._curl.setopt(pycurl.CONNECT_TO, [f"::{name}:"])
            self._set_resolve_entry(f"{name}:{port}", addresses)

    def _set_resolve_entry(self, entry: str | None, addresses: tuple[str, ...]) -> None:
        """Put an entry into libcurl's DNS cache, and take out the one before, for these never expire."""
        if entry == self._resolve_entry:
            return
        changes = [f"-{self._resolve_entry}"] if self._resolve_entry else []
        if entry:
            changes.append(f"{entry}:{','.join(_bracketed(address) for address in addresses)}")
        self._curl.setopt(pycurl.RESOLVE, changes)
        self._resolve_entry = entry

    def _answer(self) -> Answer:
        """The first answer that is not an interim one: what stands after its header are trailers.

        Not from getinfo, which pycurl does not allow in a callback. Raises `DownloadError` (protocol error).
        """
        start = 0
        for end, line in enumerate(self._lines):
            if line[:1] in _LINE_ENDS:
                match = _STATUS_LINE.match(self._lines[start])
                if match is None:
                    break
                if int(match[1]) >= 200:
                    return Answer(int(match[1]), self._lines[start + 1 : end])
                start = end + 1
        raise DownloadError(Reason.PROTOCOL_ERROR)

    def _unless_ended_by_body(self, code: int, hop: Hop, body: Body) -> None:
        """Raise what the code means, if the transfer was not ended because the body is not wanted."""
        with suppress(DownloadError):
            body.answer = body.answer or self._answer()
        if body.ended or (code == pycurl.E_FILESIZE_EXCEEDED and body.answer and not body.answer.is_success):
            return
        if code == pycurl.E_COULDNT_CONNECT:
            error_number = int(self._curl.getinfo(pycurl.OS_ERRNO))
            raise ConnectError(ERRNO_REASONS.get(error_number, Reason.CONNECTION_FAILED))
        if code == pycurl.E_OPERATION_TIMEDOUT and not self._curl.getinfo(pycurl.CONNECT_TIME):
            raise ConnectError(Reason.TIMED_OUT)
        if hop.proxy and int(self._curl.getinfo(pycurl.HTTP_CONNECTCODE)) >= 400:
            raise DownloadError(Reason.PROXY_FAILED)
        if code == pycurl.E_RECV_ERROR and sum(map(len, self._lines)) > _HEADER_BYTES:
            raise DownloadError(Reason.PROTOCOL_ERROR)  # a header without end, which libcurl does not tell from a reset
        raise DownloadError(_REASONS.get(code, Reason.PROTOCOL_ERROR))


def _header_line(name: str, value: str) -> bytes:
    # A header without a value has another form, for libcurl takes "Name:" for a header to be left out.
    return (f"{name}: {value}" if value else f"{name};").encode("latin-1")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
