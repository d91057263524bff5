"""The routes of the API, as one table that the server serves and the OpenAPI document describes."""

from __future__ import annotations

from typing import Any

from processor.domain.delivery import Control
from processor.views.addresses import AddressView
from processor.views.audit import AuditList
from processor.views.breakdown import Breakdown
from processor.views.dead_letters import LetterCounts, LetterList, LetterView, SettledList
from processor.views.deliveries import DeliveryView
from processor.views.finding import FindList
from processor.views.gateways import GatewayList
from processor.views.history import HistoryView, Span
from processor.views.listing import DeliveryList
from processor.views.message_list import MessageList
from processor.views.messages import MessageView
from processor.views.overview import ContradictionList, DeadLetterList, Overview, ProviderList, StuckList
from processor.views.status_list import StatusList
from processor.web.addresses import AddressQuestion
from processor.web.audit_list import AUDIT_PARAMETERS
from processor.web.control_facts import ControlFacts
from processor.web.dead_letters import LETTER_PARAMETERS, LetterOrder
from processor.web.erasing import ErasureReport, Person
from processor.web.list_query import LIST_PARAMETERS
from processor.web.message_query import BREAKDOWN_PARAMETERS, MESSAGE_PARAMETERS
from processor.web.message_streams import STREAMS
from processor.web.openapi import JSON, PathParameter, Route
from processor.web.parameters import Parameter, choice, text
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
    Kind,
)

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
