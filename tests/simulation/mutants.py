"""Ways to break the engine, one rule at a time. What a simulation is worth is how soon it finds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.chunks import Chunk
from processor.engine.commit import Committer
from processor.engine.partition import Partition, PartitionState
from processor.engine.pin import Pin
from processor.engine.recovery import Recovery
from processor.engine.stage import Outbox, Positions, StatefulWork, Work
from processor.settings import Settings

#: What makes a producer of a transactional id.
MakeProducer = Callable[[Settings, str], AIOKafkaProducer]


@dataclass
class Engine:
    """What is simulated: the engine as it is, or one with something taken out."""

    partition: type[Partition] = Partition
    recovery: type[Recovery] = Recovery
    committer: type[Committer] = Committer
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


class _OffsetsApart(Committer):
    """Commits the offset after the transaction, not in it."""

    async def _transact(self, outbox: Outbox, end: int) -> Mapping[tuple[str, int], int]:
        offsets: list[OffsetAndMetadata] = []

        async def keep(given: Mapping[TopicPartition, OffsetAndMetadata], _group: str) -> None:
            offsets.extend(given.values())

        self._producer.send_offsets_to_transaction = keep
        written = await super()._transact(outbox, end)
        await self._producer.host.commit_offset(self._tp, offsets[0])
        return written


class _KeepsState(Partition):
    """Goes on, after a failure, with the rows that it had."""

    def _drop(self) -> None:
        self._kept = self.work
        super()._drop()

    async def _open(self, producer: Any, suspended: Work | None) -> Any:
        kept, self._kept = getattr(self, "_kept", None), None
        if kept is not None:
            # What was in hand is taken for done.
            kept.committed(Positions())
        return await super()._open(producer, suspended or kept)


class _TrustsOffsets(Recovery):
    """Takes what an offset proves for true."""

    async def _holds(self, _tp: TopicPartition, _offset: int) -> bool:
        return True


class _LeavesWhatHangs(Recovery):
    """Does not end a transaction whose end the changelog was not told."""

    async def _end_what_hangs(self, _producer: Any, _changelog: TopicPartition) -> bool:
        return False


class _FencesNobody(Partition):
    """Has a transactional id of its own at each opening."""

    _openings = 0

    @property
    def _transactional_id(self) -> str:
        _FencesNobody._openings += 1
        return f"{super()._transactional_id}-{_FencesNobody._openings}"


class _AsksTooEarly(Partition):
    """Asks for the committed offset before it fences."""

    async def _open(self, producer: Any, suspended: Work | None) -> Any:
        asked = await self._within(self._host.committed_offset(self.tp, self._group.pin))
        host = self._host

        class Early:
            async def committed_offset(self, _tp: TopicPartition, _pin: Pin) -> OffsetAndMetadata | None:
                return asked

            def __getattr__(self, name: str) -> Any:
                return getattr(host, name)

        self._recovery._host = Early()
        try:
            return await super()._open(producer, suspended)
        finally:
            self._recovery._host = host


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


class _CountsBeforeCommit(Partition):
    """Makes a chunk true for its rows before it is committed."""

    async def _process(self, committer: Committer, records: Any, end: int) -> None:
        commit = committer.commit

        async def count_and_commit(outbox: Outbox, end: int) -> Mapping[tuple[str, int], int]:
            self._running_work.committed(Positions())
            return await commit(outbox, end)

        committer.commit = count_and_commit
        try:
            await super()._process(committer, records, end)
        finally:
            committer.commit = commit


MUTANTS: dict[str, Engine] = {
    "aiokafka's own end of transactions": Engine(make_producer=_producer_of_aiokafka),
    "offsets apart from the transaction": Engine(committer=_OffsetsApart),
    "state kept after a failure": Engine(_KeepsState),
    "the proof is not looked at": Engine(recovery=_TrustsOffsets),
    "what hangs is left": Engine(recovery=_LeavesWhatHangs),
    "nobody is fenced": Engine(_FencesNobody),
    "the offset is asked for before the fencing": Engine(_AsksTooEarly),
    "holes are taken": Engine(_TakesHoles),
    "overlaps are taken": Engine(_TakesOverlaps),
    "a suspended work is believed": Engine(recovery=_BelievesTheSuspended),
    "rows change before the commit": Engine(_CountsBeforeCommit),
}
