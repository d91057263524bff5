"""Rounds: the transactions of one worker, one after the other, each over all partitions that have something to commit.

What a transaction costs, a round costs once for all of its partitions. Partitions hand in their shares and wait; what
comes while a round is under way is the next one, so that some partitions fold while others are committed. A round is
all or nothing: when it fails, each of its partitions goes back to its changelog, and a new producer ends what was open
before any of them looks there (ADR 0025).

A place that takes no records must not hold up all others. So after a round that failed, each of its partitions commits
apart, with a producer of its own, until it is opened the next time after it has succeeded.

Records are in before the offsets are sent: a broker (KIP-890) turns away records whose transaction changes at the same
moment, and that costs a retry (ADR 0008).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    KafkaError,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.bounds import closed, end, within
from processor.engine.clock import APPEND_TIME, BrokerClock
from processor.engine.pin import MEMBERSHIP_OVER, PinnedGroup
from processor.engine.predecessors import end_transactions
from processor.engine.records import fill_batch
from processor.engine.stage import Outbox, Written
from processor.engine.transactions import NewProducerNeededError
from processor.logs import get_logger
from processor.settings import Settings

__all__ = ["Ends", "Rounds", "Share"]

log = get_logger(__name__)

#: The offset after what a round wrote, by topic and partition.
Ends = Mapping[tuple[str, int], int]

#: Seconds without a transaction after which a new producer makes the next one. Brokers forget transactional ids that
#: are not used (`transactional.id.expiration.ms`: a week, or what an operator made of it) and refuse the next.
_KEEP_KNOWN_SECONDS = 600.0

#: Failures of a round for which none of the places it writes to is to blame.
_OF_NO_PLACE = (*MEMBERSHIP_OVER, ProducerFenced, InvalidProducerEpoch, InvalidProducerIdMapping)

#: Seconds that a producer may take to close.
_ABANDON_SECONDS = 5.0


@dataclass(frozen=True)
class Share:
    """What one partition has to commit."""

    tp: TopicPartition
    #: The group, as the member that the partition belongs to.
    group: PinnedGroup
    outbox: Outbox
    #: The number of records that it was made of.
    records: int
    #: Gives the offset that goes with it, once it is known where its records are.
    offset: Callable[[Ends], OffsetAndMetadata]


class _Turn:
    """A share that waits for its round."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.outcome: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()


