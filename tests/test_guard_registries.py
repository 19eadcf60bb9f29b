"""The guard against IANA's registries of special addresses, entry by entry, and every way to hide an IPv4 address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple

import pytest

from img2dataset.fetcher.guard import Reach, reach

PUBLIC, PRIVATE, NEVER = Reach.PUBLIC, Reach.PRIVATE, Reach.NEVER


class Entry(NamedTuple):
    """A block; `reachable` is the registry's "globally reachable".

    `inside` is where its first and last address lead to us, `before` and `after` where their neighbours do (None: there
    is none). We are stricter than the registry inside the blocks for protocols, where nobody has an image.
    """

    prefix: str
    name: str
    source: str
    reachable: bool
    inside: Reach
    before: Reach | None
    after: Reach | None


ENTRIES = [
    # The IPv4 special-purpose registry.
    Entry("0.0.0.0/8", "this network", "RFC 791", False, PRIVATE, None, PUBLIC),
    Entry("0.0.0.0/32", "this host", "RFC 1122", False, PRIVATE, None, PRIVATE),
    Entry("10.0.0.0/8", "private use", "RFC 1918", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("100.64.0.0/10", "shared by carriers", "RFC 6598", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("127.0.0.0/8", "loopback", "RFC 1122", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("169.254.0.0/16", "link-local", "RFC 3927", False, NEVER, PUBLIC, PUBLIC),
    Entry("172.16.0.0/12", "private use", "RFC 1918", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("192.0.0.0/24", "IETF protocols", "RFC 6890", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("192.0.0.0/29", "IPv4 service continuity", "RFC 7335", False, PRIVATE, PUBLIC, PRIVATE),
    Entry("192.0.0.8/32", "IPv4 dummy", "RFC 7600", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.0.0.9/32", "port control anycast", "RFC 7723", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.0.0.10/32", "TURN anycast", "RFC 8155", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.0.0.170/32", "NAT64 discovery", "RFC 7050", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.0.0.171/32", "NAT64 discovery", "RFC 7050", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.0.2.0/24", "documentation", "RFC 5737", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("192.31.196.0/24", "AS112", "RFC 7535", True, PUBLIC, PUBLIC, PUBLIC),
    Entry("192.52.193.0/24", "AMT", "RFC 7450", True, PUBLIC, PUBLIC, PUBLIC),
    Entry("192.88.99.0/24", "6to4 relay anycast", "RFC 7526", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("192.88.99.2/32", "6a44 relay anycast", "RFC 6751", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("192.168.0.0/16", "private use", "RFC 1918", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("192.175.48.0/24", "AS112", "RFC 7534", True, PUBLIC, PUBLIC, PUBLIC),
    Entry("198.18.0.0/15", "benchmarks", "RFC 2544", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("198.51.100.0/24", "documentation", "RFC 5737", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("203.0.113.0/24", "documentation", "RFC 5737", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("240.0.0.0/4", "reserved", "RFC 1112", False, PRIVATE, PRIVATE, None),
    Entry("255.255.255.255/32", "broadcast", "RFC 8190", False, PRIVATE, PRIVATE, None),
    # Not in it.
    Entry("224.0.0.0/4", "multicast", "RFC 5771", False, PRIVATE, PUBLIC, PRIVATE),
    # The IPv6 special-purpose registry.
    Entry("::1/128", "loopback", "RFC 4291", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("::/128", "unspecified", "RFC 4291", False, PRIVATE, None, PRIVATE),
    Entry("::ffff:0:0/96", "IPv4-mapped", "RFC 4291", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("64:ff9b::/96", "NAT64", "RFC 6052", True, PRIVATE, PRIVATE, PRIVATE),  # of 0.0.0.0 and 255.255.255.255
    Entry("64:ff9b:1::/48", "local NAT64", "RFC 8215", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("100::/64", "discard only", "RFC 6666", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("100:0:0:1::/64", "dummy prefix", "RFC 9780", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001::/23", "IETF protocols", "RFC 2928", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("2001::/32", "Teredo", "RFC 4380", False, PRIVATE, PUBLIC, PRIVATE),
    Entry("2001:1::1/128", "port control anycast", "RFC 7723", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:1::2/128", "TURN anycast", "RFC 8155", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:1::3/128", "DNS-SD anycast", "RFC 9665", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:2::/48", "benchmarks", "RFC 5180", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:3::/32", "AMT", "RFC 7450", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:4:112::/48", "AS112", "RFC 7535", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:10::/28", "ORCHID", "RFC 4843", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:20::/28", "ORCHIDv2", "RFC 7343", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:30::/28", "drones", "RFC 9374", True, PRIVATE, PRIVATE, PRIVATE),
    Entry("2001:db8::/32", "documentation", "RFC 3849", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("2002::/16", "6to4", "RFC 3056", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("2620:4f:8000::/48", "AS112", "RFC 7534", True, PUBLIC, PUBLIC, PUBLIC),
    Entry("3fff::/20", "documentation", "RFC 9637", False, PRIVATE, PUBLIC, PUBLIC),
    Entry("5f00::/16", "segment routing", "RFC 9602", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("fc00::/7", "unique local", "RFC 4193", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("fe80::/10", "link-local", "RFC 4291", False, NEVER, PRIVATE, PRIVATE),
    # Not in it.
    Entry("::/96", "IPv4-compatible", "RFC 4291", False, PRIVATE, None, PRIVATE),
    Entry("::ffff:0:0:0/96", "IPv4-translated (SIIT)", "RFC 2765", False, PRIVATE, PRIVATE, PRIVATE),
    Entry("2000::/3", "all that is allocated", "RFC 4291", True, PUBLIC, PRIVATE, PRIVATE),
    Entry("fec0::/10", "site-local", "RFC 3879", False, PRIVATE, NEVER, PRIVATE),
    Entry("ff00::/8", "multicast", "RFC 4291", False, PRIVATE, PRIVATE, None),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.prefix} {entry.name}")
def test_each_registered_block_leads_where_it_should_and_its_neighbours_too(entry: Entry) -> None:
    network = ipaddress.ip_network(entry.prefix)
    first, last = network[0], network[-1]
    assert (reach(str(first)), reach(str(last))) == (entry.inside, entry.inside)
    if entry.before is not None:
        assert reach(str(first - 1)) is entry.before
    if entry.after is not None:
        assert reach(str(last + 1)) is entry.after


def test_nothing_that_a_registry_calls_unreachable_is_public() -> None:
    assert all(entry.inside is not PUBLIC for entry in ENTRIES if not entry.reachable)


@pytest.mark.parametrize("first_half", [*range(0x00, 0x20), *range(0x40, 0x100)])
def test_ipv6_outside_of_what_is_allocated_is_not_public(first_half: int) -> None:
    assert reach(f"{first_half:02x}77:1234::1") is not PUBLIC


Hide = Callable[[bytes], bytes]


def _behind(prefix: str) -> Hide:
    """The IPv4 address in the last four bytes."""
    return lambda ipv4: ipaddress.IPv6Address(prefix).packed[:12] + ipv4


def _nat64(prefix: str, length: int) -> Hide:
    """As RFC 6052 has it: right after the prefix, but for byte 8, which is zero."""

    def hide(ipv4: bytes) -> bytes:
        without_zero = ipaddress.IPv6Address(prefix).packed[: length // 8] + ipv4
        return (without_zero[:8] + b"\0" + without_zero[8:]).ljust(16, b"\0")

    return hide


def _teredo_client(ipv4: bytes) -> bytes:
    server, flags_and_port = bytes([65, 54, 227, 120]), bytes.fromhex("800063bf")
    return bytes.fromhex("20010000") + server + flags_and_port + bytes(byte ^ 0xFF for byte in ipv4)


# Each form, and where one of a public IPv4 address leads.
FORMS: dict[str, tuple[Hide, Reach]] = {
    "IPv4-mapped": (_behind("::ffff:0:0"), PUBLIC),
    "IPv4-compatible": (_behind("::"), PRIVATE),
    "IPv4-translated (SIIT)": (_behind("::ffff:0:0:0"), PRIVATE),
    "NAT64": (_behind("64:ff9b::"), PUBLIC),
    "local NAT64 /48": (_nat64("64:ff9b:1::", 48), PRIVATE),
    "local NAT64 /56": (_nat64("64:ff9b:1:200::", 56), PRIVATE),
    "local NAT64 /64": (_nat64("64:ff9b:1:203::", 64), PRIVATE),
    "local NAT64 /96": (_behind("64:ff9b:1:203::"), PRIVATE),
    "6to4": (lambda ipv4: b"\x20\x02" + ipv4 + bytes(10), PRIVATE),
    "Teredo server": (lambda ipv4: bytes.fromhex("20010000") + ipv4 + bytes.fromhex("800063bf00000000"), PRIVATE),
    "Teredo client": (_teredo_client, PRIVATE),
    "ISATAP": (_behind("2606:4700::5efe:0:0"), PUBLIC),
    "ISATAP, universal": (_behind("2606:4700::200:5efe:0:0"), PUBLIC),
    "ISATAP, unique local": (_behind("fd12::5efe:0:0"), PRIVATE),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_ipv4_address_inside_an_ipv6_one_leads_as_far_as_it_may(form: str) -> None:
    hide, of_a_public_one = FORMS[form]

    def leads(ipv4: str) -> Reach:
        return reach(str(ipaddress.IPv6Address(hide(ipaddress.IPv4Address(ipv4).packed))))

    for ipv4 in ("10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"):
        assert leads(ipv4) is PRIVATE, ipv4
    for ipv4 in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"):
        assert leads(ipv4) is NEVER, ipv4
    assert leads("8.8.8.8") is of_a_public_one
