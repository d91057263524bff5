"""What proxies say of the requests that they hand on, and which of them are believed."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web

#: What proxies add. Any of them says that a request may come from beyond this machine, whoever sends it.
_MARKS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


def was_handed_on(request: web.Request) -> bool:
    """Say whether a request tells that it came through a proxy."""
    return any(name in request.headers for name in _MARKS)


class Proxies:
    """Reads the headers of the proxies that are believed; those of anybody else are passed over."""

    def __init__(self, trusted: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self._trusted = trusted

    def is_secure(self, request: web.Request) -> bool:
        """Say whether the client speaks TLS, to us or to a proxy."""
        if not self._has(request.remote or ""):
            return request.secure
        told = request.headers.get("X-Forwarded-Proto", request.scheme)
        return told.partition(",")[0].strip().lower() == "https"

    def address(self, request: web.Request) -> str:
        """Give the address that a request comes from: the nearest one that is no proxy of ours."""
        address = request.remote or ""
        told = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for each in reversed(told.split(",")):
            if not self._has(address) or not each.strip():
                break
            address = each.strip()
        return address

    def _has(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)
