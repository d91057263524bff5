"""Rounds: the transactions of one worker, one after the other, each over all partitions that have something to commit.

What a transaction costs, a round costs once for all of its partitions. Partitions hand in their shares and wait; what
comes while a round is under way is the next one, so that some partitions fold while others are committed. A round is
all or nothing: when it fails, each of its partitions goes back to its changelog, and a new producer ends what was open
before any of them looks there (ADR 0025).

A place that takes no records must not hold up all others. So the partitions that wrote to the places which a failed
round could not write to commit apart, each with a producer of its own. One that has succeeded for a while is opened
anew, to take part again: what its own producer may have left undecided is ended then, and at no other time.

Records are in before the offsets are sent: a broker (KIP-890) turns away records whose transaction changes at the same
moment, and that costs a retry (ADR 0008).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.bounds import closed, end, within
from processor.engine.clock import APPEND_TIME, BrokerClock
from processor.engine.pin import MEMBERSHIP_OVER, PinnedGroup
from processor.engine.predecessors import commit_lost, end_transactions
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

#: Records that a round may be made of, unless one partition alone has more: a worker that has fallen behind everywhere
#: must not serve one partition a round, for what a round costs then counts for each.
_ROUND_RECORDS = 16_000

#: Failures of a round for which none of the places it writes to is to blame.
_OF_NO_PLACE = (
    *MEMBERSHIP_OVER,
    KafkaConnectionError,
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
)

#: Seconds for which a partition that commits apart must have succeeded before it takes part again.
_APART_SECONDS = 30.0

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
        settings: say how many seconds a round may take, and how many records a partition may have.
        transactional_id: nobody else's, until it is found to hang.
        make_producer: makes a transactional producer of an id.
        clock: learns from the answers what time it is at the brokers.
        monotonic: seconds.
        is_apart: whether they are those of one partition, which commits apart.
    """

    def __init__(  # noqa: PLR0913 - what a worker knows
        self,
        settings: Settings,
        transactional_id: str,
        make_producer: Callable[[str], AIOKafkaProducer],
        clock: BrokerClock,
        monotonic: Callable[[], float],
        *,
        is_apart: bool = False,
    ) -> None:
        self.transactional_id = transactional_id
        self._is_of_one = is_apart
        #: Held while somebody's transactions are ended by name: two that did so at once would fence one another.
        self.ending = asyncio.Lock()
        self._settings, self._make_producer, self._clock, self._monotonic = settings, make_producer, clock, monotonic
        self._producer: AIOKafkaProducer | None = None
        #: Held by whoever uses the producer.
        self._using = asyncio.Lock()
        self._last_use = 0.0
        #: Since when all rounds have succeeded; None: the last one failed, or there was none.
        self._succeeds_since: float | None = None
        #: Where the round in hand has still to write to.
        self._unwritten: set[tuple[str, int]] = set()
        self._turns: deque[_Turn] = deque()
        #: The records that they are made of. Who folds next holds the lock, until a round has taken enough of them.
        self._waiting = 0
        self._next = asyncio.Lock()
        self._taken = asyncio.Event()
        #: Of the partitions that commit apart.
        self._apart: dict[TopicPartition, Rounds] = {}
        self._running: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None

    # What partitions ask for

    async def ready(self, tp: TopicPartition) -> None:
        """Wait until everything that an earlier round left open for a partition has ended, and nothing of it can come.

        Raises:
            KafkaError, OSError, asyncio.TimeoutError: the brokers are away or busy.
        """
        if self._starting is None or self._starting.done():
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(_seen)
        # Shared by all that open; one that is closed meanwhile must not end it for the others.
        await asyncio.shield(self._starting)
        if self.may_return(tp):
            await self.leave(tp)
        elif (apart := self._apart.get(tp)) is not None:
            await apart.ready(tp)

    def is_apart(self, tp: TopicPartition) -> bool:
        """Return whether a partition commits apart."""
        return tp in self._apart

    def may_return(self, tp: TopicPartition) -> bool:
        """Return whether a partition has committed apart for long enough: opened anew, it takes part again."""
        apart = self._apart.get(tp)
        since = None if apart is None else apart._succeeds_since
        return since is not None and self._monotonic() - since >= _APART_SECONDS

    async def leave(self, tp: TopicPartition) -> None:
        """Let go of what a partition commits apart with; what hangs of it is ended when the partition is opened."""
        if (apart := self._apart.pop(tp, None)) is not None:
            await apart.close()

    async def turn(self, tp: TopicPartition) -> None:
        """Wait until fewer records than one round has wait for it: what is folded takes more memory than what is not.

        Partitions go on one by one, in the order in which they came. The next one counts what the one before has handed
        in, if that did not wait for anything in between.
        """
        if tp in self._apart:
            return
        async with self._next:
            while self._waiting >= self._bound:
                self._taken.clear()
                await self._taken.wait()

    async def commit(self, share: Share) -> Ends:
        """Commit a share together with others; return the offsets after what its round wrote.

        A caller that is cancelled withdraws what is not on its way yet.

        Raises:
            KafkaError, OSError, asyncio.TimeoutError: whether it is committed, only the brokers know. All that took
                part in the round must go back to what is committed, and `ready` must come before they look.
        """
        if share.tp in self._apart:
            return await self._apart[share.tp].commit(share)
        turn = _Turn(share)
        self._turns.append(turn)
        self._waiting += share.records
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
        ours = self._with_id(transactional_id)
        if ours is not None:
            await ours._use(lambda producer: clients.abort_in(producer, places, tp, group))
        else:
            ending = end_transactions(self._make_producer(transactional_id), group, places, tp)
            await within(ending, self._settings.commit_timeout)

    def is_own(self, transactional_id: str) -> bool:
        """Return whether a transactional id is ours, or that with which a partition of ours commits apart."""
        return f"{transactional_id}-".startswith(f"{self.transactional_id}-")

    async def commit_in(self, transactional_id: str, places: Collection[TopicPartition]) -> None:
        """Commit, by a transactional id, what is undecided in some places although its transaction has ended.

        Raises:
            KafkaError: among others ProducerFenced, when somebody else does the same.
        """
        ours = self._with_id(transactional_id)
        if ours is not None:
            await ours._use(lambda producer: clients.commit_in(producer, places))
        else:
            await within(commit_lost(self._make_producer(transactional_id), places), self._settings.commit_timeout)

    def _with_id(self, transactional_id: str) -> Rounds | None:
        """Return who of us has a transactional id now; nobody: it may be ended by whoever starts a producer with it."""
        return next((each for each in (self, *self._apart.values()) if each.transactional_id == transactional_id), None)

    async def close(self) -> None:
        """Cancel the round in hand, if there is one, and close the producer."""
        for apart in list(self._apart.values()):
            await apart.close()
        await end([task for task in (self._running, self._starting) if task is not None])
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
        """Return the producer; start one where there is none, or the brokers may soon forget the id."""
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
            if turns and (records > self._bound or turn.share.group.pin != turns[0].share.group.pin):
                break
            self._turns.popleft()
            self._waiting -= turn.share.records
            # Else it has been withdrawn.
            if not turn.outcome.done():
                turns.append(turn)
        self._taken.set()
        return turns

    @property
    def _bound(self) -> int:
        return max(_ROUND_RECORDS, self._settings.chunk_records)

    async def _commit(self, turns: Sequence[_Turn]) -> None:
        self._unwritten = set()
        try:
            producer = await self._begun()
            transaction = self._transact(producer, [turn.share for turn in turns])
            ends = await within(transaction, self._settings.commit_timeout)
        except BaseException as error:
            if isinstance(error, InvalidTimestampError):
                self._clock.set_back(turns[0].share.outbox.now)
            self._succeeds_since = None
            await self._abandon()
            if isinstance(error, Exception) and not isinstance(error, _OF_NO_PLACE):
                self._set_apart([turn.share for turn in turns])
            for turn in turns:
                if not turn.outcome.done():
                    turn.outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
            # At once: what was open holds up readers, and whoever takes over a partition.
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                await self._started()
        else:
            if self._succeeds_since is None:
                self._succeeds_since = self._monotonic()
            for turn in turns:
                if not turn.outcome.done():
                    turn.outcome.set_result(ends)

    def _set_apart(self, shares: Sequence[Share]) -> None:
        """Let the partitions that wrote to a failing place commit apart."""
        if self._is_of_one:
            return
        for tp in [share.tp for share in shares if not self._unwritten.isdisjoint(share.outbox.records)]:
            log.info("partition_commits_apart", topic=tp.topic, partition=tp.partition)
            name = f"{self.transactional_id}-{tp.topic}-{tp.partition}"
            apart = type(self)(self._settings, name, self._make_producer, self._clock, self._monotonic, is_apart=True)
            self._apart[tp] = apart

    async def _transact(self, producer: AIOKafkaProducer, shares: Sequence[Share]) -> Ends:
        """Write the outboxes and the offsets in the transaction that has begun, and commit it."""
        outbox = shares[0].outbox
        records = _merged([share.outbox for share in shares])
        self._unwritten = set(records)
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
        self._unwritten.discard(place)
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
