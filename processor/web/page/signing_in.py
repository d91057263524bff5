"""The pages to sign in and out."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from aiohttp import web

from processor.web.access import Access, By
from processor.web.forwarding import Forwarding
from processor.web.page.frame import Frame, Visit, read_form, redirect
from processor.web.problems import ProblemError
from processor.web.sessions import SESSION_COOKIE
from processor.web.signing_out import end_everywhere


class SigningIn:
    """Gives a cookie for a token, and takes it back."""

    def __init__(self, frame: Frame, access: Access, forwarding: Forwarding) -> None:
        self._frame = frame
        self._access = access
        self._forwarding = forwarding

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get("/login", self._frame.anybody(self._ask))
        routes.add_post("/login", self._frame.anybody(self._sign_in))
        routes.add_post("/logout", self._frame.anybody(self._sign_out))

    async def _ask(self, visit: Visit) -> web.Response:
        query = visit.request.query
        following = _own_address(query.get("next", "/"))
        if visit.caller.by is By.SESSION:
            return redirect(following)
        response = self._form(visit, following)
        if visit.request.headers.get("Sec-Fetch-Site") == "cross-site" and "again" not in query:
            # A link on another site does not send a SameSite=Strict cookie. This page, asking again, does.
            response.headers["Refresh"] = f"0; url=/login?again&next={quote(following, safe='')}"
        return response

    async def _sign_in(self, visit: Visit) -> web.Response:
        form = await read_form(visit.request)
        following = _own_address(form.get("next", "/"))
        try:
            session = self._access.start_session(visit.request, form.get("token", ""))
        except ProblemError as error:
            response = self._form(visit, following, "attempts.wait", error.kind.status)
            response.headers.update(error.headers)
            return response
        if session is None:
            return self._form(visit, following, "login.wrong", 403)
        response = redirect(following)
        self._frame.remember(response, SESSION_COOKIE, visit, session)
        return response

    async def _sign_out(self, visit: Visit) -> web.Response:
        session = self._access.session(visit.request)
        if session is not None:
            await end_everywhere(session, self._access, self._forwarding)
        response = redirect("/")
        self._frame.remember(response, SESSION_COOKIE, visit, "", max_age=0)
        return response

    def _form(self, visit: Visit, following: str, problem: str = "", status: int = 200) -> web.Response:
        return self._frame.page(visit, "login", status, next=following, problem=problem)


def _own_address(address: str) -> str:
    """Return an address of this page; one that would lead elsewhere becomes the overview."""
    parts = urlsplit(address)
    is_own = not parts.scheme and not parts.netloc and address.startswith("/") and not address.startswith("//")
    return address if is_own and "\\" not in address and address.isprintable() else "/"
