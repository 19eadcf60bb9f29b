"""Name servers that send garbage, forgeries and half answers: each name gets what is its own, once."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest
from dnsserver import NODATA, NXDOMAIN, SERVFAIL, SWALLOW, TRUNCATED, DnsServer, Sends, make_answer
from fetching import Stopwatch, asking
from fuzzing import draw, fuzz, tries
from hostile_dns import MALFORMED, mutated_dns_answer, over_tcp, with_another_id, with_another_question

from img2dataset.errors import Reason
from img2dataset.fetcher import cares
from img2dataset.fetcher.clock import Clock
from img2dataset.fetcher.resolver import MOST_ADDRESSES, Resolution, Resolver

GOOD = ["127.0.0.5"]
GARBAGE = Sends(lambda query: [MALFORMED["garbage"](query)])
Ask = Callable[..., dict[str, Resolution]]


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.close()


@pytest.fixture
def ask(dns: DnsServer, clock: Clock) -> Iterator[Ask]:
    """Looks all the names of the zone up at once, in their order, and says what became of each."""
    resolvers: list[Resolver] = []

    def ask_all(timeout: float = 10, patience: float = 15) -> dict[str, Resolution]:
        resolvers.append(Resolver(asking(dns.server), clock, timeout))
        return _ask_all(resolvers[-1], list(dns.zone), patience)

    yield ask_all
    for resolver in resolvers:
        resolver.close()


def _ask_all(resolver: Resolver, names: list[str], patience: float) -> dict[str, Resolution]:
    found: dict[str, Resolution] = {}
    times: Counter[str] = Counter()
    all_there = threading.Event()

    def note(name: str) -> Callable[[Resolution], None]:
        def done(resolution: Resolution) -> None:
            times[name] += 1
            found[name] = resolution
            if len(found) == len(names):
                all_there.set()

        return done

    for name in names:
        resolver.resolve(name, note(name))
    assert all_there.wait(patience), f"{len(names) - len(found)} of {len(names)} names got nothing"
    assert set(times.values()) == {1}
    return found


def slow_after(seconds: float) -> Callable[[], list[str]]:
    """As a caching server: it finds out once, so long after the first question, and tells all who ask."""
    asked: list[float] = []

    def answer() -> list[str]:
        asked.append(time.monotonic())
        time.sleep(max(0.0, asked[0] + seconds - time.monotonic()))
        return GOOD

    return answer


def late_garbage(query: bytes) -> Iterator[bytes]:
    time.sleep(0.6)
    yield MALFORMED["garbage"](query)


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_answer_fails_its_name_and_no_other(dns: DnsServer, ask: Ask, kind: str) -> None:
    dns.zone.update({"silent.test": SWALLOW, "slow.test": slow_after(0.7), "missing.test": NXDOMAIN, "good.test": GOOD})
    dns.zone["bad.test"] = Sends(lambda query: [MALFORMED[kind](query)])
    found = ask(timeout=1.4)
    # What has a question too few or too many may be taken for an answer to another question.
    assert found["bad.test"].error in (Reason.DNS_TEMPORARY, Reason.DNS_NO_ANSWER)
    assert found["silent.test"].error == Reason.DNS_NO_ANSWER
    assert found["missing.test"].error == Reason.DNS_NOT_FOUND
    assert found["slow.test"].addresses == found["good.test"].addresses == tuple(GOOD)


def test_a_slow_name_resolves_amid_garbage_and_truncated_answers(dns: DnsServer, ask: Ask) -> None:
    dns.zone.update({"slow.test": slow_after(3), "silent.test": SWALLOW, "late.test": Sends(late_garbage)})
    dns.zone.update({f"garbage{number}.test": GARBAGE for number in range(20)})
    dns.zone.update({f"truncated{number}.test": TRUNCATED for number in range(20)})
    found = ask()
    assert found.pop("slow.test").addresses == tuple(GOOD)
    assert found.pop("silent.test").error == Reason.DNS_NO_ANSWER
    assert {resolution.error for resolution in found.values()} == {Reason.DNS_TEMPORARY}


def test_garbage_and_truncated_answers_fail_at_once(dns: DnsServer, ask: Ask) -> None:
    dns.zone.update({"garbage.test": GARBAGE, "truncated.test": TRUNCATED})
    watch = Stopwatch()
    assert {resolution.error for resolution in ask().values()} == {Reason.DNS_TEMPORARY}
    assert watch.seconds < 2


@pytest.mark.parametrize("bad", [None, MALFORMED["garbage"]])
def test_what_comes_over_tcp_for_one_name_fails_no_other(
    dns: DnsServer, ask: Ask, bad: Callable[[bytes], bytes] | None
) -> None:
    """All truncated answers are fetched over one connection; for one name the server hangs up, or sends garbage."""

    def answer(query: bytes) -> bytes | None:
        if b"bad" not in query:
            time.sleep(0.1)
            return make_answer(query, GOOD)
        return bad(query) if bad else None

    dns.zone.update({"long1.test": TRUNCATED, "long2.test": TRUNCATED, "bad.test": TRUNCATED, "long3.test": TRUNCATED})
    with over_tcp(dns, answer):
        found = ask(timeout=5)
    assert found.pop("bad.test").error == Reason.DNS_TEMPORARY
    assert {resolution.addresses for resolution in found.values()} == {tuple(GOOD)}


def test_more_silent_and_slow_names_than_can_be_asked_alone(dns: DnsServer, ask: Ask) -> None:
    dns.zone.update({f"silent{number}.test": SWALLOW for number in range(3 * cares._ALONE_AT_ONCE)})
    dns.zone.update({f"slow{number}.test": slow_after(3) for number in range(5)})
    dns.zone.update({f"garbage{number}.test": GARBAGE for number in range(5)})
    found = ask(timeout=6)

    def errors(kind: str) -> set[str | None]:
        return {resolution.error for name, resolution in found.items() if name.startswith(kind)}

    assert errors("slow") == {None}
    assert errors("silent") == {Reason.DNS_NO_ANSWER}
    assert errors("garbage") == {Reason.DNS_TEMPORARY}


def test_a_failure_and_silence_are_told_apart_side_by_side(dns: DnsServer, ask: Ask) -> None:
    dns.zone.update({"silent.test": SWALLOW, "failing.test": SERVFAIL, "missing.test": NXDOMAIN, "empty.test": NODATA})
    assert {name: resolution.error for name, resolution in ask(timeout=2).items()} == {
        "silent.test": Reason.DNS_NO_ANSWER,
        "failing.test": Reason.DNS_TEMPORARY,
        "missing.test": Reason.DNS_NOT_FOUND,
        "empty.test": Reason.DNS_NOT_FOUND,
    }


@pytest.mark.parametrize("pause", [0, 0.2])
def test_forged_answers_are_passed_over_and_the_right_one_is_taken(dns: DnsServer, ask: Ask, pause: float) -> None:
    def forged_then_right(query: bytes) -> Iterator[bytes]:
        forged = make_answer(query, ["127.0.0.66"])
        yield with_another_id(query, forged)
        yield with_another_question(forged)
        yield with_another_question(make_answer(query, NXDOMAIN))
        time.sleep(pause)
        yield make_answer(query, GOOD)

    dns.zone["forged.test"] = Sends(forged_then_right)
    assert ask()["forged.test"].addresses == tuple(GOOD)


def test_forged_answers_alone_are_no_answer(dns: DnsServer, ask: Ask) -> None:
    forged = Sends(lambda query: [with_another_id(query, make_answer(query, GOOD))])
    dns.zone.update({"forged.test": forged, "good.test": GOOD})
    found = ask(timeout=1)
    assert (found["forged.test"].error, found["good.test"].error) == (Reason.DNS_NO_ANSWER, None)


def test_only_a_few_channels_are_opened_amid_garbage(dns: DnsServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    make = cares._Channel.__init__

    def counted(channel: cares._Channel, servers: list[str] | None) -> None:
        opened.append(channel)
        make(channel, servers)

    monkeypatch.setattr(cares._Channel, "__init__", counted)
    dns.zone.update({f"garbage{number}.test": GARBAGE for number in range(300)})
    assert {resolution.error for resolution in ask().values()} == {Reason.DNS_TEMPORARY}
    assert len(opened) <= cares._ALONE_AT_ONCE + 2  # the usual one, and the one for those that had to make room


def test_without_open_files_to_ask_again_a_name_fails(
    dns: DnsServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = asking(dns.server)

    def no_more(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(cares._Channel, "__init__", no_more)
    dns.zone["garbage.test"] = GARBAGE
    resolver = Resolver(backend, clock, timeout=5)
    assert _ask_all(resolver, ["garbage.test"], patience=3)["garbage.test"].error == Reason.DNS_TEMPORARY
    resolver.close()


def test_a_resolver_closes_while_names_are_asked_again(dns: DnsServer, clock: Clock) -> None:
    dns.zone.update({"garbage.test": GARBAGE, "silent.test": SWALLOW})
    resolver = Resolver(asking(dns.server), clock, timeout=5)
    called: list[Resolution] = []
    resolver.resolve("silent.test", called.append)
    _ask_all(resolver, ["garbage.test"], patience=3)
    resolver.close()
    time.sleep(0.3)
    assert called == []


def test_of_an_answer_of_hundreds_of_addresses_a_few_are_kept(dns: DnsServer, ask: Ask) -> None:
    dns.zone["many.test"] = [f"127.0.{number}.1" for number in range(30)]
    assert len(ask()["many.test"].addresses) == MOST_ADDRESSES


@fuzz
def test_no_mutated_answer_does_harm(dns: DnsServer, ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    """No crash, no hang, no word; every name gets one resolution, with addresses that are addresses."""
    random = draw("DNS")
    for number in range(tries(1000)):
        seed = random.random()
        dns.zone[f"name{number}.test"] = Sends(lambda query, seed=seed: [mutated_dns_answer(Random(seed), query)])
    dns.zone["good.test"] = GOOD
    found = ask(timeout=2, patience=60)
    assert found.pop("good.test").addresses == tuple(GOOD)
    for resolution in found.values():
        assert bool(resolution.addresses) == (resolution.error is None)
        assert all(ipaddress.ip_address(address) for address in resolution.addresses)
    assert {resolution.error for resolution in found.values()} == {
        None,
        Reason.DNS_NOT_FOUND,
        Reason.DNS_TEMPORARY,
        Reason.DNS_NO_ANSWER,
    }
    assert capfd.readouterr() == ("", "")
