"""Load, as a process of its own, so that what measures is not kept waiting: python -m tests.chaos.load RATE SEED.

Publishes canonical events of whole lives to the events topic until SIGTERM, so many a second by the clock: what could
not be published while the broker was away follows as fast as it will go. Of the events, one in ten is out of order, one
in twenty comes twice, one in fifty comes again up to a minute later, so that both sides of a fault tell of the same
message, and one in two thousand is cut off. On the last line of standard output it says how many it published.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from heapq import heappop, heappush
from itertools import count

from processor.demo.simulate import canonical_events
from processor.engine import clients
from processor.settings import load
from processor.wire.partitioner import partition_of
from processor.wire.topics import EVENTS

#: Messages that live at the same time.
TOGETHER = 2_000

#: Seconds between looks at what is due, and the most that one look publishes.
TICK = 0.05
MOST = 5_000

Keyed = tuple[bytes, bytes]


def events(seed: int) -> Iterator[bytes]:
    """Give events without end, each part telling of messages of its own."""
    start = datetime.now(timezone.utc) - timedelta(hours=1)
    for part in count():
        for event in canonical_events(seed + part, TOGETHER, start, out_of_order=0.1, duplicates=0.05):
            yield event.replace(b'"m-', b'"m%d-' % part)


def stream(seed: int) -> Iterator[Keyed]:
    """Give keys and values without end, some of them late or broken."""
    chance = random.Random(seed)
    late: list[tuple[float, int, Keyed]] = []
    for number, value in enumerate(events(seed)):
        _, _, rest = value.partition(b'"message_id":"')
        keyed = rest[: rest.index(b'"')], value
        yield keyed
        if chance.random() < 1 / 50:
            heappush(late, (time.monotonic() + chance.uniform(1, 60), number, keyed))
        if chance.random() < 1 / 2_000:
            yield keyed[0], value[: chance.randrange(1, len(value))]
        while late and late[0][0] < time.monotonic():
            yield heappop(late)[2]


async def publish(rate: float, source: Iterator[Keyed]) -> int:
    """Publish so many a second until SIGTERM; give how many."""
    settings = load(os.environ)
    topic = settings.topic(EVENTS)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    published, began = 0, time.monotonic()
    async with clients.producer(settings) as producer:
        while not ended.is_set():
            due = min(MOST, int((time.monotonic() - began) * rate) - published)
            by_partition: dict[int, list[Keyed]] = defaultdict(list)
            for key, value in (next(source) for _ in range(due)):
                by_partition[partition_of(key, settings.partitions)].append((key, value))
            sent = []
            for partition, records in by_partition.items():
                batch = producer.create_batch()
                for key, value in records:
                    if batch.append(timestamp=None, key=key, value=value) is None:
                        raise RuntimeError("a batch holds less than is published at once")
                sent.append(await producer.send_batch(batch, topic, partition=partition))
            # An idempotent producer tries for as long as it takes.
            for future in sent:
                await future
            published += due
            if due < MOST:
                await asyncio.sleep(TICK)
    return published


if __name__ == "__main__":
    # That the broker is away is what is tried.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sys.stdout.write(f"{asyncio.run(publish(float(sys.argv[1]), stream(int(sys.argv[2]))))}\n")
