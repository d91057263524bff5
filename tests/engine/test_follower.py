"""A follower reads topics whole and then on, the last record of each key, also after the broker was away."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from processor.demo.broker import EmbeddedKafka
from processor.engine.admin import create_topics
from processor.engine.follower import Follower
from processor.engine.streams import Outgoing, Writer
from processor.wire.topics import COUNTS, DELIVERIES, Topic
from tests.engine.harness import eventually, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Seen:
    """What a follower handed over."""

    def __init__(self) -> None:
        self.latest: dict[tuple[str, bytes], bytes | None] = {}
        self.calls: Counter[bytes] = Counter()

    def take(self, topic: Topic, records: Any) -> None:
        for record in records:
            self.calls[record.key] += 1
            self.latest[topic.name, record.key] = record.value


@asynccontextmanager
async def following(settings, seen: Seen) -> AsyncIterator[Follower]:
    follower = Follower(settings, (COUNTS, DELIVERIES), seen.take)
    task = asyncio.ensure_future(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait({task})


async def publish(settings, *records: tuple[Topic, bytes, bytes | None]) -> None:
    async with Writer(settings) as writer:
        for topic, key, value in records:
            await writer.write(Outgoing(settings.topic(topic), value, key))


async def caught_up(follower: Follower) -> None:
    await follower.caught_up()
    assert follower.is_caught_up


async def has(seen: Seen, topic: Topic, key: bytes, value: bytes | None) -> None:
    async def is_there() -> bool:
        return (topic.name, key) in seen.latest and seen.latest[topic.name, key] == value

    await eventually(is_there, f"{key!r} is {value!r}")


async def test_it_reads_what_there_is_and_what_comes(brokers):
    settings, seen = settings_for_a_trial(brokers, partitions=3), Seen()
    await create_topics(settings)
    many = [(COUNTS, b"k%d" % (number % 10), b"%d" % number) for number in range(500)]
    await publish(settings, *many, (DELIVERIES, b"d", b"1"))
    async with following(settings, seen) as follower:
        assert not follower.is_caught_up
        await caught_up(follower)
        assert seen.latest == {
            **{(COUNTS.name, b"k%d" % number): b"%d" % (490 + number) for number in range(10)},
            (DELIVERIES.name, b"d"): b"1",
        }
        assert max(seen.calls.values()) < 50, "of the records of one fetch only the last of a key counts"
        await publish(settings, (DELIVERIES, b"d", b"2"), (COUNTS, b"k1", None))
        await has(seen, DELIVERIES, b"d", b"2")
        await has(seen, COUNTS, b"k1", None)


async def test_of_empty_topics_it_has_read_all(brokers):
    settings, seen = settings_for_a_trial(brokers, partitions=2), Seen()
    await create_topics(settings)
    async with following(settings, seen) as follower:
        await caught_up(follower)
    assert seen.latest == {}


async def test_topics_that_are_not_there_yet_are_waited_for(brokers, monkeypatch):
    monkeypatch.setattr("processor.engine.follower._RETRY_SECONDS", 0.1)
    settings, seen = settings_for_a_trial(brokers, partitions=2), Seen()
    async with following(settings, seen) as follower:
        await asyncio.sleep(0.5)
        assert not follower.is_caught_up
        await create_topics(settings)
        await publish(settings, (COUNTS, b"k", b"1"))
        await has(seen, COUNTS, b"k", b"1")


async def test_it_goes_on_after_the_broker_was_away(tmp_path):
    with EmbeddedKafka(tmp_path) as kafka:
        settings, seen = settings_for_a_trial(kafka.bootstrap_servers, partitions=2), Seen()
        await create_topics(settings)
        await publish(settings, (COUNTS, b"k", b"1"))
        async with following(settings, seen) as follower:
            await caught_up(follower)
            await asyncio.to_thread(kafka.stop)
            await asyncio.sleep(1)
            await asyncio.to_thread(kafka.start)
            await publish(settings, (COUNTS, b"k", b"2"))
            await has(seen, COUNTS, b"k", b"2")
            assert follower.is_caught_up


async def test_a_fault_of_who_takes_does_not_end_it(brokers, monkeypatch):
    monkeypatch.setattr("processor.engine.follower._RETRY_SECONDS", 0.1)
    settings, seen = settings_for_a_trial(brokers, partitions=1), Seen()
    await create_topics(settings)
    await publish(settings, (COUNTS, b"k", b"1"))
    failures = [RuntimeError("once")]

    def take(topic: Topic, records: Any) -> None:
        if failures:
            raise failures.pop()
        seen.take(topic, records)

    follower = Follower(settings, (COUNTS, DELIVERIES), take)
    task = asyncio.ensure_future(follower.run())
    try:
        await has(seen, COUNTS, b"k", b"1")
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
