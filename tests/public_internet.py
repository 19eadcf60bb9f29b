"""Run by test_guard in a network namespace without a route: the guard where some addresses are public.

The loopback interface gets two public addresses, so that a server of ours is "in the internet"; no packet leaves.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys

from dnsserver import DnsServer
from fetching import asking, fetch_one
from mockserver import PHOTO, MockServer

from img2dataset.errors import Reason

SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFNETMASK = 0x8916, 0x8914, 0x891C
IFF_UP_RUNNING = 0x1 | 0x40
PUBLIC, OTHER_PUBLIC = "93.184.216.34", "93.184.216.35"


def give_addresses() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
        for number, address in enumerate((PUBLIC, OTHER_PUBLIC), 1):
            name = b"lo:%d" % number
            for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.255")):
                packed = struct.pack("16sH2x4s8x", name, socket.AF_INET, socket.inet_aton(value))
                fcntl.ioctl(control, request, packed)


def check(engine: str) -> None:
    # Bound to every address of the loopback interface, the public ones included.
    with MockServer(every_loopback_address=True) as server, DnsServer() as dns:
        inside = server.url("/chunked")
        public = server.url("/chunked", PUBLIC)

        def fetched(url: str, **options: object) -> tuple[bytes | None, str | None]:
            result = fetch_one(url, backend=asking(dns.server), http_client=engine, **options)
            return result.body, result.error

        def redirected(to: str, host: str = PUBLIC) -> str:
            return server.url(f"/redirect?to={to}", host)

        blocked = (None, Reason.BLOCKED_ADDRESS)
        assert fetched(public) == fetched(public, block_private_networks=True) == (PHOTO, None)
        assert fetched(redirected(inside)) == blocked
        assert fetched(redirected(server.url("/chunked", "0x7f.1"))) == blocked
        assert fetched(redirected(server.url("/chunked", "localhost"))) == blocked
        assert fetched(redirected(server.url("/chunked", OTHER_PUBLIC))) == (PHOTO, None)
        assert fetched(redirected(public, host="127.0.0.1")) == (PHOTO, None)
        # private, public, private again: refused at the last hop
        there_and_back = redirected(redirected(inside).replace("?", "%3F"), host="127.0.0.1")
        assert fetched(there_and_back) == blocked
        assert "127.0.0.1" not in {seen.host for seen in server.requests if seen.path == "/chunked"}

        # A name that is public for whoever checks, and private for whoever asks again.
        turn = iter([[PUBLIC], [PUBLIC]] + [["127.0.0.1"]] * 100)
        dns.zone["rebinding.test"], dns.ttl = lambda: next(turn), 0
        server.reset()
        name = server.url(f"/redirect?to={server.url('/chunked', 'rebinding.test')}", "rebinding.test")
        assert fetched(name, block_private_networks=True) == (PHOTO, None)
        assert {seen.host for seen in server.requests} == {PUBLIC}


if __name__ == "__main__":
    give_addresses()
    check(sys.argv[1])
    sys.stdout.write("all held\n")
