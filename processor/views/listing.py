"""Lists of deliveries: those that match a query, in its order, page by page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from heapq import nlargest, nsmallest
from operator import gt, lt
from typing import Any, NamedTuple

import msgspec

from processor.domain.delivery import Pending, State
from processor.domain.moment import Micros
from processor.domain.status import Channel, Status
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.entries import Entry

#: What a list can be sorted by; a `-` before it turns the order around. Where there is no value, it comes last.
_SORTS: dict[str, Callable[[Entry, Mapping[str, int]], Any]] = {
    "delivery_id": lambda entry, _: entry.delivery_id,
    "label": lambda entry, _: None if entry.label is None else entry.label.casefold(),
    "state": lambda entry, _: list(State).index(entry.shown_state),
    "planned": lambda entry, _: entry.planned,
    "messages": lambda entry, _: entry.messages,
    "pending": lambda entry, _: entry.pending,
    "success": lambda entry, _: entry.success,
    "failed": lambda entry, _: entry.failures,
    "stuck": lambda entry, stuck: stuck.get(entry.delivery_id, 0),
    "progress": lambda entry, _: _progress(entry),
    # Of its messages or by control: one that is scheduled has no messages, and is not to come last for it.
    "last_activity": lambda entry, _: entry.touched,
}

SORTS: tuple[str, ...] = tuple(f"{sign}{name}" for name in _SORTS for sign in ("", "-"))
DEFAULT_SORT = "-last_activity"
DEFAULT_LIMIT = 50


#: Asks for what is pending, for whichever cause.
ANY_CAUSE = "any"


class QueryError(ValueError):
    """The query of a list is invalid; the text says why."""


class Query(NamedTuple):
    """The filters; None and the empty text match all."""

    channel: Channel | None = None
    #: Those that have messages at this status, and of this provider.
    status: Status | None = None
    provider: str = ""
    state: State | None = None
    #: Those of which anything happened since then: microseconds.
    since: Micros | None = None
    #: Those that have stuck messages, or have none.
    stuck: bool | None = None
    #: Those that are pending: for this cause, or for `ANY_CAUSE`.
    pending: str = ""
    #: A part of the id, the label or the campaign, in upper or lower case.
    q: str = ""
    sort: str = DEFAULT_SORT
    limit: int = DEFAULT_LIMIT
    #: Where the page before ended: its `next`.
    cursor: str = ""


class DeliveryList(msgspec.Struct, frozen=True):
    """One page of a list; `total`, `messages` and `statuses` are of all matching deliveries."""

    items: tuple[DeliveryView, ...]
    #: The cursor of the next page; null: there is none.
    next: str | None
    total: int
    messages: int
    statuses: dict[str, int]


#: Where an entry stands in a list: whether it has no value (or, from the greatest down, whether it has one), the value,
#: and its id, so that no two stand at one place.
_Place = tuple[bool, Any, str]


def list_deliveries(
    deliveries: Deliveries, query: Query, now: Micros, stuck: Mapping[str, int] | None = None
) -> DeliveryList:
    """Return one page of the deliveries that match.

    A cursor names a place in the order, not a number, so deliveries that appear or go meanwhile do not move others
    between pages.

    Args:
        deliveries: all of them.
        query: filters and order.
        now: the present time, in microseconds.
        stuck: the number of stuck messages by delivery; None: not known.

    Raises:
        QueryError: there is no such sort, or the cursor is not one of this sort.
    """
    known_stuck = stuck or {}
    place = _placing(query, known_stuck)
    matching = _matching(deliveries, query, now, known_stuck)
    chosen = _chosen(matching, query, place)
    shown = chosen[: query.limit]
    more = _write_cursor(query, place(shown[-1])) if len(chosen) > len(shown) else None
    totals = [sum(numbers) for numbers in zip(*[entry.statuses for entry in matching], strict=True)]
    totals = totals or [0] * len(Status)
    return DeliveryList(
        tuple([deliveries.view(entry, now, stuck) for entry in shown]),
        more,
        len(matching),
        sum(totals),
        {status.value: number for status, number in zip(Status, totals, strict=True)},
    )


def _is_falling(query: Query) -> bool:
    return query.sort.startswith("-")


def _placing(query: Query, stuck: Mapping[str, int]) -> Callable[[Entry], _Place]:
    """Return what places an entry in the order of a query.

    Raises:
        QueryError: there is no such sort.
    """
    if query.sort not in SORTS:
        raise QueryError(
            f"there is no sort {query.sort!r}; there are {', '.join(_SORTS)}, each also with `-` before it"
        )
    value, is_falling = _SORTS[query.sort.removeprefix("-")], _is_falling(query)

    def place(entry: Entry) -> _Place:
        found = value(entry, stuck)
        return (found is None) is not is_falling, 0 if found is None else found, entry.delivery_id

    return place


def _matching(deliveries: Deliveries, query: Query, now: Micros, stuck: Mapping[str, int]) -> list[Entry]:
    matching = [entry for entry in deliveries.entries.values() if _matches(entry, query, stuck)]
    if not query.pending:
        return matching
    return [each for each in matching if _is_pending(deliveries.pending(each.delivery_id, now), query.pending)]


def _chosen(matching: list[Entry], query: Query, place: Callable[[Entry], _Place]) -> list[Entry]:
    """Choose the entries of one page, and one more where there is one.

    Raises:
        QueryError: the cursor is not one of this sort.
    """
    choose, is_beyond = (nlargest, lt) if _is_falling(query) else (nsmallest, gt)
    try:
        if query.cursor:
            start = _read_cursor(query)
            matching = [entry for entry in matching if is_beyond(place(entry), start)]
        return choose(query.limit + 1, matching, key=place)
    except TypeError:
        # The cursor has a value that those of this sort cannot be compared with.
        raise QueryError("the cursor is none of ours") from None


def _matches(entry: Entry, query: Query, stuck: Mapping[str, int]) -> bool:
    return (
        (not query.q or query.q.casefold() in entry.search)
        and (query.since is None or (entry.touched is not None and entry.touched >= query.since))
        and (query.stuck is None or (stuck.get(entry.delivery_id, 0) > 0) is query.stuck)
        and (not query.provider or query.provider in entry.providers)
        and (query.status is None or entry.count(query.status) > 0)
        and (query.channel is None or query.channel is entry.channel or query.channel.value in entry.channels)
        and (query.state is None or query.state is entry.shown_state)
    )


def _is_pending(pending: Pending | None, wanted: str) -> bool:
    return pending is not None and wanted in {ANY_CAUSE, pending.cause.value}


def _progress(entry: Entry) -> float | None:
    whole = max(entry.planned or 0, entry.messages)
    return 1 - entry.left / whole if whole else None


def _write_cursor(query: Query, place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((query.sort, *place))).rstrip(b"=").decode()


#: What a cursor holds: the sort, and a place, with a value that lists are sorted by: nothing that can be nested.
_decode_cursor = msgspec.json.Decoder(tuple[str, bool, str | int | float | None, str]).decode


def _read_cursor(query: Query) -> _Place:
    padding = "=" * (-len(query.cursor) % 4)
    try:
        sort, is_last, value, delivery_id = _decode_cursor(base64.urlsafe_b64decode(query.cursor + padding))
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        raise QueryError("the cursor is none of ours") from None
    if sort != query.sort:
        raise QueryError(f"the cursor belongs to a list that is sorted by {sort[:100]!r}, not {query.sort!r}")
    return is_last, value, delivery_id
