"""Checks of the host that a request names, against the hosts that are ours.

A web page can bind its own name to an address of ours (DNS rebinding), and then reads what we answer; its requests
still carry that name. So a request must name one of our hosts. An address is always one: a page that was loaded from
an address of ours is ours.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, hdrs, web

from processor.settings import Settings
from processor.web.problems import BAD_REQUEST, FORBIDDEN, Handler, ProblemError

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")

#: In a setting: the start of a suffix of names, and any name.
_SUFFIX, _ANY = ".", "*"

#: Headers that may stand only once: of two, a proxy and this server may read different ones.
_ONCE = (hdrs.HOST, hdrs.AUTHORIZATION)


def host_of(request: web.Request) -> str | None:
    """Return the host that a request's Host header names, without its port, in lower case; None: it names none."""
    found = _HOST.fullmatch(request.headers.get(hdrs.HOST, ""))
    return None if found is None else (found[1] or found[2]).lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class Hosts:
    """Refuses requests for hosts that are not ours."""

    def __init__(self, settings: Settings) -> None:
        name = socket.gethostname()
        own = (name, name.partition(".")[0], settings.http_host, urlsplit(settings.advertised_url).hostname or "")
        self._names = {"localhost", *(each.lower() for each in (*own, *settings.http_allowed_hosts))}

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass on requests for our hosts only, whatever the path.

        Raises:
            ProblemError: the host is none of ours, or a header that may stand only once stands twice.
        """
        for name in _ONCE:
            if len(request.headers.getall(name, ())) > 1:
                raise ProblemError(BAD_REQUEST, f"the header {name} is there more than once")
        if request.headers.get(hdrs.HOST) is None:
            # Some health checks use HTTP/1.0 and name no host; browsers always do.
            if request.version > HttpVersion10:
                raise ProblemError(BAD_REQUEST, "the header Host is missing")
        elif not self._are_ours(request):
            raise ProblemError(FORBIDDEN, "the host is none of this worker's: see DELIVERY_HTTP_ALLOWED_HOSTS")
        return await handler(request)

    def _are_ours(self, request: web.Request) -> bool:
        # The first line may name a host, too, and some readers take it before the header.
        return self.has(host_of(request)) and (not request.raw_path.startswith("http") or self.has(request.url.host))

    def has(self, host: str | None) -> bool:
        """Return whether a host is one of ours."""
        if not host:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return _ANY in self._names or host in self._names or self._has_suffix_of(host)
        return True

    def _has_suffix_of(self, host: str) -> bool:
        return any(name.startswith(_SUFFIX) and host.endswith(name) for name in self._names)
