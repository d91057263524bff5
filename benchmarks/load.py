"""Fill topics as fast as the broker takes it; or, run as a script, publish at a fixed rate."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import NamedTuple

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
from processor.wire.topics import EVENTS, SMS

#: Key and value of each record.
Records = Iterable[tuple[bytes, bytes]]
Pending = dict[int, list[tuple[bytes, bytes]]]

_FLUSH_RECORDS = 50_000
_TICK_SECONDS = 0.005
_LINGER_SECONDS = 0.010


def events_of(messages: int, seed: int = 1) -> Iterator[bytes]:
    """Return the events of so many messages, the last of them about now."""
    start = datetime.now(timezone.utc) - timedelta(seconds=messages / 1000 + 10)
    return canonical_events(seed, messages, start)


def keyed_events(messages: int, seed: int = 1) -> Records:
    """Return the same with their keys."""
    return ((_key_of(value), value) for value in events_of(messages, seed))


def named(records: Records, name_of: Callable[[int], str]) -> Records:
    """Give the messages of events other ids, by their numbers."""
    for key, value in records:
        name = name_of(int(key[2:])).encode()
        yield name, value.replace(key, name, 1)


async def fill_events(settings: Settings, messages: int, seed: int = 1) -> int:
    """Publish the events of so many messages to their partitions; return their number."""
    return await fill(settings, EVENTS.name, keyed_events(messages, seed))


async def fill(settings: Settings, topic: str, records: Records) -> int:
    """Publish records to the partitions of their keys; return their number. `topic` is without its prefix."""
    return await _fill(settings, settings.topic_prefix + topic, records)


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


async def _fill(settings: Settings, topic: str, records: Records) -> int:
    count = 0
    remaining = iter(records)
    async with _producer(settings) as producer:
        while share := list(islice(remaining, _FLUSH_RECORDS)):
            count += len(share)
            await _send(producer, topic, _by_partition(share, settings.partitions))
    return count


def _by_partition(records: Records, partitions: int) -> Pending:
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


# Raw payloads

#: How many messages later a message has its next status.
_BETWEEN = 1_000

#: What is reported of a message; of a hundred, so many are not delivered, for the reason with this code.
_ENDS = ("delivered", *("undelivered&ErrorCode=30003",) * 6, *("undelivered&ErrorCode=30005",) * 4)
_PAYLOAD = (
    "message_id=%(name)s&delivery_id=DM%(delivery)d&SmsSid=SM%(sid)032x&SmsStatus=%(status)s"
    "&MessageStatus=%(status)s&To=%%2B4670%(number)07d&MessageSid=SM%(sid)032x"
    "&AccountSid=AC0db966d80e9f1662da09c61287f8bba1&From=%%2B16232320112&ApiVersion=2010-04-01"
)


def keyed_payloads(messages: int, names: str = "raw") -> Records:
    """Return Twilio's three callbacks about each of so many messages, in the order in which they come."""
    for step in range(messages + 2 * _BETWEEN):
        for number, status in ((step, "queued"), (step - _BETWEEN, "sent"), (step - 2 * _BETWEEN, "")):
            if 0 <= number < messages:
                end = status or _ENDS[max(0, number % 100 - (100 - len(_ENDS)))]
                name = f"{names}-{number:09d}"
                fields = {"name": name, "delivery": 1042 + number % 20, "sid": number, "status": end, "number": number}
                yield name.encode(), (_PAYLOAD % fields).encode()


class Traffic(NamedTuple):
    """What can be published at a steady rate."""

    topic: str
    #: Records of at least so many messages, whose ids begin with the given name.
    records: Callable[[int, str], Records]


TRAFFIC = {
    "events": Traffic(
        EVENTS.name, lambda messages, names: named(keyed_events(messages, 2), lambda number: f"{names}-{number:09d}")
    ),
    "payloads": Traffic(SMS.name, keyed_payloads),
}


async def publish_steadily(
    settings: Settings, rate: int, seconds: float, traffic: str = "events", names: str = "load"
) -> None:
    """Publish `rate` records a second, and say "begun" when the first is due.

    A record's timestamp is the moment at which it was due, so that a broker or a generator that falls behind makes
    latencies longer and not records fewer. The records are made before: what that takes is not the load's.
    """
    topic = settings.topic_prefix + TRAFFIC[traffic].topic
    count = int(rate * seconds)
    # A message has three records at least.
    made = TRAFFIC[traffic].records(count // 3 + 1, names)
    records = [(partition_of(key, settings.partitions), key, value) for key, value in islice(made, count)]
    gc.freeze()
    waiting: dict[int, list[Written]] = {number: [] for number in range(settings.partitions)}
    async with _producer(settings) as producer:
        print("begun", flush=True)
        begun, published = time.time(), 0
        is_over = asyncio.Event()
        senders = [asyncio.ensure_future(_send_due(producer, topic, is_over, *queue)) for queue in waiting.items()]
        while published < len(records):
            due = min(len(records), int((time.time() - begun) * rate))
            for number in range(published, due):
                partition, key, value = records[number]
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
    parser.add_argument("--traffic", choices=TRAFFIC, default="events")
    parser.add_argument("--names", default="load", help="what ids of messages begin with")
    options = parser.parse_args()
    settings = Settings(brokers=options.brokers, topic_prefix=options.prefix, partitions=options.partitions)
    asyncio.run(publish_steadily(settings, options.rate, options.seconds, options.traffic, options.names))


if __name__ == "__main__":
    main()
