"""Ways to break the engine, one rule at a time. What a simulation is worth is how soon it finds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.chunks import Chunk
from processor.engine.commit import Committer
from processor.engine.left_open import LeftOpen, Pending
from processor.engine.lost_markers import LostMarkers
from processor.engine.partition import Partition, PartitionState
from processor.engine.recovery import Left, Recovery
from processor.engine.rounds import Ends, Rounds, Share
from processor.engine.stage import Outbox, Positions, StatefulWork, Work
from processor.settings import Settings

#: What makes a producer of a transactional id.
MakeProducer = Callable[[Settings, str], AIOKafkaProducer]


@dataclass
class Engine:
    """What is simulated: the engine as it is, or one with something taken out."""

    partition: type[Partition] = Partition
    recovery: type[Recovery] = Recovery
    left_open: type[LeftOpen] = LeftOpen
    rounds: type[Rounds] = Rounds
    lost_markers: type[LostMarkers] = LostMarkers
    make_producer: MakeProducer = clients.transactional_producer


#: The engine as it is.
ENGINE = Engine()


def _producer_of_aiokafka(settings: Settings, transactional_id: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **clients.connection(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(settings.commit_timeout * 1000) + 10_000,
        request_timeout_ms=int(settings.commit_timeout * 1000),
    )


class _OffsetsApart(Rounds):
    """Commits the offsets after the transaction, not in it."""

    async def _transact(self, producer: Any, shares: Sequence[Share]) -> Ends:
        offsets: dict[TopicPartition, OffsetAndMetadata] = {}

        async def keep(given: Mapping[TopicPartition, OffsetAndMetadata], _group: str) -> None:
            offsets.update(given)

        producer.send_offsets_to_transaction = keep
        ends = await super()._transact(producer, shares)
        for tp, offset in offsets.items():
            await producer.host.commit_offset(tp, offset)
        return ends


class _NoPin(Rounds):
    """Commits offsets as nobody, which brokers accept."""

    async def _transact(self, producer: Any, shares: Sequence[Share]) -> Ends:
        send, named = producer.send_offsets_to_transaction, producer.__dict__.get("send_offsets_to_transaction")
        if named is None:
            producer.send_offsets_to_transaction = lambda offsets, group: send(offsets, str(group))
        return await super()._transact(producer, shares)


class _FencesOnly(Rounds):
    """Starts a producer with the id of what hangs, and takes it for ended."""

    async def end_transactions(self, transactional_id: str, *_: Any) -> None:
        if transactional_id == self.transactional_id:
            await self._abandon()
            await self._start()
            return
        producer = self._make_producer(transactional_id)
        await producer.start()
        await producer.stop()


class _TakesAnyOffset(LeftOpen):
    """Takes the last offset that is decided, whatever waits."""

    async def _look(self) -> Any:
        if self._changelog is not None and (stable := await self._hangs_from(self._changelog)) is not None:
            return Pending(self._changelog, stable), None
        return None, await self._host.any_offset(self._tp)


class _LooksAtNothing(LostMarkers):
    """Leaves outputs as they are."""

    async def _look(self, *_: Any) -> None:
        return


class _KeepsState(Partition):
    """Goes on, after a failure, with the rows that it had."""

    def _drop(self) -> None:
        self._kept = self.work
        super()._drop()

    async def _open(self, suspended: Work | None) -> Any:
        kept, self._kept = getattr(self, "_kept", None), None
        if kept is not None:
            # What was in hand is taken for done.
            kept.committed(Positions())
        return await super()._open(suspended or kept)


class _TrustsOffsets(Recovery):
    """Takes what an offset proves for true."""

    async def _holds(self, _tp: TopicPartition, _offset: int) -> bool:
        return True


class _LeavesWhatHangs(LeftOpen):
    """Does not end a transaction whose end the changelog was not told."""

    async def _hangs_from(self, tp: TopicPartition) -> int | None:
        await super()._hangs_from(tp)
        return None


class _TakesHoles(Partition):
    """Takes whatever chunk comes after the last."""

    async def accept(self, chunk: Chunk) -> None:
        if self.state is PartitionState.RUNNING and chunk.start > self._inbox.arrived:
            self._inbox.arrived = chunk.start
        await super().accept(chunk)


class _TakesOverlaps(Partition):
    """Takes whole chunks, also what it has had of them."""

    async def accept(self, chunk: Chunk) -> None:
        arrived = self._inbox.arrived
        if self.state is PartitionState.RUNNING and chunk.start < arrived < chunk.end:
            self._inbox.arrived = chunk.start
        await super().accept(chunk)


class _BelievesTheSuspended(Recovery):
    """Resumes a work without reading what others wrote since."""

    async def _restore(self, work: StatefulWork, changelog: TopicPartition) -> None:
        if not work.position:
            await super()._restore(work, changelog)


class _GoesOnWhoeverWasThere(Recovery):
    """Goes on where a partition was left, without asking whether another one had it since."""

    async def goes_on(self, left: Left | None) -> bool:
        return left is not None


class _CountsBeforeCommit(Partition):
    """Makes a chunk true for its rows before it is committed."""

    async def _process(self, committer: Committer, records: Any, end: int) -> None:
        commit = committer.commit

        async def count_and_commit(outbox: Outbox, records: int, end: int) -> Ends:
            self._running_work.committed(Positions())
            return await commit(outbox, records, end)

        committer.commit = count_and_commit
        try:
            await super()._process(committer, records, end)
        finally:
            committer.commit = commit


MUTANTS: dict[str, Engine] = {
    "aiokafka's own end of transactions": Engine(make_producer=_producer_of_aiokafka),
    "offsets apart from the transaction": Engine(rounds=_OffsetsApart),
    "state kept after a failure": Engine(_KeepsState),
    "the proof is not looked at": Engine(recovery=_TrustsOffsets),
    "what hangs is left": Engine(left_open=_LeavesWhatHangs),
    "no pin": Engine(rounds=_NoPin),
    "any offset": Engine(left_open=_TakesAnyOffset),
    "fencing alone": Engine(rounds=_FencesOnly),
    "outputs are left": Engine(lost_markers=_LooksAtNothing),
    "holes are taken": Engine(_TakesHoles),
    "overlaps are taken": Engine(_TakesOverlaps),
    "a suspended work is believed": Engine(recovery=_BelievesTheSuspended),
    "whoever left a partition goes on": Engine(recovery=_GoesOnWhoeverWasThere),
    "rows change before the commit": Engine(_CountsBeforeCommit),
}
