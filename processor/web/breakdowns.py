"""Breakdowns of messages over all workers: each looks through its partitions and says what it found in each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping

import msgspec

from processor.logs import get_logger
from processor.settings import Settings
from processor.views.breakdown import (
    LOOKED_AT_MAX,
    Breakdown,
    BreakdownQuery,
    PartitionBreakdown,
    merge_breakdowns,
    partition_breakdown,
)
from processor.web.forwarding import Forwarding
from processor.web.masking import mask_text
from processor.web.message_lists import MessageLists
from processor.web.owner import Owner, index_of
from processor.web.problems import STARTING, ProblemError
from processor.wire.topics import EVENTS

log = get_logger(__name__)

BREAKDOWN_PATH = "/internal/v1/message-breakdown"

#: Seconds that a worker spends on one breakdown, and breakdowns that it is at: messages are folded in the same loop.
_SECONDS = 0.5
_AT_ONCE = 2

_decode = msgspec.json.Decoder(dict[int, PartitionBreakdown]).decode


class Breakdowns:
    """Breaks down the messages of all workers.

    Args:
        owner: the worker.
        forwarding: asks the other workers.
        lists: knows the partitions of this worker.
        settings: those of the worker.
    """

    def __init__(self, owner: Owner, forwarding: Forwarding, lists: MessageLists, settings: Settings) -> None:
        self._owner, self._forwarding, self._lists = owner, forwarding, lists
        self._events_topic = settings.topic(EVENTS)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def breakdown(self, query: BreakdownQuery) -> Breakdown:
        """Return a breakdown of the messages of all workers that answer.

        Raises:
            ProblemError: the query needs what is not indexed, or this worker has not reached Kafka yet.
        """
        found, missing = await self.by_partition(query)
        return merge_breakdowns(found.values(), missing)

    async def by_partition(self, query: BreakdownQuery) -> tuple[dict[int, PartitionBreakdown], list[int]]:
        """Return what was found in each partition, and the partitions that could not be asked.

        Raises:
            ProblemError: the query needs what is not indexed, or this worker has not reached Kafka yet.
        """
        counts = self._owner.partition_counts
        if self._events_topic not in counts:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        found: dict[int, PartitionBreakdown] = {}
        asking = self._forwarding.ask_others(BREAKDOWN_PATH, query)
        (owners, heard), own = await asyncio.gather(asking, self.own(query))
        for url, told in ((self._owner.url, own), *_readable(heard)):
            found |= {number: told[number] for number in self._lists.owned_by(url, told, owners)}
        return found, [number for number in range(counts[self._events_topic]) if number not in found]

    async def own(self, query: BreakdownQuery) -> dict[int, PartitionBreakdown]:
        """Return what this worker finds in its own partitions, each looked through for as long as the others.

        Raises:
            ProblemError: the query needs what is not indexed.
        """
        async with self._turns:
            return await self._look_through(query)

    async def _look_through(self, query: BreakdownQuery) -> dict[int, PartitionBreakdown]:
        found: dict[int, PartitionBreakdown] = {}
        indexes, judge = await self._lists.indexes(query.messages), self._lists.judge()
        most, seconds = max(1, LOOKED_AT_MAX // max(1, len(indexes))), _SECONDS / max(1, len(indexes))
        for number in indexes:
            index = index_of(self._owner, number)
            if index is None:
                continue
            ends = time.monotonic() + seconds
            for found_so_far in partition_breakdown(index, query, judge, most, mask_text):
                found[number] = found_so_far
                await asyncio.sleep(0)
                if time.monotonic() > ends:
                    break
                if index_of(self._owner, number) is not index:
                    # It was taken away meanwhile.
                    del found[number]
                    break
        return found


def _readable(heard: Mapping[str, bytes]) -> Iterator[tuple[str, dict[int, PartitionBreakdown]]]:
    for url, told in heard.items():
        try:
            yield url, _decode(told)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Its worker is of another version, during an upgrade: its partitions count as missing.
            log.warning("breakdown_unreadable", url=url, error=str(error))
