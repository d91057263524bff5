"""The routes of the API, as one table that the server serves and the OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from processor.domain.delivery import Action, Control
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, TRANSITIONS
from processor.views.addresses import AddressView
from processor.views.audit import AuditList
from processor.views.breakdown import Breakdown, BreakdownQuery, By
from processor.views.dead_letters import LetterCounts, LetterList, LetterView, SettledList
from processor.views.deliveries import DeliveryView
from processor.views.finding import FindList
from processor.views.gateways import GatewayList
from processor.views.history import HistoryView, Span
from processor.views.listing import DeliveryList, Query
from processor.views.message_list import MessageList, MessageQuery
from processor.views.messages import MessageView
from processor.views.overview import ContradictionList, DeadLetterList, Overview, ProviderList, StuckList
from processor.web.access import Access
from processor.web.addresses import ADDRESS_PATH, AddressLookup, AddressQuestion
from processor.web.answers import LINK_PATH, MESSAGE_PATH, Answers
from processor.web.audit_list import AUDIT_PARAMETERS, AuditLists
from processor.web.auditing import DETAIL, SUBJECT, tell_action
from processor.web.breakdowns import BREAKDOWN_PATH, Breakdowns
from processor.web.control_facts import ControlFacts
from processor.web.dead_letters import LETTER_PARAMETERS, DeadLetters, LetterOrder
from processor.web.erasing import Erasing, ErasureReport, Person
from processor.web.finding import Finding
from processor.web.gathering import REPORT_PATH, Gathering
from processor.web.hops import Hops
from processor.web.list_query import LIST_PARAMETERS
from processor.web.live import Live, stream_limit
from processor.web.message_lists import LIST_PATH, MessageLists
from processor.web.message_query import BREAKDOWN_PARAMETERS, MESSAGE_PARAMETERS, STREAM_FORMATS
from processor.web.message_streams import STREAMS, MessageStreams, stream_type
from processor.web.openapi import JSON, PathParameter, Route, document
from processor.web.parameters import Parameter, choice, flag, parse_query, text
from processor.web.problems import (
    BROKER_AWAY,
    DELIVERY_NOT_KNOWN,
    FORBIDDEN,
    HOP_REFUSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LETTER_NOT_KNOWN,
    MESSAGE_NOT_KNOWN,
    MESSAGE_UNREADABLE,
    NO_ADDRESS,
    NO_EFFECT,
    NO_FEED,
    NOT_INDEXED,
    OWNER_AWAY,
    REBALANCING,
    RECOVERING,
    STARTING,
    TAKEN_OVER,
    TOO_LARGE,
    TOO_MANY_STREAMS,
    UNAUTHORIZED,
    Handler,
    Kind,
    invalid,
)
from processor.web.sessions import ENDED_PATH, Ended
from processor.wire.decoding import allowed_values, explain
from processor.wire.settled import Outcome

#: How far back a history goes, and whose it is; the filters are combined.
HISTORY_PARAMETERS: tuple[Parameter, ...] = (
    choice(
        "span", Span, "How far back; a point stands for a minute up to 3h, an hour in 24h, a day in 30d. Default: 3h."
    ),
    text("delivery", "Only this delivery."),
    text("provider", "Only what this provider reports on."),
    text("campaign", "Only the deliveries of this campaign."),
    text(
        "domain",
        "Only messages to this mail domain, or to numbers of this calling code, as `+46`: each once, when it came to "
        "where it stands, by event time.",
    ),
)


class StatusDefinition(msgspec.Struct, frozen=True):
    """One status: its meaning, the channels that have it, and the statuses that may follow, by channel."""

    status: Status
    english: str
    swedish: str
    meaning: str
    channels: tuple[Channel, ...]
    #: By node: the status, or `failed_gave_up` for a failure that a later report may correct.
    may_follow: dict[str, dict[str, tuple[str, ...]]]


class StatusList(msgspec.Struct, frozen=True):
    """The ten statuses."""

    items: tuple[StatusDefinition, ...]


_READING = (INVALID_REQUEST, UNAUTHORIZED, FORBIDDEN, INTERNAL_ERROR, STARTING)
_ASKING = (*_READING, HOP_REFUSED, REBALANCING, RECOVERING, OWNER_AWAY, BROKER_AWAY)
_WRITING = (*_READING, TOO_LARGE, BROKER_AWAY)

_MESSAGE_ID = PathParameter("message_id", "The message, percent-encoded: its id, or its `reference` from a list.")
_ADDRESS_KEY = PathParameter(
    "address", "The address, percent-encoded: `email|` or `sms|`, and its hash.", pattern="(?!find$).+"
)
_LETTER_ID = PathParameter("letter_id", "The dead letter: its partition and offset, like `3-104233`.")
_DELIVERY_ID = PathParameter("delivery_id", "The delivery, percent-encoded.")
#: An id that ends like one of the paths below it needs its slash encoded.
_DELIVERY_ID_ALONE = _DELIVERY_ID._replace(pattern=r"(?!.*/(?:pause|resume|finish|cancel|control)$).+")


def _get(  # noqa: PLR0913 - the parts of a route that differ
    path: str,
    name: str,
    summary: str,
    answer: Any,
    *problems: Kind,
    query: tuple[Parameter, ...] = (),
    part: PathParameter | None = None,
    media_type: str = JSON,
    streams: tuple[str, ...] = (),
) -> Route:
    route = Route("GET", path, name, summary, answer, part=part, query=query, problems=problems)
    return route._replace(media_type=media_type, streams=streams)


def _post(path: str, name: str, summary: str, body: Any, *problems: Kind) -> Route:
    return Route(
        "POST",
        path,
        name,
        summary,
        Control,
        status=202,
        part=_DELIVERY_ID,
        body=body,
        is_body_required=body is not None,
        problems=problems,
        writes=True,
    )


def _steer(action: str, summary: str, *problems: Kind) -> Route:
    path = f"/api/v1/deliveries/{{delivery_id}}/{action}"
    return _post(path, action, summary, None, *_WRITING, DELIVERY_NOT_KNOWN, *problems)


def _settle(name: str, summary: str) -> Route:
    problems = (*_WRITING, TAKEN_OVER)
    return Route(
        "POST",
        f"/api/v1/dead-letters/{name}",
        name,
        summary,
        SettledList,
        body=LetterOrder,
        is_body_required=True,
        problems=problems,
        writes=True,
    )


ROUTES: tuple[Route, ...] = (
    _get(
        "/api/v1/messages",
        "messages",
        "List messages, newest change first; as CSV or JSON Lines (`Accept`) the whole list",
        MessageList,
        *_READING,
        NOT_INDEXED,
        RECOVERING,
        TOO_MANY_STREAMS,
        query=MESSAGE_PARAMETERS,
        streams=tuple(STREAMS),
    ),
    _get(
        "/api/v1/messages/{message_id}",
        "message",
        "Get one message: status, since when, reason, history, rejected reports, what it waits for",
        MessageView,
        *_ASKING,
        MESSAGE_NOT_KNOWN,
        MESSAGE_UNREADABLE,
        part=_MESSAGE_ID,
    ),
    _get(
        "/api/v1/breakdown",
        "breakdown",
        "Count messages by what they have in common, the most first; of large deliveries those with the newest changes",
        Breakdown,
        *_READING,
        NOT_INDEXED,
        query=BREAKDOWN_PARAMETERS,
    ),
    _get(
        "/api/v1/find",
        "find",
        "Find messages by id, provider's id or recipient, and deliveries by id or label",
        FindList,
        *_ASKING,
        query=(text("q", "An id, a whole address or number, or a part of a label.")._replace(is_required=True),),
    ),
    _get("/api/v1/deliveries", "deliveries", "List deliveries", DeliveryList, *_READING, query=LIST_PARAMETERS),
    _get(
        "/api/v1/deliveries/{delivery_id}",
        "delivery",
        "Get one delivery: state, progress, counts of its messages, cause of pending",
        DeliveryView,
        *_READING,
        BROKER_AWAY,
        DELIVERY_NOT_KNOWN,
        part=_DELIVERY_ID_ALONE,
    ),
    _steer("pause", "Pause a delivery: what was not handed over waits, and is not called stuck", NO_EFFECT),
    _steer("resume", "Resume a delivery that is paused", NO_EFFECT),
    _steer("finish", "Finish a delivery: no more messages come. It cannot be undone", NO_EFFECT),
    _steer("cancel", "Cancel a delivery: messages not sent yet are not to be sent. It cannot be undone"),
    _post(
        "/api/v1/deliveries/{delivery_id}/control",
        "control",
        "Publish a control record: one action and facts of a delivery, which need not be known yet",
        ControlFacts,
        *_WRITING,
    ),
    Route(
        "POST",
        "/api/v1/addresses/find",
        "find_address",
        "Get whether to send to a recipient's address, since when, and why; a body keeps the address out of logs",
        AddressView,
        body=AddressQuestion,
        is_body_required=True,
        problems=(*_ASKING, TOO_LARGE, MESSAGE_UNREADABLE, NO_FEED),
    ),
    _get(
        "/api/v1/addresses/{address}",
        "address",
        "Get whether to send to an address, by its key in the topic of addresses",
        AddressView,
        *_ASKING,
        MESSAGE_UNREADABLE,
        NO_ADDRESS,
        NO_FEED,
        part=_ADDRESS_KEY,
    ),
    Route(
        "POST",
        "/api/v1/erasures",
        "erase",
        "Erase a person's data by the address; tell what is gone and when the rest will be. It cannot be undone",
        ErasureReport,
        status=202,
        body=Person,
        is_body_required=True,
        problems=(*_WRITING, TAKEN_OVER),
        writes=True,
    ),
    _get(
        "/api/v1/overview",
        "overview",
        "Get counts, what is wrong, throughput and partitions",
        Overview,
        *_READING,
    ),
    _get(
        "/api/v1/history",
        "history",
        "Get changes of counts over time, by minute, hour or day",
        HistoryView,
        *_READING,
        DELIVERY_NOT_KNOWN,
        query=HISTORY_PARAMETERS,
    ),
    _get("/api/v1/stuck", "stuck", "List stuck messages", StuckList, *_READING),
    _get(
        "/api/v1/contradictions",
        "contradictions",
        "List reports that were rejected because they contradict what was reported before",
        ContradictionList,
        *_READING,
    ),
    _get(
        "/api/v1/dead-letters",
        "dead_letters",
        "Count dead letters since the workers started, by reason, with the newest of each",
        DeadLetterList,
        *_READING,
    ),
    _get(
        "/api/v1/dead-letters/counts",
        "dead_letter_counts",
        "Count the dead letters that are kept, by reason and by what became of them",
        LetterCounts,
        *_READING,
        BROKER_AWAY,
    ),
    _get(
        "/api/v1/dead-letters/kept",
        "dead_letter_list",
        "List the dead letters that are kept, newest first; a page may have few of them and still a next one",
        LetterList,
        *_READING,
        BROKER_AWAY,
        query=LETTER_PARAMETERS,
    ),
    _get(
        "/api/v1/dead-letters/kept/{letter_id}",
        "dead_letter",
        "Get one dead letter with its bytes",
        LetterView,
        *_READING,
        BROKER_AWAY,
        LETTER_NOT_KNOWN,
        part=_LETTER_ID,
    ),
    _settle("replay", "Publish dead letters again to the topics that they came from, each once"),
    _settle("discard", "Decide that nothing is to be done about dead letters"),
    _get(
        "/api/v1/audit",
        "audit",
        "List who did what, newest first, for operators; a page may have few entries and still a next one",
        AuditList,
        *_READING,
        BROKER_AWAY,
        query=AUDIT_PARAMETERS,
    )._replace(is_for_operators=True),
    _get(
        "/api/v1/providers",
        "providers",
        "List providers, and which of them are silent",
        ProviderList,
        *_READING,
    ),
    _get(
        "/api/v1/gateways",
        "gateways",
        "List the gateways, and what became of providers' calls, by route",
        GatewayList,
        INVALID_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        INTERNAL_ERROR,
    ),
    _get(
        "/api/v1/statuses",
        "statuses",
        "Get the definitions of the ten statuses",
        StatusList,
        INVALID_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        INTERNAL_ERROR,
    ),
    _get(
        "/api/v1/events",
        "events",
        "Stream the overview: an event `overview` when it has changed (checked every 2 s), `problem` while it cannot "
        "be had, and a comment every 15 s",
        None,
        *_READING,
        TOO_MANY_STREAMS,
        media_type="text/event-stream",
    ),
    _get(
        "/api/openapi.json",
        "openapi",
        "Get this document",
        None,
        INVALID_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        INTERNAL_ERROR,
    ),
)

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
        self._status_list = msgspec.json.encode(_status_list())
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
        return _json(self._lists.share(await _body(request, MessageQuery), reveal=is_signed))

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


def _status_list() -> StatusList:
    return StatusList(
        tuple(
            [
                StatusDefinition(
                    status,
                    definition.english,
                    definition.swedish,
                    definition.meaning,
                    tuple([channel for channel in Channel if channel in definition.channels]),
                    {
                        channel.value: {
                            NODE_NAMES[node]: tuple([NODE_NAMES[after] for after in sorted(afters)])
                            for node, afters in table.items()
                            if NODE_STATUS[node] is status
                        }
                        for channel, table in TRANSITIONS.items()
                        if channel in definition.channels
                    },
                )
                for status, definition in DEFINITIONS.items()
            ]
        )
    )


def _json(answer: Any, status: int = 200) -> web.Response:
    return _json_bytes(msgspec.json.encode(answer), status)


def _json_bytes(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)
