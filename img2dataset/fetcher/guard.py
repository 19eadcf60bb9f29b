"""Which addresses may be connected to."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from img2dataset.errors import DownloadError, Reason

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(IntEnum):
    """Where an address leads."""

    PUBLIC = 0
    PRIVATE = 1
    NEVER = 2


def _networks(text: str) -> tuple[_IPNetwork, ...]:
    return tuple(ipaddress.ip_network(network) for network in text.split())


# Link-local addresses, and the fixed addresses outside them at which clouds serve credentials to their machines
# (Alibaba 100.100.100.200, Azure 168.63.129.16, Oracle 192.0.0.192, AWS fd00:ec2::254, Google fd20:ce::254).
_NEVER = _networks(
    "169.254.0.0/16 fe80::/10 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::/32 fd20:ce::254"
)  # fmt: skip

# The IANA special-purpose registries, spelled out: `ipaddress.is_global` changed its mind between Python versions. What
# they call globally reachable inside 192.0.0.0/24 and 2001::/23 serves protocols: no image is there.
_PRIVATE = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 "
    "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
    "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
)
# All of IPv6 that is allocated, and the two forms of an IPv4 address that lead where it leads. All else is private.
_PUBLIC_IPV6 = _networks("2000::/3 ::ffff:0:0/96 64:ff9b::/96")

# Where an IPv6 address has the four bytes of an IPv4 one (RFC 4291, 2765, 6052, 8215); `ipaddress` knows other forms.
_LAST_FOUR = (12, 13, 14, 15)
_EMBEDDED = tuple(
    (ipaddress.IPv6Network(network), places)
    for network, places in (
        ("::/96", _LAST_FOUR),  # IPv4-compatible
        ("::ffff:0:0:0/96", _LAST_FOUR),  # IPv4-translated, SIIT
        ("64:ff9b::/96", _LAST_FOUR),  # NAT64
        ("64:ff9b:1::/48", (6, 7, 9, 10)),  # a network's own NAT64, whose prefix has 48, 56, 64 or 96 bits
        ("64:ff9b:1::/48", (7, 9, 10, 11)),
        ("64:ff9b:1::/48", (9, 10, 11, 12)),
        ("64:ff9b:1::/48", _LAST_FOUR),
    )
)
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))  # RFC 5214: under any prefix


@functools.lru_cache(maxsize=65536)
def reach(address: str) -> Reach:
    """Where `address`, a literal IPv4 or IPv6 address, leads; of an IPv4 address inside an IPv6 one, the stricter."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return max(_reach(candidate) for candidate in (parsed, *_embedded(parsed)))


def _reach(address: _IPAddress) -> Reach:
    if _in(address, _NEVER):
        return Reach.NEVER
    if _in(address, _PRIVATE) or (address.version == 6 and not _in(address, _PUBLIC_IPV6)):
        return Reach.PRIVATE
    return Reach.PUBLIC


def _in(address: _IPAddress, networks: Sequence[_IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _embedded(address: _IPAddress) -> list[_IPAddress]:
    """The IPv4 addresses that connecting to an IPv6 address may end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    packed = address.packed
    found = [bytes(packed[place] for place in places) for network, places in _EMBEDDED if address in network]
    if packed[8:12] in _ISATAP:
        found.append(packed[12:])
    known = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return [*map(ipaddress.IPv4Address, found), *filter(None, known)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Says which of a host's addresses may be connected to.

    Never: link-local addresses and the known metadata services of clouds. Private addresses: not with
    `block_private_networks`, and not by a redirect from a public address.
    """

    block_private_networks: bool

    def allowed(self, addresses: Sequence[str], *, from_public: bool) -> tuple[str, ...]:
        """Those of `addresses` that may be connected to, in their order; `from_public` is a redirect's origin.

        Raises `DownloadError` (blocked address) when there are none.
        """
        worst = Reach.PUBLIC if self.block_private_networks or from_public else Reach.PRIVATE
        allowed = tuple(address for address in addresses if reach(address) <= worst)
        if not allowed:
            raise DownloadError(Reason.BLOCKED_ADDRESS)
        return allowed


def is_public(addresses: Sequence[str]) -> bool:
    """Whether any of the addresses leads into the public internet."""
    return any(reach(address) is Reach.PUBLIC for address in addresses)
