"""A partition with a broker that is an object, for the tests of its life: see test_partition.py."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaConnectionError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata

from processor.engine import left_open, partition
from processor.engine.brokers import UnstableOffsetError
from processor.engine.chunks import Chunk
from processor.engine.clock import BrokerClock
from processor.engine.inbox import InputBuffer
from processor.engine.partition import Partition, PartitionState
from processor.engine.pin import Pin
from processor.engine.predecessors import Undecided
from processor.engine.recovery import Left
from processor.engine.rounds import Rounds
from processor.engine.stage import Outbox, Partitioning, Positions, PunctuatedWork, Stage, StoredWork
from processor.engine.transactions import ProducerReplacedError
from processor.metrics import Metrics
from processor.metrics.labels import ByStage
from processor.settings import Settings
from processor.wire.topics import EVENTS, MESSAGES

INPUT = TopicPartition("t.events.v1", 3)
CHANGELOG = TopicPartition("t.messages.v1", 3)
OFFSETS = TopicPartition("__consumer_offsets", 0)

PIN = Pin(7, "member")

#: The transactional id of the worker.
ROUNDS = "app-worker-1"

PASSING = (
    KafkaConnectionError,
    NotLeaderForPartitionError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    ProducerReplacedError,
    InvalidProducerIdMapping,
    InvalidProducerEpoch,
    OSError,
    asyncio.TimeoutError,
)
GRAVE = (TopicAuthorizationFailedError, ValueError)


class Broker:
    """Holds the changelog (None: a transaction's marker) and the committed offset, and fails when told to."""

    def __init__(self) -> None:
        self.changelog: list[tuple[bytes, bytes | None] | None] = []
        self.committed: int | None = None
        #: The membership that it knows.
        self.pin = PIN
        #: What it was asked for while a partition was opened.
        self.questions: list[str] = []
        #: What the committed offset was committed with.
        self.metadata = ""
        #: Whether the committed offset waits for the end of a transaction.
        self.is_unstable = False
        #: The end of what is committed, where a transaction hangs behind it.
        self.stable: int | None = None
        #: The transactional id of what hangs.
        self.holder = ROUNDS
        #: How many of the next aborts it forgets to tell the changelog of.
        self.forgets = 0
        self.oldest = 0
        #: What each next call of a kind raises: {"commit": [error, error]}.
        self.failures: dict[str, list[BaseException]] = {}
        #: Changelog records that readers were given.
        self.recovered: list[tuple[bytes, bytes | None]] = []
        self.producers: list[Producer] = []
        #: Closed: transactions wait where they would be committed.
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    def maybe_fail(self, call: str) -> None:
        if self.failures.get(call):
            raise self.failures[call].pop(0)


class Builder:
    """Two records fit in."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def append(self, offset: int, _timestamp: int, key: bytes, value: bytes | None, headers: list[Any]) -> object:
        assert isinstance(headers, list)
        assert offset == len(self.records)
        if len(self.records) == 2:
            return None
        self.records.append((key, value))
        return self


class Batch:
    """A batch of aiokafka, which keeps its records in a builder and counts them itself."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._relative_offset = 0

    @property
    def records(self) -> list[tuple[bytes, bytes | None]]:
        return self._builder.records

    def record_count(self) -> int:
        return self._relative_offset


class Producer:
    """A transactional producer: all of a transaction is true at once, or none of it."""

    def __init__(self, broker: Broker, transactional_id: str) -> None:
        self._broker, self.transactional_id = broker, transactional_id
        self._written: list[tuple[bytes, bytes | None]] = []
        self._offset: int | None = None
        self.calls: list[str] = []
        self.client = SimpleNamespace(close=self.stop)
        self._txn_manager = SimpleNamespace(maybe_add_partition_to_txn=self._join, transactional_id=transactional_id)

    def _join(self, tp: TopicPartition) -> None:
        self.calls.append(f"join {tp.topic}")

    async def start(self) -> None:
        self.calls.append("start")
        self._broker.maybe_fail("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def begin_transaction(self) -> None:
        self.calls.append("begin")
        self._broker.maybe_fail("begin")
        self._written, self._offset = [], None

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        self._broker.maybe_fail("send")
        assert (topic, partition) == CHANGELOG
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(SimpleNamespace(offset=len(self._broker.changelog) + len(self._written), timestamp_type=0))
        self._written.extend(batch.records)
        return future

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, Any], group: str) -> None:
        self.calls.append("offsets")
        self._broker.maybe_fail("offsets")
        assert (group, group.pin) == ("app", self._broker.pin)
        [(tp, offset)] = offsets.items()
        assert tp == INPUT
        self._offset, self._metadata = offset.offset, offset.metadata

    async def commit_transaction(self) -> None:
        self._broker.waiting.set()
        await self._broker.gate.wait()
        self._broker.maybe_fail("commit")
        self.calls.append("commit")
        self._broker.changelog.extend([*self._written, None])
        self._broker.committed, self._broker.metadata = self._offset, self._metadata

    async def abort_transaction(self) -> None:
        self.calls.append("abort")
        if self._broker.holder != self.transactional_id:
            return
        if self._broker.forgets:
            self._broker.forgets -= 1
            return
        # The marker ends all that its producer left open.
        self._broker.is_unstable = False
        changelog, stable = self._broker.changelog, self._broker.stable
        if stable is not None:
            changelog[stable:] = [None] * (len(changelog) - stable + 1)
            self._broker.stable = None


