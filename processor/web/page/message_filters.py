"""The filters of a list of messages: the form above it, addresses that set them, and how many messages they match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from urllib.parse import quote, urlencode

from processor.domain.reason import Category
from processor.domain.status import Channel, Status
from processor.domain.traits import IS_COUNTED_BY_REASON, SuccessFrom
from processor.domain.transitions import NODE_NAMES, NODE_PERMANENCE, NODE_STATUS, Node
from processor.views.deliveries import DeliveryView
from processor.views.message_query import COUNTED_STATUSES, CountedAs
from processor.views.overview import Overview
from processor.web.message_query import STREAM_FORMATS
from processor.web.page.filters import PERIODS
from processor.web.page.language import Language

#: Fields that the API takes under the same name.
_SAME = ("status", "category", "channel", "indicator", "provider", "domain", "stuck")
#: Fields that only links set: the form shows them, keeps them, and offers no choice.
LINKED = ("permanence", "rejected", "unanswered", "since", "until")
_FIELDS = (*_SAME, "changed", *LINKED)

PAGE_SIZE = 50

_NODES = dict(zip(NODE_NAMES, Node, strict=True))

#: The messages whose delivery no event has named.
NO_DELIVERY = "/no-delivery"

#: The statuses whose messages are counted by the category of their reason.
_BY_REASON = frozenset(NODE_STATUS[node].value for node in Node if IS_COUNTED_BY_REASON[node])


def delivery_address(delivery_id: str, tab: str = "", **query: str) -> str:
    """Return the address of a delivery's page, or of one of its tabs."""
    # No address below /deliveries can hold the empty id.
    page = f"/deliveries/{quote(delivery_id, safe='')}" if delivery_id else NO_DELIVERY
    return _with_query(f"{page}/{tab}" if tab else page, query)


def stands_at(node: str) -> dict[str, str]:
    """Return the filters of messages that stand at a node."""
    found = _NODES[node]
    permanence = NODE_PERMANENCE[found]
    filters = {"status": NODE_STATUS[found].value}
    return filters if permanence is None else {**filters, "permanence": permanence.value}


def messages_address(delivery_id: str | None = None, **filters: object) -> str:
    """Return the address of a list of messages: of one delivery, or of all (None)."""
    place = "/messages" if delivery_id is None else delivery_address(delivery_id, "messages")
    return _with_query(place, {name: _written(value) for name, value in filters.items()})


def _written(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else "" if value is None else str(value)


def _with_query(place: str, fields: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"{place}?{query}" if query else place


@dataclass(frozen=True)
class MessageFilters:
    """The fields of the form; those that were not given are empty."""

    place: str
    form: Mapping[str, str]
    cursor: str

    @classmethod
    def of(cls, query: Mapping[str, str], place: str) -> MessageFilters:
        """Read the fields from a query; other parameters are ignored."""
        return cls(place, {name: query.get(name, "").strip() for name in _FIELDS}, query.get("cursor", ""))

    @property
    def given(self) -> dict[str, str]:
        """The fields that are set."""
        return {name: value for name, value in self.form.items() if value}

    def parameters(self, now: datetime) -> dict[str, str]:
        """Return the parameters of one page of the list, without its delivery."""
        parameters = {**self._asked(now), "limit": str(PAGE_SIZE)}
        return {**parameters, "cursor": self.cursor} if self.cursor else parameters

    def _asked(self, now: datetime) -> dict[str, str]:
        asked = {name: self.form[name] for name in (*_SAME, *LINKED) if self.form[name]}
        if self.form["changed"] in PERIODS:
            asked["since"] = (now - PERIODS[self.form["changed"]]).isoformat(timespec="seconds")
        return asked

    def downloads(self, now: datetime, delivery_id: str | None) -> dict[str, str]:
        """Return the addresses of the whole list as a file, by format; `delivery_id` None: of all deliveries."""
        of_delivery = {} if delivery_id is None else {"delivery": delivery_id}
        asked = {**of_delivery, **self._asked(now)}
        return {name: f"/api/v1/messages?{urlencode({**asked, 'format': name})}" for name in STREAM_FORMATS}

    def address(self, **changed: str) -> str:
        """Return the address of the list with these filters, some of them changed."""
        return _with_query(self.place, {**self.form, **changed})

    @property
    def linked(self) -> dict[str, str]:
        """The fields that are set and only links set."""
        return {name: self.form[name] for name in LINKED if self.form[name]}

    def choices(self, language: Language) -> dict[str, list[tuple[str, str]]]:
        """Return the values of each field with a fixed set of values, with their labels."""
        nothing = ("", language.text("filter.any"))
        return {
            "status": [nothing, *((each.value, language.status(each.value)) for each in Status)],
            "category": [nothing, *((each.value, language.known("category", each.value)) for each in Category)],
            "channel": [nothing, *((each.value, language.known("channel", each.value)) for each in Channel)],
            "indicator": [nothing, *((each.value, language.text(f"indicator.{each.value}")) for each in CountedAs)],
            "changed": [
                ("", language.text("filter.active.any")),
                *((period, language.text(f"filter.active.{period}")) for period in PERIODS),
            ],
        }


def counted_in_delivery(given: Mapping[str, str], view: DeliveryView) -> int | None:
    """Return how many messages of a delivery match some filters; None: nobody has counted that.

    Messages that retention has removed are counted, and stand in no list.
    """
    asked = dict(given)
    if len(view.channels) == 1 and asked.get("channel") == view.channels[0].value:
        del asked["channel"]
    if asked.keys() == {"status", "category"} and asked["status"] in _BY_REASON:
        is_failed = asked["status"] == Status.FAILED.value
        return (view.failures if is_failed else view.indicators.ignored).get(asked["category"], 0)
    if len(asked) > 1:
        return None
    counts: dict[str, Mapping[str, int]] = {
        "status": view.statuses,
        "provider": view.providers,
        "indicator": {each.value: getattr(view.indicators, each.value) for each in CountedAs},
        "stuck": {} if view.stuck is None else {"true": view.stuck, "false": view.messages - view.stuck},
    }
    for name, value in asked.items():
        return counts.get(name, {}).get(value)
    return view.messages


def counted_in_all(given: Mapping[str, str], view: Overview, success_from: SuccessFrom) -> int | None:
    """Return how many messages of all deliveries match some filters; None: nobody has counted that."""
    asked = dict(given)
    if asked == {"stuck": "true"}:
        return sum(each.messages for each in view.wrong.stuck)
    channel, status, indicator = (asked.pop(name, "") for name in ("channel", "status", "indicator"))
    if asked or indicator in {CountedAs.HARD.value, CountedAs.SOFT.value}:
        return None
    statuses = COUNTED_STATUSES[success_from][CountedAs(indicator)] if indicator else frozenset(Status)
    return sum(
        count
        for of_channel, counts in view.messages.items()
        for of_status, count in counts.items()
        if channel in {"", of_channel} and status in {"", of_status} and Status(of_status) in statuses
    )
