"""Partitions that recover at the same time are read by one consumer, and each as if it had one of its own."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from processor.engine import shared_reader
from processor.engine.shared_reader import SharedReader
from tests.engine.partition_stand import until

A, B = (TopicPartition("rows", number) for number in (0, 1))


class Consumer:
    """Hands out one record at a time of the partitions that it is assigned; each is its offset."""

    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures
        self.assigned: list[TopicPartition] = []
        self.assignments = 0
        self.paused: set[TopicPartition] = set()
        self.is_stopped = False
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._failures:
            raise self._failures.pop()

    async def stop(self) -> None:
        self.is_stopped = True

    def assign(self, tps: list[TopicPartition]) -> None:
        # As aiokafka's: the positions before are forgotten.
        self.assigned, self._positions = list(tps), {}
        self.assignments += 1

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.assigned)

    def pause(self, tp: TopicPartition) -> None:
        self.paused.add(tp)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._positions[tp] = offset

    async def getmany(self, tp: TopicPartition, *, timeout_ms: int) -> dict[TopicPartition, list[int]]:
        await asyncio.sleep(0)
        offset = self._positions[tp]
        self._positions[tp] += 1
        return {tp: [offset]}

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]


class Stand:
    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.failures: list[Exception] = []
        self.shared = SharedReader(self._make)

    def _make(self) -> Any:
        self.consumers.append(Consumer(self.failures))
        return self.consumers[-1]

    async def read(self, tp: TopicPartition, begin: int, end: int) -> list[int]:
        """Read what is between two offsets, as recovery.py does."""
        reader, found = self.shared.reader(), []
        await reader.start()
        try:
            reader.assign([tp])
            reader.seek(tp, begin)
            while await reader.position(tp) < end:
                found.extend((await reader.getmany(timeout_ms=200))[tp])
        finally:
            await reader.stop()
        return found


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_each_partition_is_read_from_its_own_position_by_one_consumer(stand):
    assert await asyncio.gather(stand.read(A, 3, 7), stand.read(B, 40, 42)) == [[3, 4, 5, 6], [40, 41]]
    [consumer] = stand.consumers
    assert consumer.assignments == 1


async def test_who_comes_later_takes_no_record_from_who_reads_already(stand):
    async def later() -> list[int]:
        await until(lambda: stand.consumers and stand.consumers[0].assignments)
        return await stand.read(B, 0, 3)

    # So many that it reads still when the other is assigned.
    first, second = await asyncio.gather(stand.read(A, 0, 20_000), later())
    assert first == [*range(20_000)]
    assert second == [0, 1, 2]
    [consumer] = stand.consumers
    assert consumer.assignments == 2
    assert consumer.paused == {A, B}, "nothing more is fetched of what has been read"


async def test_the_consumer_is_kept_for_a_moment_for_who_reads_again(stand):
    await stand.read(A, 0, 1)
    assert await stand.read(A, 5, 6) == [5]
    [consumer] = stand.consumers
    assert not consumer.is_stopped


async def test_nobody_reads_for_a_while_and_the_next_to_come_has_another(stand, monkeypatch):
    monkeypatch.setattr(shared_reader, "_IDLE_SECONDS", 0.001)
    await stand.read(A, 0, 1)
    await until(lambda: stand.consumers[0].is_stopped)
    assert await stand.read(A, 5, 6) == [5]
    assert len(stand.consumers) == 2


async def test_closing_it_closes_the_consumer(stand):
    await stand.read(A, 0, 1)
    await stand.shared.close()
    assert stand.consumers[0].is_stopped


async def test_brokers_that_are_away_are_told_to_all_and_tried_again_by_whoever_comes_next(stand):
    stand.failures.append(KafkaConnectionError())
    told = await asyncio.gather(stand.read(A, 0, 1), stand.read(B, 0, 1), return_exceptions=True)
    assert [type(each) for each in told] == [KafkaConnectionError] * 2
    assert stand.consumers[0].is_stopped
    assert await stand.read(A, 0, 1) == [0]


async def test_two_that_read_the_same_partition_are_a_fault_of_ours(stand):
    readers = [stand.shared.reader() for _ in range(2)]
    for reader in readers:
        await reader.start()
        reader.assign([A])
    readers[0].seek(A, 0)
    with pytest.raises(RuntimeError, match="is read already"):
        readers[1].seek(A, 5)
    await readers[1].stop()
    assert (await readers[0].getmany(timeout_ms=200))[A] == [0], "the first is none the worse for it"
