"""Who may do what: tokens, the page's cookie, and the signature that workers know each other by.

Reading is open only where nobody but this machine can ask: no read token is set, the server is bound to loopback, and
the request names a loopback host (else any web page could reach it by rebinding its own name to 127.0.0.1, and so could
the world through a proxy). Writing always needs the write token. Who has it may also see whole recipients.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from hashlib import sha256
from typing import NamedTuple

from aiohttp import web

from processor.settings import Settings
from processor.web.problems import FORBIDDEN, UNAUTHORIZED, ProblemError

#: The cookie of the page. It holds what `Access.session` gives for a token, never the token.
SESSION_COOKIE = "delivery_session"

#: The header that says a request comes from another worker, and for how many seconds its signature is good.
HOP_HEADER = "Delivery-Hop"
_HOP_SECONDS = 60

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="delivery-status"'}


class Caller(NamedTuple):
    """What the one who asks may do."""

    may_read: bool
    may_write: bool

    @property
    def sees_recipients(self) -> bool:
        """Whether recipients are shown whole."""
        return self.may_write


class Access:
    """Judges requests by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._read = settings.read_token
        self._write = settings.write_token
        self._hop_key = (settings.internal_token or settings.write_token).encode()
        self._is_local = is_loopback(settings.http_host)

    # People and programs

    def caller(self, request: web.Request) -> Caller:
        """Say what a request may do."""
        may_write = self._presents(request, self._write)
        may_read = may_write or self._presents(request, self._read) or self._is_open(request)
        return Caller(may_read, may_write)

    def reader(self, request: web.Request) -> Caller:
        """Give the caller of a request that reads.

        Raises:
            ProblemError: it may not.
        """
        caller = self.caller(request)
        if caller.may_read:
            return caller
        if self._read or self._write:
            detail = "reading needs DELIVERY_READ_TOKEN as `Authorization: Bearer ...`"
            raise ProblemError(UNAUTHORIZED, detail, headers=_CHALLENGE)
        raise ProblemError(
            FORBIDDEN, "reading from beyond this machine, or by another name than localhost, needs DELIVERY_READ_TOKEN"
        )

    def writer(self, request: web.Request) -> Caller:
        """Give the caller of a request that writes.

        Raises:
            ProblemError: it may not.
        """
        if not self._write:
            raise ProblemError(FORBIDDEN, "writing is off: DELIVERY_WRITE_TOKEN is not set")
        caller = self.caller(request)
        if not caller.may_write:
            detail = "writing needs DELIVERY_WRITE_TOKEN as `Authorization: Bearer ...`"
            raise ProblemError(UNAUTHORIZED, detail, headers=_CHALLENGE)
        if bearer_of(request) is None and not _is_same_origin(request):
            raise ProblemError(FORBIDDEN, "a page of another origin may not write with this page's cookie")
        return caller

    @property
    def takes_writes(self) -> bool:
        """Whether anybody may write."""
        return bool(self._write)

    def may_write(self, token: str) -> bool:
        """Say whether a token is the one to write with."""
        return self.takes_writes and _equal(token, self._write)

    def session(self, token: str) -> str | None:
        """Give what the page's cookie is to hold for a token; None when it is neither of ours."""
        for known in (self._write, self._read):
            if known and _equal(token, known):
                return _session_of(known)
        return None

    def _presents(self, request: web.Request, token: str) -> bool:
        if not token:
            return False
        bearer = bearer_of(request)
        if bearer is not None:
            return _equal(bearer, token)
        return _equal(request.cookies.get(SESSION_COOKIE, ""), _session_of(token))

    def _is_open(self, request: web.Request) -> bool:
        return not self._read and self._is_local and is_loopback(_host_of(request))

    # Other workers

    @property
    def signs(self) -> bool:
        """Whether hops are signed; where they are not, they are taken from this machine only."""
        return bool(self._hop_key)

    def sign(self, path: str) -> dict[str, str]:
        """Give the headers of a hop to another worker; `path` is with its query, as it is sent."""
        if not self._hop_key:
            return {HOP_HEADER: "unsigned"}
        now = int(time.time())
        return {HOP_HEADER: f"t={now},v1={self._signature(now, path)}"}

    def check_hop(self, request: web.Request) -> bool:
        """Judge a request of another worker; say whether it is signed, and so may be told whole recipients.

        Raises:
            ProblemError: it is none.
        """
        given = request.headers.get(HOP_HEADER, "")
        if not self._hop_key:
            if given and self._is_local and is_loopback(request.remote or ""):
                return False
            detail = (
                "workers beyond this machine need DELIVERY_INTERNAL_TOKEN (or DELIVERY_WRITE_TOKEN), the same on all"
            )
            raise ProblemError(FORBIDDEN, detail)
        match = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", given)
        if match is None or not _equal(match[2], self._signature(int(match[1]), request.raw_path)):
            raise ProblemError(FORBIDDEN, "the hop is not signed with this worker's DELIVERY_INTERNAL_TOKEN")
        if abs(time.time() - int(match[1])) > _HOP_SECONDS:
            raise ProblemError(FORBIDDEN, f"the workers' clocks differ by more than {_HOP_SECONDS} s")
        return True

    def _signature(self, now: int, path: str) -> str:
        return hmac.new(self._hop_key, f"{now}\nGET\n{path}".encode(), sha256).hexdigest()


def bearer_of(request: web.Request) -> str | None:
    """Give the token of the Authorization header, if it has one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _host_of(request: web.Request) -> str:
    try:
        return request.url.host or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _equal(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _session_of(token: str) -> str:
    return hmac.new(token.encode(), b"the page's session", sha256).hexdigest()


def _is_same_origin(request: web.Request) -> bool:
    """Say whether a browser sends this for one of our own pages. SameSite=Strict lets other ports of this host pass."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin.partition("://")[2] == request.host
    return request.headers.get("Sec-Fetch-Site", "same-origin") in {"same-origin", "none"}
