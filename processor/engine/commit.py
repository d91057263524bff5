"""The commits of one partition: what a chunk wrote is committed together with the offset after it and its proof."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine.pin import PinnedGroup
from processor.engine.proof import Proof
from processor.engine.rounds import Ends, Rounds, Share
from processor.engine.stage import Outbox


class Begin(NamedTuple):
    """Where a partition goes on."""

    #: The offset of its input up to which all is committed.
    position: int
    #: What the group's offset proves of the changelog.
    proof: Proof | None
    #: The group's offset as the brokers have it; None: there has never been one.
    committed: OffsetAndMetadata | None


class Committer:
    """What one partition commits, from its opening on.

    Args:
        rounds: the worker's; what they left open has been ended.
        group: the consumer group whose offset is committed, and as whom.
        tp: the input partition whose offset it is.
        changelog: the partition that holds its state; None: there is none.
        begin: where the partition goes on.
    """

    def __init__(
        self,
        rounds: Rounds,
        *,
        group: PinnedGroup,
        tp: TopicPartition,
        changelog: TopicPartition | None,
        begin: Begin,
    ) -> None:
        self._rounds, self._group, self._tp, self._changelog = rounds, group, tp, changelog
        #: All is committed up to its position.
        self.begin = begin

    async def commit(self, outbox: Outbox, records: int, end: int) -> Ends:
        """Commit an outbox and the offset; return the offset after what was written, by place.

        Args:
            outbox: what to write.
            records: the number of records that it was made of.
            end: the offset.

        Raises:
            KafkaError: whether it is committed, only the brokers know: the partition must be opened anew.
        """
        ends = await self._rounds.commit(Share(self._tp, self._group, outbox, records, partial(self._offset, end)))
        self.begin = Begin(end, self._proof(ends), self._offset(end, ends))
        return ends

    def _offset(self, end: int, ends: Ends) -> OffsetAndMetadata:
        """Return the offset with its proof: the offset never goes without its partition's last rows (ADR 0013)."""
        proof = self._proof(ends)
        return OffsetAndMetadata(end, "" if proof is None else proof.text())

    def _proof(self, ends: Ends) -> Proof | None:
        before = self.begin.proof
        if position := position_in(ends, self._changelog):
            return Proof(position, self.begin.position, 0 if before is None else before.position)
        return before


def position_in(ends: Ends, tp: TopicPartition | None) -> int:
    """Return the offset after what was written to a partition; 0 when nothing was."""
    return 0 if tp is None else ends.get((tp.topic, tp.partition), 0)
