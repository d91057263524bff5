"""Open a partition: bring its work to what is committed, or let it go on where it was left.

Only what changelog and ledger hold counts, up to what the committed offset proves (proof.py, ADR 0013). It is read once
the brokers know our membership and nothing is undecided (left_open.py): then nobody else commits behind what is read
here (ADR 0025).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.engine.batches import readable
from processor.engine.bounds import closed, within
from processor.engine.brokers import UnstableOffsetError
from processor.engine.commit import Begin
from processor.engine.host import Host
from processor.engine.left_open import LeftOpen
from processor.engine.pin import Pin, PinnedGroup
from processor.engine.proof import Proof, read_proof
from processor.engine.stage import LedgerWork, Record, Stage, StatefulWork, Work
from processor.logs import get_logger

log = get_logger(__name__)

#: Seconds after which a changelog that ends too early is one that has lost records, whoever leads it.
_FORMER_LEADER_SECONDS = 30.0

Answer = TypeVar("Answer")


class FormerLeaderError(KafkaError):
    """A changelog ends before what its offset proves: who answered may not lead it any more."""

    retriable = True


class Start(NamedTuple):
    """Where a partition goes on."""

    #: The input offset; None: nothing has ever been committed.
    offset: int | None
    #: What the offset proves of the changelog.
    proof: Proof | None


class Left(NamedTuple):
    """Where a partition was left in good order, by this process, with its work in memory."""

    begin: Begin
    #: The membership under which it was ours until then.
    pin: Pin
    #: Since when it has run, but for rebalances.
    since: float


def goes_on(left: Left | None, pin: Pin, committed: OffsetAndMetadata | None) -> bool:
    """Return whether nobody can have written for a partition since it was left, so that it need not be opened.

    Args:
        left: where it was left; None: not in good order, or not by this process.
        pin: the membership under which it is ours now.
        committed: the group's offset, decided, as told by a broker that knows this membership; None: there is none.
    """
    return left is not None and pin.follows(left.pin) and committed == left.begin.committed


class Recovery:
    """Opens one partition, as often as it must be opened.

    Args:
        stage: what the partition belongs to.
        tp: the input partition.
        group: the group, as the member that the partition belongs to.
        host: asks the broker.
        closing: ends everything soon, when it is set.
    """

    def __init__(
        self, stage: Stage, tp: TopicPartition, group: PinnedGroup, host: Host, closing: asyncio.Event
    ) -> None:
        topic = host.settings.topic
        #: Where the partition's state is kept, and what was derived of it.
        self.changelog = TopicPartition(topic(stage.changelog), tp.partition) if stage.changelog else None
        self.ledger = TopicPartition(topic(stage.ledger), tp.partition) if stage.ledger else None
        #: Changelog records that were read, and that are to be read.
        self.read = 0
        self.to_read = 0
        #: Since when the changelog has ended before what is proved of it.
        self._short_since: float | None = None
        self._tp, self._group, self._host, self._settings, self._closing = tp, group, host, host.settings, closing
        self._left_open = LeftOpen(tp, self.changelog, self.ledger, group, host, closing)

    @property
    def problem(self) -> str:
        """Why the partition waits for somebody's help, with the mend; empty while it does not."""
        return self._left_open.problem

    async def goes_on(self, left: Left | None) -> bool:
        """Ask whether the partition can go on where it was left, with its work as it is.

        Its own transactions have ended as it believes, or it would not have been left in good order. What hangs there
        is ended as while it runs (lost_markers.py).
        """
        if left is None or not self._group.pin.follows(left.pin):
            return False
        try:
            committed = await self._within(self._host.committed_offset(self._tp, self._group.pin))
        except UnstableOffsetError:
            return False
        return goes_on(left, self._group.pin, committed)

    async def run(self, work: Work, *, is_resumed: bool) -> Begin:
        """Bring the work to what is committed.

        Args:
            work: forgets what it knows if that is more than is committed.
            is_resumed: whether it was suspended in good order, by this process.

        Returns:
            Where to go on.
        """
        committed, has_hung = await self._left_open.when_decided()
        if self._is_closing:
            # The work is as it was, and so is what it knows.
            return Begin(await self._first_offset(None), None, None)
        start = Start(None, None) if committed is None else Start(committed.offset, read_proof(committed.metadata))
        if self.changelog is not None and isinstance(work, StatefulWork):
            # Work that was suspended has seen no failure: its transactions have ended as it believes, unless one hung.
            start = await self._reconcile(start, work, self.changelog, is_sure=is_resumed and not has_hung)
            await self._restore(work, self.changelog)
            if not self._is_closing:
                work.restored()
        return Begin(await self._first_offset(start.offset), start.proof, committed)

    @property
    def _is_closing(self) -> bool:
        return self._closing.is_set()

    async def _within(self, awaitable: Awaitable[Answer]) -> Answer:
        return await within(awaitable, self._settings.commit_timeout)

    # What is committed

    async def _reconcile(self, start: Start, work: StatefulWork, changelog: TopicPartition, *, is_sure: bool) -> Start:
        """Compare committed offset, changelog and work; forget a work that is ahead of what is committed."""
        if start.offset is None:
            if not is_sure and work.position:
                work.forget()
            return start
        if start.proof is None:
            return start
        self._check_end(changelog, start.proof)
        is_there = is_sure or await self._holds(changelog, start.proof.position - 1)
        if self._is_closing:
            # Then it was not read to the end, which says nothing against the work.
            return start
        if not is_there:
            work.forget()
            return await self._before_what_is_lost(start.proof, changelog)
        if work.position > start.proof.position:
            work.forget()
        return start

    async def _before_what_is_lost(self, proof: Proof, changelog: TopicPartition) -> Start:
        """Go back to where the lost transaction began; to the oldest record, if the one before is lost as well.

        Where both lack their markers, the end of one is the end of both, and nothing tells where the other began.
        """
        begin: int | None = proof.start
        if proof.before and not await self._holds(changelog, proof.before - 1):
            begin = None
        log.warning("transaction_lost", topic=self._tp.topic, partition=self._tp.partition, start=begin)
        return Start(begin, None)

    def _check_end(self, changelog: TopicPartition, proof: Proof) -> None:
        """Refuse a changelog that ends before what is proved of it, for as long as a former leader may answer.

        A transaction that was lost leaves its records where they were. A broker that led the changelog, stood still and
        was replaced tells its former end for some moments (ADR 0025): what is recovered from it lacks rows.

        Raises:
            FormerLeaderError: ask again.
        """
        if self._is_closing or self._left_open.changelog_end >= proof.position:
            return
        now = asyncio.get_running_loop().time()
        self._short_since = now if self._short_since is None else self._short_since
        if now < self._short_since + _FORMER_LEADER_SECONDS:
            raise FormerLeaderError(f"{changelog.topic}[{changelog.partition}] ends before {proof.position}")

    async def _holds(self, tp: TopicPartition, offset: int) -> bool:
        """Return whether a partition has a committed record at an offset."""
        found: list[int] = []
        _, end = await self._within(self._host.bounds(tp))
        if offset < end:
            await self._read(tp, offset, offset + 1, lambda records, _: found.extend(each.offset for each in records))
        return offset in found

    async def _first_offset(self, committed: int | None) -> int:
        """Return the offset to read from: the committed one, or the oldest there is."""
        oldest, end = await self._within(self._host.bounds(self._tp))
        if committed is None:
            return oldest
        if committed > end:
            # What was read of the old topic says nothing about the new one; an event that comes twice does no harm.
            log.error(
                "offset_ahead",
                topic=self._tp.topic,
                partition=self._tp.partition,
                committed=committed,
                end=end,
                mend="the topic was made anew, or its broker has lost records: it is read from its beginning",
            )
            return oldest
        if committed < oldest:
            tell_expired(self._tp, oldest - committed)
        return max(committed, oldest)

    # State

    async def _restore(self, work: StatefulWork, changelog: TopicPartition) -> None:
        """Read changelog and ledger from where the work stands to their ends.

        Nobody else's commits come behind the ends by now.
        """
        oldest, end = await self._within(self._host.bounds(changelog))
        ledger_oldest, ledger_end = 0, 0
        if self.ledger is not None:
            ledger_oldest, ledger_end = await self._within(self._host.bounds(self.ledger))
        ledger_position = work.ledger_position if isinstance(work, LedgerWork) else 0
        if work.position > end or ledger_position > ledger_end:
            work.forget()
        start = max(work.position, oldest)
        self.read, self.to_read = 0, end - start
        await self._read(changelog, start, end, work.restore, self._show_progress)
        if self.ledger is not None and isinstance(work, LedgerWork):
            start = max(work.ledger_position, ledger_oldest)
            await self._read(self.ledger, start, ledger_end, work.restore_ledger)

    def _show_progress(self, left: int) -> None:
        self.read = max(0, self.to_read - max(0, left))

    async def _read(
        self,
        tp: TopicPartition,
        position: int,
        end: int,
        take: Callable[[Sequence[Record], int], None],
        show: Callable[[int], None] | None = None,
    ) -> None:
        """Hand over what a partition holds between two offsets, each time with the position after it.

        Args:
            tp: the partition.
            position: where to begin.
            end: where to end; the position may step over it, as it steps over markers.
            take: takes records.
            show: is told how many offsets are left.
        """
        if position >= end:
            return
        reader = self._host.reader()
        await self._within(reader.start())
        try:
            reader.assign([tp])
            reader.seek(tp, position)
            while not self._is_closing and position < end:
                fetched = await self._within(reader.getmany(timeout_ms=200))
                position = await self._within(reader.position(tp))
                if records := fetched.get(tp):
                    # Not `position`: markers come after it, and what was committed is compared with proofs.
                    take(readable(tp.topic, tp.partition, records), records[-1].offset + 1)
                if show is not None:
                    show(end - position)
                await asyncio.sleep(0)
        finally:
            await closed("reader", reader.stop())


def tell_expired(tp: TopicPartition, records: int) -> None:
    """Log that retention removed records before they were read."""
    log.error(
        "records_expired_unread",
        topic=tp.topic,
        partition=tp.partition,
        records=records,
        mend="raise retention.ms and retention.bytes of the topic, or add workers, or keep them running",
    )
