"""What hostile or broken disks make of a small file: mutations to try, the same for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -1e300, 1e308, float("nan"), float("inf")),
    *("", "abc", "..", "../../x", "/etc/hostname", "a\0b", "\ud800", "00000.tar", "x" * 100_000, "1e5"),
    *([], {}, [[]], [None], {"": {}}, [1, "a", None], {"count": 1}, [["a", "b"]], [[None, "00000.tar"]]),
)
DEPTHS = (50, 900, 100_000)


def mutated_json(random: Random, text: bytes) -> bytes:
    """The text of a JSON file, or what has become of it."""
    mutate: Callable[[Random, bytes], bytes] = random.choice(MUTATIONS)
    return mutate(random, text)


def mutated_bytes(random: Random, data: bytes) -> bytes:
    """What has become of a file that is no text."""
    mutate: Callable[[Random, bytes], bytes] = random.choice(MUTATIONS_OF_BYTES)
    return mutate(random, data)


def _flipped(random: Random, text: bytes) -> bytes:
    data = bytearray(text)
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def _cut(random: Random, text: bytes) -> bytes:
    return text[: random.randrange(len(text))]


def _with_a_part_missing(random: Random, text: bytes) -> bytes:
    start = random.randrange(len(text))
    return text[:start] + text[start + random.randint(1, 30) :]


def _with_noise(random: Random, text: bytes) -> bytes:
    start = random.randrange(len(text))
    return text[:start] + random.randbytes(random.randint(1, 30)) + text[start:]


def _with_a_part_twice(random: Random, text: bytes) -> bytes:
    start, end = sorted(random.choices(range(len(text)), k=2))
    return text[:end] + text[start:end] + text[end:]


def _with_other_digits(random: Random, text: bytes) -> bytes:
    places = [place for place, byte in enumerate(text) if chr(byte).isdigit()] or [0]
    place = random.choice(places)
    return text[:place] + random.choice((b"0", b"7", b"-3", b"9" * 12, b"9" * 5000, b"1e9", b".")) + text[place + 1 :]


def _with_junk(random: Random, text: bytes) -> bytes:
    """One value anywhere in it is another."""
    value = json.loads(text)
    holders = [([value], 0), *_places(value)]
    holder, place = random.choice(holders)
    holder[place] = random.choice(JUNK)
    return json.dumps(holder[place] if holder is holders[0][0] else value).encode()


def _without_a_value(random: Random, text: bytes) -> bytes:
    value = json.loads(text)
    holder, place = random.choice(list(_places(value)))
    del holder[place]
    return json.dumps(value).encode()


def _nested(random: Random, text: bytes) -> bytes:
    """One value anywhere in it is deep."""
    value = json.loads(text)
    holder, place = random.choice(list(_places(value)))
    holder[place] = "HERE"
    depth = random.choice(DEPTHS) + random.randrange(100)
    opening, closing = random.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return json.dumps(value).encode().replace(b'"HERE"', opening * depth + b"1" + closing * depth)


def _in_another_encoding(random: Random, text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode(random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))


def _with_zeros(random: Random, data: bytes) -> bytes:
    """A block of a disk was never written."""
    start = random.randrange(len(data))
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


def _of_something_else(random: Random, text: bytes) -> bytes:
    del text
    return random.choice([b"", b"\0" * 4096, b"null", b"PAR1" * 99, random.randbytes(300), b"[" * 200_000, b"\xff\xfe"])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object in a value, with each of its places."""
    if isinstance(value, dict | list):
        for place in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, place
            yield from _places(value[place])


MUTATIONS_OF_BYTES = (
    *(_flipped, _flipped, _cut, _with_a_part_missing, _with_noise, _with_a_part_twice, _with_zeros, _of_something_else),
)
MUTATIONS = (
    *(_flipped, _cut, _with_a_part_missing, _with_noise, _with_a_part_twice, _with_other_digits),
    *(_with_junk, _with_junk, _with_junk, _without_a_value, _nested, _in_another_encoding, _of_something_else),
)
