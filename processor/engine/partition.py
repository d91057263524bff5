"""One partition of one stage: recovery, then one transaction per chunk, until it is closed.

A partition is the unit of everything that can go wrong. It has its own work (rows, counts), its own bounded queue, its
own task and its own transactional producer, whose id names stage input and partition: starting that producer fences
whoever else still believes it owns the partition.

Exactly once rests on four rules:

1. What a chunk wrote and the offset after it are committed together, or not at all.
2. State is what the changelog holds. After any failure the work is dropped and recovered; it is never repaired.
3. A chunk is taken only where the last one ended. A hole is read again, an overlap is skipped.
4. Reading starts at the group's committed offset, asked for after the fencing, unless the changelog lacks what was
   committed with it (proof.py): then where that chunk began.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.batches import readable, sort_out
from processor.engine.bounds import closed, within
from processor.engine.chunks import Chunk
from processor.engine.clock import APPEND_TIME, BrokerClock
from processor.engine.proof import Proof, read_proof
from processor.engine.records import fill_batch
from processor.engine.stage import Outbox, Partitioning, Record, Stage, Work, Written
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.metrics.labels import ByStage
from processor.settings import Settings

log = get_logger(__name__)

#: A partition whose queue holds the records of this many transactions, or so many fetches, is not fetched until some
#: are done. The second bounds memory where records are large: a fetch is about a megabyte, or one record.
_QUEUE_TRANSACTIONS = 2
_QUEUE_FETCHES = 8

#: Seconds between attempts to open a partition: a broker that is away is waited for.
_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)

#: Seconds that a producer may take to close.
_ABANDON_SECONDS = 5.0

#: Seconds that an offset which only steps over markers may wait for records to be committed with.
_IDLE_COMMIT_SECONDS = 1.0

#: Seconds without a transaction after which one is made that changes nothing. Brokers forget transactional ids that
#: are not used (`transactional.id.expiration.ms`: a week, or what an operator made of it) and refuse the next.
_KEEP_KNOWN_SECONDS = 600.0

#: Looks for markers that are to come, and seconds between them, before a transaction is ended once more.
_MARKER_LOOKS = 40
_MARKER_SECONDS = 0.05

Answer = TypeVar("Answer")


class State(str, Enum):
    """Where a partition is in its life."""

    RECOVERING = "recovering"
    RUNNING = "running"
    CLOSING = "closing"


class FencedError(Exception):
    """Another worker has opened this partition: what we hold is no longer true."""


class Host(Protocol):
    """What a partition asks of its worker."""

    settings: Settings
    metrics: Metrics
    clock: BrokerClock

    def transactional_producer(self, transactional_id: str) -> AIOKafkaProducer:
        """Make a producer; starting it fences every older one with the same id."""

    def reader(self) -> AIOKafkaConsumer:
        """Make a consumer that belongs to no group and reads committed records."""

    async def committed_offset(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """Ask the broker for the group's committed offset."""

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Ask the broker for the oldest offset of a partition and the one after its last that is committed."""

    async def high_watermark(self, tp: TopicPartition) -> int:
        """Ask the broker for the offset after a partition's last record, of open transactions too."""

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Make `offset` the next that is fetched."""

    def position(self, tp: TopicPartition) -> int | None:
        """Tell which offset the fetch hands out next, without waiting; None when the partition is not assigned."""

    def wake(self) -> None:
        """Make the fetch look again at which partitions have room."""

    #: Partitions of each topic, and the cluster's id.
    partition_counts: dict[str, int]
    cluster: str


class Partition:
    """One input partition of a stage, owned by this worker until it is closed."""

    def __init__(self, stage: Stage, tp: TopicPartition, host: Host) -> None:
        self.stage = stage
        self.tp = tp
        topic = host.settings.topic
        #: Where this partition's state is kept, and what was derived of it.
        self.changelog = TopicPartition(topic(stage.changelog), tp.partition) if stage.changelog else None
        self.ledger = TopicPartition(topic(stage.ledger), tp.partition) if stage.ledger else None
        self.state = State.RECOVERING
        self.work: Work | None = None
        #: The next offset to commit, and the next that a chunk must start at.
        self.committed = 0
        self.arrived = 0
        #: What the next offset proves, unless more is written.
        self._proof: Proof | None = None
        self.last_commit = time.monotonic()
        #: Changelog records read and to read, while recovering.
        self.recovered = 0
        self.to_recover = 0
        self._host = host
        self._settings = host.settings
        self._queue: deque[Chunk] = deque()
        self._queued = 0
        #: What the last transaction took for now, in milliseconds.
        self._stamped = 0
        self._arrival = asyncio.Event()
        self._seeking = False
        #: Where the last chunk ended when more had been fetched than had arrived.
        self._suspected: int | None = None
        self._last_transaction = time.monotonic()

    def has_room(self) -> bool:
        """Say whether more may be fetched. Safe to ask from another thread."""
        return (
            self.state is State.RUNNING
            and not self._seeking
            and self._queued < _QUEUE_TRANSACTIONS * self._settings.chunk_records
            and len(self._queue) < _QUEUE_FETCHES
        )

    async def accept(self, chunk: Chunk) -> None:
        """Queue a chunk; one that leaves a hole is dropped, and the hole is read again."""
        if self.state is not State.RUNNING or self._seeking:
            return
        if chunk.start > self.arrived:
            await self._reread(chunk.start)
            return
        if chunk.end <= self.arrived:
            return
        if chunk.start < self.arrived:
            chunk = chunk._replace(records=[record for record in chunk.records if record.offset >= self.arrived])
        self.arrived = chunk.end
        self._queue.append(chunk)
        self._queued += len(chunk.records)
        self._arrival.set()

    async def _reread(self, position: int) -> None:
        log.info("chunk_reread", topic=self.tp.topic, partition=self.tp.partition, start=position, at=self.arrived)
        self._seeking = True
        try:
            await self._pass_over_what_expired()
            await self._within(self._host.seek(self.tp, self.arrived))
        finally:
            self._seeking = False
        self._host.wake()

    async def _pass_over_what_expired(self) -> None:
        """Go on at the oldest record where retention has overtaken us: what is read for again is not there any more."""
        try:
            oldest, _ = await self._within(self._host.bounds(self.tp))
        except (KafkaError, OSError, asyncio.TimeoutError):
            return  # The hole shows again.
        if self.state is State.RUNNING and oldest > self.arrived:
            self._tell_expired(oldest - self.arrived)
            self.arrived = oldest

    def _tell_expired(self, records: int) -> None:
        log.error(
            "records_expired_unread",
            topic=self.tp.topic,
            partition=self.tp.partition,
            records=records,
            mend="raise retention.ms and retention.bytes of the topic, or add workers, or keep them running",
        )

    async def run(self, parked: Work | None = None) -> Work | None:
        """Open the partition and fold its chunks until `close`.

        Args:
            parked: what an earlier run gave back; then only what others wrote since is read from the changelog.

        Returns:
            The work, when it was closed in good order and may be taken up again.

        Raises:
            FencedError: another worker has the partition.
            Exception: a fault of ours. The state of the partition is worthless and the worker must end.
        """
        attempt = 0
        while self.state is not State.CLOSING:
            producer = self._host.transactional_producer(self._transactional_id)
            try:
                await self._open(producer, parked)
                attempt = 0
                await self._fold_chunks(producer)
                return self.work
            except ProducerFenced as error:
                raise FencedError(f"{self.tp.topic}[{self.tp.partition}]: {error}") from error
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                if isinstance(error, InvalidTimestampError):
                    self._host.clock.set_back(self._stamped)
                elif not _is_passing(error):
                    raise
                self._host.metrics.reopened.labels(ByStage(self.stage.name)).inc()
                log.warning(
                    "partition_reopens",
                    topic=self.tp.topic,
                    partition=self.tp.partition,
                    error=repr(error),
                    try_=attempt,
                )
                # At once: what is about to be forgotten must not count as running, nor show in the gauges.
                self._drop()
            except asyncio.CancelledError:
                # Nobody waits for the work any more, and a store on disk must be free for who opens it next.
                self._drop()
                raise
            finally:
                await self._abandon(producer)
            parked = None
            await self._pause(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
        return None

    @property
    def _transactional_id(self) -> str:
        return f"{self._settings.app_id}-{self.tp.topic}-{self.tp.partition}"

    def close(self) -> None:
        """Ask the task to finish the chunk it is in and end."""
        self.state = State.CLOSING
        self._arrival.set()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the partition is closed meanwhile."""
        if self.state is State.CLOSING:
            return
        self._arrival.clear()
        try:
            await asyncio.wait_for(self._arrival.wait(), seconds)
        except asyncio.TimeoutError:
            return

    def _drop(self) -> None:
        """Forget everything that came from memory: the changelog is the truth."""
        if self.work is not None:
            self.work.released()
            self.work.close()
        self.work = None
        self._queue.clear()
        self._queued = 0
        if self.state is State.RUNNING:
            self.state = State.RECOVERING

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        """Close a producer; what it did not commit is aborted by the next one with its id."""
        try:
            await within(producer.stop(), _ABANDON_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError):
            await closed("producer", producer.client.close(), _ABANDON_SECONDS)

    async def _open(self, producer: AIOKafkaProducer, parked: Work | None) -> None:
        await self._within(producer.start())
        host = self._host
        self.work = parked or self.stage.start(
            Partitioning(self.tp.topic, self.tp.partition, host.partition_counts, host.cluster)
        )
        committed = await self._reconcile(producer, self.work, is_parked=parked is not None)
        await self._recover(self.work)
        self.committed = self.arrived = await self._first_offset(committed)
        await self._within(self._host.seek(self.tp, self.arrived))
        self.last_commit = self._last_transaction = time.monotonic()
        if self.state is State.RECOVERING:
            self.state = State.RUNNING
        self._host.wake()
        log.info(
            "partition_running",
            topic=self.tp.topic,
            partition=self.tp.partition,
            offset=self.arrived,
            recovered=self.recovered,
        )

    async def _within(self, awaitable: Awaitable[Answer]) -> Answer:
        return await within(awaitable, self._settings.commit_timeout)

    async def _reconcile(self, producer: AIOKafkaProducer, work: Work, *, is_parked: bool) -> int | None:
        """Compare committed offset, changelog and work; forget a work that is ahead of what is true.

        Returns:
            Where to go on; None when nothing has ever been committed.
        """
        has_ended = await self._end_what_hangs(producer)
        # A work that was parked has seen no failure, so its transactions have ended as it believes; unless one hung.
        is_sure = is_parked and not has_ended
        committed = await self._within(self._host.committed_offset(self.tp))
        proof = self._proof = None if committed is None else read_proof(committed.metadata)
        if committed is None:
            if not is_sure and work.position:
                work.forget()
            return None
        if proof is None or self.changelog is None:
            return int(committed.offset)
        is_there = is_sure or await self._holds(self.changelog, proof.position - 1)
        if self.state is State.CLOSING:
            # Then it was not read to the end, which says nothing against the work.
            return int(committed.offset)
        if not is_there:
            log.warning("transaction_lost", topic=self.tp.topic, partition=self.tp.partition, start=proof.start)
            work.forget()
            self._proof = None
            return proof.start
        if work.position > proof.position:
            work.forget()
        return int(committed.offset)

    async def _end_what_hangs(self, producer: AIOKafkaProducer) -> bool:
        """Abort what the changelog holds of a transaction whose end it was not told; say whether there was any.

        Only this transactional id writes to the changelog, and by now all its transactions have been decided.
        """
        if self.changelog is None:
            return False
        has_ended = False
        while self.state is not State.CLOSING and await self._hangs(self.changelog):
            log.info("open_transaction_aborted", topic=self.tp.topic, partition=self.tp.partition)
            places = [TopicPartition(self._settings.topic(topic), self.tp.partition) for topic in self.stage.outputs]
            await self._within(clients.abort_in(producer, places, self.tp, self._settings.app_id))
            has_ended = True
            # The markers of this end come after the answer, and a broker may forget them as it forgot the others: what
            # hangs then would become true with the first chunk.
            await self._wait_for_markers(self.changelog)
        return has_ended

    async def _hangs(self, tp: TopicPartition) -> bool:
        """Say whether a partition has records behind the last that is committed or aborted."""
        _, end = await self._within(self._host.bounds(tp))
        return await self._within(self._host.high_watermark(tp)) > end

    async def _wait_for_markers(self, tp: TopicPartition) -> None:
        """Wait until nothing hangs, for as long as markers may take."""
        for _ in range(_MARKER_LOOKS):
            if self.state is State.CLOSING or not await self._hangs(tp):
                return
            await self._pause(_MARKER_SECONDS)

    async def _holds(self, tp: TopicPartition, offset: int) -> bool:
        """Say whether a partition has a committed record at an offset."""
        found: list[int] = []
        _, end = await self._within(self._host.bounds(tp))
        if offset < end:
            await self._read(tp, offset, offset + 1, lambda records, _: found.extend(each.offset for each in records))
        return offset in found

    async def _first_offset(self, committed: int | None) -> int:
        """Give the offset to read from: the committed one, or the oldest there is."""
        oldest, end = await self._within(self._host.bounds(self.tp))
        if committed is None:
            return oldest
        if committed > end:
            # What was read of the old topic says nothing about the new one; an event that comes twice does no harm.
            log.error(
                "offset_ahead",
                topic=self.tp.topic,
                partition=self.tp.partition,
                committed=committed,
                end=end,
                mend="the topic was made anew, or its broker has lost records: it is read from its beginning",
            )
            return oldest
        if committed < oldest:
            self._tell_expired(oldest - committed)
        return max(committed, oldest)

    async def _recover(self, work: Work) -> None:
        """Read changelog and ledger from where the work stands to their ends.

        The ends are asked for after the fencing, so nobody writes behind them.
        """
        if self.changelog is not None:
            bounds = await self._within(self._host.bounds(self.changelog))
            ledger_bounds = (0, 0) if self.ledger is None else await self._within(self._host.bounds(self.ledger))
            if work.position > bounds[1] or work.ledger_position > ledger_bounds[1]:
                work.forget()
            start = max(work.position, bounds[0])
            self.recovered, self.to_recover = 0, bounds[1] - start
            await self._read(self.changelog, start, bounds[1], work.restore)
            if self.ledger is not None:
                start = max(work.ledger_position, ledger_bounds[0])
                await self._read(self.ledger, start, ledger_bounds[1], work.restore_ledger)
        if self.state is not State.CLOSING:
            work.restored()

    async def _read(
        self, tp: TopicPartition, position: int, end: int, restore: Callable[[Sequence[Record], int], None]
    ) -> None:
        """Hand over what a partition holds between two offsets; `position` steps over markers."""
        if position >= end:
            return
        reader = self._host.reader()
        await self._within(reader.start())
        try:
            reader.assign([tp])
            reader.seek(tp, position)
            while self.state is not State.CLOSING and position < end:
                fetched = await self._within(reader.getmany(timeout_ms=200))
                position = await self._within(reader.position(tp))
                if records := fetched.get(tp):
                    # Not `position`: markers come after it, and what was committed is compared with proofs.
                    restore(readable(tp.topic, tp.partition, records), records[-1].offset + 1)
                if tp == self.changelog:
                    self.recovered = max(0, self.to_recover - max(0, end - position))
                await asyncio.sleep(0)
        finally:
            await closed("reader", reader.stop())

    async def _fold_chunks(self, producer: AIOKafkaProducer) -> None:
        work = self._working
        while self.state is State.RUNNING:
            work.look_around(is_behind=bool(self._queue))
            if not self._queue and not work.is_due:
                await self._pause(_IDLE_COMMIT_SECONDS)
                await self._look_for_loss()
                await self._keep_known(producer)
                continue
            records, end = self._take()
            if not records and not work.is_due and not await self._stays_idle():
                continue
            await self._commit(producer, records, end)

    @property
    def _working(self) -> Work:
        if self.work is None:
            raise RuntimeError("a partition that runs has its work")
        return self.work

    async def _look_for_loss(self) -> None:
        """Read again what was fetched and never came, while nothing else comes.

        A hole shows when the next chunk comes; without this, what was dropped last would wait for that. What is still
        on its way from the fetch looks the same, so a suspicion must outlast one look; reading twice does no harm.
        """
        position = None if self._queue or self._seeking else self._host.position(self.tp)
        if position is None or position <= self.arrived:
            self._suspected = None
        elif self._suspected != self.arrived:
            self._suspected = self.arrived
        else:
            self._suspected = None
            await self._reread(position)

    async def _keep_known(self, producer: AIOKafkaProducer) -> None:
        """Make the broker remember the transactional id, although there has been nothing to write for long."""
        if time.monotonic() - self._last_transaction > _KEEP_KNOWN_SECONDS:
            await self._within(clients.abort_in(producer, [], self.tp, self._settings.app_id))
            self._last_transaction = time.monotonic()

    def _take(self) -> tuple[list[Record], int]:
        """Take what waits, up to one transaction's worth: the cost of a transaction is paid once."""
        records: list[Record] = []
        end = self.committed
        had_room = self.has_room()
        while self._queue and len(records) < self._settings.chunk_records:
            chunk = self._queue.popleft()
            records.extend(chunk.records)
            end = chunk.end
        self._queued -= len(records)
        if not had_room:
            self._host.wake()
        return records, end

    async def _stays_idle(self) -> bool:
        """Wait for records that an offset could be committed with; say whether none came."""
        await self._pause(_IDLE_COMMIT_SECONDS)
        return not self._queue and self.state is State.RUNNING

    async def _commit(self, producer: AIOKafkaProducer, records: Sequence[Record], end: int) -> None:
        """Turn records into one transaction, and make it true."""
        work = self._working
        started = time.perf_counter()
        outbox = Outbox(self._host.clock.now(), self._host.clock.window())
        records, unreadable = sort_out(records)
        if unreadable:
            work.put_aside(unreadable, outbox)
        if records or work.is_due:
            work.process(records, outbox)
        written = await self._within(self._transact(producer, outbox, end))
        self.committed = end
        self.last_commit = self._last_transaction = time.monotonic()
        work.committed(_position_in(written, self.changelog))
        work.ledger_position = max(work.ledger_position, _position_in(written, self.ledger))
        if records:
            metrics = self._host.metrics
            labels = ByStage(self.stage.name)
            metrics.commit_seconds.labels(labels).observe(time.perf_counter() - started)
            metrics.chunk_records.labels(labels).observe(len(records))

    async def _transact(self, producer: AIOKafkaProducer, outbox: Outbox, end: int) -> Mapping[tuple[str, int], int]:
        """Write the outbox and the offset in one transaction; give the position after what was written, by place."""
        await producer.begin_transaction()
        self._stamped = outbox.now
        sends = [self._send(producer, tp, records, outbox) for tp, records in outbox.records.items() if records]
        # All partitions join the transaction in one request, and the offsets only after the records are in: a broker
        # (KIP-890) turns away records whose transaction changes at the same moment, and that costs a retry.
        places = [tp for tp, records in outbox.records.items() if records]
        written = dict(zip(places, await _all(sends), strict=True))
        if position := _position_in(written, self.changelog):
            self._proof = Proof(position, self.committed)
        offsets = {self.tp: OffsetAndMetadata(end, "" if self._proof is None else self._proof.text())}
        await producer.send_offsets_to_transaction(offsets, self._settings.app_id)
        await producer.commit_transaction()
        return written

    async def _send(
        self, producer: AIOKafkaProducer, tp: tuple[str, int], records: Sequence[Written], outbox: Outbox
    ) -> int:
        """Send records in as few batches as they fit into; give the offset after the last."""
        topic, partition = tp
        clock = self._host.clock
        sent, done = [], 0
        while done < len(records):
            batch, done = fill_batch(producer, records, done, outbox.now, outbox.kept)
            sent.append(
                (clock.sent(), await producer.send_batch(batch, topic, partition=partition), batch.record_count())
            )
        after = 0
        for moment, future, count in sent:
            answer = await future
            if answer.timestamp_type == APPEND_TIME:
                clock.see(moment, answer.timestamp)
            after = answer.offset + count
        return after


def _position_in(written: Mapping[tuple[str, int], int], tp: TopicPartition | None) -> int:
    """Give the position after what was written to a partition; 0 when nothing was."""
    return 0 if tp is None else written.get((tp.topic, tp.partition), 0)


def _is_passing(error: BaseException) -> bool:
    """Say whether an error means that the brokers are away or busy: they are waited for. Any other is a reason to end.

    It matters for zombies: one that opened its partitions anew on an unknown refusal would fence the true owner. A
    broker that refuses a sequence number has looked at the epoch before, so it knows of no other owner.
    """
    is_passing = isinstance(error, KafkaTimeoutError | OutOfOrderSequenceNumber)
    return not isinstance(error, KafkaError) or error.retriable or is_passing


async def _all(awaitables: Sequence[Awaitable[int]]) -> list[int]:
    """Wait for all, also when one fails, so that none is left running; then raise the first failure."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    values = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        values.append(result)
    return values
