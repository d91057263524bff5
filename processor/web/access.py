"""Authorization of every request: tokens, the page's cookie, a proxy's word, the origin of forms. Nothing else judges.

Reading is open only where nobody but this machine can ask: no token is needed to read, the server is bound to loopback,
and the request names a loopback host and came through no proxy (else any web page could reach it by rebinding its own
name to 127.0.0.1, and so could the world through a proxy). A wrong token is refused there, too. Writing always needs an
operator; the write token is one.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import NamedTuple

from aiohttp import hdrs, web

from processor.logs import get_logger
from processor.serving.proxies import Proxies, was_handed_on
from processor.settings import Settings
from processor.users import Role, forwarded_name, forwarded_role
from processor.web.attempts import Attempts
from processor.web.credentials import READ_TOKEN, Credentials
from processor.web.hosts import host_of, is_loopback
from processor.web.problems import FORBIDDEN, TOO_MANY_ATTEMPTS, UNAUTHORIZED, ProblemError
from processor.web.sessions import SESSION_COOKIE, Session, Sessions

log = get_logger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="delivery-status"'}

#: What a proxy says of whom it has signed in.
USER_HEADER, GROUPS_HEADER = "X-Forwarded-User", "X-Forwarded-Groups"

_NEEDS_TOKEN = {
    Role.READER: "reading needs DELIVERY_READ_TOKEN, or the token of a user, as `Authorization: Bearer ...`",
    Role.OPERATOR: "this needs DELIVERY_WRITE_TOKEN, or the token of an operator, as `Authorization: Bearer ...`",
}


class ForeignPageError(ProblemError):
    """A page of another origin sent the request, or a browser on its behalf."""

    def __init__(self) -> None:
        super().__init__(FORBIDDEN, "a page of another origin may not write with this page's cookie")


class By(Enum):
    """What tells who sends a request."""

    TOKEN = auto()
    SESSION = auto()
    #: A proxy has signed them in.
    PROXY = auto()
    #: It comes from this machine, which may read.
    MACHINE = auto()
    NOTHING = auto()


class Caller(NamedTuple):
    """Who sends a request, and what they may do."""

    name: str
    #: None: they may do nothing.
    role: Role | None
    by: By

    @property
    def is_known(self) -> bool:
        """Whether they have told who they are."""
        return self.by not in {By.MACHINE, By.NOTHING}

    @property
    def may_read(self) -> bool:
        """Whether they may read, with recipients masked."""
        return self._may(Role.READER)

    @property
    def sees_recipients(self) -> bool:
        """Whether recipients are shown whole."""
        return self._may(Role.UNMASKED_READER)

    @property
    def may_write(self) -> bool:
        """Whether they may write."""
        return self._may(Role.OPERATOR)

    def _may(self, role: Role) -> bool:
        return self.role is not None and self.role.includes(role)


_NO_TOKEN = "no token"  # noqa: S105 - a name
_NOBODY = Caller(_NO_TOKEN, None, By.NOTHING)
_THIS_MACHINE = Caller(_NO_TOKEN, Role.READER, By.MACHINE)

#: Who sends a request, once that is known.
_CALLER = web.RequestKey("caller", Caller)


class Access:
    """Authorizes requests, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_local = is_loopback(settings.http_host)
        self._proxies = Proxies(settings.trusted_proxies)
        self._user_proxies = Proxies(settings.user_proxies)
        self._credentials = Credentials(settings)
        self._sessions = Sessions(self._credentials.session_key)
        self._attempts = Attempts()
        #: Why the headers of proxies were ignored, as far as the log says it.
        self._ignored: set[str] = set()

    @property
    def sign_out_url(self) -> str:
        """Where users of a proxy sign out; empty: that is not known."""
        return self._settings.sign_out_url

    @property
    def knows_tokens(self) -> bool:
        """Whether there is any token to sign in with."""
        return bool(self._settings.read_token or self._settings.write_token or self._settings.users_file)

    def caller(self, request: web.Request) -> Caller:
        """Return who sends a request; the same throughout."""
        known: Caller | None = request.get(_CALLER)
        if known is None:
            known = request[_CALLER] = self._identify(request)
        return known

    def address(self, request: web.Request) -> str:
        """Return the address that a request comes from."""
        return self._proxies.address(request)

    def reader(self, request: web.Request) -> Caller:
        """Return the caller of a request that reads.

        Raises:
            ProblemError: it may not.
        """
        caller = self.caller(request)
        if caller.may_read:
            return caller
        if caller.by is By.PROXY:
            raise ProblemError(FORBIDDEN, f"{caller.name} is in no group that has a role by DELIVERY_USER_ROLES")
        if self._is_open(request):
            raise self._unauthorized(request, "this machine may read without a token")
        if self.knows_tokens:
            raise self._unauthorized(request, _NEEDS_TOKEN[Role.READER])
        if self._settings.user_roles:
            raise ProblemError(FORBIDDEN, "reading needs to be signed in by a proxy of DELIVERY_USER_PROXIES")
        raise ProblemError(
            FORBIDDEN,
            "reading from beyond this machine, by another name than localhost or through a proxy needs "
            "DELIVERY_READ_TOKEN",
        )

    def operator(self, request: web.Request) -> Caller:
        """Return the caller of a request that reads what is for operators.

        Raises:
            ProblemError: it may not.
        """
        if not self._can_write:
            raise ProblemError(FORBIDDEN, "nobody is an operator: neither DELIVERY_WRITE_TOKEN nor users are set")
        caller = self.caller(request)
        if not caller.may_write:
            raise self._lacks(request, caller)
        return caller

    def writer(self, request: web.Request) -> Caller:
        """Return the caller of a request that writes.

        Raises:
            ProblemError: it may not.
        """
        self._require_writing()
        caller = self.operator(request)
        if bearer_of(request) is None:
            self.require_own_page(request)
        return caller

    @property
    def _can_write(self) -> bool:
        return bool(self._settings.write_token or self._settings.users_file or self._settings.user_roles)

    def _require_writing(self) -> None:
        if live := self._settings.shadow_of:
            raise ProblemError(FORBIDDEN, f"writing is off: this is a shadow of {live}*, which the live workers write")
        if not self._can_write:
            raise ProblemError(FORBIDDEN, "writing is off: neither DELIVERY_WRITE_TOKEN nor users are set")

    def _identify(self, request: web.Request) -> Caller:
        bearer = bearer_of(request)
        if bearer is not None:
            # Who presents a wrong token is told so, where reading needs none too.
            owner = self._credentials.owner(bearer)
            return _NOBODY if owner is None else Caller(owner.name, owner.role, By.TOKEN)
        session = self.session(request)
        user = None if session is None else self._credentials.user(session.name)
        if user is not None:
            return Caller(user.name, user.role, By.SESSION)
        forwarded = self._forwarded(request)
        if forwarded is not None:
            return forwarded
        return _THIS_MACHINE if self._is_open(request) else _NOBODY

    def _forwarded(self, request: web.Request) -> Caller | None:
        """Return whom a proxy says that it has signed in; None: none of ours says anything."""
        given = request.headers.getall(USER_HEADER, [])
        if not given:
            return None
        if not self._user_proxies.sent(request):
            self._ignore(request, "the address is none of DELIVERY_USER_PROXIES")
            return None
        name = forwarded_name(given)
        if name is None:
            self._ignore(request, f"{USER_HEADER} is not one name, printable and without spaces")
            return None
        groups = request.headers.getall(GROUPS_HEADER, [])
        return Caller(name, forwarded_role(groups, self._settings.user_roles or {}), By.PROXY)

    def _ignore(self, request: web.Request, reason: str) -> None:
        if reason not in self._ignored:
            self._ignored.add(reason)
            log.warning("user_header_ignored", address=(request.remote or "")[:100], reason=reason)

    def _is_open(self, request: web.Request) -> bool:
        is_of_this_machine = self._is_local and is_loopback(host_of(request) or "") and not was_handed_on(request)
        return is_of_this_machine and not self._settings.asks_who_reads

    def _lacks(self, request: web.Request, caller: Caller) -> ProblemError:
        """Return the problem of a caller who is no operator: who has a name needs another role, and no other token."""
        if not caller.is_known or caller.name == READ_TOKEN:
            return self._unauthorized(request, _NEEDS_TOKEN[Role.OPERATOR])
        role = "no role" if caller.role is None else f"the role {caller.role.value}"
        return ProblemError(FORBIDDEN, f"{caller.name} has {role}, and this needs that of an operator")

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

    def asks_for_token(self, request: web.Request) -> bool:
        """Return whether a form that writes needs a token: an operator whom a proxy has signed in has none."""
        caller = self.caller(request)
        return not (caller.by is By.PROXY and caller.may_write)

    def require_operator(self, request: web.Request, token: str) -> None:
        """Require that a form has the token of an operator: no cookie is enough. From then on the caller is its owner.

        An operator whom a proxy has signed in needs none.

        Raises:
            ProblemError: FORBIDDEN, writing is off; UNAUTHORIZED, it is not such a token; TOO_MANY_ATTEMPTS.
        """
        self._require_writing()
        if not token and not self.asks_for_token(request):
            return
        caller = self._attempt(request, token, Role.OPERATOR)
        if caller is None:
            raise ProblemError(UNAUTHORIZED, "the form does not have DELIVERY_WRITE_TOKEN or the token of an operator")
        request[_CALLER] = caller

    def start_session(self, request: web.Request, token: str) -> str | None:
        """Return the cookie of a new session for a token that a form has; None: the token is nobody's.

        Raises:
            ProblemError: wrong tokens were presented too often.
        """
        caller = self._attempt(request, token, Role.READER)
        return None if caller is None else self._sessions.start(caller.name)

    def _attempt(self, request: web.Request, token: str, role: Role) -> Caller | None:
        problem = self._wait(request)
        if problem is not None:
            raise problem
        owner = self._credentials.owner(token)
        if owner is None or not owner.role.includes(role):
            self._wrong(request)
            return None
        self._attempts.right(self._proxies.address(request))
        return Caller(owner.name, owner.role, By.TOKEN)

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
