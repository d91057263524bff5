"""Wait for what a partition's predecessors left open, tell of it, and end it where they do not.

A partition is opened when nothing of it is undecided any more: neither records of its changelog nor the group's offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from processor.engine.bounds import within
from processor.engine.brokers import UnstableOffsetError
from processor.engine.host import Host
from processor.engine.pin import PinnedGroup
from processor.engine.predecessors import Undecided
from processor.logs import get_logger

log = get_logger(__name__)

#: Seconds between looks at what is undecided; looks for markers that are on their way, and those during which a
#: transaction must stay as it is to be taken for one that hangs.
_LOOK_SECONDS = 0.05
_MARKER_LOOKS = 10
_HANGING_LOOKS = 40

#: Seconds after which a transaction that does not end is told, and seconds between tellings.
_HANGING_SECONDS = 30.0
_TOLD_EVERY = 60.0

#: What somebody has to do about a transaction whose id is known no more.
HANGING_MEND = "end it by hand, as docs/runbooks/DeliveryRecoveryTooLong.md says"

Answer = TypeVar("Answer")


class Pending(NamedTuple):
    """What is neither committed nor aborted: records of the changelog, or the offset of the input."""

    tp: TopicPartition
    #: The offset from which on records are; None: it is the group's offset.
    stable: int | None

    @property
    def place(self) -> str:
        """Where it is, in words."""
        where = f"{self.tp.topic}[{self.tp.partition}]"
        return (
            f"a transaction that commits the offset of {where} has not ended"
            if self.stable is None
            else (f"a transaction in {where} has not ended at offset {self.stable}")
        )


class Decided(NamedTuple):
    """What is committed once nothing is undecided any more."""

    #: The group's offset; None: nothing has ever been committed, or the partition is closed meanwhile.
    committed: OffsetAndMetadata | None
    #: Whether anything was undecided.
    has_hung: bool


class LeftOpen:
    """What is undecided of one partition, as often as it is opened.

    Args:
        tp: the input partition.
        changelog: where its state is kept; None: it has none.
        ledger: where what was derived of that is kept; None: nothing was.
        group: the group, as the member that the partition belongs to.
        host: asks the broker.
        closing: ends everything soon, when it is set.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what there is of a partition
        self,
        tp: TopicPartition,
        changelog: TopicPartition | None,
        ledger: TopicPartition | None,
        group: PinnedGroup,
        host: Host,
        closing: asyncio.Event,
    ) -> None:
        self._tp, self._changelog, self._group, self._host, self._closing = tp, changelog, group, host, closing
        #: Where what is aborted comes once more; other outputs have other partitions' records (lost_markers.py).
        self._places = [place for place in (changelog, ledger) if place is not None]
        #: Why the partition waits for somebody's help, with the mend; empty while it does not.
        self.problem = ""
        #: The end of the changelog as it was told last.
        self.changelog_end = 0

    @property
    def _is_closing(self) -> bool:
        return self._closing.is_set()

    async def _within(self, awaitable: Awaitable[Answer]) -> Answer:
        return await within(awaitable, self._host.settings.commit_timeout)

    async def when_decided(self) -> Decided:
        """End what is undecided; return what is committed then."""
        hanging = _Hanging()
        try:
            while not self._is_closing:
                pending, committed = await self._look()
                if pending is None:
                    return Decided(committed, hanging.since is not None)
                self.problem = hanging.see(pending)
                # Markers come after the answer, of an end as of a commit; and a broker may forget them once more.
                if await self._is_decided_within(_MARKER_LOOKS):
                    continue
                before = await self._holders(pending)
                if not await self._is_decided_within(_HANGING_LOOKS):
                    await self._end_predecessors(pending, before)
        finally:
            self.problem = ""
        return Decided(None, hanging.since is not None)

    async def _holders(self, pending: Pending) -> frozenset[Undecided]:
        """Ask whose transactions something waits for; nobody is known where brokers do not tell."""
        try:
            return await self._within(self._host.holders(None if pending.stable is None else pending.tp))
        except (KafkaError, NotImplementedError) as error:
            log.warning("holders_unknown", topic=pending.tp.topic, partition=pending.tp.partition, error=repr(error))
            return frozenset()

    async def _end_predecessors(self, pending: Pending, before: frozenset[Undecided]) -> None:
        """End the transactions of our group that were there before, and still are: they hang, or take long.

        At one look it may be anybody's. Whose round is slow and holds up only the group's offsets is left to end it:
        these are a partition of all, and another one's round is there, too.
        """
        rounds = self._host.rounds
        async with rounds.ending:
            # Another partition of ours may have ended them meanwhile: one transaction held up many.
            hanging = before & await self._holders(pending) if before and not self._is_closing else ()
            if not hanging:
                return
            ids = {each.producer_id for each in hanging}
            names = await self._within(self._host.predecessors(self._tp, ids, spares_members=pending.stable is None))
            for name in names:
                facts = {"topic": self._tp.topic, "partition": self._tp.partition, "transactional_id": name}
                if rounds.is_own(name):
                    log.info("open_transaction_aborted", **facts)
                else:
                    log.warning("predecessor_ended", **facts)
                try:
                    await rounds.end_transactions(name, self._group, self._places, self._tp)
                except ProducerFenced:
                    log.info("predecessor_ended_by_others", transactional_id=name)

    async def _look(self) -> tuple[Pending | None, OffsetAndMetadata | None]:
        """Ask what is undecided; if nothing is, for the committed offset.

        The changelog comes first. No commit of a former owner is accepted once the group knows us, and its rows were
        there before its offset (ADR 0008): so when all rows are decided, and then the offset is, they belong together.
        """
        if self._changelog is not None and (stable := await self._hangs_from(self._changelog)) is not None:
            return Pending(self._changelog, stable), None
        try:
            return None, await self._within(self._host.committed_offset(self._tp, self._group.pin))
        except UnstableOffsetError:
            return Pending(self._tp, None), None

    async def _hangs_from(self, tp: TopicPartition) -> int | None:
        """Return the offset from which on records are neither committed nor aborted; None: all are."""
        _, stable = await self._within(self._host.bounds(tp))
        self.changelog_end = await self._within(self._host.high_watermark(tp))
        return stable if self.changelog_end > stable else None

    async def _is_decided_within(self, looks: int) -> bool:
        """Look repeatedly; return whether nothing is undecided any more, or the partition is closed."""
        for _ in range(looks):
            if self._is_closing or (await self._look())[0] is None:
                return True
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _LOOK_SECONDS)
        return False


class _Hanging:
    """Transactions that do not end, for as long as there have been any; what takes long is told."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        #: When one was first seen; None: there was none.
        self.since: float | None = None
        self._next_telling = 0.0

    def see(self, pending: Pending) -> str:
        """Learn that something is still neither committed nor aborted.

        Returns:
            What is wrong and how it is mended; empty while it may mend itself.
        """
        now = self._now()
        facts = {"topic": pending.tp.topic, "partition": pending.tp.partition, "stable_offset": pending.stable}
        if self.since is None:
            self.since, self._next_telling = now, now + _HANGING_SECONDS
            log.info("open_transaction_found", **facts)
        seconds = round(now - self.since)
        if now >= self._next_telling:
            self._next_telling = now + _TOLD_EVERY
            log.warning("transaction_hangs", **facts, seconds=seconds, mend=HANGING_MEND)
        if now < self.since + _HANGING_SECONDS:
            return ""
        return f"{pending.place} for {seconds} s: {HANGING_MEND}"
