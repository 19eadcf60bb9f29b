"""Which proxy a request goes through: what the environment says, as curl and requests read it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.request import getproxies, proxy_bypass

from img2dataset.fetcher.urls import Target


class Proxies:
    """``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, as they were when this was made.

    ``no_proxy`` takes names, which stand for their subdomains too, addresses, networks in CIDR form, or ``*``.
    """

    def __init__(self) -> None:
        self._exempt = {"no": getproxies().get("no", "").strip()}
        self._networks = [network for entry in self._exempt["no"].split(",") if (network := _network(entry))]
        self._proxies = {scheme: _with_scheme(url) for scheme, url in getproxies().items() if scheme != "no"}

    def of(self, target: Target) -> str | None:
        """The URL of the proxy for `target`; None: connect directly."""
        if not self._proxies:
            return None
        proxy = self._proxies.get(target.scheme) or self._proxies.get("all")
        return None if proxy is None or self._is_exempt(target) else proxy

    def _is_exempt(self, target: Target) -> bool:
        if target.is_address and any(ip_address(target.host) in network for network in self._networks):
            return True
        return bool(proxy_bypass(f"{target.host.rstrip('.')}:{target.port}", self._exempt))


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False)
    except ValueError:
        return None  # what cannot be read exempts nothing, as with curl


def _with_scheme(url: str) -> str:
    if "://" not in url:
        return f"http://{url}"
    # Behind a proxy the proxy resolves: these forms send it the name.
    return url.replace("socks5://", "socks5h://", 1).replace("socks4://", "socks4a://", 1)
