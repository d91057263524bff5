"""Lists of messages: those that match a query, newest change first, page by page.

Each worker answers for its partitions with a share: the matching messages from a mark down to where it stopped. Shares
are merged down to the highest mark at which one of them stopped, so a page never leaves a message out. A cursor names a
mark, not a worker: it is good after any rebalance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from heapq import merge
from itertools import islice
from typing import NamedTuple, Protocol

import msgspec

from processor.domain.counts import category_of
from processor.domain.moment import Micros, to_rfc3339
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
from processor.views.messages import MessageReason, reason_view

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

#: Rows that are looked at for one share, and at a time.
_LOOKED_AT_MAX = 2_000
_AT_A_TIME = 100

#: Messages with one name that are put in order for a page, and rows of a partition that are looked at for it. Where
#: there are more, as of an address for trials, the lists by time are looked through instead.
_NAMED_MAX = 1_000
_CANDIDATES_MAX = 5_000


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


class MessageItem(msgspec.Struct, frozen=True):
    """A message in a list."""

    message_id: str
    delivery_id: str | None
    channel: Channel
    status: Status
    permanence: Permanence | None
    #: Since when it has this status; lists are in this order.
    since: str
    reason: MessageReason | None
    #: Masked unless the caller may see it.
    recipient: str | None
    provider: str | None
    provider_message_id: str | None
    #: What a link names the message by: its id, sealed where it is masked.
    reference: str


class MessageList(msgspec.Struct, frozen=True):
    """One page of a list of messages. It may hold fewer messages than asked for, even none, and have a next page."""

    items: tuple[MessageItem, ...]
    #: The cursor of the next page; null: there is none.
    next: str | None
    #: Partitions that could not be asked: the page lacks their messages.
    incomplete: tuple[int, ...]


class FoundItem(msgspec.Struct, frozen=True):
    """A message that matches, and its place in the list."""

    since: Micros
    message_id: str
    partition: int
    item: MessageItem

    @property
    def mark(self) -> Mark:
        """Its place."""
        return self.since, self.message_id.encode()


class ListShare(msgspec.Struct, frozen=True):
    """What one worker has for a page."""

    #: In order, newest first.
    found: tuple[FoundItem, ...]
    #: Where it stopped: what matches is found down to here; null: there is no more.
    reached: tuple[Micros, str] | None
    #: The partitions that it has looked at.
    partitions: tuple[int, ...]


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


class IndexedRows(Protocol):
    """The index and the rows of one partition; nothing changes while a share is made."""

    indexed: frozenset[str]

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all (None), that stand at a node, from below a mark down."""

    def of_recipient(self, recipient: str) -> Iterator[bytes]:
        """Yield the keys of the rows of a recipient, however it is written, and perhaps of a few others."""

    def of_provider_message(self, provider_message_id: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a provider's id, in any of its forms, and perhaps of a few others."""

    def rows(self, keys: Sequence[bytes]) -> Sequence[Row | None]:
        """Return the rows of the keys, in their order."""


#: A row of one of several partitions: since when, its key, and the place of its partition among them.
_Place = tuple[Micros, bytes, int]


def list_share(partitions: Mapping[int, IndexedRows], query: MessageQuery, judge: Judge) -> ListShare:
    """Return what some partitions have for a page of a list, and one message more.

    Args:
        partitions: by number; each has the index that the query needs.
        query: what to list.
        judge: tells which messages are stuck.
    """
    numbers, sources = tuple(partitions), tuple(partitions.values())
    wanted = Wanted(query, judge)
    places = _named_places(sources, wanted) if query.is_by_name else None
    if places is None:
        places = _listed_places(sources, wanted)
    found: list[FoundItem] = []
    reached: tuple[Micros, str] | None = None
    looked_at = 0
    while reached is None and (share := list(islice(places, _AT_A_TIME))):
        for (since, key, number), row in zip(share, _rows(sources, share), strict=True):
            looked_at += 1
            is_found = row is not None and wanted.has(row)
            if row is not None and is_found:
                found.append(FoundItem(since, key.decode(), numbers[number], item_of(key.decode(), row)))
            if len(found) > query.limit or looked_at >= _LOOKED_AT_MAX:
                reached = since, key.decode()
                break
    return ListShare(tuple(found), reached, numbers)


def item_of(message_id: str, row: Row) -> MessageItem:
    """Return one message as it stands in a list, by its id."""
    return MessageItem(
        message_id,
        row.delivery or None,
        row.channel,
        row.status,
        row.permanence,
        to_rfc3339(row.since),
        reason_view(row.reason),
        row.recipient_name,
        row.provider_name,
        row.provider_message,
        message_id,
    )


def merge_shares(shares: Iterable[ListShare], limit: int) -> tuple[Sequence[FoundItem], tuple[Micros, str] | None]:
    """Merge the shares of workers into one page.

    Returns:
        The messages, and where the page ends; None: there is no more.
    """
    shares = list(shares)
    stops = [(share.reached[0], share.reached[1].encode()) for share in shares if share.reached is not None]
    stop = max(stops, default=None)
    found = [each for share in shares for each in share.found if stop is None or each.mark >= stop]
    found.sort(key=lambda each: each.mark, reverse=True)
    if len(found) > limit:
        last = found[limit - 1]
        return found[:limit], (last.since, last.message_id)
    return found, None if stop is None else (stop[0], stop[1].decode())


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


def _rows(sources: Sequence[IndexedRows], places: Sequence[_Place]) -> Iterator[Row | None]:
    """Yield the rows of some places in their order, read from each partition at once."""
    keys: dict[int, list[bytes]] = {}
    for _, key, number in places:
        keys.setdefault(number, []).append(key)
    rows = {number: iter(sources[number].rows(of_partition)) for number, of_partition in keys.items()}
    for _, _, number in places:
        yield next(rows[number])


def _named_places(sources: Sequence[IndexedRows], wanted: Wanted) -> Iterator[_Place] | None:
    """Return the places of what a recipient or a provider's id names; None: there are too many, or no index."""
    places: list[_Place] = []
    for number, source in enumerate(sources):
        named = _named(source, wanted.query)
        if named is None:
            return None
        keys = list(islice(named, _CANDIDATES_MAX + 1))
        may_look_by_time = "delivery" in source.indexed
        if len(keys) > _CANDIDATES_MAX and may_look_by_time:
            return None
        keys += named
        for key, row in zip(keys, source.rows(keys), strict=True):
            if row is not None and wanted.has_at((row.since, key), row):
                places.append((row.since, key, number))
        if len(places) > _NAMED_MAX and may_look_by_time:
            return None
    return iter(sorted(places, reverse=True))


def _named(source: IndexedRows, query: MessageQuery) -> Iterator[bytes] | None:
    """Return the keys of what the query names in one partition; None: it is not indexed."""
    if query.provider_message_id is not None and "provider_message_id" in source.indexed:
        return source.of_provider_message(query.provider_message_id)
    if query.recipient is not None and "recipient" in source.indexed:
        return source.of_recipient(query.recipient)
    return None


def _listed_places(sources: Sequence[IndexedRows], wanted: Wanted) -> Iterator[_Place]:
    """Yield the places of what stands where the query asks, from the highest down."""
    delivery = wanted.query.delivery

    def of_source(number: int) -> Iterator[_Place]:
        marks = [sources[number].standing(delivery, node, wanted.below_at(node)) for node in wanted.nodes]
        for mark in merge(*marks, reverse=True):
            if not wanted.is_in_time(mark):
                return
            yield (*mark, number)

    return merge(*map(of_source, range(len(sources))), reverse=True)
