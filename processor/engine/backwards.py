"""Read a topic from its end, newest record first over all partitions, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.domain.moment import Millis
from processor.engine import clients
from processor.engine.admin import count_partitions
from processor.engine.batches import readable
from processor.engine.bounds import closed
from processor.engine.records import Stored
from processor.settings import Settings

Kept = TypeVar("Kept")

#: Offsets of one partition that are read at once.
_BLOCK = 100


@dataclass(frozen=True, slots=True)
class Placed(Generic[Kept]):
    """What was kept of a record, and its place."""

    timestamp: Millis
    partition: int
    offset: int
    kept: Kept


class Backwards(Generic[Kept]):
    """Reads a topic backwards. What it holds is bounded: of each record only what `keep` returns, a block a partition.

    Args:
        settings: where the topic is.
        topic: its full name.
        keep: gives of a record what is needed of it.
        before: the offset before which to begin, by partition; a partition that is absent begins at its end.
    """

    def __init__(
        self, settings: Settings, topic: str, keep: Callable[[Stored], Kept], before: Mapping[int, int] | None = None
    ) -> None:
        self._settings, self._topic, self._keep = settings, topic, keep
        self._given = before or {}
        #: What was read and not given yet, by partition, oldest first; and from where on it has been read.
        self._blocks: dict[int, list[Placed[Kept]]] = {}
        self._read_from: dict[int, int] = {}
        self._begins: dict[int, int] = {}

    @property
    def before(self) -> dict[int, int]:
        """Where to continue: before which offset, by partition."""
        return {
            number: block[-1].offset + 1 if (block := self._blocks.get(number)) else offset
            for number, offset in self._read_from.items()
        }

    @property
    def is_done(self) -> bool:
        """Whether nothing older is left."""
        return all(offset <= self._begins[number] for number, offset in self.before.items())

    async def records(self, until: Millis | None = None) -> AsyncGenerator[Placed[Kept], None]:
        """Yield what was kept of each committed record, newest first.

        Args:
            until: begin before the first record of this time, in milliseconds; None: at the end.

        Raises:
            MissingTopicError: the topic does not exist.
        """
        numbers = range(await count_partitions(self._settings, self._topic))
        tps = [TopicPartition(self._topic, number) for number in numbers]
        reader = clients.reader(self._settings)
        await reader.start()
        try:
            reader.assign(tps)
            begins, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
            late = {} if until is None else await reader.offsets_for_times(dict.fromkeys(tps, int(until)))
            for number, tp in enumerate(tps):
                self._begins[number] = begins[tp]
                end = min(ends[tp], self._given.get(number, ends[tp]))
                found = late.get(tp)
                self._read_from[number] = end if found is None else min(end, found.offset)
            while True:
                for number, tp in enumerate(tps):
                    while not self._blocks.get(number) and self._read_from[number] > begins[tp]:
                        await self._read_block(reader, tp)
                newest = max((block for block in self._blocks.values() if block), key=_last, default=None)
                if newest is None:
                    return
                yield newest.pop()
        finally:
            await closed("reader", reader.stop())

    async def _read_block(self, reader: AIOKafkaConsumer, tp: TopicPartition) -> None:
        """Read the block before what has been read of one partition; markers may be all that it holds."""
        end = self._read_from[tp.partition]
        start = max(self._begins[tp.partition], end - _BLOCK)
        reader.pause(*reader.assignment())
        reader.resume(tp)
        reader.seek(tp, start)
        block: list[Placed[Kept]] = []
        while await reader.position(tp) < end:
            for records in (await reader.getmany(tp, timeout_ms=200)).values():
                for record in readable(tp.topic, tp.partition, records):
                    if start <= record.offset < end:
                        stored = Stored.of(tp.topic, tp.partition, record)
                        block.append(Placed(record.timestamp, tp.partition, record.offset, self._keep(stored)))
        self._blocks[tp.partition] = block
        self._read_from[tp.partition] = start


def _last(block: list[Placed[Kept]]) -> tuple[Millis, int, int]:
    newest = block[-1]
    return newest.timestamp, newest.partition, newest.offset
