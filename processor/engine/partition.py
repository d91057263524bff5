"""One partition of one stage: recovery, then one share of a round per chunk, until it is closed.

A partition is the unit of recovery. It has its own work (rows, counts), its own bounded inbox and its own task. What it
commits carries the membership under which it was opened: brokers refuse whoever else still believes that it owns the
partition (pin.py). The transactions are the worker's, each over all partitions that have something (rounds.py).

Exactly once rests on four rules:

1. What a chunk wrote and the offset after it are committed together, or not at all (commit.py, rounds.py).
2. State is what the changelog holds (recovery.py). After any failure the work is dropped and recovered; it is never
   repaired.
3. A chunk is taken only where the last one ended. A hole is read again, an overlap is skipped (inbox.py).
4. Reading starts at the group's committed offset, once nothing that others began can move it, unless the changelog
   lacks what was committed with it (proof.py): then where that chunk began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)

from processor.engine.batches import sort_out
from processor.engine.bounds import within
from processor.engine.chunks import Chunk
from processor.engine.commit import Begin, Committer, position_in
from processor.engine.host import Host
from processor.engine.inbox import Decision, Inbox
from processor.engine.lost_markers import Owned
from processor.engine.pin import MEMBERSHIP_OVER, Pin, PinnedGroup
from processor.engine.recovery import Left, Recovery, tell_expired
from processor.engine.stage import (
    AuditedWork,
    Outbox,
    Partitioning,
    Positions,
    PunctuatedWork,
    Record,
    Stage,
    StatefulWork,
    Work,
    close,
    suspend,
)
from processor.logs import get_logger
from processor.metrics.labels import ByStage

log = get_logger(__name__)

#: Seconds between attempts to open a partition: a broker that is away is waited for.
_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)

#: Seconds that an offset which only steps over markers may wait for records to be committed with.
_IDLE_COMMIT_SECONDS = 1.0

#: Errors that aiokafka does not take for retriable, after which a partition is opened anew.
_PASSING = (
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    InvalidTimestampError,
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
)

Answer = TypeVar("Answer")


class PartitionState(str, Enum):
    """Where a partition is in its life."""

    RECOVERING = "recovering"
    RUNNING = "running"
    CLOSING = "closing"


class Partition:
    """One input partition of a stage, owned by this worker until it is closed.

    Args:
        stage: what is done with its records.
        tp: the input partition.
        host: its worker.
        pin: the membership under which it is the worker's.
    """

    def __init__(self, stage: Stage, tp: TopicPartition, host: Host, pin: Pin) -> None:
        self.stage = stage
        self.tp = tp
        self.state = PartitionState.RECOVERING
        self.work: Work | None = None
        #: The offset up to which all is committed, and when it last moved.
        self.committed = 0
        self.last_commit = self._running_since = host.monotonic()
        self._host = host
        self._settings = host.settings
        self._group = PinnedGroup(host.settings.app_id, pin)
        self._outputs = frozenset(host.settings.topic(topic) for topic in stage.outputs)
        self._inbox = Inbox(host.input_buffer)
        #: Set when there is something to look at: a chunk, or that it is to close.
        self._arrival = asyncio.Event()
        self._closing = asyncio.Event()
        self._recovery = Recovery(stage, tp, self._group, host, self._closing)
        #: Where it was left in good order, once it has ended; None: it must be opened.
        self.left: Left | None = None
        self._is_whole = False
        #: Where its state is kept; None: it has none.
        self.changelog = self._recovery.changelog

    # What the worker asks

    def has_room(self) -> bool:
        """Return whether more may be fetched. Safe to ask from another thread."""
        return self.state is PartitionState.RUNNING and self._inbox.has_room

    @property
    def problem(self) -> str:
        """Why the partition waits for somebody's help, with the mend; empty while it does not."""
        return self._recovery.problem

    @property
    def to_recover(self) -> int:
        """Changelog records to read until it runs."""
        return self._recovery.to_read

    @property
    def recovered(self) -> int:
        """Those of them that were read."""
        return self._recovery.read

    def reached(self) -> Iterator[tuple[TopicPartition, int]]:
        """Yield how far its topics had come, as it knows it, while it runs."""
        if self.state is PartitionState.RUNNING:
            yield self.tp, self.committed
            if self.changelog is not None and isinstance(self.work, StatefulWork):
                yield self.changelog, self.work.position

    def owned(self) -> Iterator[tuple[TopicPartition, Owned]]:
        """Yield its changelog, if it has one, and what is to be known to decide there, while it runs."""
        if self.state is PartitionState.RUNNING and self.changelog is not None:
            yield self.changelog, Owned(self.tp, self._group, self._running_since)

    def audit(self) -> int:
        """Return by how much its books do not fit its state; 0 when all is well, and while it does not run."""
        if self.state is PartitionState.RUNNING and isinstance(self.work, AuditedWork):
            return self.work.audit()
        return 0

    # Chunks

    async def accept(self, chunk: Chunk) -> None:
        """Take a chunk; one that leaves a hole is dropped, and the hole is read again."""
        if self.state is not PartitionState.RUNNING:
            return
        decision = self._inbox.offer(chunk)
        if decision is Decision.TAKE:
            self._arrival.set()
        elif decision is Decision.REREAD:
            await self._reread(chunk.start)

    async def _reread(self, position: int) -> None:
        """Make the fetch go back to what has arrived, or to the oldest record where retention has overtaken us."""
        inbox = self._inbox
        log.info("chunk_reread", topic=self.tp.topic, partition=self.tp.partition, start=position, at=inbox.arrived)
        try:
            # Where the broker does not answer, the hole shows again.
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                oldest, _ = await self._within(self._host.bounds(self.tp))
                if self.state is PartitionState.RUNNING and (missing := inbox.pass_over(oldest)):
                    tell_expired(self.tp, missing)
            await self._within(self._host.seek(self.tp, inbox.arrived))
        finally:
            inbox.resume()
        self._host.wake()

    # Life-cycle

    async def run(self, suspended: Work | None = None, left: Left | None = None) -> Work | None:
        """Open the partition and process its chunks until `close`.

        Args:
            suspended: what an earlier run gave back; then only what others wrote since is read from the changelog.
            left: where that run left the partition.

        Returns:
            The work, when it was closed in good order and may be resumed.

        Raises:
            Exception: a fault of ours. The state of the partition is worthless and the worker must end.
        """
        try:
            return await self._run(suspended, left)
        finally:
            self._inbox.clear()
            await self._host.rounds.leave(self.tp)

    async def _run(self, suspended: Work | None, left: Left | None) -> Work | None:
        attempt, is_over = 0, False
        self.left = left
        while self.state is not PartitionState.CLOSING:
            try:
                committer = await self._open(suspended)
                attempt = 0
                await self._process_chunks(committer)
            except MEMBERSHIP_OVER as error:
                log.warning(
                    "membership_over", topic=self.tp.topic, partition=self.tp.partition, error=type(error).__name__
                )
                self._drop()
                is_over = True
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                if not _is_passing(error):
                    raise
                self._host.metrics.reopened.labels(ByStage(self.stage.name)).inc()
                log.warning(
                    "partition_reopens",
                    topic=self.tp.topic,
                    partition=self.tp.partition,
                    error=repr(error),
                    attempt=attempt,
                )
                # At once: what is about to be forgotten must not count as running, nor show in the gauges.
                self._drop()
            except asyncio.CancelledError:
                # Nobody waits for the work any more, and a store on disk must be free for who opens it next.
                self._drop()
                raise
            else:
                work = suspend(self._running_work)
                if self._closing.is_set():
                    self._leave(committer.begin)
                    return work
                # It has committed apart, and takes part in rounds once it is opened anew.
                self._forget()
                suspended = work
                continue
            if is_over:
                # The group takes the partition back, and assigns it anew, perhaps to us.
                await self._closing.wait()
            suspended = None
            await self._pause(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
        return None

    def close(self) -> None:
        """Ask the task to finish the chunk it is in and end."""
        self.state = PartitionState.CLOSING
        self._closing.set()
        self._arrival.set()

    async def _open(self, suspended: Work | None) -> Committer:
        host = self._host
        left, self.left = self.left, None
        self.work = suspended
        # What a round of ours left open is decided before anything is read.
        await host.rounds.ready(self.tp)
        if left is not None and suspended is not None and await self._recovery.goes_on(left):
            begin, self._running_since, is_whole = left.begin, left.since, True
            if isinstance(suspended, StatefulWork):
                suspended.restored()
        else:
            begin, is_whole = await self._recover(suspended)
            self._running_since = host.monotonic()
        self.committed = begin.position
        self._inbox.start_at(begin.position)
        await self._within(host.seek(self.tp, begin.position))
        self.last_commit = host.monotonic()
        if self.state is PartitionState.RECOVERING:
            self.state = PartitionState.RUNNING
        host.wake()
        log.info(
            "partition_running",
            topic=self.tp.topic,
            partition=self.tp.partition,
            offset=begin.position,
            recovered=self.recovered,
        )
        self._is_whole = is_whole
        return Committer(host.rounds, group=self._group, tp=self.tp, changelog=self.changelog, begin=begin)

    async def _recover(self, suspended: Work | None) -> tuple[Begin, bool]:
        """Bring the work, or a new one, to what is committed; return where to go on, and whether that is known."""
        self.work = suspended or self.stage.start_work(
            Partitioning(self.tp.topic, self.tp.partition, self._host.partition_counts, self._host.cluster)
        )
        begin = await self._recovery.run(self.work, is_resumed=suspended is not None)
        # Closed meanwhile, it may have ended anywhere.
        return begin, not self._closing.is_set()

    def _leave(self, begin: Begin) -> None:
        """Remember where the partition is left, unless more than its work must be looked at when it comes back."""
        if self._is_whole and not self._host.rounds.is_apart(self.tp):
            self.left = Left(begin, self._group.pin, self._running_since)

    def _drop(self) -> None:
        """Forget everything that came from memory: the changelog is the truth."""
        if self.work is not None and (work := suspend(self.work)) is not None:
            close(work)
        self._forget()

    def _forget(self) -> None:
        """Have nothing until it is opened anew."""
        self.work = None
        self._inbox.clear()
        if self.state is PartitionState.RUNNING:
            self.state = PartitionState.RECOVERING

    # Transactions

    async def _process_chunks(self, committer: Committer) -> None:
        work, inbox = self._running_work, self._inbox
        punctuated = work if isinstance(work, PunctuatedWork) else None
        rounds = self._host.rounds
        while self.state is PartitionState.RUNNING and not rounds.may_return(self.tp):
            if punctuated is not None:
                punctuated.punctuate(is_behind=not inbox.is_empty)
            is_due = punctuated is not None and punctuated.is_due
            if inbox.is_empty and not is_due:
                await self._pause(_IDLE_COMMIT_SECONDS)
                await self._look_for_loss()
                continue
            await rounds.turn(self.tp)
            if self._closing.is_set():
                return
            records, end = self._take()
            if not records and not is_due and not await self._stays_idle():
                continue
            await self._process(committer, records, end)

    async def _process(self, committer: Committer, records: Sequence[Record], end: int) -> None:
        """Process records, and commit what comes of them in one transaction."""
        work, clock, metrics = self._running_work, self._host.clock, self._host.metrics
        started = self._host.monotonic()
        outbox = Outbox(clock.now(), clock.window(), self._outputs)
        records, unreadable = sort_out(records)
        if unreadable:
            work.put_aside(unreadable, outbox)
        if records or (isinstance(work, PunctuatedWork) and work.is_due):
            work.process(records, outbox)
        written = await committer.commit(outbox, len(records), end)
        self.committed = end
        self.last_commit = self._host.monotonic()
        work.committed(Positions(position_in(written, self.changelog), position_in(written, self._recovery.ledger)))
        if records:
            labels = ByStage(self.stage.name)
            metrics.commit_seconds.labels(labels).observe(self._host.monotonic() - started)
            metrics.chunk_records.labels(labels).observe(len(records))

    @property
    def _running_work(self) -> Work:
        if self.work is None:
            raise RuntimeError("a partition that runs has its work")
        return self.work

    def _take(self) -> tuple[list[Record], int]:
        """Take what waits, up to one transaction's worth: the cost of a transaction is paid once."""
        had_room = self.has_room()
        records, end = self._inbox.take()
        if not had_room:
            self._host.wake()
        return records, end

    async def _look_for_loss(self) -> None:
        """Read again what was fetched and never came, while nothing else comes."""
        position = self._host.position(self.tp)
        if self._inbox.look_for_loss(position) is Decision.REREAD:
            await self._reread(position or 0)

    async def _stays_idle(self) -> bool:
        """Wait for records that an offset could be committed with; return whether none came."""
        await self._pause(_IDLE_COMMIT_SECONDS)
        return self._inbox.is_empty and self.state is PartitionState.RUNNING

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the partition is closed meanwhile."""
        if self.state is PartitionState.CLOSING:
            return
        self._arrival.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._arrival.wait(), seconds)

    async def _within(self, awaitable: Awaitable[Answer]) -> Answer:
        return await within(awaitable, self._settings.commit_timeout)


def _is_passing(error: BaseException) -> bool:
    """Return whether an error means that the brokers are away or busy, so they are waited for; others end the worker.

    A broker that refuses a sequence number or a timestamp has nothing against us. Nor has one that knows a newer
    producer of our id: somebody took what we had open for what hangs, and ended it (predecessors.py). Whether the
    partition is still ours, it tells by our membership.
    """
    return not isinstance(error, KafkaError) or error.retriable or isinstance(error, _PASSING)