class Reader:
    """Reads committed changelog records, two at a time, and steps over markers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._position = 0

    async def start(self) -> None:
        self._broker.maybe_fail("read")

    async def stop(self) -> None:
        pass

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        assert list(tps) == [CHANGELOG]

    def seek(self, _tp: TopicPartition, offset: int) -> None:
        self._position = offset

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        fetched = list(enumerate(self._broker.changelog))[self._position : self._position + 2]
        self._position += len(fetched)
        records = [(offset, record) for offset, record in fetched if record is not None]
        self._broker.recovered.extend(record for _, record in records)
        return {CHANGELOG: [SimpleNamespace(offset=offset, key=key, value=value) for offset, (key, value) in records]}

    async def position(self, _tp: TopicPartition) -> int:
        return self._position


class Host:
    """The worker, as a partition sees it."""

    partition_counts: ClassVar = {INPUT.topic: 4, CHANGELOG.topic: 4}
    cluster: ClassVar = "cluster"

    def __init__(self, broker: Broker) -> None:
        self.settings = Settings(app_id="app", topic_prefix="t.", chunk_records=4)
        self.metrics = Metrics(["fold"])
        self.clock = BrokerClock(self.metrics)
        self.rounds = Rounds(self.settings, ROUNDS, self._transactional_producer, self.clock, self.monotonic)
        self.input_buffer = InputBuffer(self.settings.chunk_records)
        self.seconds = 0.0
        self.seeks: list[int] = []
        self.wakes = 0
        #: What the fetch hands out next.
        self.fetched: int | None = None
        self._broker = broker
        #: Where the transaction that the offset waits for began.
        self.round = 0

    def monotonic(self) -> float:
        return self.seconds

    def _transactional_producer(self, transactional_id: str) -> Producer:
        assert transactional_id in {ROUNDS, f"{ROUNDS}-{INPUT.topic}-{INPUT.partition}", self._broker.holder}
        self._broker.producers.append(Producer(self._broker, transactional_id))
        return self._broker.producers[-1]

    def reader(self) -> Reader:
        return Reader(self._broker)

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        assert (tp, pin) == (INPUT, self._broker.pin)
        self._broker.questions.append("committed offset")
        self._broker.maybe_fail("committed_offset")
        if self._broker.is_unstable:
            raise UnstableOffsetError
        committed = self._broker.committed
        return None if committed is None else OffsetAndMetadata(committed, self._broker.metadata)

    async def holders(self, tp: TopicPartition | None) -> frozenset[Undecided]:
        self._broker.maybe_fail("holders")
        if tp is None:
            return frozenset([Undecided(OFFSETS, 7, self.round)] if self._broker.is_unstable else [])
        return frozenset([] if self._broker.stable is None else [Undecided(tp, 7, self._broker.stable)])

    async def predecessors(
        self, tp: TopicPartition, producer_ids: Collection[int], *, spares_members: bool
    ) -> Sequence[str]:
        assert (tp, set(producer_ids)) == (INPUT, {7})
        assert not spares_members or self._broker.is_unstable, "of a changelog nobody is spared"
        return [self._broker.holder]

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        self._broker.questions.append(f"bounds of {tp.topic}")
        end = len(self._broker.changelog) if self._broker.stable is None else self._broker.stable
        return (0, end) if tp == CHANGELOG else (self._broker.oldest, 1_000)

    async def high_watermark(self, tp: TopicPartition) -> int:
        assert tp == CHANGELOG
        return len(self._broker.changelog)

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp == INPUT
        self.seeks.append(offset)

    def position(self, tp: TopicPartition) -> int | None:
        assert tp == INPUT
        return self.fetched

    def wake(self) -> None:
        self.wakes += 1


class Work(StoredWork, PunctuatedWork):
    """Writes each record's value under its key, and shows the number of rows as a gauge would."""

    is_durable = False
    position = 0

    def __init__(self, partitioning: Partitioning) -> None:
        assert partitioning == (INPUT.topic, INPUT.partition, Host.partition_counts, Host.cluster)
        #: Records to write although none has come.
        self.due: list[bytes] = []
        self.looks: list[bool] = []
        self.closed = False
        self.rows: dict[bytes, bytes | None] = {}
        self._staged: dict[bytes, bytes | None] = {}
        self.shown = 0
        self.processed: list[list[int]] = []

    def restore(self, records: Sequence[Any], position: int) -> None:
        self.rows.update({record.key: record.value for record in records})
        self.position = position

    def forget(self) -> None:
        self.rows.clear()
        self.position = 0

    def restored(self) -> None:
        self.shown = len(self.rows)

    def close(self) -> None:
        assert self.shown == 0
        self.closed = True

    def suspended(self) -> None:
        self.shown = 0

    def put_aside(self, unreadable: Sequence[Any], outbox: Outbox) -> None:
        raise AssertionError("all can be read here")

    @property
    def is_due(self) -> bool:
        return bool(self.due)

    def punctuate(self, *, is_behind: bool) -> None:
        self.looks.append(is_behind)

    def process(self, records: Sequence[Any], outbox: Outbox) -> None:
        assert self._staged == {}
        if self.due:
            key = self.due.pop()
            self._staged[key] = b"due"
            outbox.add(*CHANGELOG, 0, key, b"due")
        self.processed.append([record.offset for record in records])
        for record in records:
            self._staged[record.key] = record.value
            outbox.add(*CHANGELOG, 0, record.key, record.value)

    def committed(self, positions: Positions) -> None:
        self.position = max(self.position, positions.changelog)
        self.rows.update(self._staged)
        self._staged.clear()
        self.shown = len(self.rows)


