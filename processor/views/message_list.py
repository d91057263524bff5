"""Lists of messages: those that match a query (message_query.py), newest change first, page by page.

Each worker answers for its partitions with a share: the matching messages from a mark down to where it stopped. Shares
are merged down to the highest mark at which one of them stopped, so a page never leaves a message out. A cursor names a
mark, not a worker: it is good after any rebalance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Protocol

import msgspec

from processor.domain.moment import Micros, to_rfc3339
from processor.domain.row import Row
from processor.domain.standing import Mark
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import Node
from processor.views.message_query import Judge, MessageQuery, Wanted
from processor.views.messages import MessageReason, reason_view

#: Rows that are looked at for one share, and at a time.
_LOOKED_AT_MAX = 2_000
_AT_A_TIME = 100

#: Messages with one name that are put in order for a page, and rows of a partition that are looked at for it. Where
#: there are more, as of an address for trials, the lists by time are looked through instead.
_NAMED_MAX = 1_000
_CANDIDATES_MAX = 5_000


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


class IndexedRows(Protocol):
    """The index and the rows of one partition; nothing changes while a share is made."""

    indexed: frozenset[str]

    def advance(self) -> bool:
        """Index some more of the rows that were restored; return whether all are indexed now."""

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
