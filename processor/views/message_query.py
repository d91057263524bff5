"""A query for messages, of a list or a breakdown, and whether a row matches it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from processor.domain.counts import category_of
from processor.domain.moment import Micros
from processor.domain.reason import HARD, SOFT, Category
from processor.domain.row import Row
from processor.domain.standing import HIGHEST, Mark
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import INDICATED, IS_COUNTED_BY_REASON, IS_HANDED_OVER, STATUSES_OF, Indicator, SuccessFrom
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node
from processor.domain.waiting import NO_HOLDS, Holds, is_stuck
from processor.providers.addresses import comparable_address, domain_of
from processor.providers.calling_codes import calling_code_of
from processor.providers.native_keys import comparable

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class CountedAs(str, Enum):
    """An indicator of a delivery (views/deliveries.py) that a message is counted in."""

    PROCESSED = "processed"
    SUCCESS = "success"
    FAILED = "failed"
    HARD = "hard"
    SOFT = "soft"


_FAILED = STATUSES_OF[Indicator.ERROR]

#: The statuses of the messages that an indicator counts, by where success begins, and, of those that failed, the
#: categories.
COUNTED_STATUSES: dict[SuccessFrom, dict[CountedAs, frozenset[Status]]] = {
    success_from: {
        CountedAs.PROCESSED: frozenset().union(*indicated.values()),
        CountedAs.SUCCESS: indicated[Indicator.SUCCESS],
        CountedAs.FAILED: _FAILED,
        CountedAs.HARD: _FAILED,
        CountedAs.SOFT: _FAILED,
    }
    for success_from, indicated in INDICATED.items()
}
_BOUNCES: dict[CountedAs, frozenset[Category]] = {CountedAs.HARD: HARD, CountedAs.SOFT: SOFT}


class MessageQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which messages to list; None matches all."""

    delivery: str | None = None
    channel: Channel | None = None
    status: Status | None = None
    category: Category | None = None
    permanence: Permanence | None = None
    indicator: CountedAs | None = None
    provider: str | None = None
    #: The recipient's mail domain, or the calling code of its number, as `+46`.
    domain: str | None = None
    #: The whole address, in any form that people write it in.
    recipient: str | None = None
    provider_message_id: str | None = None
    #: The first and the last time of the last change, in microseconds.
    since: Micros | None = None
    until: Micros | None = None
    stuck: bool | None = None
    #: Whether it was handed over and its provider has not answered.
    unanswered: bool | None = None
    #: The node of a report that was rejected.
    rejected: Node | None = None
    limit: int = DEFAULT_LIMIT
    #: Where the page before ended: time and id; None: this is the first page.
    after: tuple[Micros, str] | None = None
    #: From where on a message is a success: what who asks counts by.
    success_from: SuccessFrom = SuccessFrom.TAKEN

    @property
    def is_by_name(self) -> bool:
        """Whether it asks for a recipient or a provider's id."""
        return self.recipient is not None or self.provider_message_id is not None


class Judge(NamedTuple):
    """What tells which messages are stuck.

    Args:
        before: by channel and status, the moment since which a message must wait there to be stuck.
        holds: until when deliveries are held: till then, what nobody has taken is not stuck.
    """

    before: Mapping[tuple[Channel, Status], Micros]
    holds: Holds = NO_HOLDS

    def is_stuck(self, row: Row) -> bool:
        """Return whether a message is stuck."""
        return is_stuck(row, self.before.get((row.channel, row.status)), self.holds)