class Stand:
    """One partition between its fakes."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.host = Host(self.broker)
        self.works: list[Work] = []

    def partition(self) -> Partition:
        stage = Stage(name="fold", inputs=(EVENTS,), outputs=(MESSAGES,), start=self._start, changelog=MESSAGES)
        return Partition(stage, INPUT, self.host, self.broker.pin)

    def _start(self, partitioning: Partitioning) -> Work:
        self.works.append(Work(partitioning))
        return self.works[-1]

    @asynccontextmanager
    async def running(self, suspended: Work | None = None, left: Left | None = None) -> AsyncIterator[Partition]:
        """Run a partition, and close it in good order at the end of the block."""
        running = self.partition()
        task = asyncio.ensure_future(running.run(suspended, left))
        try:
            await until(lambda: running.state is PartitionState.RUNNING or task.done())
            assert not task.done(), task
            yield running
        finally:
            running.close()
            await asyncio.wait({task})
        self.suspended, self.left = task.result(), running.left

    def rebalance(self, generations: int = 1) -> None:
        """Let the group come to other generations, with the same member."""
        self.broker.pin = self.broker.pin._replace(generation=self.broker.pin.generation + generations)
        self.broker.questions.clear()

    async def outcome(self, running: Partition) -> Work | None:
        return await asyncio.wait_for(running.run(), 120)

    def reopened(self) -> float:
        return self.host.metrics.reopened.labels(ByStage("fold"))._value.get()

    def offsets_of_the_last_work(self) -> list[int]:
        return [offset for chunk in self.works[-1].processed for offset in chunk]


async def until(condition: Callable[[], Any]) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 120)


def chunk(start: int, end: int, *, without: Sequence[int] = ()) -> Chunk:
    """Give the records from `start` on, before `end`."""
    offsets = [offset for offset in range(start, end) if offset not in without]
    records = [SimpleNamespace(offset=offset, key=b"k%d" % offset, value=b"v%d" % offset) for offset in offsets]
    return Chunk(start, end, records)


def rows(*offsets: int) -> dict[bytes, bytes]:
    return {b"k%d" % offset: b"v%d" % offset for offset in offsets}


#: A changelog of rows 0 and 1 with their marker, and rows 2 and 3 behind it; and what was committed with each chunk.
TWO_CHUNKS = (*rows(0, 1).items(), None, *rows(2, 3).items())
FIRST, SECOND = "changelog=2 from=0", "changelog=5 from=2 after=2"


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    stand = Stand()
    monkeypatch.setattr(partition, "_RETRY_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(partition, "_IDLE_COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(left_open, "_LOOK_SECONDS", 0.001)
    return stand
