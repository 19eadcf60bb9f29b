"""Answers of a web server with something wrong in them: of everything that is wrong in the world, a random choice.

    random.Random(seed) -> mutated_answer(random)

The same state of the generator makes the same answer.
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

Mutator = Callable[[random.Random, bytes], bytes]

_BODY = bytes(range(256)) * 4
_ODD_STATUS_LINES = (
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"HTTP",
    b"HTTP/",
    b"HTTP/1.1",
    b"HTTP/1.1 \r\n",
    b"HTTP/1.1 OK\r\n",
    b"HTTP/1.1 200: OK\r\n",
    b"HTTP/1.1 200OK\r\n",
    b"HTTP/1.1 20\r\n",
    b"HTTP/1.1 2000 OK\r\n",
    b"HTTP/1.1 000 OK\r\n",
    b"HTTP/1.1 999 Odd\r\n",
    b"HTTP/1.1 -200 OK\r\n",
    b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n",
    b"HTTP/1.1\t200 OK\r\n",
    b"HTTP/1.1  200 OK\r\n",
    b"HTTP/11 200 OK\r\n",
    b"HTTP/9.9 200 OK\r\n",
    b"HTTP/2 200\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"http/1.1 200 OK\r\n",
    b"ICY 200 OK\r\n",
    b"RTSP/1.0 200 OK\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n",
    b" HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 \xff\xfe\x00\r\n",
    b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 404 Not Found\r\n",
)
_ODD_LINES = (
    b"HTTP/x: 1\r\n",
    b"HTTP/1.1 200 OK: x\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b": no name\r\n",
    b"no colon\r\n",
    b" folded\r\n",
    b"\tfolded\r\n",
    b"\x00: \x00\r\n",
    b"\xff\xfe: \xff\xfe\r\n",
    b"Name : value\r\n",
    b"X: \r\r\n",
    b"X: y\n",
    b"X: y\r",
    b"Set-Cookie: \xff=\xfe; expires=never; path=\r\n",
    b"Set-Cookie: " + b"a=b; " * 2000 + b"\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 1e3\r\n",
    b"Content-Length: \xb2\r\n",
    b"Content-Length: " + b"9" * 5000 + b"\r\n",
    b"Content-Length: 1024, 1024\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Range: bytes 5-2/*\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: rot13\r\n",
    b"Transfer-Encoding: \xb2\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate\r\n",
    b"Content-Encoding: gzip, gzip, gzip\r\n",
    b"Content-Encoding: " + b"gzip, " * 50 + b"gzip\r\n",
    b"Content-Encoding: br\r\n",
    b"Content-Encoding: zstd\r\n",
    b"Content-Encoding: rot13\r\n",
    b"Content-Type: text/html; charset=\xff\r\n",
    b"Content-Type: multipart/mixed; boundary=\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Location: http://[::1\r\n",
    b"Location: \xff\xff\r\n",
    b"Retry-After: \xb2\r\n",
    b'Alt-Svc: h3=":443"\r\n',
    b"Strict-Transport-Security: max-age=\xb2\r\n",
    b"X-Robots-Tag: \xff,:,:\r\n",
    b"X-Long: " + b"x" * 70_000 + b"\r\n",
)
_ODD_CHUNK_SIZES = (
    b"",
    b"-1",
    b"0x10",
    b"g",
    b"\xb2",
    b"7fffffffffffffff",
    b"f" * 40,
    b"1;" + b"x" * 20_000,
    b" 10",
    b"+5",
)
_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\nLink: </x>\n\n",
    b"HTTP/1.1 100 Continue\r\nHTTP/x: y\r\n\r\n",
    b"HTTP/1.1 199 Odd\r\n\r\n",
)


def mutated_answer(random: random.Random) -> bytes:
    """What a server sends for one request: an answer of the usual kind, after one to four things went wrong."""
    answer = random.choice(_ANSWERS)(random)
    for _ in range(random.randint(1, 4)):
        answer = random.choice(_MUTATORS)(random, answer)
    return answer


# -------------------------------------------------------------------------------------------------- good answers


def _head(*lines: bytes) -> bytes:
    return b"".join(b"%s\r\n" % line for line in (b"HTTP/1.1 200 OK", b"Content-Type: image/jpeg", *lines, b""))


def _plain(_: random.Random) -> bytes:
    return _head(b"Content-Length: %d" % len(_BODY)) + _BODY


def _chunked(random: random.Random) -> bytes:
    return _head(b"Transfer-Encoding: chunked") + _chunks(random, _BODY) + b"0\r\n\r\n"


def _with_trailers(random: random.Random) -> bytes:
    trailers = b"".join(random.choice(_ODD_LINES) for _ in range(random.randint(1, 3)))
    return _head(b"Transfer-Encoding: chunked") + _chunks(random, _BODY) + b"0\r\n" + trailers + b"\r\n"


def _until_close(_: random.Random) -> bytes:
    return _head(b"Connection: close") + _BODY


def _gzipped(_: random.Random) -> bytes:
    body = gzip.compress(_BODY, mtime=0)
    return _head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(body)) + body


def _deflated(random: random.Random) -> bytes:
    body = zlib.compress(_BODY)[2 * random.randint(0, 1) :]
    return _head(b"Content-Encoding: deflate", b"Content-Length: %d" % len(body)) + body


def _gzipped_chunks(random: random.Random) -> bytes:
    body = _chunks(random, gzip.compress(_BODY, mtime=0))
    return _head(b"Content-Encoding: gzip", b"Transfer-Encoding: chunked") + body + b"0\r\n\r\n"


def _empty(_: random.Random) -> bytes:
    return _head(b"Content-Length: 0")


def _chunks(random: random.Random, body: bytes) -> bytes:
    size = random.choice((1, 7, 100, 1000)) if len(body) < 2000 else 1000
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in _pieces(body, size))


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


_ANSWERS = (_plain, _chunked, _with_trailers, _until_close, _gzipped, _deflated, _gzipped_chunks, _empty)

# ------------------------------------------------------------------------------------------- what goes wrong then


def _status_line(random: random.Random, answer: bytes) -> bytes:
    return random.choice(_ODD_STATUS_LINES) + answer.partition(b"\n")[2]


def _line_before(random: random.Random, answer: bytes) -> bytes:
    return random.choice((b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\x00", b"garbage\r\n")) + answer


def _odd_header_line(random: random.Random, answer: bytes) -> bytes:
    first, _, rest = answer.partition(b"\n")
    return first + b"\n" + random.choice(_ODD_LINES) + rest


def _many_header_lines(random: random.Random, answer: bytes) -> bytes:
    first, _, rest = answer.partition(b"\n")
    return first + b"\n" + random.choice((b"X: y\r\n", b"X: y\n", b"Set-Cookie: a=b\r\n")) * 6000 + rest


def _interim(random: random.Random, answer: bytes) -> bytes:
    return random.choice(_INTERIM) * random.choice((1, 1, 2, 150)) + answer


def _chunk_size(random: random.Random, answer: bytes) -> bytes:
    head, end, body = answer.partition(b"\r\n\r\n")
    _, _, rest = body.partition(b"\r\n")
    return head + end + random.choice(_ODD_CHUNK_SIZES) + random.choice((b"\r\n", b"\n", b"")) + rest


def _cut_short(random: random.Random, answer: bytes) -> bytes:
    return answer[: random.randint(0, len(answer))]


def _flipped(random: random.Random, answer: bytes) -> bytes:
    mutated = bytearray(answer)
    for _ in range(random.randint(1, 8) if mutated else 0):
        mutated[_place(random, answer)] = random.randrange(256)
    return bytes(mutated)


def _inserted(random: random.Random, answer: bytes) -> bytes:
    place = _place(random, answer)
    return (
        answer[:place] + random.choice((random.randbytes(random.randint(1, 20)), b"\r\n", b"\n", b":")) + answer[place:]
    )


def _deleted(random: random.Random, answer: bytes) -> bytes:
    place = _place(random, answer)
    return answer[:place] + answer[place + random.randint(1, 20) :]


def _doubled(random: random.Random, answer: bytes) -> bytes:
    start, end = sorted((_place(random, answer), _place(random, answer)))
    return answer[:end] + answer[start:]


def _twice(_: random.Random, answer: bytes) -> bytes:
    return answer + answer


def _bare_line_feeds(_: random.Random, answer: bytes) -> bytes:
    head, end, body = answer.partition(b"\r\n\r\n")
    return (head + end).replace(b"\r\n", b"\n") + body


def _place(random: random.Random, answer: bytes) -> int:
    """Somewhere, most often in the header."""
    return random.randrange(min(len(answer), random.choice((200, 200, len(answer)))) or 1) if answer else 0


_MUTATORS: tuple[Mutator, ...] = (
    _status_line,
    _line_before,
    _odd_header_line,
    _odd_header_line,
    _many_header_lines,
    _interim,
    _chunk_size,
    _cut_short,
    _flipped,
    _inserted,
    _deleted,
    _doubled,
    _twice,
    _bare_line_feeds,
)
