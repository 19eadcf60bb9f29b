"""Run by test_resolver in network and mount namespaces: the resolvers with a system configuration of our own.

``/etc/resolv.conf`` names a server on 127.0.0.1:53, which is ours; ``/etc/hosts`` knows one name more.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

from dnsserver import SERVFAIL, SWALLOW, DnsServer
from fetching import Stopwatch, fetch_options
from mockserver import MockServer

from img2dataset.errors import Reason
from img2dataset.fetcher import Fetcher, FetchRequest

SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x1 | 0x40
FILES = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\nsearch inside.test\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.0.9 filed\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}


def set_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
    for path, text in FILES.items():
        replacement = Path(path.replace("/", "_")).absolute()
        replacement.write_text(text)
        replacement.chmod(0o644)
        subprocess.run(["mount", "--bind", replacement, path], check=True)


def check(resolver: str) -> None:
    with MockServer(every_loopback_address=True) as server, DnsServer(port=53) as dns:
        dns.zone.update({"named.test": ["127.0.0.7"], "short.inside.test": ["127.0.0.8"]})
        dns.zone.update({"broken.test": SERVFAIL, "silent.test": SWALLOW})
        options = fetch_options(resolver=resolver, timeout=3, retries=0)
        with Fetcher(options) as fetcher:

            def fetched(*hosts: str) -> dict[object, str | None]:
                requests = [FetchRequest(host, server.url("/photo/8x8.png", host)) for host in hosts]
                return {result.id: result.error for result in fetcher.fetch(requests)}

            hosts = ("named.test", "short", "filed", "localhost")
            assert fetched(*hosts) == dict.fromkeys(hosts), fetched(*hosts)
            assert {seen.host for seen in server.requests} == {"127.0.0.7", "127.0.0.8", "127.0.0.9", "127.0.0.1"}
            assert fetched("nowhere.test", "broken.test") == {
                "nowhere.test": Reason.DNS_NOT_FOUND,
                "broken.test": Reason.DNS_TEMPORARY,
            }
            watch = Stopwatch()
            errors = fetched("silent.test", "named.test")
            assert errors == {"silent.test": Reason.DNS_NO_ANSWER, "named.test": None}, errors
            assert watch.seconds < 4.5


if __name__ == "__main__":
    set_up()
    check(sys.argv[1])
    sys.stdout.write("all held\n")
