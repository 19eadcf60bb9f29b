"""A real DNS server on loopback that answers from a table, in every way a DNS server answers.

    with DnsServer() as dns:
        dns.zone["cat.test"] = ["127.0.0.1"]        # or "::1", several, or one of the words below
        Resolver(..., servers=[dns.server])
            dns.zone["bad.test"] = Sends(lambda query: [b"any", b"packets"])
        dns.queries["cat.test"]                     # questions asked, of all types

A name that is not in the table does not exist. Nobody serves TCP on the port.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

NXDOMAIN = "NXDOMAIN"
NODATA = "NODATA"  # the name exists and has no address
SERVFAIL = "SERVFAIL"
REFUSED = "REFUSED"
SWALLOW = "SWALLOW"  # never answers
TRUNCATED = "TRUNCATED"  # asks to be asked over TCP

_RCODES = {NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5, NODATA: 0}
_TYPE_A, _TYPE_AAAA = 1, 28
_RESPONSE, _TRUNCATED_FLAG = 0x8180, 0x0200

Answer = str | list[str]


@dataclass(frozen=True)
class Sends:
    """What is sent back to a query: any packets, none of which need be an answer. A generator may sleep."""

    packets: Callable[[bytes], Iterable[bytes]]


class DnsServer:
    """A UDP server; `zone` maps names to answers, or to functions that are asked each time for one."""

    def __init__(self, port: int = 0) -> None:
        self.zone: dict[str, Answer | Sends | Callable[[], Answer]] = {}
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
            name, _, _ = _question(packet)
            self.queries[name] += 1
            entry = self.zone.get(name, self.default)
            if isinstance(entry, (str, list)):
                self._send(self._packets(packet, entry), client)
            else:  # it may take its time
                packets = entry.packets(packet) if isinstance(entry, Sends) else self._asked_for(packet, entry)
                threading.Thread(target=self._send, args=(packets, client), daemon=True).start()

    def _send(self, packets: Iterable[bytes], client: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # the test may be over
            for packet in packets:
                self._socket.sendto(packet, client)

    def _packets(self, query: bytes, answer: Answer) -> list[bytes]:
        return [] if answer == SWALLOW else [make_answer(query, answer, self.ttl)]

    def _asked_for(self, query: bytes, ask: Callable[[], Answer]) -> Iterable[bytes]:
        yield from self._packets(query, ask())

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


def make_answer(query: bytes, answer: Answer, ttl: int = 60) -> bytes:
    """The packet that answers `query` with addresses, or as the word says."""
    _, kind, question = _question(query)
    addresses = [] if isinstance(answer, str) else [one for one in answer if _type_of(one) == kind]
    flags = _RESPONSE | (_TRUNCATED_FLAG if answer == TRUNCATED else _RCODES.get(str(answer), 0))
    header = query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
    return header + question + b"".join(_record(address, ttl) for address in addresses)


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
