"""A web of one process: static files, servers that are slow, silent, trickling or failing, and their name server.

    /PATH                  the file
    /slow/MS/PATH          the file, after MS milliseconds
    /silent/...            nothing, ever
    /trickle/SECONDS/...   a byte every 0.3 s, for so long
    /error/STATUS/...      this status

Queries are ignored: they make a URL another one. Names: ``hN.test`` is 127.9.x.y, any other does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

_TRICKLE_SECONDS = 0.3
_LONGEST_SILENCE = 600.0
_MOST_REQUESTS = 10_000
"""On one connection: even a benchmark's loops end."""

_KEEP_OPEN = b"HTTP/1.1 %d \r\nContent-Length: %d\r\n\r\n"


class Web:
    """Answers requests for what is below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            if writer.get_extra_info("sockname")[0].startswith("127."):
                await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass  # the client has left, as clients with a timeout do
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(_MOST_REQUESTS):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            if (
                not await self._answer(path.strip("/").split("/"), reader, writer)
                or b"connection: close" in head.lower()
            ):
                return

    async def _answer(self, path: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer; tell whether the connection may be used again."""
        if path[0] == "silent":
            await asyncio.wait_for(reader.read(), _LONGEST_SILENCE)
            return False
        if path[0] == "trickle":
            await _trickle(writer, float(path[1]))
            return False
        status = 200
        if path[0] == "slow":
            await asyncio.sleep(int(path[1]) / 1000)
            path = path[2:]
        if path[0] == "error":
            status = int(path[1])
        body = b"error" if status != 200 else self._root.joinpath(*path).read_bytes()
        writer.write(_KEEP_OPEN % (status, len(body)) + body)
        await writer.drain()
        return True


async def _trickle(writer: asyncio.StreamWriter, seconds: float) -> None:
    writer.write(_KEEP_OPEN % (200, 1_000_000))
    for _ in range(round(seconds / _TRICKLE_SECONDS)):
        writer.write(b"\xff")
        await writer.drain()
        await asyncio.sleep(_TRICKLE_SECONDS)


class NameServer(asyncio.DatagramProtocol):
    """Answers after 5 to 50 ms, by the name, as a resolver does that has to ask others."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._send: Callable[..., None] = transport.sendto  # type: ignore[attr-defined]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        labels = data[12 : data.index(b"\0", 12)]
        question = data[12 : 12 + len(labels) + 5]
        host, asks_address = labels[1 : 1 + labels[0]], question.endswith(b"\0\1\0\1")
        exists = labels.endswith(b"\4test") and host[1:].isdigit()
        answer = b""
        if exists and asks_address:
            number = int(host[1:])
            answer = b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4" + bytes((127, 9, number // 250 % 256, number % 250 + 1))
        flags = b"\x81\x80" if exists else b"\x81\x83"
        reply = data[:2] + flags + b"\0\1" + bytes((0, 1 if answer else 0)) + b"\0\0\0\0" + question + answer
        asyncio.get_running_loop().call_later(0.005 + sum(host) % 46 / 1000, self._send, reply, address)


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--https", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--dns", action="store_true")
    arguments = parser.parse_args()
    web = Web(arguments.root)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(arguments.certificate)
    await asyncio.start_server(web.serve, "0.0.0.0", arguments.http, backlog=4096)
    await asyncio.start_server(web.serve, "0.0.0.0", arguments.https, backlog=4096, ssl=tls)
    if arguments.dns:
        await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 53))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
