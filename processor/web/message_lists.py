"""Lists of messages over all workers: each answers for its partitions over the internal hop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.moment import Micros
from processor.domain.waiting import Holds, stuck_before
from processor.logs import get_logger
from processor.settings import Settings
from processor.views.message_list import FoundItem, IndexedRows, ListShare, list_share, merge_shares
from processor.views.message_query import Judge, MessageQuery
from processor.web.forwarding import Forwarding
from processor.web.masking.views import mask_message
from processor.web.owner import Owner, index_of
from processor.web.problems import NOT_INDEXED, STARTING, ProblemError
from processor.wire.topics import EVENTS

log = get_logger(__name__)

LIST_PATH = "/internal/v1/message-list"

#: What a list needs to be by time, and by name.
_BY_TIME = "delivery"
_BY_NAME = {"recipient": "recipient", "provider_message_id": "provider_message_id"}


class Page(NamedTuple):
    """One page of a list."""

    found: tuple[FoundItem, ...]
    #: Where it ends; None: there is no more.
    reached: tuple[Micros, str] | None
    #: Partitions that could not be asked.
    incomplete: tuple[int, ...]


decode_query = msgspec.json.Decoder(MessageQuery).decode
_decode_share = msgspec.json.Decoder(ListShare).decode


class MessageLists:
    """Lists messages of all workers.

    Args:
        owner: the worker.
        forwarding: asks the other workers.
        settings: those of the worker.
        holds: until when deliveries are held, of those that ever were.
    """

    def __init__(self, owner: Owner, forwarding: Forwarding, settings: Settings, holds: Holds) -> None:
        self._owner, self._forwarding, self._events_topic = owner, forwarding, settings.topic(EVENTS)
        self._stuck_after, self._holds = settings.stuck_after, holds
        #: Whether workers tell each other whole recipients; else each of them masks what it tells.
        self._tells_whole = bool(settings.workers_token)

    async def page(self, query: MessageQuery, *, reveal: bool) -> Page:
        """Return one page of the messages of all workers that answer.

        A partition counts only if the worker that the group calls its owner has answered for it.

        Args:
            query: what to list.
            reveal: whether recipients are shown whole.

        Raises:
            ProblemError: the query needs what is not indexed, or this worker has not reached Kafka yet.
        """
        counts = self._owner.partition_counts
        if self._events_topic not in counts:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        asking = self._forwarding.ask_others(LIST_PATH, query)
        (owners, heard), own = await asyncio.gather(asking, self.share(query, reveal=self._tells_whole))
        shares = {self._owner.url: own, **dict(_readable(heard))}
        true = [_of_owner(url, share, self.owned_by(url, share.partitions, owners)) for url, share in shares.items()]
        found, reached = merge_shares(true, query.limit)
        answered = {number for share in true for number in share.partitions}
        missing = tuple(number for number in range(counts[self._events_topic]) if number not in answered)
        if self._tells_whole and not reveal:
            found = _masked(found)
        return Page(tuple(found), reached, missing)

    def owned_by(self, url: str, told: Iterable[int], owners: Mapping[tuple[str, int], str]) -> frozenset[int]:
        """Return which of the partitions that a worker told of are its own, as far as it is known who owns them."""
        of_itself = url == self._owner.url
        return frozenset(
            number for number in told if owners.get((self._events_topic, number), url if of_itself else None) == url
        )

    async def share(self, query: MessageQuery, *, reveal: bool) -> ListShare:
        """Return what this worker's own partitions have for a page.

        Raises:
            ProblemError: the query needs what is not indexed.
        """
        share = list_share(await self.indexes(query), query, self.judge())
        return share if reveal else msgspec.structs.replace(share, found=_masked(share.found))

    def judge(self) -> Judge:
        """Return what tells which messages are stuck now."""
        now = Micros(time.time_ns() // 1000)
        return Judge(stuck_before(self._stuck_after, now), self._holds)

    async def indexes(self, query: MessageQuery) -> dict[int, IndexedRows]:
        """Return the partitions of this worker that a query is asked of, once all of their rows are indexed.

        Soon after a start they may not be. They are indexed here, some at a time: for millions of rows that takes tens
        of seconds, and messages are folded in the same loop.

        Raises:
            ProblemError: the query needs what is not indexed.
        """
        counts = range(self._owner.partition_counts[self._events_topic])
        while True:
            # Partitions may come and go meanwhile.
            found = {number: index for number in counts if (index := index_of(self._owner, number)) is not None}
            for index in found.values():
                _require_index(index, query)
            if all(index.advance() for index in found.values()):
                return found
            await asyncio.sleep(0)


def _require_index(index: IndexedRows, query: MessageQuery) -> None:
    asked = [name for name in _BY_NAME if getattr(query, name) is not None]
    if index.indexed.isdisjoint([_BY_TIME, *asked]):
        wanted = " or ".join([_BY_TIME, *asked])
        raise ProblemError(NOT_INDEXED, f"DELIVERY_INDEX of this worker does not have {wanted}")


def _masked(found: Sequence[FoundItem]) -> tuple[FoundItem, ...]:
    return tuple([msgspec.structs.replace(each, item=mask_message(each.item)) for each in found])


def _of_owner(url: str, share: ListShare, owned: frozenset[int]) -> ListShare:
    """Leave out what a worker told of partitions that are not its own."""
    if owned == frozenset(share.partitions):
        return share
    log.info("list_share_of_others", url=url, partitions=sorted(set(share.partitions) - owned))
    found = tuple([each for each in share.found if each.partition in owned])
    return ListShare(found, share.reached, tuple(sorted(owned)))


def _readable(heard: Mapping[str, bytes]) -> Iterator[tuple[str, ListShare]]:
    for url, share in heard.items():
        try:
            yield url, _decode_share(share)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Its worker is of another version, during an upgrade: its partitions count as missing.
            log.warning("list_share_unreadable", url=url, error=str(error))
