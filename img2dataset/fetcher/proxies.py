"""Which proxy a request goes through: what the environment says, as curl and requests read it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.request import getproxies

from img2dataset.fetcher.urls import Target

# Behind a proxy the proxy resolves: these forms send it the name.
_RESOLVING_FORMS = {"socks5://": "socks5h://", "socks4://": "socks4a://"}


class Proxies:
    """``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, as they were when this was made.

    ``no_proxy`` takes names, which stand for their subdomains too, addresses, networks in CIDR form, and ``*``.
    """

    def __init__(self) -> None:
        proxies = getproxies()
        exempt = [entry.strip().lower() for entry in proxies.pop("no", "").split(",")]
        self._proxies = {scheme: _with_scheme(url) for scheme, url in proxies.items()}
        self._exempt_names = {entry.lstrip(".") for entry in exempt if entry}
        self._exempt_networks = [network for entry in exempt if (network := _network(entry))]

    def of(self, target: Target) -> str | None:
        """The URL of the proxy for `target`; None: connect directly."""
        if not self._proxies:
            return None
        proxy = self._proxies.get(target.scheme) or self._proxies.get("all")
        return None if proxy is None or self._is_exempt(target) else proxy

    def _is_exempt(self, target: Target) -> bool:
        if target.is_address:
            address = ip_address(target.host)
            if any(address in network for network in self._exempt_networks):
                return True
        labels = target.host.rstrip(".").split(".")
        names = {"*", f"{target.host}:{target.port}", *(".".join(labels[start:]) for start in range(len(labels)))}
        return not names.isdisjoint(self._exempt_names)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False)
    except ValueError:
        return None  # what cannot be read exempts nothing, as with curl


def _with_scheme(url: str) -> str:
    if "://" not in url:
        return f"http://{url}"
    for form, resolving in _RESOLVING_FORMS.items():
        if url.startswith(form):
            return resolving + url[len(form) :]
    return url
