"""Fill the events topic as fast as the broker takes it, and watch a group commit its way through."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime, timedelta, timezone

import orjson
from aiokafka import TopicPartition

from processor.engine import clients
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.simulate import canonical_events


async def fill(settings: Settings, topic: str, messages: int, partitions: int, seed: int = 1) -> int:
    """Publish the events of so many messages to their partitions; give their number."""
    start = datetime.now(timezone.utc) - timedelta(seconds=messages / 1000 + 10)
    pending: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    producer = clients.producer(settings)
    await producer.start()
    count = 0
    try:
        for value in canonical_events(seed, messages, start):
            key = orjson.loads(value)["message_id"].encode()
            queue = pending[partition_of(key, partitions)]
            queue.append((key, value))
            count += 1
            if count % 50_000 == 0:
                await _flush(producer, topic, pending)
        await _flush(producer, topic, pending)
    finally:
        await producer.stop()
    return count


async def _flush(producer, topic: str, pending: dict[int, list[tuple[bytes, bytes]]]) -> None:
    async def send(partition: int, records: list[tuple[bytes, bytes]]) -> None:
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                await (await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        await (await producer.send_batch(batch, topic, partition=partition))

    await asyncio.gather(*(send(partition, records) for partition, records in pending.items() if records))
    pending.clear()


async def committed(admin, group: str, topic: str, partitions: int) -> int:
    """Give how many records of a topic a group has committed."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        offsets = await admin.list_consumer_group_offsets(group, partitions=tps)
    except Exception:
        return 0
    return sum(max(0, found.offset) for found in offsets.values())