class Wanted:
    """A query, prepared to be asked of many rows."""

    def __init__(self, query: MessageQuery, judge: Judge) -> None:
        self.query, self._judge = query, judge
        nodes = [node for node in Node if _may_stand_at(query, node)]
        #: The last moment since which a message may stand at a node and be stuck there; None: at none it is.
        self._stuck_until = {node: _stuck_until(node, judge) for node in nodes}
        self.nodes = tuple([node for node in nodes if not query.stuck or self._stuck_until[node] is not None])
        self.recipient = None if query.recipient is None else comparable_address(query.recipient)
        self._bounces = None if query.indicator is None else _BOUNCES.get(query.indicator)
        self._domain = None if query.domain is None else query.domain.casefold().removeprefix("@")
        self.below = self._below()

    def _below(self) -> Mark:
        """Return the mark below which the page begins."""
        query = self.query
        marks = [HIGHEST]
        if query.after is not None:
            marks.append((query.after[0], query.after[1].encode()))
        if query.until is not None:
            marks.append((Micros(query.until + 1), b""))
        return min(marks)

    def below_at(self, node: Node) -> Mark:
        """Return the mark below which the page begins among what stands at a node."""
        until = self._stuck_until[node] if self.query.stuck else None
        return self.below if until is None else min(self.below, (Micros(until + 1), b""))

    def has_at(self, mark: Mark, row: Row) -> bool:
        """Return whether a row at a mark matches, and is on the page or behind it."""
        return mark < self.below and self.is_in_time(mark) and self.has(row)

    def is_in_time(self, mark: Mark) -> bool:
        """Return whether a mark is not before the first time."""
        return self.query.since is None or mark[0] >= self.query.since

    def has(self, row: Row) -> bool:
        """Return whether a row matches."""
        query = self.query
        return (
            row.node in self.nodes
            and (query.delivery is None or row.delivery == query.delivery)
            and (query.channel is None or row.channel is query.channel)
            and (query.provider is None or row.provider_name == query.provider)
            and (query.permanence is None or _permanence(row) is query.permanence)
            and (query.category is None or _category(row) is query.category)
            and (self._bounces is None or _category(row) in self._bounces)
            and (self._domain is None or _place(row) == self._domain)
            and (self.recipient is None or self._is_of_recipient(row))
            and (query.provider_message_id is None or _has_native(row, query.provider_message_id))
            and (query.rejected is None or query.rejected in row.rejected)
            and (query.stuck is None or self._judge.is_stuck(row) is query.stuck)
        )

    def _is_of_recipient(self, row: Row) -> bool:
        return row.recipient_name is not None and comparable_address(row.recipient_name) == self.recipient


def _stuck_until(node: Node, judge: Judge) -> Micros | None:
    """Return the last moment since which a message may stand at a node and be stuck; None: it is never stuck there."""
    moments = [judge.before.get((channel, NODE_STATUS[node])) for channel in Channel]
    return max([moment for moment in moments if moment is not None], default=None)


def _may_stand_at(query: MessageQuery, node: Node) -> bool:
    if query.status is not None and NODE_STATUS[node] is not query.status:
        return False
    if query.indicator is not None and NODE_STATUS[node] not in COUNTED_STATUSES[query.success_from][query.indicator]:
        return False
    if query.unanswered is not None and IS_HANDED_OVER[node] is not query.unanswered:
        return False
    # A transient reason is a reason of what has not failed.
    is_of_failure = query.permanence is not None and query.permanence is not Permanence.TRANSIENT
    return NODE_PERMANENCE[node] is query.permanence if is_of_failure else True


def _permanence(row: Row) -> Permanence | None:
    reason = row.reason
    return row.permanence or (None if reason is None else reason.permanence)


def _category(row: Row) -> Category | None:
    """Return the category by which a row is counted, or else that of its reason."""
    if IS_COUNTED_BY_REASON[row.node]:
        return category_of(row)
    reason = row.reason
    return None if reason is None else reason.category


def place_of_recipient(recipient: str) -> str | None:
    """Return the mail domain of a recipient, or the calling code of a number; None: neither can be told."""
    return domain_of(recipient) if "@" in recipient else calling_code_of(recipient)


def _place(row: Row) -> str | None:
    return None if row.recipient_name is None else place_of_recipient(row.recipient_name)


def _has_native(row: Row, provider_message_id: str) -> bool:
    known, provider = row.provider_message, row.provider_name or ""
    return known is not None and comparable(provider, known) == comparable(provider, provider_message_id)
