"""Shared by all pages: who may see them, their language and headers, and the page shown for an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

from aiohttp import web

from processor.logs import get_logger
from processor.web.access import Access, By, Caller, ForeignPageError
from processor.web.page import render
from processor.web.page.language import COOKIE, LANGUAGES, Language, language_of
from processor.web.problems import FORBIDDEN, MESSAGE_NOT_KNOWN, NOT_KNOWN, UNAUTHORIZED, Kind, ProblemError, invalid
from processor.web.sealing import PREFIX

log = get_logger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    # Addresses name messages, and forms need their origin told to ourselves.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding, Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
}

_YEAR_SECONDS = 365 * 24 * 60 * 60

#: Most fields that a form of ours has.
_FIELDS_MAX = 10


class Visit(NamedTuple):
    """One request, its sender, and the language that it is answered in."""

    request: web.Request
    language: Language
    caller: Caller


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


class Frame:
    """Guards the handlers of pages, and makes their responses."""

    def __init__(self, access: Access, shadow_of: str = "") -> None:
        self._access, self._shadow_of = access, shadow_of

    # Who may see it

    def readers(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let those pass that may read; the others are led to sign in."""

        async def guarded(visit: Visit) -> web.StreamResponse:
            self._access.reader(visit.request)
            return await handler(visit)

        return self.anybody(guarded)

    def operators(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let operators pass; others that are known are told so, and the rest is led to sign in."""

        async def guarded(visit: Visit) -> web.StreamResponse:
            self._access.operator(visit.request)
            return await handler(visit)

        return self.anybody(guarded)

    def anybody(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let everybody pass; a form must come from a page of ours."""

        async def answer(request: web.Request) -> web.StreamResponse:
            visit = Visit(request, language_of(request), self._access.caller(request))
            try:
                if request.method == "POST":
                    self._access.require_own_page(request)
                response = await handler(visit)
            except ProblemError as error:
                response = self._problem(visit, error)
            except web.HTTPException:
                raise
            except Exception:
                # The address is left out: it may name a message, and some providers name messages after recipients.
                log.exception("page_failed", page=getattr(handler, "__name__", ""))
                response = self._error(visit, 500, "failed")
            if request.query.get("lang") in LANGUAGES:
                self.remember(response, COOKIE, visit, visit.language.code, max_age=_YEAR_SECONDS)
            return response

        return answer

    # Responses

    def page(self, visit: Visit, name: str, status: int = 200, **values: Any) -> web.Response:
        """Render a page from the template of that name."""
        text = render.page(
            name,
            visit.language,
            request=visit.request,
            caller=visit.caller,
            way=_way(visit.caller, self._access),
            sign_out_url=self._access.sign_out_url,
            sees_recipients=visit.caller.sees_recipients,
            bare=not visit.caller.may_read,
            shadow_of=self._shadow_of,
            now=datetime.now(timezone.utc),
            **values,
        )
        headers = {**_HEADERS, "Content-Language": visit.language.code}
        response = web.Response(text=text, status=status, content_type="text/html", headers=headers)
        response.enable_compression()
        return response

    def remember(
        self, response: web.StreamResponse, name: str, visit: Visit, value: str, max_age: int | None = None
    ) -> None:
        """Set a cookie that scripts and other sites cannot use."""
        is_secure = self._access.is_secure(visit.request)
        response.set_cookie(name, value, path="/", max_age=max_age, httponly=True, samesite="Strict", secure=is_secure)

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        """Answer an address that is none of ours."""
        return self._error(Visit(request, language_of(request), self._access.caller(request)), 404, "not_found")

    def _problem(self, visit: Visit, error: ProblemError) -> web.Response:
        kind, detail = error.kind, error.problem.detail
        if isinstance(error, ForeignPageError):
            return self._error(visit, 403, "foreign")
        if kind is UNAUTHORIZED and not visit.caller.is_known:
            return redirect(f"/login?next={quote(str(visit.request.rel_url), safe='')}")
        if kind in {FORBIDDEN, UNAUTHORIZED}:
            why = "" if visit.caller.is_known else visit.language.known("problem", kind.name)
            return self._error(visit, 403, "role" if visit.caller.is_known else "forbidden", why=why, detail=detail)
        if kind in NOT_KNOWN:
            return self._not_found(visit, kind, detail)
        if kind.retry_after is None:
            why = visit.language.known("problem", kind.name)
            return self._error(visit, kind.status, "invalid" if kind.status < 500 else "failed", why=why, detail=detail)
        why = visit.language.known("unavailable", kind.name)
        response = self._error(visit, kind.status, "unavailable", retry=kind.retry_after, why=why, detail=detail)
        # A header and no <meta>: screen readers do not announce a page that renews itself for ever.
        response.headers["Refresh"] = response.headers["Retry-After"] = str(kind.retry_after)
        return response

    def _not_found(self, visit: Visit, kind: Kind, detail: str) -> web.Response:
        name = visit.request.match_info.get("id", "")
        if not name:
            return self._error(visit, 404, "not_found")
        # Why a sealed id is not known helps; that an id is not known is said without it.
        is_sealed = kind is MESSAGE_NOT_KNOWN and name.startswith(PREFIX)
        return self._error(visit, 404, kind.name, values={"id": name}, detail=detail if is_sealed else "")

    def _error(self, visit: Visit, status: int, kind: str, **values: Any) -> web.Response:
        defaults = {
            "kind": kind,
            "is_missing": status == 404,
            "retry": None,
            "why": "",
            "detail": "",
            "values": {},
        }
        return self.page(visit, "error", status, **{**defaults, **values})


def _way(caller: Caller, access: Access) -> str:
    """Return what the page offers: to sign out, by us or the proxy, or to sign in."""
    if caller.by is By.SESSION:
        return "out"
    if caller.by is By.PROXY:
        return "out_by_proxy" if access.sign_out_url else ""
    return "in" if access.knows_tokens else ""


def redirect(address: str) -> web.Response:
    """Lead to another page of ours."""
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Read a form, as our own pages send it.

    Raises:
        ProblemError: it is none of ours.
    """
    try:
        text = (await request.read()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"))
    except ValueError:
        raise invalid("the form is none of this page's") from None
