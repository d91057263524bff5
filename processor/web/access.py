"""Who may do what: tokens, and the page's cookie.

Reading is open only where nobody but this machine can ask: no read token is set, the server is bound to loopback, and
the request names a loopback host and came through no proxy (else any web page could reach it by rebinding its own name
to 127.0.0.1, and so could the world through a proxy). Writing always needs the write token. Who has it may also see
whole recipients.
"""

from __future__ import annotations

import hmac
import math
from hashlib import sha256
from typing import NamedTuple

from aiohttp import hdrs, web

from processor.logs import get_logger
from processor.settings import Settings
from processor.web.attempts import Attempts
from processor.web.hosts import host_of, is_loopback
from processor.web.problems import FORBIDDEN, TOO_MANY_ATTEMPTS, UNAUTHORIZED, ProblemError
from processor.web.proxies import Proxies, was_handed_on
from processor.web.sessions import SESSION_COOKIE, Session, Sessions

log = get_logger(__name__)

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
        self._is_local = is_loopback(settings.http_host)
        self._proxies = Proxies(settings.trusted_proxies)
        # Whoever presents the write token's is not asked for the other.
        self._sessions = Sessions(self._write, self._read)
        self._attempts = Attempts()

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
            raise self._unauthorized(request, "reading needs DELIVERY_READ_TOKEN as `Authorization: Bearer ...`")
        raise ProblemError(
            FORBIDDEN,
            "reading from beyond this machine, by another name than localhost or through a proxy needs "
            "DELIVERY_READ_TOKEN",
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
            raise self._unauthorized(request, "writing needs DELIVERY_WRITE_TOKEN as `Authorization: Bearer ...`")
        if bearer_of(request) is None and not self.is_same_origin(request):
            raise ProblemError(FORBIDDEN, "a page of another origin may not write with this page's cookie")
        return caller

    def _presents(self, request: web.Request, token: str) -> bool:
        if not token:
            return False
        bearer = bearer_of(request)
        if bearer is not None:
            return _equal(bearer, token)
        session = self.session(request)
        return session is not None and session.token == token

    def _is_open(self, request: web.Request) -> bool:
        return not self._read and self._is_local and is_loopback(host_of(request) or "") and not was_handed_on(request)

    def _unauthorized(self, request: web.Request, detail: str) -> ProblemError:
        """Give the problem of a request without the right token; a wrong one counts.

        Whoever presents the right one as a bearer is never refused for the wrong ones of others: one program with an
        old token would shut out all that share its address.
        """
        if bearer_of(request) is not None:
            problem = self._wait(request)
            if problem is not None:
                return problem
            self._wrong(request)
        return ProblemError(UNAUTHORIZED, detail, headers=_CHALLENGE)

    # Tokens in forms

    @property
    def takes_writes(self) -> bool:
        """Whether anybody may write."""
        return bool(self._write)

    def may_write(self, request: web.Request, token: str) -> bool:
        """Say whether a token that a form has is the one to write with.

        Raises:
            ProblemError: wrong ones were presented too often.
        """
        return self.takes_writes and self._attempt(request, token, self._write) is not None

    def start_session(self, request: web.Request, token: str) -> str | None:
        """Give what the page's cookie is to hold for a token that a form has; None when it is neither of ours.

        Raises:
            ProblemError: wrong ones were presented too often.
        """
        known = self._attempt(request, token, self._write, self._read)
        return None if known is None else self._sessions.start(known)

    def _attempt(self, request: web.Request, token: str, *known: str) -> str | None:
        problem = self._wait(request)
        if problem is not None:
            raise problem
        for each in known:
            if each and _equal(token, each):
                self._attempts.right(self._proxies.address(request))
                return each
        self._wrong(request)
        return None

    def _wait(self, request: web.Request) -> ProblemError | None:
        wait = math.ceil(self._attempts.wait(self._proxies.address(request)))
        if not wait:
            return None
        return ProblemError(
            TOO_MANY_ATTEMPTS, f"too many wrong tokens: try again in {wait} s", headers={hdrs.RETRY_AFTER: str(wait)}
        )

    def _wrong(self, request: web.Request) -> None:
        address = self._proxies.address(request)
        self._attempts.wrong(address)
        if self._attempts.wait(address):
            log.warning("wrong_tokens", address=address[:100])

    # The page's cookie

    def session(self, request: web.Request) -> Session | None:
        """Give the session of a request's cookie; None: it has none that goes on."""
        return self._sessions.find(request.cookies.get(SESSION_COOKIE, ""))

    def end_session(self, number: str, given: int) -> None:
        """End a session: its cookie is good for nothing any more, at this worker."""
        self._sessions.end(number, given)

    def is_secure(self, request: web.Request) -> bool:
        """Say whether the client speaks TLS, to us or to a proxy that is believed."""
        return self._proxies.is_secure(request)

    def is_same_origin(self, request: web.Request) -> bool:
        """Say whether a browser sends this for a page of ours. SameSite=Strict lets other ports of this host pass.

        Browsers tell; what is no browser has no cookies to abuse.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return request.headers.get("Sec-Fetch-Site", "same-origin") in {"same-origin", "none"}
        scheme, _, host = origin.partition("://")
        return host == request.headers.get(hdrs.HOST) and (scheme == "https" or not self.is_secure(request))


def bearer_of(request: web.Request) -> str | None:
    """Give the token of the Authorization header, if it has one."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _equal(given: str, known: str) -> bool:
    # Of digests: how long it takes tells nothing, not even of the length.
    return hmac.compare_digest(_digest(given), _digest(known))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
