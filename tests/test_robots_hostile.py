"""Whatever an owner's robots.txt or header says, it is understood or not in bounded time."""

from __future__ import annotations

import random
import time

import pytest
from fuzzing import draw, fuzz, tries
from protego import Protego

from img2dataset.errors import Reason
from img2dataset.fetcher.records import FetchResult
from img2dataset.fetcher.robots import ROBOTS_TXT_BYTES, RobotsRules, RobotsTxt, opted_out

TRIES = 1000
ORIGIN = "http://a.test:80"
FIELDS = (
    b"User-agent",
    b"Disallow",
    b"Allow",
    b"Crawl-delay",
    b"Request-rate",
    b"Visit-time",
    b"Sitemap",
    b"Host",
    b"x",
)
VALUES = (
    b"*",
    b"/",
    b"/*a*b$",
    b"img2dataset",
    b"%",
    b"%zz%ff",
    b"\xff\xfe",
    b"\0",
    b"1/0s 0-9999",
    b"1e999",
    b"",
    b"//a.test:x/",
)
ENDS = (b"\n", b"\r", b"\r\n", b"\x0b", b"\xe2\x80\xa8", b"#")
DIRECTIVES = ("noai", "noimageai", "noindex", "noimageindex")
PARTS = (
    "noai",
    "none",
    ":",
    ",",
    " ",
    "*",
    "img2dataset",
    "unavailable_after: 1",
    "max-snippet",
    "é",
    "\0",
    "\t",
    "a" * 999,
)


def rules_of(text: bytes) -> RobotsRules:
    robots = RobotsTxt()
    robots.read(ORIGIN, FetchResult(None, text, None))
    rules = robots._known.get(ORIGIN)
    assert rules is not None
    assert rules.error != Reason.INTERNAL_ERROR
    return rules


@pytest.mark.parametrize(
    "rule", [b"/" + b"*a" * 30 + b"*b$", b"/" + b"*" * 100_000, b"/*" + b"a*" * 50_000, b"/" + b"%" * 100_000]
)
def test_a_pattern_of_many_stars_takes_no_time(rule: bytes) -> None:
    """A pattern that is a regular expression inside would keep the whole process busy for years."""
    began = time.process_time()
    rules_of(b"User-agent: *\nDisallow: " + rule).refusal("http://a.test/" + "a" * 2000, "img2dataset")
    assert time.process_time() - began < 1


def test_a_file_of_many_rules_is_asked_quickly() -> None:
    text = b"User-agent: *\n" + b"".join(b"Disallow: /a*b%d\n" % number for number in range(30_000))
    began = time.process_time()
    rules_of(text[:ROBOTS_TXT_BYTES]).refusal("http://a.test/" + "a" * 2000, "img2dataset")
    assert time.process_time() - began < 2


def test_a_file_that_names_thousands_takes_no_time() -> None:
    """Each name gets a copy of the rules below it from the parser."""
    names = "".join(f"user-agent: {number}\nuser-agent: {'i' + '*' * number}\n" for number in range(1, 300))
    text = "".join(f"user-agent: {number}\n" for number in range(20_000)) + names + "disallow: /a\n" * 10_000
    began = time.process_time()
    assert rules_of(text.encode()).refusal("http://a.test/a", "img2dataset") is Reason.DISALLOWED_BY_ROBOTS_TXT
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("user-agent: other\ndisallow: /", False),
        ("user-agent: img2dataset\nuser-agent: other\ndisallow: /", True),
        ("user-agent: other\nuser-agent: *\ndisallow: /", True),
        ("user agent img2*\ndisallow: /", True),
        ("USERAGENT:Img2Dataset # us\ndisallow: /", True),
        ("user-agent: *\ndisallow: /\nuser-agent: other\nallow: /", True),
        ("user-agent: other\ndisallow: /\nuser-agent: img2dataset\nallow: /", False),
        ("user-agent: *\ndisallow: /b\nuser-agents: x\ndisallow: /", True),
    ],
)
def test_who_is_meant_is_as_it_was(text: str, refused: bool) -> None:
    """What the parser alone says of these, which knows all of the names."""
    assert Protego.parse(text).can_fetch("http://a.test/a", "img2dataset") is not refused
    assert (rules_of(text.encode()).refusal("http://a.test/a", "img2dataset") is not None) is refused


@fuzz
def test_a_mutated_robots_txt_is_understood_or_not() -> None:
    chance, answers = draw("robots.txt"), set()
    for _ in range(tries(TRIES)):
        began = time.process_time()
        answers.add(rules_of(robots_txt(chance)).refusal("http://a.test/ab%C3%BC?x=/a", "img2dataset"))
        assert time.process_time() - began < 1
    assert answers <= {None, Reason.DISALLOWED_BY_ROBOTS_TXT}


def robots_txt(chance: random.Random) -> bytes:
    lines = []
    for _ in range(chance.randrange(30)):
        separator = chance.choice((b":", b": ", b" ", b"", b"::"))
        lines.append(chance.choice(FIELDS) + separator + chance.choice(VALUES) + chance.choice(ENDS))
    text = bytearray(b"".join(lines))
    for _ in range(chance.randrange(4)):
        text.insert(chance.randrange(len(text) + 1), chance.randrange(256))
    return bytes(text)


@fuzz
def test_a_mutated_header_is_understood_or_not() -> None:
    chance = draw("X-Robots-Tag")
    began = time.process_time()
    for _ in range(tries(TRIES)):
        values = ["".join(chance.choices(PARTS, k=chance.randrange(20))) for _ in range(chance.randrange(4))]
        assert opted_out(values, DIRECTIVES, {"img2dataset"}) in (True, False)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("part", [" ", ":", ",", "a", "a:", " :", "noai,", "\t,"])
def test_a_long_header_takes_no_time(part: str) -> None:
    began = time.process_time()
    opted_out([part * (256 * 1024 // len(part))], DIRECTIVES, {"img2dataset"})
    assert time.process_time() - began < 1
