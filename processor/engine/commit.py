"""One transaction for each chunk: what it wrote, and the offset after it with its proof, are true together.

Records are in before the offset is sent: a broker (KIP-890) turns away records whose transaction changes at the same
moment, and that costs a retry (ADR 0008).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidTimestampError
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.clock import APPEND_TIME, BrokerClock
from processor.engine.pin import PinnedGroup
from processor.engine.proof import Proof
from processor.engine.records import fill_batch
from processor.engine.stage import Outbox, Written

#: Seconds without a transaction after which one is made that changes nothing. Brokers forget transactional ids that
#: are not used (`transactional.id.expiration.ms`: a week, or what an operator made of it) and refuse the next.
_KEEP_KNOWN_SECONDS = 600.0


class Committer:
    """The transactions of one partition, from its opening on.

    Args:
        producer: a transactional one, started; all that it left open has been ended.
        group: the consumer group whose offset is committed, and as whom.
        tp: the input partition whose offset it is.
        changelog: the partition that holds its state; None: there is none.
        clock: tells what the records' times are, and learns from the answers.
        committed: the offset up to which all is committed.
        proof: what that offset proves of the changelog.
    """

    def __init__(  # noqa: PLR0913 - what a partition knows when it has been opened
        self,
        producer: AIOKafkaProducer,
        *,
        group: PinnedGroup,
        tp: TopicPartition,
        changelog: TopicPartition | None,
        clock: BrokerClock,
        monotonic: Callable[[], float],
        committed: int,
        proof: Proof | None,
    ) -> None:
        self._producer, self._group, self._tp, self._changelog, self._clock = producer, group, tp, changelog, clock
        self._committed, self._proof = committed, proof
        self._monotonic = monotonic
        self._last_transaction = self._monotonic()

    async def commit(self, outbox: Outbox, end: int) -> Mapping[tuple[str, int], int]:
        """Write the outbox and the offset in one transaction; return the position after what was written, by place.

        Raises:
            KafkaError: whether it is true, the broker knows: nothing may follow with this producer.
        """
        try:
            written = await self._transact(outbox, end)
        except InvalidTimestampError:
            self._clock.set_back(outbox.now)
            raise
        self._committed = end
        self._last_transaction = self._monotonic()
        return written

    async def _transact(self, outbox: Outbox, end: int) -> Mapping[tuple[str, int], int]:
        producer = self._producer
        await producer.begin_transaction()
        places = [place for place, records in outbox.records.items() if records]
        # Together, so that all partitions join the transaction in one request.
        sends = [self._send(place, outbox.records[place], outbox) for place in places]
        written = dict(zip(places, await _all(sends), strict=True))
        if position := position_in(written, self._changelog):
            self._proof = Proof(position, self._committed, 0 if self._proof is None else self._proof.position)
        offset = OffsetAndMetadata(end, "" if self._proof is None else self._proof.text())
        await producer.send_offsets_to_transaction({self._tp: offset}, self._group)
        await producer.commit_transaction()
        return written

    async def _send(self, place: tuple[str, int], records: Sequence[Written], outbox: Outbox) -> int:
        """Send records in as few batches as they fit into; return the offset after the last."""
        topic, partition = place
        clock, producer = self._clock, self._producer
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

    @property
    def is_long_unused(self) -> bool:
        """Whether there has been nothing to write for so long that the broker may soon forget the transactional id."""
        return self._monotonic() - self._last_transaction > _KEEP_KNOWN_SECONDS

    async def keep_known(self) -> None:
        """Use the transactional id, and change nothing."""
        await clients.abort_in(self._producer, [], self._tp, self._group)
        self._last_transaction = self._monotonic()


def position_in(written: Mapping[tuple[str, int], int], tp: TopicPartition | None) -> int:
    """Return the position after what was written to a partition; 0 when nothing was."""
    return 0 if tp is None else written.get((tp.topic, tp.partition), 0)


async def _all(awaitables: Sequence[Awaitable[int]]) -> list[int]:
    """Wait for all, also when one fails, so that none is left running; then raise the first failure."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    values = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        values.append(result)
    return values
