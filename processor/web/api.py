"""The API of one worker: what answers the routes of routes.py, and the internal requests of other workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from processor.domain.delivery import Action
from processor.views.breakdown import BreakdownQuery, By
from processor.views.history import Span
from processor.views.listing import Query
from processor.views.message_list import MessageList
from processor.views.message_query import MessageQuery
from processor.views.status_list import status_list
from processor.web.access import Access
from processor.web.addresses import ADDRESS_PATH, AddressLookup, AddressQuestion
from processor.web.answers import LINK_PATH, MESSAGE_PATH, Answers
from processor.web.audit_list import AuditLists
from processor.web.auditing import DETAIL, SUBJECT, tell_action
from processor.web.breakdowns import BREAKDOWN_PATH, Breakdowns
from processor.web.control_facts import ControlFacts
from processor.web.dead_letters import DeadLetters, LetterOrder
from processor.web.erasing import Erasing, Person
from processor.web.finding import Finding
from processor.web.gathering import REPORT_PATH, Gathering
from processor.web.hops import Hops
from processor.web.live import Live, stream_limit
from processor.web.message_lists import LIST_PATH, MessageLists
from processor.web.message_query import STREAM_FORMATS
from processor.web.message_streams import MessageStreams, stream_type
from processor.web.openapi import JSON, Route, document
from processor.web.parameters import flag, parse_query
from processor.web.problems import Handler, invalid
from processor.web.routes import ROUTES
from processor.web.sessions import ENDED_PATH, Ended
from processor.wire.decoding import allowed_values, explain
from processor.wire.settled import Outcome

Body = TypeVar("Body")


class Api:
    """Serves the API of one worker, and the internal requests of the others."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that answers, and who may ask
        self,
        answers: Answers,
        finding: Finding,
        gathering: Gathering,
        lists: MessageLists,
        access: Access,
        hops: Hops,
        erasing: Erasing,
        letters: DeadLetters,
        breakdowns: Breakdowns,
        addresses: AddressLookup,
        audit: AuditLists,
    ) -> None:
        self._letters, self._addresses, self._audit_lists = letters, addresses, audit
        self._answers, self._finding = answers, finding
        self._gathering, self._lists, self._streams = gathering, lists, MessageStreams()
        self._access, self._erasing = access, erasing
        self._hops, self._breakdowns = hops, breakdowns
        self._status_list = msgspec.json.encode(status_list())
        self.live = Live(self._snapshot, max_streams=stream_limit())

    @cached_property
    def _document(self) -> bytes:
        """The OpenAPI document; a worker that nobody asks for it does not make it."""
        return msgspec.json.encode(document(ROUTES))

    def add_to(self, application: web.Application) -> None:
        """Add the routes."""
        router = application.router
        for route in ROUTES:
            handler: Handler = self._checked(route, getattr(self, f"_{route.name}"))
            if route.method == "GET":
                router.add_get(route.pattern, handler)
            else:
                router.add_post(route.pattern, handler)
        router.add_get(MESSAGE_PATH + "{message_id:.+}", self._hop_message)
        router.add_get(ADDRESS_PATH + "{address:.+}", self._hop_address)
        router.add_get(LINK_PATH + "{provisional:.+}", self._hop_link)
        router.add_post(LIST_PATH, self._hop_list)
        router.add_post(BREAKDOWN_PATH, self._hop_breakdown)
        router.add_get(REPORT_PATH, self._hop_report)
        router.add_post(ENDED_PATH, self._hop_end_session)
        application.on_shutdown.append(self._end_streams)
        application.cleanup_ctx.append(self._gathering.metering)

    async def _end_streams(self, _application: web.Application) -> None:
        self._streams.stop()
        await self._erasing.stop()
        await self._letters.stop()
        await self.live.stop()

    def _checked(self, route: Route, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        """Check the caller and parse the query before the handler is called."""
        check = self._access.operator if route.is_for_operators else self._access.reader
        if route.writes:
            check = self._access.writer

        async def checked(request: web.Request) -> web.StreamResponse:
            caller = check(request)
            query = parse_query(request.query, route.query)
            return await handler(request, caller.sees_recipients, query)

        return checked

    async def _message(self, request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.message(request.match_info["message_id"], reveal=reveal))

    async def _messages(self, request: web.Request, reveal: bool, query: Any) -> web.StreamResponse:
        async def ask(given: Mapping[str, Any]) -> MessageList:
            return await self._answers.messages(given, reveal=reveal)

        name = query.pop("format", None)
        media_type = STREAM_FORMATS[name] if name else stream_type(request.headers.get(hdrs.ACCEPT, ""))
        if media_type is not None:
            return await self._streams.serve(request, media_type, query, ask)
        response = _json(await ask(query))
        response.headers[hdrs.VARY] = hdrs.ACCEPT
        return response

    async def _breakdown(self, _request: web.Request, _reveal: bool, query: Any) -> web.Response:
        by = query.pop("by", By.PLACE)
        return _json(await self._answers.breakdown(BreakdownQuery(MessageQuery(**query), by)))

    async def _find(self, _request: web.Request, reveal: bool, query: Any) -> web.Response:
        return _json(await self._finding.find(query["q"].strip(), reveal=reveal))

    async def _find_address(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._addresses.find(await _body(request, AddressQuestion)))

    async def _address(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._addresses.one(request.match_info["address"]))

    async def _deliveries(self, _request: web.Request, _reveal: bool, query: Any) -> web.Response:
        return _json(await self._answers.deliveries(Query(**query)))

    async def _delivery(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.delivery(request.match_info["delivery_id"]))

    async def _pause(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._steer(request, Action.PAUSE)

    async def _resume(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._steer(request, Action.RESUME)

    async def _finish(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._steer(request, Action.FINISH)

    async def _cancel(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._steer(request, Action.CANCEL)

    async def _steer(self, request: web.Request, action: Action) -> web.Response:
        tell_action(request, action)
        return _json(await self._answers.steer(request.match_info["delivery_id"], action), 202)

    async def _control(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        facts = await _body(request, ControlFacts)
        request[DETAIL] = facts.action.value
        return _json(await self._answers.control(request.match_info["delivery_id"], facts), 202)

    async def _erase(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        def asked(erasure_id: str) -> None:
            request[SUBJECT] = erasure_id

        return _json(await self._erasing.erase(await _body(request, Person), asked), 202)

    async def _overview(self, _request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.overview(reveal=reveal))

    async def _history(self, _request: web.Request, _reveal: bool, query: Any) -> web.Response:
        asked = {"span": Span.THREE_HOURS, **query}
        if "domain" not in asked:
            return _json(self._answers.history(**asked))
        return _json(await self._answers.history_of_place(asked.pop("domain"), **asked))

    async def _stuck(self, _request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.stuck(reveal=reveal))

    async def _contradictions(self, _request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.contradictions(reveal=reveal))

    async def _dead_letters(self, _request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.dead_letters(reveal=reveal))

    async def _dead_letter_counts(self, _request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._letters.counts())

    async def _dead_letter_list(self, _request: web.Request, reveal: bool, query: Any) -> web.Response:
        return _json(await self._letters.list(query, reveal=reveal))

    async def _dead_letter(self, request: web.Request, reveal: bool, _query: Any) -> web.Response:
        return _json(await self._letters.one(request.match_info["letter_id"], reveal=reveal))

    async def _replay(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._settle(request, Outcome.REPLAYED)

    async def _discard(self, request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return await self._settle(request, Outcome.DISCARDED)

    async def _settle(self, request: web.Request, outcome: Outcome) -> web.Response:
        order = await _body(request, LetterOrder)
        request[SUBJECT] = " ".join(order.ids)
        if order.dry_run:
            request[DETAIL] = "dry run"
        return _json(await self._letters.settle(order, outcome))

    async def _audit(self, _request: web.Request, _reveal: bool, query: Any) -> web.Response:
        return _json(await self._audit_lists.list(query))

    async def _providers(self, _request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.providers())

    async def _gateways(self, _request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json(await self._answers.gateways())

    async def _statuses(self, _request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json_bytes(self._status_list)

    async def _events(self, request: web.Request, _reveal: bool, _query: Any) -> web.StreamResponse:
        return await self.live.stream(request)

    async def _openapi(self, _request: web.Request, _reveal: bool, _query: Any) -> web.Response:
        return _json_bytes(self._document)

    async def _snapshot(self) -> bytes:
        return msgspec.json.encode(await self._answers.overview())

    # Internal requests of other workers

    async def _hop_message(self, request: web.Request) -> web.Response:
        is_signed = await self._hops.check(request)
        query = parse_query(request.query, (flag("reveal", ""),))
        reveal = is_signed and query.get("reveal", False)
        return _json(await self._answers.message_here(request.match_info["message_id"], reveal=reveal))

    async def _hop_address(self, request: web.Request) -> web.Response:
        await self._hops.check(request)
        return _json(await self._addresses.here(request.match_info["address"]))

    async def _hop_link(self, request: web.Request) -> web.Response:
        await self._hops.check(request)
        return _json(await self._answers.linked_here(request.match_info["provisional"]))

    async def _hop_list(self, request: web.Request) -> web.Response:
        is_signed = await self._hops.check(request)
        return _json(await self._lists.share(await _body(request, MessageQuery), reveal=is_signed))

    async def _hop_breakdown(self, request: web.Request) -> web.Response:
        await self._hops.check(request)
        return _json(await self._breakdowns.own(await _body(request, BreakdownQuery)))

    async def _hop_report(self, request: web.Request) -> web.Response:
        await self._hops.check(request)
        return _json(self._gathering.own())

    async def _hop_end_session(self, request: web.Request) -> web.Response:
        await self._hops.check(request)
        ended = await _body(request, Ended)
        self._access.end_session(ended.number, ended.given)
        return _json({})


async def _body(request: web.Request, kind: type[Body]) -> Body:
    """Read a body of JSON.

    Raises:
        ProblemError: it is not what the route takes.
    """
    if request.content_type != JSON:
        # Browsers do not send this type across origins without asking first.
        raise invalid(f"the body must be {JSON}", (JSON,))
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body: {explain(error, kind)}", allowed_values(error, kind)) from None


def _json(answer: Any, status: int = 200) -> web.Response:
    return _json_bytes(msgspec.json.encode(answer), status)


def _json_bytes(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)
