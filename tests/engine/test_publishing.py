"""The plain producer on a real broker: what breaks an idempotent producer for good does not break it."""

import asyncio
import time
import uuid
from collections import defaultdict

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import InvalidTimestampError, OutOfOrderSequenceNumber

from processor.engine import clients, publishing
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.settings import Settings
from tests.engine.harness import PATIENCE
from tests.engine.proxy import Api, Proxy, at_random

pytestmark = pytest.mark.kafka

PARTITIONS = 3

#: Beyond what a broker takes of a record's time.
TOO_LATE_MS = int((time.time() + 10 * 24 * 3_600) * 1_000)


class Stand:
    """A topic of its own, and what is on it."""

    def __init__(self, brokers: str) -> None:
        self.topic = f"publishing-{uuid.uuid4().hex[:10]}"
        self.settings = Settings(brokers=brokers)
        self.first = TopicPartition(self.topic, 0)

    async def create(self) -> None:
        admin = clients.admin(self.settings)
        await admin.start()
        await admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])
        await admin.close()

    async def values(self) -> list[bytes]:
        """Give what is on the first partition."""
        return (await self.by_partition())[0]

    async def by_partition(self) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = defaultdict(list)
        async for record in read_to_end(self.settings, self.topic):
            found[record.partition].append(record.value)
        return found

    async def publish(self, producer: AIOKafkaProducer, *values: bytes) -> None:
        for value in values:
            # Without an end in sight, a producer tries for as long as it takes.
            await asyncio.wait_for(producer.send_and_wait(self.topic, value, partition=0), PATIENCE)

    def spoil(self, producer: AIOKafkaProducer, number: int) -> None:
        """Make a number the next one of the first partition."""
        producer._txn_manager._sequence_numbers[self.first] = number


@pytest.fixture
async def stand(kafka_broker):
    stand = Stand(kafka_broker)
    await stand.create()
    return stand


@pytest.mark.parametrize("known", [False, True], ids=["new to the partition", "known to the partition"])
async def test_numbers_that_come_to_their_end_begin_anew(stand, known):
    async with clients.producer(stand.settings) as producer:
        before = [b"before"] if known else []
        await stand.publish(producer, *before)
        stand.spoil(producer, 2**31 - 2)
        values = [b"%d" % number for number in range(6)]
        await stand.publish(producer, *values)
    assert await stand.values() == before + values


async def test_one_batch_across_the_end_is_there_once(stand):
    async with clients.producer(stand.settings) as producer:
        await stand.publish(producer, b"before")
        stand.spoil(producer, 2**31 - 3)
        values = [b"%d" % number for number in range(100)]
        await asyncio.gather(*[await producer.send(stand.topic, value, partition=0) for value in values])
    assert await stand.values() == [b"before", *values]


async def test_long_before_their_end_the_producer_has_another_id(stand):
    async with clients.producer(stand.settings) as producer:
        await stand.publish(producer, b"a")
        known = producer._txn_manager.producer_id
        stand.spoil(producer, publishing.LAST_SEQUENCE)
        await stand.publish(producer, b"b", b"c")
        assert producer._txn_manager.producer_id != known
        assert producer._txn_manager.sequence_number(stand.first) < 3
    assert await stand.values() == [b"a", b"b", b"c"]


class TestABatchThatFails:
    async def test_breaks_a_producer_of_aiokafka_for_good(self, stand):
        """The fault that all this is for (aiokafka#1017). Where it is gone, publishing.py has lost its reason."""
        options = clients.connection(stand.settings)
        async with AIOKafkaProducer(**options, enable_idempotence=True) as producer:
            await stand.publish(producer, b"a")
            with pytest.raises(InvalidTimestampError):
                await producer.send_and_wait(stand.topic, b"refused", partition=0, timestamp_ms=TOO_LATE_MS)
            for _ in range(3):
                with pytest.raises(OutOfOrderSequenceNumber):
                    await stand.publish(producer, b"b")

    async def test_is_told_to_its_sender_and_the_rest_goes_on(self, stand):
        async with clients.producer(stand.settings) as producer:
            await stand.publish(producer, b"a")
            with pytest.raises(InvalidTimestampError):
                await producer.send_and_wait(stand.topic, b"refused", partition=0, timestamp_ms=TOO_LATE_MS)
            await stand.publish(producer, b"b", b"c")
        assert await stand.values() == [b"a", b"b", b"c"]

    async def test_leaves_the_batches_behind_it_in_their_order(self, stand):
        async with clients.producer(stand.settings) as producer:
            await stand.publish(producer, b"a")
            batches, expected = [], [b"a"]
            for number in range(10):
                batch = producer.create_batch()
                values = [b"%d of %d" % (record, number) for record in range(20)]
                for value in values:
                    timestamp = TOO_LATE_MS if number == 3 else None
                    assert batch.append(timestamp=timestamp, key=None, value=value) is not None
                batches.append(await producer.send_batch(batch, stand.topic, partition=0))
                expected += [] if number == 3 else values
            outcomes = await asyncio.wait_for(asyncio.gather(*batches, return_exceptions=True), PATIENCE)
        assert [number for number, each in enumerate(outcomes) if isinstance(each, InvalidTimestampError)] == [3]
        assert await stand.values() == expected


async def test_numbers_that_a_broker_does_not_expect_are_replaced_and_nothing_is_lost(stand):
    """As after a broker that lost what it had acknowledged."""
    async with clients.producer(stand.settings) as producer:
        values = []
        for number in range(5):
            values += [b"%d" % number, b"%d again" % number]
            await stand.publish(producer, *values[-2:])
            stand.spoil(producer, 1_000)
    assert await stand.values() == values


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_is_lost_on_the_way_each_record_is_there_once_and_in_order(
    stand, kafka_broker, monkeypatch, seed
):
    """A writer as the commands have it, whose numbers end every few batches, on a network that loses requests."""
    monkeypatch.setattr(publishing, "LAST_SEQUENCE", 30)
    monkeypatch.setattr("processor.engine.streams._IN_FLIGHT", 40)
    expected = defaultdict(list)
    async with Proxy(kafka_broker) as proxy:
        proxy.fate_of = at_random(seed, {Api.PRODUCE, Api.INIT_PRODUCER_ID}, share=0.15)
        async with Writer(Settings(brokers=proxy.address)) as writer:
            for number in range(2_000):
                partition, value = number % PARTITIONS, b"%d" % number
                expected[partition].append(value)
                await writer.write(Outgoing(stand.topic, value, partition=partition))
        assert proxy.count(Api.INIT_PRODUCER_ID) > 10
    assert await stand.by_partition() == expected
