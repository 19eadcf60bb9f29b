"""What a name server may send that is no proper answer: one of each kind, and any number of mutations.

dns.zone["bad.test"] = Sends(lambda query: [MALFORMED["a short header"](query)])
dns.zone["odd.test"] = Sends(lambda query: [mutated_dns_answer(Random(seed), query)])
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from dnsserver import NODATA, NXDOMAIN, SERVFAIL, TRUNCATED, Answer, DnsServer, make_answer

_HEADER = 12


def _good(query: bytes) -> bytes:
    return make_answer(query, ["127.0.0.5", "127.0.0.6", "::5"])


def _with_counts(query: bytes, *counts: int) -> bytes:
    return _good(query)[:4] + struct.pack("!HHHH", *counts) + _good(query)[_HEADER:]


def _with_name(query: bytes, name: bytes) -> bytes:
    """A good answer to the question, from an owner of this name."""
    record = name + struct.pack("!HHIH", 1, 1, 60, 4) + b"\x7f\x00\x00\x05"
    question = make_answer(query, NODATA)[_HEADER:]
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question + record


# All of them have the right id.
MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "a short header": lambda query: query[:2] + b"\x81\x80\x00",
    "a header alone": lambda query: _good(query)[:_HEADER],
    "garbage": lambda query: query[:2] + b"\xff" * 60,
    "more answers than there are": lambda query: _with_counts(query, 1, 9, 0, 0),
    "more questions than there are": lambda query: _with_counts(query, 9, 1, 0, 0),
    "no question": lambda query: _with_counts(query, 0, 2, 0, 0),
    "a name that points to itself": lambda query: _with_name(query, struct.pack("!H", 0xC000 + len(query))),
    "a name that points beyond the end": lambda query: _with_name(query, b"\xff\xff"),
    "a label that is too long": lambda query: _with_name(query, b"\x7fabc\x00"),
    "an answer cut short": lambda query: _good(query)[:-2],
}


def with_another_id(query: bytes, answer: bytes) -> bytes:
    """A forged answer, by somebody who guessed the id and was wrong."""
    return bytes([query[0] ^ 0xFF, query[1]]) + answer[2:]


def with_another_question(answer: bytes) -> bytes:
    """A forged answer to another question with the same id."""
    changed = bytearray(answer)
    changed[_HEADER + 1] ^= 0x01
    return bytes(changed)


REFUSALS = (NXDOMAIN, NODATA, SERVFAIL, TRUNCATED)


def mutated_dns_answer(
    random: Random, query: bytes, answers: Sequence[Answer] = (["127.0.0.5", "::5"], *REFUSALS)
) -> bytes:
    """An answer to `query` with a few bytes changed, cut out, put in or repeated; now and then nothing but noise."""
    if random.random() < 0.05:
        return random.randbytes(random.randrange(600))
    answer = bytearray(make_answer(query, random.choice(answers)))
    for _ in range(random.randint(1, 4)):
        random.choice(_MUTATIONS)(random, answer)
    return bytes(answer)


@contextmanager
def over_tcp(dns: DnsServer, answer: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """Serve TCP on the port of `dns`: what `answer` makes of each query; with None it hangs up."""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(2):
                packet = answer(self.rfile.read(int.from_bytes(size, "big")))
                if packet is None:
                    return
                self.wfile.write(len(packet).to_bytes(2, "big") + packet)

    with socketserver.ThreadingTCPServer((dns.host, dns.port), Connection) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the other side may have gone
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def _change(random: Random, answer: bytearray) -> None:
    if len(answer) > 2:  # the id stays, for what has another is not even looked at
        answer[random.randrange(2, len(answer))] = random.choice([0, 1, 0x3F, 0x40, 0xC0, 0xFF, random.randrange(256)])


def _cut(random: Random, answer: bytearray) -> None:
    del answer[random.randrange(len(answer) + 1) :]


def _remove(random: Random, answer: bytearray) -> None:
    start = random.randrange(len(answer) + 1)
    del answer[start : start + random.randrange(8)]


def _insert(random: Random, answer: bytearray) -> None:
    place = random.randrange(len(answer) + 1)
    answer[place:place] = random.randbytes(random.randrange(40))


def _repeat(random: Random, answer: bytearray) -> None:
    start = random.randrange(len(answer) + 1)
    answer += answer[start:] * random.randrange(20)


_MUTATIONS = (_change, _change, _change, _cut, _remove, _insert, _repeat)
