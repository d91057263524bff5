"""Fill topics as fast as the broker takes it; or, run as a script, publish events at a fixed rate."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice

import orjson

from processor.codec import decode_event, encode_row
from processor.domain.fold import fold
from processor.domain.row import Row
from processor.engine import clients
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.simulate import canonical_events

#: Key and value of each record, by partition.
Pending = dict[int, list[tuple[bytes, bytes]]]

_FLUSH_RECORDS = 50_000
_TICK_SECONDS = 0.005


def events_of(messages: int, seed: int = 1) -> Iterator[bytes]:
    """Give the events of so many messages, the last of them about now."""
    start = datetime.now(timezone.utc) - timedelta(seconds=messages / 1000 + 10)
    return canonical_events(seed, messages, start)


async def fill_events(settings: Settings, messages: int, seed: int = 1) -> int:
    """Publish the events of so many messages to their partitions; give their number."""
    records = ((_key_of(value), value) for value in events_of(messages, seed))
    return await _fill(settings, settings.topic_prefix + "events.v1", records)


async def fill_rows(settings: Settings, messages: int) -> int:
    """Publish the last row of so many messages, as a changelog holds them after its compaction; give their number."""
    return await _fill(settings, settings.topic_prefix + "messages.v1", _last_rows(messages))


def _last_rows(messages: int) -> Iterator[tuple[bytes, bytes]]:
    """Give each message's row; a share of the messages at a time, so that memory does not bound their number."""
    share = 100_000
    for first in range(0, messages, share):
        rows: dict[str, Row] = {}
        for value in events_of(min(share, messages - first), seed=first):
            event, node, moment = decode_event(value, None)
            rows[event.message_id], _ = fold(rows.get(event.message_id), event, node, moment)
        for number, row in enumerate(rows.values(), start=first):
            message_id = f"m-{number:09d}"
            yield message_id.encode(), encode_row(message_id, row, row)


def _key_of(value: bytes) -> bytes:
    key: str = orjson.loads(value)["message_id"]
    return key.encode()


async def _fill(settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes]]) -> int:
    count = 0
    remaining = iter(records)
    async with _producer(settings) as producer:
        while share := list(islice(remaining, _FLUSH_RECORDS)):
            count += len(share)
            await _send(producer, topic, _by_partition(share, settings.partitions), None)
    return count


def _by_partition(records: Iterable[tuple[bytes, bytes]], partitions: int) -> Pending:
    pending: Pending = defaultdict(list)
    for key, value in records:
        pending[partition_of(key, partitions)].append((key, value))
    return pending


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator:
    producer = clients.producer(settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _send(producer, topic: str, pending: Pending, timestamp: int | None) -> None:
    async def send(partition: int, records: list[tuple[bytes, bytes]]) -> None:
        sent = []
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=timestamp, key=key, value=value) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=timestamp, key=key, value=value)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    await asyncio.gather(*(send(partition, records) for partition, records in pending.items()))


async def publish_steadily(settings: Settings, rate: int, seconds: float) -> None:
    """Publish `rate` events a second.

    A record's timestamp is the moment at which it was due, so that a broker or a generator that falls behind makes
    latencies longer and not events fewer.
    """
    topic = settings.topic_prefix + "events.v1"
    events = events_of(int(rate * seconds), seed=2)
    async with _producer(settings) as producer:
        begun, published = time.time(), 0
        sending: set[asyncio.Task[None]] = set()
        while (elapsed := time.time() - begun) < seconds:
            due = int(elapsed * rate) - published
            records = [(_key_of(value), value) for value in islice(events, due)]
            timestamp = int((begun + (published + due / 2) / rate) * 1000)
            published += due
            task = asyncio.ensure_future(
                _send(producer, topic, _by_partition(records, settings.partitions), timestamp)
            )
            sending.add(task)
            task.add_done_callback(sending.discard)
            await asyncio.sleep(_TICK_SECONDS)
        await asyncio.gather(*sending)
    print(published)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    settings = Settings(brokers=options.brokers, topic_prefix=options.prefix, partitions=options.partitions)
    asyncio.run(publish_steadily(settings, options.rate, options.seconds))


if __name__ == "__main__":
    main()