class Rounds:
    """The transactions of one transactional id.

    Args:
        settings: say how many records a round may be made of, and how many seconds it may take.
        transactional_id: nobody else's, until it is found to hang.
        make_producer: makes a transactional producer of an id.
        clock: learns from the answers what time it is at the brokers.
        monotonic: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        make_producer: Callable[[str], AIOKafkaProducer],
        clock: BrokerClock,
        monotonic: Callable[[], float],
    ) -> None:
        self.transactional_id = transactional_id
        #: Held while somebody's transactions are ended by name: two that did so at once would fence one another.
        self.ending = asyncio.Lock()
        self._settings, self._make_producer, self._clock, self._monotonic = settings, make_producer, clock, monotonic
        self._producer: AIOKafkaProducer | None = None
        #: Held by whoever uses the producer.
        self._using = asyncio.Lock()
        self._last_use = 0.0
        #: Whether the last round succeeded.
        self.succeeds = False
        self._turns: deque[_Turn] = deque()
        #: Of the partitions that commit apart.
        self._apart: dict[TopicPartition, Rounds] = {}
        self._running: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None

    # What partitions ask for

    async def ready(self, tp: TopicPartition) -> None:
        """Wait until what a round of ours with a partition left open has been ended, and nothing of it can come.

        Raises:
            KafkaError, OSError, asyncio.TimeoutError: the brokers are away or busy.
        """
        if self._starting is None or self._starting.done():
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(_seen)
        # Shared by all that open; one that is closed meanwhile must not end it for the others.
        await asyncio.shield(self._starting)
        apart = self._apart.get(tp)
        if apart is not None and apart.succeeds:
            # What hangs of its last transaction is ended when the partition is opened, which is now; while a partition
            # goes on, only the same producer decides that, with the next.
            await self._apart.pop(tp).close()
        elif apart is not None:
            await apart.ready(tp)

    async def commit(self, share: Share) -> Ends:
        """Make a share true, together with others; return the offsets after what its round wrote.

        A caller that is cancelled withdraws what is not on its way yet.

        Raises:
            KafkaError, OSError, asyncio.TimeoutError: whether it is true, the brokers know. All that took part in the
                round must go back to what is committed, and `ready` must come before they look.
        """
        if share.tp in self._apart:
            return await self._apart[share.tp].commit(share)
        turn = _Turn(share)
        self._turns.append(turn)
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
        return await turn.outcome

    async def end_transactions(
        self, transactional_id: str, group: PinnedGroup, places: Iterable[TopicPartition], tp: TopicPartition
    ) -> None:
        """End what a transactional id has left undecided in some places, and in the offset of a partition.

        Raises:
            KafkaError: among others ProducerFenced, when somebody else does the same.
        """
        if transactional_id == self.transactional_id:
            await self._use(lambda producer: clients.abort_in(producer, places, tp, group))
        else:
            ending = end_transactions(self._make_producer(transactional_id), group, places, tp)
            await within(ending, self._settings.commit_timeout)

    async def close(self) -> None:
        """Give up the round in hand, if there is one, and close the producer."""
        for apart in self._apart.values():
            await apart.close()
        if self._running is not None:
            await end([self._running])
        async with self._using:
            await self._abandon()

    # The producer

    async def _start(self) -> None:
        async with self._using:
            await self._started()

    async def _use(self, what: Callable[[AIOKafkaProducer], Awaitable[None]]) -> None:
        """Do something between two rounds."""
        async with self._using:
            producer = await self._started()
            try:
                await within(what(producer), self._settings.commit_timeout)
            except BaseException:
                await self._abandon()
                raise

    async def _started(self) -> AIOKafkaProducer:
        """Give the producer; start one where there is none, or the brokers may soon forget the id."""
        if self._producer is not None and self._monotonic() - self._last_use > _KEEP_KNOWN_SECONDS:
            await self._abandon()
        if self._producer is None:
            producer = self._producer = self._make_producer(self.transactional_id)
            try:
                await within(producer.start(), self._settings.commit_timeout)
            except BaseException:
                await self._abandon()
                raise
        self._last_use = self._monotonic()
        return self._producer

    async def _begun(self) -> AIOKafkaProducer:
        """Begin a transaction, with a new producer where ours must not begin another."""
        producer = await self._started()
        try:
            await producer.begin_transaction()
        except NewProducerNeededError:
            # All rounds until now are decided, so none of their partitions need know.
            await self._abandon()
            producer = await self._started()
            await producer.begin_transaction()
        return producer

    async def _abandon(self) -> None:
        """Close the producer; what it did not commit is aborted by the next one with its id."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            await within(producer.stop(), _ABANDON_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError):
            await closed("producer", producer.client.close(), _ABANDON_SECONDS)

    # Rounds

    async def _run(self) -> None:
        """Commit round after round, until nobody waits."""
        while self._turns:
            async with self._using:
                if turns := self._take():
                    await self._commit(turns)

    def _take(self) -> list[_Turn]:
        """Take what waits for a round, up to its bound; all of one membership, which the brokers judge as one."""
        turns: list[_Turn] = []
        records = 0
        while self._turns:
            turn = self._turns[0]
            records += turn.share.records
            if turns and (records > self._settings.chunk_records or turn.share.group.pin != turns[0].share.group.pin):
                break
            self._turns.popleft()
            # Else it has been withdrawn.
            if not turn.outcome.done():
                turns.append(turn)
        return turns

    async def _commit(self, turns: Sequence[_Turn]) -> None:
        try:
            producer = await self._begun()
            transaction = self._transact(producer, [turn.share for turn in turns])
            ends = await within(transaction, self._settings.commit_timeout)
        except BaseException as error:
            if isinstance(error, InvalidTimestampError):
                self._clock.set_back(turns[0].share.outbox.now)
            self.succeeds = False
            await self._abandon()
            if len(turns) > 1 and not isinstance(error, _OF_NO_PLACE):
                for turn in turns:
                    self._set_apart(turn.share.tp)
            for turn in turns:
                if not turn.outcome.done():
                    turn.outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
            # At once: what was open holds up readers, and whoever takes over a partition.
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                await self._started()
        else:
            self.succeeds = True
            for turn in turns:
                if not turn.outcome.done():
                    turn.outcome.set_result(ends)

    def _set_apart(self, tp: TopicPartition) -> None:
        log.info("partition_commits_apart", topic=tp.topic, partition=tp.partition)
        name = f"{self.transactional_id}-{tp.topic}-{tp.partition}"
        self._apart[tp] = type(self)(self._settings, name, self._make_producer, self._clock, self._monotonic)

    async def _transact(self, producer: AIOKafkaProducer, shares: Sequence[Share]) -> Ends:
        """Write the outboxes and the offsets in the transaction that has begun, and commit it."""
        outbox = shares[0].outbox
        records = _merged([share.outbox for share in shares])
        # Together, so that all partitions join the transaction in one request.
        sends = [self._send(producer, place, written, outbox) for place, written in records.items()]
        ends = dict(zip(records, await _all(sends), strict=True))
        offsets = {share.tp: share.offset(ends) for share in shares}
        await producer.send_offsets_to_transaction(offsets, shares[0].group)
        await producer.commit_transaction()
        return ends

    async def _send(
        self, producer: AIOKafkaProducer, place: tuple[str, int], records: Sequence[Written], outbox: Outbox
    ) -> int:
        """Send records in as few batches as they fit into; return the offset after the last.

        Args:
            producer: sends them.
            place: topic and partition.
            records: the records.
            outbox: the oldest of the round, whose window of times is kept.
        """
        topic, partition = place
        sent, done = [], 0
        while done < len(records):
            batch, done = fill_batch(producer, records, done, outbox.now, outbox.kept)
            moment = self._clock.sent()
            sent.append((moment, await producer.send_batch(batch, topic, partition=partition), batch.record_count()))
        after = 0
        for moment, future, count in sent:
            answer = await future
            if answer.timestamp_type == APPEND_TIME:
                self._clock.see(moment, answer.timestamp)
            after = answer.offset + count
        return after


def _merged(outboxes: Sequence[Outbox]) -> Mapping[tuple[str, int], Sequence[Written]]:
    """Put together what goes to the same place, each outbox's records in their order."""
    if len(outboxes) == 1:
        return {place: records for place, records in outboxes[0].records.items() if records}
    merged: dict[tuple[str, int], list[Written]] = {}
    for outbox in outboxes:
        for place, records in outbox.records.items():
            if records:
                merged.setdefault(place, []).extend(records)
    return merged


async def _all(awaitables: Sequence[Awaitable[int]]) -> list[int]:
    """Wait for all, also when one fails, so that none is left running; then raise the first failure."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    values = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        values.append(result)
    return values


def _seen(task: asyncio.Future[None]) -> None:
    """Note that a task has failed, also when all who waited for it have gone."""
    if not task.cancelled():
        task.exception()
