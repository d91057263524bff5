"""One consumer for all partitions that recover at the same time.

A consumer has connections of its own, and asks for the metadata of the cluster before it reads. When hundreds of
partitions are opened at once, that costs more than what they read, and keeps the worker from its heartbeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.engine.bounds import closed
from processor.engine.stage import Record

#: Seconds for which partitions are gathered: whatever is on its way is lost when others are added.
_GATHERING_SECONDS = 0.02

#: Seconds for which nobody reads until the consumer is closed: an opening reads more than once.
_IDLE_SECONDS = 5.0


class SharedReader:
    """Reads partitions for many, each from its own position and at its own pace.

    It has a consumer while somebody reads, and for a moment after that.

    Args:
        make: makes a consumer that belongs to no group.
    """

    def __init__(self, make: Callable[[], AIOKafkaConsumer]) -> None:
        self._make = make
        self._consumer: asyncio.Task[AIOKafkaConsumer] | None = None
        self._users: set[PartitionReader] = set()
        #: Who reads each partition, and the offset that comes next.
        self._readers: dict[TopicPartition, PartitionReader] = {}
        self._positions: dict[PartitionReader, int] = {}
        self._assigning: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def reader(self) -> PartitionReader:
        """Make a reader of one partition."""
        return PartitionReader(self)

    async def join(self, user: PartitionReader) -> AIOKafkaConsumer:
        """Return the consumer, once it has started. Who joins leaves in any case.

        Raises:
            KafkaError, OSError: the brokers cannot be reached.
        """
        self._users.add(user)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._consumer is None:
            self._consumer = asyncio.ensure_future(self._start())
        starting = self._consumer
        try:
            return await asyncio.shield(starting)
        finally:
            if starting.done() and starting.exception() is not None and self._consumer is starting:
                self._consumer = None

    async def _start(self) -> AIOKafkaConsumer:
        consumer = self._make()
        try:
            await consumer.start()
        except BaseException:
            await closed("reader", consumer.stop())
            raise
        return consumer

    def leave(self, user: PartitionReader) -> None:
        """Read for somebody no more."""
        self._users.discard(user)
        if (offset := self._positions.pop(user, None)) is not None and user.tp is not None:
            del self._readers[user.tp]
        consumer = self._consumer
        if consumer is None:
            return
        if offset is not None and consumer.done() and user.tp in consumer.result().assignment():
            consumer.result().pause(user.tp)
        if not self._users:
            self._closing = asyncio.ensure_future(self._close_idle())

    async def _close_idle(self) -> None:
        await asyncio.sleep(_IDLE_SECONDS)
        self._closing = None
        await self.close()

    async def close(self) -> None:
        """Close the consumer, if there is one; whoever reads has another made."""
        if self._closing is not None:
            self._closing.cancel()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await closed("reader", self._stop(consumer))

    @staticmethod
    async def _stop(starting: asyncio.Task[AIOKafkaConsumer]) -> None:
        await (await starting).stop()

    def read_from(self, user: PartitionReader, tp: TopicPartition, offset: int) -> None:
        """Read a partition from an offset on.

        Raises:
            RuntimeError: another one reads it; a fault of ours.
        """
        if tp in self._readers:
            raise RuntimeError(f"{tp.topic}[{tp.partition}] is read already")
        self._readers[tp], self._positions[user] = user, offset
        if self._assigning is None or self._assigning.done():
            self._assigning = asyncio.ensure_future(self._assign())

    async def _assign(self) -> None:
        await asyncio.sleep(_GATHERING_SECONDS)
        if self._consumer is None:
            return
        consumer = await asyncio.shield(self._consumer)
        consumer.assign(list(self._readers))
        for tp, user in self._readers.items():
            consumer.seek(tp, self._positions[user])

    async def fetch(self, user: PartitionReader, tp: TopicPartition, timeout_ms: int) -> Any:
        """Return what comes next of a partition, within some milliseconds."""
        if self._assigning is not None:
            await asyncio.shield(self._assigning)
        consumer = await self.join(user)
        fetched = await consumer.getmany(tp, timeout_ms=timeout_ms)
        # In the same step as the records are handed out: whoever is added next makes all be sought to.
        self._positions[user] = await consumer.position(tp)
        return fetched

    def position(self, user: PartitionReader) -> int:
        """Return the offset that is returned next."""
        return self._positions[user]


class PartitionReader:
    """Reads one partition, as a consumer with an assignment of one does."""

    def __init__(self, shared: SharedReader) -> None:
        self.tp: TopicPartition | None = None
        self._shared = shared

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError, OSError: the brokers cannot be reached.
        """
        try:
            await self._shared.join(self)
        except BaseException:
            self._shared.leave(self)
            raise

    async def stop(self) -> None:
        """Read no more."""
        self._shared.leave(self)

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        """Choose the partition."""
        [self.tp] = tps

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Choose where to begin."""
        self._shared.read_from(self, tp, offset)

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return what comes next, within some milliseconds."""
        if self.tp is None:
            raise RuntimeError("a partition is chosen before it is read")
        fetched: Mapping[TopicPartition, Sequence[Record]] = await self._shared.fetch(self, self.tp, timeout_ms)
        return fetched

    async def position(self, _tp: TopicPartition) -> int:
        """Return the offset that is returned next."""
        return self._shared.position(self)
