"""A real DNS server on loopback that answers from a table, in every way a DNS server answers.

    with DnsServer() as dns:
        dns.zone["cat.test"] = ["127.0.0.1"]        # or "::1", several, or one of the words below
        Resolver(..., servers=[dns.server])
        dns.queries["cat.test"]                     # questions asked, of all types

A name that is not in the table does not exist.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable

NXDOMAIN = "NXDOMAIN"
NODATA = "NODATA"  # the name exists and has no address
SERVFAIL = "SERVFAIL"
REFUSED = "REFUSED"
SWALLOW = "SWALLOW"  # never answers

_RCODES = {NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5, NODATA: 0}
_TYPE_A, _TYPE_AAAA = 1, 28

Answer = str | list[str]


class DnsServer:
    """A UDP server; `zone` maps names to answers, or to functions that are asked each time for one."""

    def __init__(self, port: int = 0) -> None:
        self.zone: dict[str, Answer | Callable[[], Answer]] = {}
        self.default: Answer = NXDOMAIN
        self.ttl = 60
        self.queries: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.host, self.port = self._socket.getsockname()
        self.server = f"{self.host}:{self.port}"
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=f"dns {self.port}")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if self._closing:
                return
            name, kind, question = _question(packet)
            self.queries[name] += 1
            entry = self.zone.get(name, self.default)
            if callable(entry):  # which may take its time
                arguments = (packet, kind, question, entry, client)
                threading.Thread(target=self._reply_later, args=arguments, daemon=True).start()
            elif reply := self._reply(packet, kind, question, entry):
                self._socket.sendto(reply, client)

    def _reply_later(
        self, packet: bytes, kind: int, question: bytes, ask: Callable[[], Answer], client: tuple[str, int]
    ) -> None:
        reply = self._reply(packet, kind, question, ask())
        with contextlib.suppress(OSError):  # the test may be over
            if reply:
                self._socket.sendto(reply, client)

    def _reply(self, packet: bytes, kind: int, question: bytes, answer: Answer) -> bytes | None:
        if answer == SWALLOW:
            return None
        if isinstance(answer, str):
            return packet[:2] + struct.pack("!HHHHH", 0x8180 | _RCODES[answer], 1, 0, 0, 0) + question
        records = [_record(address, self.ttl) for address in answer if _type_of(address) == kind]
        return packet[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0) + question + b"".join(records)

    def close(self) -> None:
        """Stop answering."""
        self._closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.host, self.port))
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _question(packet: bytes) -> tuple[str, int, bytes]:
    labels, position = [], 12
    while packet[position]:
        end = position + 1 + packet[position]
        labels.append(packet[position + 1 : end])
        position = end
    (kind,) = struct.unpack_from("!H", packet, position + 1)
    return b".".join(labels).decode("ascii").lower(), kind, packet[12 : position + 5]


def _type_of(address: str) -> int:
    return _TYPE_A if ipaddress.ip_address(address).version == 4 else _TYPE_AAAA


def _record(address: str, ttl: int) -> bytes:
    data = ipaddress.ip_address(address).packed
    return struct.pack("!HHHIH", 0xC00C, _type_of(address), 1, ttl, len(data)) + data
