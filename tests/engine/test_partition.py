"""One partition, with a broker that is an object: what it takes, what it commits, and what it does when that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
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
from structlog.testing import capture_logs

from processor.engine import partition, recovery
from processor.engine.bounds import end
from processor.engine.chunks import Chunk
from processor.engine.clock import BrokerClock
from processor.engine.partition import FencedError, Partition, PartitionState
from processor.engine.pin import MEMBERSHIP_OVER, Pin
from processor.engine.stage import Outbox, Partitioning, Positions, PunctuatedWork, Stage, StoredWork
from processor.engine.transactions import NewProducerNeededError, ProducerReplacedError
from processor.metrics import Metrics
from processor.metrics.labels import ByStage
from processor.settings import Settings
from processor.wire.topics import EVENTS, MESSAGES

INPUT = TopicPartition("t.events.v1", 3)
CHANGELOG = TopicPartition("t.messages.v1", 3)

PIN = Pin(7, "member")

PASSING = (
    KafkaConnectionError,
    NotLeaderForPartitionError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    NewProducerNeededError,
    OSError,
    asyncio.TimeoutError,
)
GRAVE = (TopicAuthorizationFailedError, InvalidProducerEpoch, ValueError)


class Broker:
    """Holds the changelog (None: a transaction's marker) and the committed offset, and fails when told to."""

    def __init__(self) -> None:
        self.changelog: list[tuple[bytes, bytes | None] | None] = []
        self.committed: int | None = None
        #: What the committed offset was committed with.
        self.metadata = ""
        #: The end of what is committed, where a transaction hangs behind it.
        self.stable: int | None = None
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

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._written: list[tuple[bytes, bytes | None]] = []
        self._offset: int | None = None
        self.calls: list[str] = []
        self.client = SimpleNamespace(close=self.stop)
        self._txn_manager = SimpleNamespace(maybe_add_partition_to_txn=self._join)

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
        assert (group, group.pin) == ("app", PIN)
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
        if self._broker.forgets:
            self._broker.forgets -= 1
            return
        # The marker ends all that its producer left open.
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
        self.seconds = 0.0
        self.seeks: list[int] = []
        self.wakes = 0
        #: What the fetch hands out next.
        self.fetched: int | None = None
        self._broker = broker

    def monotonic(self) -> float:
        return self.seconds

    def transactional_producer(self, transactional_id: str) -> Producer:
        assert transactional_id == "app-t.events.v1-3"
        self._broker.producers.append(Producer(self._broker))
        return self._broker.producers[-1]

    def reader(self) -> Reader:
        return Reader(self._broker)

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        assert (tp, pin) == (INPUT, PIN)
        self._broker.maybe_fail("committed_offset")
        committed = self._broker.committed
        return None if committed is None else OffsetAndMetadata(committed, self._broker.metadata)

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
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
        return Partition(stage, INPUT, self.host, PIN)

    def _start(self, partitioning: Partitioning) -> Work:
        self.works.append(Work(partitioning))
        return self.works[-1]

    @asynccontextmanager
    async def running(self, suspended: Work | None = None) -> AsyncIterator[Partition]:
        """Run a partition, and close it in good order at the end of the block."""
        running = self.partition()
        task = asyncio.ensure_future(running.run(suspended))
        try:
            await until(lambda: running.state is PartitionState.RUNNING or task.done())
            assert not task.done(), task
            yield running
        finally:
            running.close()
            await asyncio.wait({task})
        self.suspended = task.result()

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


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    stand = Stand()
    monkeypatch.setattr(partition, "_RETRY_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(partition, "_IDLE_COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "_MARKER_SECONDS", 0.001)
    return stand


class TestChunks:
    async def test_a_chunk_is_one_transaction_with_its_records_and_the_offset_after_it(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 3))
            await until(lambda: running.committed == 3)
        assert stand.broker.changelog == [*rows(0, 1, 2).items(), None]
        assert stand.broker.committed == 3
        assert stand.works[0].rows == rows(0, 1, 2)
        assert stand.broker.producers[0].calls == ["start", "begin", "offsets", "commit", "stop"]

    async def test_what_waits_is_merged_into_one_transaction_of_bounded_size(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            for start in range(1, 7):
                await running.accept(chunk(start, start + 1))
            stand.broker.gate.set()
            await until(lambda: running.committed == 7)
        assert stand.works[0].processed == [[0], [1, 2, 3, 4], [5, 6]]

    async def test_a_chunk_that_leaves_a_hole_is_not_taken_and_the_hole_is_read_again(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            wakes = stand.host.wakes
            await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 2]
            assert stand.host.wakes > wakes
            assert running.has_room()
            await running.accept(chunk(2, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]

    async def test_a_hole_that_retention_made_is_passed_over(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            stand.broker.oldest = 4
            await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 4]
            await running.accept(chunk(4, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 4, 5]

    async def test_while_the_broker_does_not_say_what_expired_the_hole_is_read_again(self, stand, monkeypatch):
        async def bounds(_tp: TopicPartition) -> tuple[int, int]:
            raise KafkaConnectionError

        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            with monkeypatch.context() as away:
                away.setattr(stand.host, "bounds", bounds)
                await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 2]
            await running.accept(chunk(2, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]

    async def test_what_was_dropped_on_its_way_is_read_again_although_nothing_else_comes(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            stand.host.fetched = 6
            await until(lambda: stand.host.seeks == [0, 2])
            stand.host.fetched = 2
            await running.accept(chunk(2, 6))
            stand.host.fetched = 6
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]
        assert stand.host.seeks == [0, 2]

    async def test_a_chunk_without_records_moves_the_offset_when_nothing_else_comes(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await running.accept(Chunk(1, 5, []))
            await until(lambda: running.committed == 5)
            await running.accept(Chunk(5, 7, []))
            await until(lambda: running.committed == 7)
        assert stand.broker.committed == 7
        assert stand.offsets_of_the_last_work() == [0]

    async def test_nothing_is_taken_before_it_runs_and_while_it_seeks(self, stand):
        running = stand.partition()
        await running.accept(chunk(0, 1))
        assert not running.has_room()
        async with stand.running():
            assert stand.works[0].processed == []


class TestWhatIsDue:
    async def test_is_written_in_a_transaction_of_its_own_when_no_record_comes(self, stand):
        async with stand.running() as partition:
            await partition.accept(chunk(0, 2))
            await until(lambda: partition.committed == 2)
            partition.work.due = [b"b", b"a"]
            await until(lambda: not partition.work.due)
            await until(lambda: partition.work.rows.get(b"b") == b"due")
        assert stand.broker.committed == 2
        assert [each[0] for each in stand.broker.changelog if each and each[1] == b"due"] == [b"a", b"b"]

    async def test_there_is_a_moment_to_punctuate_after_each_chunk(self, stand):
        async with stand.running() as partition:
            looks = len(partition.work.looks)
            await partition.accept(chunk(0, 2))
            await until(lambda: partition.committed == 2)
            await until(lambda: len(partition.work.looks) > looks)
        assert partition.work.looks[-1] is False


class TestAnIdlePartition:
    async def test_uses_its_transactional_id_now_and_then_and_commits_nothing(self, stand):
        """A broker forgets an id that is not used, and would refuse the next chunk."""
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            calls = stand.broker.producers[0].calls
            for aborts in (1, 2):
                stand.host.seconds += 3_600
                await until(lambda aborts=aborts: calls.count("abort") == aborts)
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        assert calls[calls.index("abort") - 2 :][:3] == ["begin", "offsets", "abort"]
        assert calls.count("commit") == 2
        assert stand.broker.committed == 4
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3]
        assert stand.reopened() == 0

    async def test_has_no_transaction_while_its_id_was_used_of_late(self, stand):
        async with stand.running():
            await until(lambda: len(stand.works[0].looks) > 3)
        assert stand.broker.producers[0].calls == ["start", "stop"]


class TestRoom:
    async def test_the_queue_is_bounded_and_there_is_room_again_when_some_is_done(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            assert running.has_room()
            await running.accept(chunk(1, 9))
            assert not running.has_room()
            wakes = stand.host.wakes
            stand.broker.gate.set()
            await until(running.has_room)
            assert stand.host.wakes > wakes
            await until(lambda: running.committed == 9)


class TestClosing:
    async def test_the_transaction_in_hand_is_finished_and_the_rest_is_left_to_the_next_owner(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(stand.broker.waiting.is_set)
            await running.accept(chunk(2, 9))
            running.close()
            await running.accept(chunk(9, 10))
            assert not running.has_room()
            stand.broker.gate.set()
        assert stand.broker.committed == 2
        assert stand.works[0].rows == rows(0, 1)
        assert stand.suspended is stand.works[0]
        assert stand.suspended.position == 2
        assert stand.broker.producers[-1].calls[-1] == "stop"

    async def test_work_on_disk_is_closed_with_its_partition_for_who_opens_it_next(self, stand, monkeypatch):
        monkeypatch.setattr(Work, "is_durable", True)
        async with stand.running():
            pass
        assert stand.suspended is None
        assert stand.works[0].closed

    async def test_closed_while_it_waits_to_try_again_it_ends_without_work(self, stand, monkeypatch):
        monkeypatch.setattr(partition, "_RETRY_SECONDS", (3_600,))
        stand.broker.failures["start"] = [KafkaConnectionError()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: stand.reopened() == 1)
        running.close()
        assert await asyncio.wait_for(task, 120) is None

    async def test_closed_before_it_ran_it_opens_nothing(self, stand):
        running = stand.partition()
        running.close()
        assert await stand.outcome(running) is None
        assert stand.broker.producers == []

    async def test_closed_while_it_recovers_what_it_has_read_is_not_lost(self, stand):
        stand.broker.changelog = [*rows(*range(10)).items()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.recovered > 0)
        running.close()
        suspended = await task
        assert suspended.position == len(suspended.rows) < 10
        async with stand.running(suspended):
            assert suspended.rows == rows(*range(10))
        assert len(stand.broker.recovered) == 10


class TestOpening:
    async def test_state_is_what_the_changelog_holds_and_reading_goes_on_at_the_committed_offset(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, (b"k0", None), None]
        stand.broker.committed = 7
        async with stand.running() as running:
            assert stand.works[0].rows == {b"k0": None, b"k1": b"v1"}
            assert running.committed == 7
            assert stand.host.seeks == [7]
            assert running.recovered == running.to_recover == 5

    async def test_it_tells_how_far_its_topics_had_come_while_it_runs(self, stand):
        stand.broker.changelog, stand.broker.committed = [*rows(0, 1).items(), None], 7
        assert list(stand.partition().reached()) == []
        async with stand.running() as running:
            assert dict(running.reached()) == {INPUT: 7, CHANGELOG: 2}

    async def test_without_a_committed_offset_it_reads_from_the_oldest_record(self, stand):
        stand.broker.oldest = 40
        async with stand.running() as running:
            assert (running.committed, stand.host.seeks) == (40, [40])

    async def test_records_that_expired_unread_are_passed_over(self, stand):
        stand.broker.oldest, stand.broker.committed = 40, 7
        async with stand.running() as running:
            assert running.committed == 40

    async def test_an_offset_beyond_the_end_is_that_of_a_topic_that_has_gone_and_the_new_one_is_read_whole(self, stand):
        stand.broker.committed = 1_001
        async with stand.running() as running:
            assert stand.host.seeks == [0]
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        assert stand.broker.changelog[0] == (b"k0", b"v0")

    async def test_it_fences_before_it_reads_where_it_stands(self, stand):
        seen = []
        committed_offset = stand.host.committed_offset

        async def spy(tp: TopicPartition, pin: Pin) -> int | None:
            seen.extend(stand.broker.producers[0].calls)
            return await committed_offset(tp, pin)

        stand.host.committed_offset = spy
        async with stand.running():
            assert seen == ["start"]

    async def test_suspended_work_taken_up_again_only_reads_what_others_wrote(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 3))
            await until(lambda: running.committed == 3)
        suspended = stand.suspended
        assert stand.broker.recovered == []
        # Another owner folded three more.
        stand.broker.changelog += [*rows(3, 4, 5).items(), None]
        stand.broker.committed = 6
        async with stand.running(suspended) as running:
            assert stand.works == [suspended]
            assert suspended.rows == rows(0, 1, 2, 3, 4, 5)
            assert suspended.shown == 6
            assert running.committed == 6
        assert stand.broker.recovered == [*rows(3, 4, 5).items()]


class TestForgottenMarkers:
    """A broker that died between a commit and its markers (ADR 0013)."""

    #: Rows 0 and 1 with their marker, and rows 2 and 3 behind it.
    TWO_CHUNKS = (*rows(0, 1).items(), None, *rows(2, 3).items())
    FIRST, SECOND = "changelog=2 from=0", "changelog=5 from=2"

    async def test_each_offset_says_what_was_written_with_it_and_from_where(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            assert stand.broker.metadata == self.FIRST
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
            assert stand.broker.metadata == self.SECOND

    async def test_an_offset_that_nothing_was_written_with_goes_on_proving_what_was(self, stand):
        stand.broker.changelog, stand.broker.committed = [*self.TWO_CHUNKS, None], 4
        stand.broker.metadata = self.SECOND
        async with stand.running() as running:
            await running.accept(Chunk(4, 6, []))
            await until(lambda: stand.broker.committed == 6)
        assert stand.broker.metadata == self.SECOND

    async def test_neither_rows_nor_offset_were_told_the_chunk_is_done_again(self, stand):
        stand.broker.changelog, stand.broker.stable = [*self.TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        # What hung is aborted before anything is read, so that no later commit makes it true beside its repetition.
        assert stand.broker.changelog == [*rows(0, 1).items(), *[None] * 4, *rows(2, 3).items(), None]
        joined = [f"join {CHANGELOG.topic}"]
        assert stand.broker.producers[0].calls[:5] == ["start", "begin", *joined, "offsets", "abort"]

    async def test_what_hangs_is_aborted_until_the_changelog_was_told_so(self, stand):
        """A broker may die and forget the end of the abort, too: then the first chunk would make true what hangs."""
        stand.broker.changelog, stand.broker.stable, stand.broker.forgets = [*self.TWO_CHUNKS], 3, 2
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))
            assert stand.broker.stable is None
        assert stand.broker.producers[0].calls.count("abort") == 3

    async def test_only_the_offset_was_told_its_chunk_is_done_again(self, stand):
        stand.broker.changelog, stand.broker.stable = [*self.TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 4, self.SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_only_the_offset_was_told_and_the_rows_have_been_aborted_since(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 4, self.SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_work_that_is_ahead_of_the_offset_is_forgotten(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        # The second chunk was acknowledged, and is not true.
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running(stand.suspended) as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_who_is_closed_while_it_looks_forgets_nothing(self, stand, monkeypatch):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        # A hung transaction: so it looks whether the last record that was proven is there.
        stand.broker.changelog += [*rows(2).items()]
        stand.broker.stable = 3
        closed = stand.partition()
        start = Reader.start

        async def close_meanwhile(reader):
            closed.close()
            await start(reader)

        monkeypatch.setattr(Reader, "start", close_meanwhile)
        await asyncio.wait_for(closed.run(stand.suspended), 120)
        assert stand.suspended.rows == rows(0, 1)

    async def test_the_very_first_chunk_may_be_the_one_that_is_forgotten(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        stand.broker.stable, stand.broker.committed = 0, None
        async with stand.running(stand.suspended) as running:
            assert (running.committed, stand.works[0].rows) == (0, {})

    async def test_an_offset_that_somebody_else_set_proves_nothing_and_is_taken(self, stand):
        stand.broker.changelog, stand.broker.committed = [*self.TWO_CHUNKS, None], 3
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (3, rows(0, 1, 2, 3))


class TestAChangelogThatEndsTooEarly:
    """A broker that led it, stood still and was replaced tells its former end; or it has lost records (ADR 0025)."""

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.changelog = [*rows(0, 1).items(), None]
        stand.broker.committed, stand.broker.metadata = 4, TestForgottenMarkers.SECOND
        return stand

    @pytest.mark.parametrize("is_resumed", [False, True])
    async def test_is_asked_for_again_until_it_has_what_the_offset_proves(self, stand, is_resumed):
        suspended = None
        if is_resumed:
            suspended = Work(Partitioning(INPUT.topic, INPUT.partition, Host.partition_counts, Host.cluster))
            suspended.rows, suspended.position = rows(0, 1, 2, 3), 5
        running = stand.partition()
        with capture_logs() as told:
            task = asyncio.ensure_future(running.run(suspended))
            await until(lambda: stand.reopened() > 1)
            assert running.state is PartitionState.RECOVERING
            stand.broker.changelog = [*TestForgottenMarkers.TWO_CHUNKS, None]
            await until(lambda: running.state is PartitionState.RUNNING)
            running.close()
            await asyncio.wait({task})
        assert running.committed == 4
        assert stand.works[-1].rows == rows(0, 1, 2, 3)
        assert "transaction_lost" not in [each["event"] for each in told]

    async def test_counts_as_one_that_has_lost_records_when_it_stays_so(self, stand, monkeypatch):
        monkeypatch.setattr(recovery, "_FORMER_LEADER_SECONDS", 0.0)
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))


class TestATransactionThatDoesNotEnd:
    """Its producer id is no longer that of the transactional id, so no abort of ours ends it (ADR 0013)."""

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.changelog, stand.broker.stable, stand.broker.forgets = [*rows(0, 1, 2).items()], 2, 10**9
        return stand

    async def _opening(self, stand: Stand) -> tuple[Partition, "asyncio.Task[Any]"]:
        opening = stand.partition()
        return opening, asyncio.ensure_future(opening.run())

    async def test_is_told_with_its_place_and_its_mend_and_shows_while_it_lasts(self, stand, monkeypatch):
        monkeypatch.setattr(recovery, "_HANGING_SECONDS", 0.0)
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: opening.problem)
            assert opening.state is PartitionState.RECOVERING
            place = f"{CHANGELOG.topic}[{CHANGELOG.partition}] has not ended at offset 2"
            assert place in opening.problem
            assert "docs/runbooks/DeliveryRecoveryTooLong.md" in opening.problem
            # An operator ends it.
            stand.broker.forgets = 0
            await until(lambda: opening.state is PartitionState.RUNNING)
        assert opening.problem == ""
        [warning] = [line for line in lines if line["log_level"] == "warning"]
        assert warning["event"] == "transaction_hangs"
        told = warning["topic"], warning["partition"], warning["stable_offset"], warning["seconds"]
        assert told == (*CHANGELOG, 2, 0)
        opening.close()
        await asyncio.wait_for(task, 120)

    async def test_is_told_again_as_long_as_it_lasts(self, stand, monkeypatch):
        monkeypatch.setattr(recovery, "_HANGING_SECONDS", 0.0)
        monkeypatch.setattr(recovery, "_TOLD_EVERY", 0.0)
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: sum(line["log_level"] == "warning" for line in lines) > 2)
        opening.close()
        await asyncio.wait_for(task, 120)
        assert opening.problem == ""

    async def test_is_no_news_while_an_abort_may_still_end_it(self, stand):
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: stand.broker.producers and stand.broker.producers[0].calls.count("abort") > 2)
            assert opening.problem == ""
        opening.close()
        await asyncio.wait_for(task, 120)
        assert [line["event"] for line in lines if line["event"].startswith(("open_", "transaction_"))] == [
            "open_transaction_aborted"
        ]


class TestFailures:
    @pytest.mark.parametrize("call", ["start", "begin", "commit", "offsets"])
    async def test_one_that_is_fenced_ends_with_an_error(self, stand, call):
        stand.broker.failures[call] = [ProducerFenced()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        if call != "start":
            await until(lambda: running.state is PartitionState.RUNNING)
            await running.accept(chunk(0, 2))
        with pytest.raises(FencedError, match=r"t\.events\.v1\[3\]: another worker has opened it since"):
            await asyncio.wait_for(task, 120)
        assert stand.broker.committed is None
        assert stand.broker.changelog == []
        assert len(stand.broker.producers) == 1, "it must not fence the true owner"

    @pytest.mark.parametrize("error", [ProducerReplacedError, InvalidProducerIdMapping])
    async def test_one_whose_transactional_id_has_another_producer_ends_with_an_error_that_says_so(self, stand, error):
        stand.broker.failures["commit"] = [error()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.state is PartitionState.RUNNING)
        await running.accept(chunk(0, 2))
        with pytest.raises(FencedError, match=r"has another producer id by now.* This worker ends"):
            await asyncio.wait_for(task, 120)
        assert len(stand.broker.producers) == 1, "it must not fence the true owner"

    @pytest.mark.parametrize("error", MEMBERSHIP_OVER, ids=lambda error: error.__name__)
    async def test_one_whose_membership_is_over_rests_until_the_group_takes_it_back(self, stand, error):
        with capture_logs() as told:
            async with stand.running() as running:
                await running.accept(chunk(0, 2))
                await until(lambda: running.committed == 2)
                stand.broker.failures["offsets"] = [error()]
                await running.accept(chunk(2, 4))
                await until(lambda: stand.broker.producers[0].calls[-1] == "stop")
                assert running.state is PartitionState.RECOVERING
                assert stand.works[0].closed
                await running.accept(chunk(4, 6))
                assert not running.has_room()
        assert stand.suspended is None
        assert stand.broker.committed == 2
        assert stand.broker.changelog == [*rows(0, 1).items(), None]
        assert len(stand.broker.producers) == 1, "it must not fence the true owner"
        assert [each["error"] for each in told if each["event"] == "membership_over"] == [error.__name__]

    @pytest.mark.parametrize("call", ["begin", "send", "offsets", "commit"])
    @pytest.mark.parametrize("error", PASSING, ids=lambda error: error.__name__)
    async def test_when_the_broker_is_away_its_state_is_dropped_and_recovered(self, stand, call, error):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            stand.broker.failures[call] = [error()]
            await running.accept(chunk(2, 4))
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
            assert stand.reopened() == 1
            assert stand.works[0].shown == 0, "what was dropped is out of the gauges"
            assert stand.works[0].closed
            assert stand.works[1].rows == rows(0, 1)
            assert stand.works[1].shown == 2
            assert stand.host.seeks == [0, 2]
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        assert stand.works[1].rows == rows(0, 1, 2, 3)
        assert stand.broker.changelog == [*rows(0, 1).items(), None, *rows(2, 3).items(), None]
        assert stand.suspended is stand.works[1]
        assert stand.suspended.position == 5

    @pytest.mark.parametrize("call", ["start", "read", "committed_offset"])
    async def test_a_broker_that_is_away_when_it_opens_is_waited_for(self, stand, call):
        stand.broker.changelog = [*rows(0).items(), None]
        stand.broker.committed = 1
        stand.broker.failures[call] = [KafkaConnectionError(), KafkaConnectionError(), OSError()]
        async with stand.running() as running:
            assert stand.reopened() == 3
            assert stand.works[-1].rows == rows(0)
            assert running.committed == 1
        assert [work.shown for work in stand.works[:-1]] == [0] * (len(stand.works) - 1)
        assert all(producer.calls[-1] == "stop" for producer in stand.broker.producers)

    async def test_chunks_that_waited_when_it_failed_are_forgotten_and_read_again(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            await running.accept(chunk(1, 9))
            stand.broker.failures["commit"] = [KafkaConnectionError()]
            stand.broker.gate.set()
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
            assert stand.reopened() == 1
            assert running.has_room()
            assert stand.host.seeks == [0, 0]
            await running.accept(chunk(0, 9))
            await until(lambda: running.committed == 9)
        assert stand.works[-1].rows == rows(*range(9))

    async def test_suspended_work_is_not_taken_up_again_after_a_failure(self, stand):
        stand.broker.changelog = [*rows(0).items(), None]
        suspended = Work(Partitioning(INPUT.topic, INPUT.partition, Host.partition_counts, Host.cluster))
        stand.broker.failures["committed_offset"] = [KafkaConnectionError()]
        async with stand.running(suspended):
            assert stand.works[-1] is not suspended
            assert stand.works[-1].rows == rows(0)
            assert suspended.shown == 0

    @pytest.mark.parametrize("call", ["begin", "send", "offsets", "commit"])
    @pytest.mark.parametrize("error", GRAVE, ids=lambda error: error.__name__)
    async def test_any_other_error_ends_it_without_another_try(self, stand, call, error):
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.state is PartitionState.RUNNING)
        stand.broker.failures[call] = [error()]
        await running.accept(chunk(0, 2))
        with pytest.raises(error):
            await asyncio.wait_for(task, 120)
        assert len(stand.broker.producers) == 1
        assert stand.broker.producers[0].calls[-1] == "stop"
        assert stand.broker.committed is None

    @pytest.mark.parametrize("when", ["it opens", "a hole is read again"])
    async def test_a_fetch_that_has_crashed_is_not_waited_for(self, stand, monkeypatch, when):
        """Nobody answers to a seek once Faust's thread has gone."""
        stand.host.settings = replace(stand.host.settings, commit_timeout=0.05)
        sought = asyncio.Event()

        async def seek(*_: Any) -> None:
            sought.set()
            await asyncio.Event().wait()

        if when == "it opens":
            monkeypatch.setattr(stand.host, "seek", seek)
            running = stand.partition()
            task = asyncio.ensure_future(running.run())
            await sought.wait()
            await until(stand.reopened)
            running.close()
            await asyncio.wait_for(task, 60)
        else:
            async with stand.running() as running:
                monkeypatch.setattr(stand.host, "seek", seek)
                with pytest.raises(asyncio.TimeoutError):
                    await running.accept(chunk(5, 7))

    async def test_cancelled_it_lets_go_of_its_work(self, stand):
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.state is PartitionState.RUNNING)
        assert await end([task]) == set()
        assert task.cancelled()
        assert stand.works[0].closed
        assert stand.broker.producers[0].calls[-1] == "stop"

    async def test_a_transaction_that_takes_too_long_is_given_up_and_done_again(self, stand, monkeypatch):
        monkeypatch.setattr(stand.host, "settings", Settings(app_id="app", topic_prefix="t.", commit_timeout=1.0))
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: stand.reopened() == 1)
            stand.broker.gate.set()
            await until(lambda: running.state is PartitionState.RUNNING)
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        assert stand.broker.changelog == [*rows(0, 1).items(), None]
