"""Authorization of every request: tokens, the page's cookie, and the origin of forms. Nothing else judges them.

Reading is open only where nobody but this machine can ask: no read token is set, the server is bound to loopback, and
the request names a loopback host and came through no proxy (else any web page could reach it by rebinding its own name
to 127.0.0.1, and so could the world through a proxy). A wrong token is refused there, too. Writing always needs the
write token, which also shows whole recipients.
"""

from __future__ import annotations

import hmac
import math
from hashlib import sha256
from typing import NamedTuple

from aiohttp import hdrs, web

from processor.logs import get_logger
from processor.serving.proxies import Proxies, was_handed_on
from processor.settings import Settings
from processor.web.attempts import Attempts
from processor.web.hosts import host_of, is_loopback
from processor.web.problems import FORBIDDEN, TOO_MANY_ATTEMPTS, UNAUTHORIZED, ProblemError
from processor.web.sessions import SESSION_COOKIE, Session, Sessions

log = get_logger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="delivery-status"'}


class ForeignPageError(ProblemError):
    """A page of another origin sent the request, or a browser on its behalf."""

    def __init__(self) -> None:
        super().__init__(FORBIDDEN, "a page of another origin may not write with this page's cookie")


class Caller(NamedTuple):
    """What the sender of a request may do."""

    may_read: bool
    may_write: bool

    @property
    def sees_recipients(self) -> bool:
        """Whether recipients are shown whole."""
        return self.may_write


class Access:
    """Authorizes requests, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._read = settings.read_token
        self._write = settings.write_token
        self._is_local = is_loopback(settings.http_host)
        self._proxies = Proxies(settings.trusted_proxies)
        # The session of the write token needs no other.
        self._sessions = Sessions(self._write, self._read)
        self._attempts = Attempts()

    def caller(self, request: web.Request) -> Caller:
        """Return what the sender of a request may do."""
        may_write = self._presents(request, self._write)
        may_read = may_write or self._presents(request, self._read)
        if not may_read and bearer_of(request) is None:
            # Who presents a wrong token is told so, where reading needs none too.
            may_read = self._is_open(request)
        return Caller(may_read, may_write)

    def who(self, request: web.Request) -> str:
        """Return who sends a request: which token, or this machine, and the address."""
        caller = self.caller(request)
        presents = self._presents(request, self._read)
        token = "write token" if caller.may_write else "read token" if presents else "no token"
        return f"{token} from {self._proxies.address(request)}"

    def reader(self, request: web.Request) -> Caller:
        """Return the caller of a request that reads.

        Raises:
            ProblemError: it may not.
        """
        caller = self.caller(request)
        if caller.may_read:
            return caller
        if self._is_open(request):
            raise self._unauthorized(request, "this machine may read without a token")
        if self._read or self._write:
            raise self._unauthorized(request, "reading needs DELIVERY_READ_TOKEN as `Authorization: Bearer ...`")
        raise ProblemError(
            FORBIDDEN,
            "reading from beyond this machine, by another name than localhost or through a proxy needs "
            "DELIVERY_READ_TOKEN",
        )

    def writer(self, request: web.Request) -> Caller:
        """Return the caller of a request that writes.

        Raises:
            ProblemError: it may not.
        """
        self._require_writing()
        caller = self.caller(request)
        if not caller.may_write:
            raise self._unauthorized(request, "writing needs DELIVERY_WRITE_TOKEN as `Authorization: Bearer ...`")
        if bearer_of(request) is None:
            self.require_own_page(request)
        return caller

    def _require_writing(self) -> None:
        if not self._write:
            raise ProblemError(FORBIDDEN, "writing is off: DELIVERY_WRITE_TOKEN is not set")

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
        """Return the problem of a request without the right token, and count a wrong one.

        The right token as a bearer is never refused for the wrong ones of others: one program with an old token would
        shut out all that share its address.
        """
        if bearer_of(request) is not None:
            problem = self._wait(request)
            if problem is not None:
                return problem
            self._wrong(request)
            detail = f"the bearer token is wrong; {detail}"
        return ProblemError(UNAUTHORIZED, detail, headers=_CHALLENGE)

    # Forms of the page

    def require_own_page(self, request: web.Request) -> None:
        """Require that a browser sends this for a page of ours. SameSite=Strict lets other ports of this host pass.

        Browsers tell; a client that is no browser has no cookie to abuse.

        Raises:
            ForeignPageError: it does not.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            is_own = request.headers.get("Sec-Fetch-Site", "same-origin") in {"same-origin", "none"}
        else:
            scheme, _, host = origin.partition("://")
            is_own = host == request.headers.get(hdrs.HOST) and (scheme == "https" or not self.is_secure(request))
        if not is_own:
            raise ForeignPageError

    def require_write_token(self, request: web.Request, token: str) -> None:
        """Require that a form has the write token: no cookie is enough.

        Raises:
            ProblemError: FORBIDDEN, writing is off; UNAUTHORIZED, it is not the token; TOO_MANY_ATTEMPTS.
        """
        self._require_writing()
        if self._attempt(request, token, self._write) is None:
            raise ProblemError(UNAUTHORIZED, "the form does not have DELIVERY_WRITE_TOKEN")

    def start_session(self, request: web.Request, token: str) -> str | None:
        """Return the cookie of a new session for a token that a form has; None: the token is neither of ours.

        Raises:
            ProblemError: wrong tokens were presented too often.
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
        """Return the session of a request's cookie; None: there is none, or it has ended."""
        return self._sessions.find(request.cookies.get(SESSION_COOKIE, ""))

    def end_session(self, number: str, given: int) -> None:
        """End a session at this worker: its cookie is taken no more."""
        self._sessions.end(number, given)

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the client uses TLS, to us or to a trusted proxy."""
        return self._proxies.is_secure(request)


def bearer_of(request: web.Request) -> str | None:
    """Return the bearer token of the Authorization header; None: it has none."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _equal(given: str, known: str) -> bool:
    # Digests are compared: the time that it takes says nothing, not even of the length.
    return hmac.compare_digest(_digest(given), _digest(known))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
