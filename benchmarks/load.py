"""Fill topics as fast as the broker takes it; or, run as a script, publish events at a fixed rate."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice

import orjson

from processor.demo.simulate import canonical_events
from processor.domain.counts import Counts, place_of
from processor.domain.fold import fold
from processor.domain.row import Row
from processor.engine import clients
from processor.engine.records import fill_batch
from processor.engine.stage import Written
from processor.settings import Settings
from processor.wire.counts import encode_counts
from processor.wire.events import decode_event
from processor.wire.partitioner import partition_of
from processor.wire.rows import encode_row

#: Key and value of each record, by partition.
Pending = dict[int, list[tuple[bytes, bytes]]]

_FLUSH_RECORDS = 50_000
_TICK_SECONDS = 0.005
_LINGER_SECONDS = 0.010


def events_of(messages: int, seed: int = 1) -> Iterator[bytes]:
    """Return the events of so many messages, the last of them about now."""
    start = datetime.now(timezone.utc) - timedelta(seconds=messages / 1000 + 10)
    return canonical_events(seed, messages, start)


async def fill_events(settings: Settings, messages: int, seed: int = 1) -> int:
    """Publish the events of so many messages to their partitions; return their number."""
    records = ((_key_of(value), value) for value in events_of(messages, seed))
    return await _fill(settings, settings.topic_prefix + "events.v1", records)


async def fill_rows(settings: Settings, messages: int) -> int:
    """Publish the last row of so many messages and their counts, as compacted topics hold them; return their number."""
    return await fill_with(settings, _last_rows(messages))


async def fill_with(settings: Settings, messages: Iterable[tuple[str, Row]]) -> int:
    """Publish the rows of messages and their counts, as compacted topics hold them; return their number."""
    counts = [Counts() for _ in range(settings.partitions)]

    def rows() -> Iterator[tuple[bytes, bytes]]:
        for message_id, row in messages:
            key = message_id.encode()
            place = place_of(row, row.provider_name)
            counts[partition_of(key, settings.partitions)].move({(None, place): 1})
            yield key, encode_row(message_id, row, row)

    filled = await _fill(settings, settings.topic_prefix + "messages.v1", rows())
    async with _producer(settings) as producer:
        for partition, each in enumerate(counts):
            records = [encode_counts(name, partition, numbers) for name, numbers in each.deliveries.items()]
            await _send(producer, settings.topic_prefix + "counts.v1", {partition: records})
    return filled


#: Lives that are told apart; of more messages, the next ones live the same again.
_LIVES = 100_000


def _last_rows(messages: int) -> Iterator[tuple[str, Row]]:
    """Yield each message's row."""
    lives: dict[str, Row] = {}
    for value in events_of(min(_LIVES, messages)):
        event, node, moment = decode_event(value, None)
        lives[event.message_id], _ = fold(lives.get(event.message_id), event, node, moment)
    rows = list(lives.values())
    for number in range(messages):
        yield message_name(number), rows[number % len(rows)]


def message_name(number: int) -> str:
    """Return the id of one of the messages that `fill_rows` publishes."""
    return f"m-{number:09d}"


def _key_of(value: bytes) -> bytes:
    key: str = orjson.loads(value)["message_id"]
    return key.encode()


async def _fill(settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes]]) -> int:
    count = 0
    remaining = iter(records)
    async with _producer(settings) as producer:
        while share := list(islice(remaining, _FLUSH_RECORDS)):
            count += len(share)
            await _send(producer, topic, _by_partition(share, settings.partitions))
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


async def _send(producer, topic: str, pending: Pending) -> None:
    async def send(partition: int, records: list[tuple[bytes, bytes]]) -> None:
        sent = []
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    await asyncio.gather(*(send(partition, records) for partition, records in pending.items()))


async def publish_steadily(settings: Settings, rate: int, seconds: float) -> None:
    """Publish `rate` events a second, and say "begun" when the first is due.

    A record's timestamp is the moment at which it was due, so that a broker or a generator that falls behind makes
    latencies longer and not events fewer. The events are made before: what that takes is not the load's.
    """
    topic = settings.topic_prefix + "events.v1"
    events = [
        (partition_of(key, settings.partitions), key, value)
        for value in events_of(int(rate * seconds), seed=2)
        for key in (_key_of(value),)
    ][: int(rate * seconds)]
    gc.freeze()
    waiting: dict[int, list[Written]] = {number: [] for number in range(settings.partitions)}
    async with _producer(settings) as producer:
        print("begun", flush=True)
        begun, published = time.time(), 0
        is_over = asyncio.Event()
        senders = [asyncio.ensure_future(_send_due(producer, topic, is_over, *queue)) for queue in waiting.items()]
        while published < len(events):
            due = min(len(events), int((time.time() - begun) * rate))
            for number in range(published, due):
                partition, key, value = events[number]
                waiting[partition].append((int((begun + number / rate) * 1000), key, value, ()))
            published = due
            await asyncio.sleep(_TICK_SECONDS)
        is_over.set()
        await asyncio.gather(*senders)


#: Timestamps are when events were due.
_ANY_TIME = 0, 1 << 62


async def _send_due(producer, topic: str, is_over: asyncio.Event, partition: int, waiting: list[Written]) -> None:
    """Send what waits for one partition, a batch at a time: a slow broker gets larger batches, not more of them."""
    while waiting or not is_over.is_set():
        await asyncio.sleep(_LINGER_SECONDS)
        if waiting:
            batch, taken = fill_batch(producer, waiting, 0, 0, _ANY_TIME)
            await (await producer.send_batch(batch, topic, partition=partition))
            del waiting[:taken]


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
