"""The headers that proxies add to the requests they forward, and which proxies are trusted."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web

#: Headers of proxies. Any of them means that a request may come from beyond this machine, whatever its address.
_MARKS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


def was_handed_on(request: web.Request) -> bool:
    """Return whether a request has a header of a proxy."""
    return any(name in request.headers for name in _MARKS)


class Proxies:
    """Reads the headers of trusted proxies; those of anybody else are ignored."""

    def __init__(self, trusted: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self._trusted = trusted

    def sent(self, request: web.BaseRequest) -> bool:
        """Return whether a request comes from one of them."""
        return self._has(request.remote or "")

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the client uses TLS, to us or to a trusted proxy."""
        if not self.sent(request):
            return request.secure
        scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
        return scheme.partition(",")[0].strip().lower() == "https"

    def address(self, request: web.BaseRequest) -> str:
        """Return the address that a request comes from: the nearest one that is no trusted proxy."""
        address = request.remote or ""
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for each in reversed(forwarded.split(",")):
            if not self._has(address) or not each.strip():
                break
            address = each.strip()
        return address

    def _has(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A socket that listens on IPv6 too shows IPv4 clients so (RFC 4291, 2.5.5.2).
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._trusted)
