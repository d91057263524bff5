"""Read the published topics, committed records only, with aiokafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import UnknownTopicOrPartitionError

from processor.client.records import (
    Address,
    Counts,
    DeadLetter,
    Delivery,
    Rejected,
    Row,
    decode_address,
    decode_counts,
    decode_dead_letter,
    decode_delivery,
    decode_moved,
    decode_rejected,
    decode_row,
)
from processor.wire.addresses import RELEASES_KEY
from processor.wire.links import is_moved
from processor.wire.topics import ADDRESSES, COUNTS, DEAD, DELIVERIES, MESSAGES, REJECTED, Topic

Value = TypeVar("Value")


class UnreadableRecordError(Exception):
    """A record is not what its topic's schema says.

    To go on after it, read anew with `start={partition: offset + 1}`.
    """

    def __init__(self, topic: str, partition: int, offset: int, why: Exception) -> None:
        super().__init__(f"{topic}, partition {partition}, offset {offset}: {why}")
        self.partition = partition
        self.offset = offset


class Change(NamedTuple):
    """A message's status moved.

    Whoever has done what it asks for remembers `offset + 1` of its partition, to start there.
    """

    message_id: str
    #: The row that the status moved in; None: the message is forgotten, or has moved.
    row: Row | None
    #: The message that a provisional row has gone to.
    moved_to: str | None
    partition: int
    offset: int


@dataclass(frozen=True)
class Placed(Generic[Value]):
    """A value, and where it stands in its topic."""

    value: Value
    partition: int
    offset: int


class _Record(NamedTuple):
    """A record as it was read, with its place."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @classmethod
    def of(cls, partition: Any, record: Any) -> _Record:
        """Read aiokafka's record."""
        headers = tuple(record.headers)
        return cls(partition.topic, partition.partition, record.offset, record.key, record.value, headers)


class Reader:
    """Reads the published topics: tables as they are now, and streams from an offset on, without end.

    Each iteration has a consumer of its own, without a group: nothing is committed, and offsets are the caller's.
    A partition that `start` does not name is read from its beginning; one that is added meanwhile is not read.

    Every iteration raises LookupError if its topic does not exist, UnreadableRecordError at a record that is none of
    ours, and aiokafka's errors.

    Args:
        brokers: the bootstrap servers, `host:port,host:port`.
        prefix: what all topics begin with (DELIVERY_TOPIC_PREFIX).
        connection: further arguments of `aiokafka.AIOKafkaConsumer`, for TLS and SASL.
    """

    def __init__(self, brokers: str, *, prefix: str = "delivery.", **connection: Any) -> None:
        self._connection = {**connection, "bootstrap_servers": brokers}
        self._prefix = prefix

    async def rows(self) -> AsyncIterator[Row]:
        """Yield the row of every message as it is now, then end. The rows of one partition are held in memory."""
        async for record in self._latest(MESSAGES):
            if record.value is not None and not is_moved(record.value):
                yield _decoded(record, decode_row)

    async def counts(self) -> AsyncIterator[Counts]:
        """Yield the counts of every delivery and partition as they are now, then end."""
        async for record in self._latest(COUNTS):
            yield _decoded(record, decode_counts)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield every delivery as it is now, then end."""
        async for record in self._latest(DELIVERIES):
            yield _decoded(record, decode_delivery)

    async def addresses(self) -> AsyncIterator[Address]:
        """Yield every address of which something is remembered, as it was last published, then end."""
        async for record in self._latest(ADDRESSES):
            if record.key != RELEASES_KEY:
                yield _decoded(record, decode_address)

    async def changes(self, start: Mapping[int, int] | None = None) -> AsyncIterator[Change]:
        """Yield each change of a status, in the order of its partition; wait for further ones without end.

        `start` has the offset to begin at, by partition. What happened more than seven days ago may be joined into one
        change, as the topic is compacted.
        """
        async for record in self._stream(MESSAGES, start):
            change = _change(record)
            if change is not None:
                yield change

    async def rejected(self, start: Mapping[int, int] | None = None) -> AsyncIterator[Placed[Rejected]]:
        """Yield each rejected event, in the order of its partition; wait for further ones without end."""
        async for record in self._stream(REJECTED, start):
            # Links are rejected, too.
            if "link" not in _decoded(record, _fields):
                yield Placed(_decoded(record, decode_rejected), record.partition, record.offset)

    async def dead_letters(self, start: Mapping[int, int] | None = None) -> AsyncIterator[Placed[DeadLetter]]:
        """Yield each dead letter, in the order of its partition; wait for further ones without end."""
        async for record in self._stream(DEAD, start):
            try:
                letter = decode_dead_letter(record.key, record.value, record.headers)
            except ValueError as error:
                raise UnreadableRecordError(record.topic, record.partition, record.offset, error) from error
            yield Placed(letter, record.partition, record.offset)

    async def _stream(self, topic: Topic, start: Mapping[int, int] | None) -> AsyncIterator[_Record]:
        async with self._consumer(topic) as (consumer, partitions):
            for partition in partitions:
                if start and partition.partition in start:
                    consumer.seek(partition, start[partition.partition])
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
                    for record in records:
                        yield _Record.of(partition, record)

    async def _latest(self, topic: Topic) -> AsyncIterator[_Record]:
        """Yield the last record of every key, partition by partition, up to the present ends."""
        async with self._consumer(topic) as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            consumer.pause(*partitions)
            for partition in partitions:
                consumer.resume(partition)
                latest: dict[bytes | None, _Record] = {}
                while await consumer.position(partition) < ends[partition]:
                    for record in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, ()):
                        # The last one is the last in the dictionary, too.
                        latest.pop(record.key, None)
                        if record.value is not None:
                            latest[record.key] = _Record.of(partition, record)
                consumer.pause(partition)
                for record in latest.values():
                    yield record

    @asynccontextmanager
    async def _consumer(self, topic: Topic) -> AsyncIterator[tuple[Any, list[Any]]]:
        """Start a consumer of all partitions of a topic; yield it, and these in order."""
        name = self._prefix + topic.name
        consumer = AIOKafkaConsumer(
            name,
            **self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            try:
                await consumer.start()
            except UnknownTopicOrPartitionError:
                raise LookupError(f"there is no topic {name}") from None
            # As it is assigned now: a subscription would begin anew when partitions are added.
            partitions = sorted(consumer.assignment())
            consumer.unsubscribe()
            consumer.assign(partitions)
            yield consumer, partitions
        finally:
            await consumer.stop()


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _change(record: _Record) -> Change | None:
    if record.value is None:
        message_id = _decoded(record._replace(value=record.key), bytes.decode)
        return Change(message_id, None, None, record.partition, record.offset)
    if is_moved(record.value):
        moved = _decoded(record, decode_moved)
        return Change(moved.message_id, None, moved.moved_to, record.partition, record.offset)
    row = _decoded(record, decode_row)
    return Change(row.message_id, row, None, record.partition, record.offset) if row.is_change else None


def _decoded(record: _Record, decode: Callable[[bytes], Value]) -> Value:
    try:
        # A null is no record of these topics, but where it forgets something.
        return decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecordError(record.topic, record.partition, record.offset, error) from error
