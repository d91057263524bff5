"""The page's addresses: what each asks of the workers, and what people see when that cannot be had."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from aiohttp import web

from processor.domain.status import DEFINITIONS, Channel, Status
from processor.logs import get_logger
from processor.web.access import Access, Caller
from processor.web.page import arrange, charts, diagram, render
from processor.web.page.assets import assets
from processor.web.page.filters import Filters
from processor.web.page.language import COOKIE, LANGUAGES, Language, language_of
from processor.web.problems import FORBIDDEN, UNAUTHORIZED, ProblemError, invalid
from processor.web.sealing import PREFIX
from processor.web.sessions import SESSION_COOKIE, Session

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

#: Fields that a form of ours has at most.
_FIELDS_MAX = 10


class NotFoundError(Exception):
    """No worker knows the message or the delivery."""


class Source(Protocol):
    """What the page asks. Answers are the API's view models: structs or the mappings that they become as JSON.

    Every question may raise a ProblemError: mostly that whoever knows is away, and when to ask again.
    """

    async def overview(self) -> Any:
        """Give /api/v1/overview."""

    async def deliveries(self, filters: Mapping[str, str]) -> Any:
        """Give /api/v1/deliveries, by the parameters of its query."""

    async def delivery(self, delivery_id: str) -> Any:
        """Give one delivery; raise NotFoundError where there is none."""

    async def message(self, reference: str, caller: Caller) -> Any:
        """Give one message by its id, as it is or sealed; masked unless the caller may see it.

        Raise NotFoundError where there is none.
        """

    def reference(self, message_id: str, caller: Caller) -> str:
        """Give what a link names a message by: its id, sealed where the caller may not see it."""

    async def cancel(self, delivery_id: str) -> None:
        """Cancel a delivery; raise NotFoundError where there is none."""

    async def tell_ended(self, session: Session) -> None:
        """Tell the other workers of a session that has ended; never raises a ProblemError."""


class Visit(NamedTuple):
    """One request, who makes it, and in which language it is answered."""

    request: web.Request
    language: Language
    caller: Caller


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


class Page:
    """Serves the page of one worker."""

    def __init__(self, source: Source, access: Access) -> None:
        self._source = source
        self._access = access

    def add_to(self, application: web.Application) -> None:
        """Add the routes."""
        routes = application.router
        routes.add_get("/", self._readers(self._overview))
        routes.add_get("/deliveries", self._readers(self._deliveries))
        routes.add_get("/deliveries/{id}", self._readers(self._delivery))
        routes.add_get("/deliveries/{id}/cancel", self._readers(self._ask_cancel))
        routes.add_post("/deliveries/{id}/cancel", self._readers(self._cancel))
        routes.add_get("/messages/{id}", self._readers(self._message))
        routes.add_get("/statuses", self._readers(self._statuses))
        routes.add_get("/find", self._readers(self._find))
        routes.add_get("/login", self._anybody(self._ask_login))
        routes.add_post("/login", self._anybody(self._login))
        routes.add_post("/logout", self._anybody(self._logout))
        routes.add_get("/static/{name}", assets().serve)
        # What no other route has; the API tells of its own.
        routes.add_get("/{rest:(?!api/|internal/).+}", self._nothing)

    # Who may, and what is told when it cannot be done

    def _readers(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(visit: Visit) -> web.StreamResponse:
            self._access.reader(visit.request)
            return await handler(visit)

        return self._anybody(guarded)

    def _anybody(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            visit = Visit(request, language_of(request), self._access.caller(request))
            try:
                if request.method == "POST" and not self._access.is_same_origin(request):
                    return self._error(visit, 403, "foreign")
                response = await handler(visit)
            except ProblemError as error:
                response = self._problem(visit, error)
            except web.HTTPException:
                raise
            except Exception:
                # No address: it may name a message, and messages are named after recipients at some providers.
                log.exception("page_failed", page=getattr(handler, "__name__", ""))
                response = self._error(visit, 500, "failed")
            if request.query.get("lang") in LANGUAGES:
                self._remember(response, COOKIE, visit, visit.language.code, max_age=_YEAR_SECONDS)
            return response

        return answer

    def _problem(self, visit: Visit, error: ProblemError) -> web.Response:
        kind, detail = error.kind, error.problem.detail
        if kind is UNAUTHORIZED:
            return _to(f"/login?next={quote(str(visit.request.rel_url), safe='')}")
        if kind is FORBIDDEN:
            return self._error(visit, 403, "forbidden", detail=detail)
        if kind.retry_after is None:
            return self._error(visit, kind.status, "invalid" if kind.status < 500 else "failed", detail=detail)
        why = visit.language.known("unavailable", kind.name)
        response = self._error(visit, kind.status, "unavailable", retry=kind.retry_after, why=why, detail=detail)
        # A header and no <meta>: who reads with a screen reader is not told of a page that renews itself for ever.
        response.headers["Refresh"] = response.headers["Retry-After"] = str(kind.retry_after)
        return response

    def _error(self, visit: Visit, status: int, kind: str, **values: Any) -> web.Response:
        defaults = {
            "kind": kind,
            "is_missing": status == 404,
            "retry": None,
            "why": "",
            "detail": "",
            "values": {},
        }
        return self._page(visit, "error", status, **{**defaults, **values})

    def _missing(self, visit: Visit, kind: str, identifier: str, detail: str = "") -> web.Response:
        return self._error(visit, 404, f"{kind}_not_found", values={"id": identifier}, detail=detail)

    def _page(self, visit: Visit, name: str, status: int = 200, **values: Any) -> web.Response:
        text = render.page(
            name,
            visit.language,
            request=visit.request,
            signed_in=SESSION_COOKIE in visit.request.cookies,
            sees_recipients=visit.caller.sees_recipients,
            bare=not visit.caller.may_read,
            now=datetime.now(timezone.utc),
            **values,
        )
        headers = {**_HEADERS, "Content-Language": visit.language.code}
        response = web.Response(text=text, status=status, content_type="text/html", headers=headers)
        response.enable_compression()
        return response

    # Pages

    async def _overview(self, visit: Visit) -> web.Response:
        view = _plain(await self._source.overview())
        language, messages = visit.language, view["messages"]
        alarms = arrange.alarms(view, language)
        counts = {alarm.name: language.number(alarm.number) for alarm in alarms}
        dead_letters = sorted(view["wrong"]["dead_letters"].items(), key=lambda item: -item[1])
        return self._page(
            visit,
            "overview",
            view=view,
            wrong=view["wrong"],
            missing=arrange.ranges(view["incomplete"]),
            alarms=alarms,
            summary=language.text("summary", **counts),
            channels=[channel.value for channel in Channel],
            by_status=arrange.by_status(messages),
            totals=arrange.totals(messages),
            channel_totals={channel.value: sum(messages.get(channel.value, {}).values()) for channel in Channel},
            dead_letters=[item for item in dead_letters if item[1]],
            partitions=arrange.partitions(view["partitions"]),
        )

    async def _deliveries(self, visit: Visit) -> web.Response:
        filters = Filters.of(visit.request.query)
        view = _plain(await self._source.deliveries(filters.parameters(datetime.now(timezone.utc))))
        return self._page(
            visit,
            "deliveries",
            view=view,
            shown_statuses=[name for name in charts.ORDER if view["statuses"][name]],
            form=filters.form,
            filtered=filters.are_given,
            choices=filters.choices(visit.language),
            sorting=filters.sorting(),
            earlier=filters.address(cursor="") if filters.cursor else None,
            later=filters.address(cursor=view["next"]) if view["next"] else None,
        )

    async def _delivery(self, visit: Visit) -> web.Response:
        delivery_id = visit.request.match_info["id"]
        try:
            view = _plain(await self._source.delivery(delivery_id))
        except NotFoundError:
            return self._missing(visit, "delivery", delivery_id)
        pending, ended = view["pending"], view["statuses"]["canceled"]
        stoppable = arrange.stoppable(view["statuses"], view["channel"])
        return self._page(
            visit,
            "delivery",
            view=view,
            cause_text=visit.language.text(f"cause.{pending['cause']}.text", **pending) if pending else "",
            canceled="canceled" in visit.request.query and not view["canceled_at"],
            cancelable=not view["canceled_at"],
            gone=view["messages"] - ended - stoppable,
            legend=arrange.legend(view["statuses"], view["channel"]),
            chart=charts.over_time(view["series"]),
            reasons=arrange.reasons(view),
            facts=arrange.facts(view),
            providers=sorted(view["providers"].items(), key=lambda item: -item[1]),
        )

    async def _message(self, visit: Visit) -> web.Response:
        reference = visit.request.match_info["id"]
        try:
            view = _plain(await self._source.message(reference, visit.caller))
        except NotFoundError as error:
            detail = str(error) if reference.startswith(PREFIX) else ""
            return self._missing(visit, "message", reference, detail)
        language = visit.language
        code = view["waits_for_code"]
        return self._page(
            visit,
            "message",
            view=view,
            shape=arrange.shape(view),
            meaning=language.meaning(Status(view["status"])),
            waits_text=language.known("wait", code) if code else view["waits_for"],
            life=arrange.life(view),
            attempts=max((each["attempt"] for each in view["history"]), default=1),
        )

    async def _statuses(self, visit: Visit) -> web.Response:
        names = {channel: visit.language.known("channel", channel.value) for channel in Channel}
        definitions = [
            {"status": status, "channels": ", ".join(names[channel] for channel in Channel if channel in each.channels)}
            for status, each in DEFINITIONS.items()
        ]
        drawings = [diagram.draw(channel) for channel in Channel]
        return self._page(visit, "statuses", definitions=definitions, drawings=drawings)

    async def _find(self, visit: Visit) -> web.Response:
        """Lead to the message or the delivery of that id, else to the deliveries that are called something like it."""
        sought = visit.request.query.get("q", "").strip()
        if not sought:
            return _to("/deliveries")
        try:
            await self._source.message(sought, visit.caller)
        except NotFoundError:
            pass
        else:
            reference = sought if sought.startswith(PREFIX) else self._source.reference(sought, visit.caller)
            return _to(f"/messages/{quote(reference, safe='')}")
        try:
            await self._source.delivery(sought)
        except NotFoundError:
            return _to(f"/deliveries?q={quote(sought, safe='')}")
        return _to(f"/deliveries/{quote(sought, safe='')}")

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        return self._error(Visit(request, language_of(request), self._access.caller(request)), 404, "not_found")

    # Cancelling

    async def _ask_cancel(self, visit: Visit) -> web.Response:
        return await self._cancel_form(visit)

    async def _cancel_form(self, visit: Visit, problem: str = "", status: int = 200) -> web.Response:
        delivery_id = visit.request.match_info["id"]
        try:
            view = _plain(await self._source.delivery(delivery_id))
        except NotFoundError:
            return self._missing(visit, "delivery", delivery_id)
        can = arrange.stoppable(view["statuses"], view["channel"])
        parts = [item for item in arrange.legend(view["statuses"], view["channel"]) if item[1]]
        values = {"view": view, "can": can, "gone": view["messages"] - can, "parts": parts, "problem": problem}
        return self._page(visit, "cancel", status, **values)

    async def _cancel(self, visit: Visit) -> web.Response:
        """Cancel, on the word of a form that carries the write token: no cookie is enough."""
        form = await _form(visit.request)
        if form.get("sure") != "yes":
            return await self._cancel_form(visit, "cancel.unsure", 400)
        if not self._access.takes_writes:
            return await self._cancel_form(visit, "cancel.off", 403)
        try:
            may_write = self._access.may_write(visit.request, form.get("token", ""))
        except ProblemError as error:
            return _wait(await self._cancel_form(visit, "attempts.wait", error.kind.status), error)
        if not may_write:
            return await self._cancel_form(visit, "cancel.wrong_token", 403)
        delivery_id = visit.request.match_info["id"]
        try:
            await self._source.cancel(delivery_id)
        except NotFoundError:
            return self._missing(visit, "delivery", delivery_id)
        return _to(f"/deliveries/{quote(delivery_id, safe='')}?canceled")

    # Signing in

    async def _ask_login(self, visit: Visit) -> web.Response:
        query = visit.request.query
        following = _own_address(query.get("next", "/"))
        if visit.caller.may_read:
            return _to(following)
        response = self._page(visit, "login", next=following, problem="")
        if visit.request.headers.get("Sec-Fetch-Site") == "cross-site" and "again" not in query:
            # A link on another site does not send a SameSite=Strict cookie. This page asking anew does.
            response.headers["Refresh"] = f"0; url=/login?again&next={quote(following, safe='')}"
        return response

    async def _login(self, visit: Visit) -> web.Response:
        form = await _form(visit.request)
        following = _own_address(form.get("next", "/"))
        try:
            session = self._access.start_session(visit.request, form.get("token", ""))
        except ProblemError as error:
            page = self._page(visit, "login", error.kind.status, next=following, problem="attempts.wait")
            return _wait(page, error)
        if session is None:
            return self._page(visit, "login", 403, next=following, problem="login.wrong")
        response = _to(following)
        self._remember(response, SESSION_COOKIE, visit, session)
        return response

    async def _logout(self, visit: Visit) -> web.Response:
        session = self._access.session(visit.request)
        if session is not None:
            self._access.end_session(session.number, session.given)
            await self._source.tell_ended(session)
        response = _to("/")
        self._remember(response, SESSION_COOKIE, visit, "", max_age=0)
        return response

    def _remember(
        self, response: web.StreamResponse, name: str, visit: Visit, value: str, max_age: int | None = None
    ) -> None:
        is_secure = self._access.is_secure(visit.request)
        response.set_cookie(name, value, path="/", max_age=max_age, httponly=True, samesite="Strict", secure=is_secure)


def _plain(answer: Any) -> Any:
    return msgspec.to_builtins(answer)


def _to(address: str) -> web.Response:
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _wait(page: web.Response, error: ProblemError) -> web.Response:
    page.headers.update(error.headers)
    return page


async def _form(request: web.Request) -> Mapping[str, str]:
    """Read a form, as our own pages send it.

    Raises:
        ProblemError: it is none of ours.
    """
    try:
        text = (await request.read()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"))
    except ValueError:
        raise invalid("the form is none of this page's") from None


def _own_address(address: str) -> str:
    """Give an address of this page; one that would lead elsewhere becomes the overview."""
    parts = urlsplit(address)
    is_own = not parts.scheme and not parts.netloc and address.startswith("/") and not address.startswith("//")
    return address if is_own and "\\" not in address and address.isprintable() else "/"
