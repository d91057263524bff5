"""Workers of a simulation: real partitions and real producers, on a network that is not."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.engine.brokers import MembershipUnknownError, UnstableOffsetError
from processor.engine.chunks import Chunk
from processor.engine.clock import BrokerClock
from processor.engine.inbox import InputBuffer
from processor.engine.lost_markers import Owned, outputs_without_changelogs
from processor.engine.partition import Partition, PartitionState
from processor.engine.pin import Pin
from processor.engine.predecessors import Transaction, Undecided
from processor.engine.recovery import Left
from processor.engine.stage import Stage, Work
from processor.metrics import Metrics
from processor.settings import Settings
from tests.simulation.cluster import OFFSETS, Cluster
from tests.simulation.loop import Process
from tests.simulation.mutants import Engine
from tests.simulation.network import Client, Connection, Network

Answer = TypeVar("Answer")

#: When every run begins, in seconds since the epoch.
_START = 1_795_100_000

#: Seconds that a fetch waits for records.
_FETCH_WAIT = 5.0


@dataclass
class Delivery:
    """How chunks come to their partition: chances for each."""

    dropped: float = 0.0
    repeated: float = 0.0
    #: Seconds at most that a chunk is on its way.
    delay: float = 0.001
    records: int = 4


class _Link:
    """A client of which only the network matters: a connection that is renewed."""

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._name = network, name
        self._connection: Connection | None = None

    async def ask(self, name: str, serve: Callable[[], Answer]) -> Answer:
        if self._connection is None or not self._connection.is_open:
            self._connection = self._network.connect()
        return await self._network.ask(f"{self._name} {name}", lambda _busy: serve(), self._connection)


class _Reader:
    """Reads committed records, a few at a time."""

    def __init__(self, link: _Link, network: Network, broker: Cluster) -> None:
        self._link, self._network, self._broker = link, network, broker
        self._position = 0

    async def start(self) -> None:
        await self._link.ask("metadata", lambda: None)

    async def stop(self) -> None:
        """There is nothing to let go of."""

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        [self._tp] = tps

    def seek(self, _tp: TopicPartition, offset: int) -> None:
        self._position = offset

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        log = self._broker.logs[self._tp]
        count = self._network.random.randint(1, 40)
        try:
            records, after = await self._link.ask("read", lambda: log.read(self._position, count))
        except KafkaError:
            # As aiokafka's: it tells nobody, and asks again.
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        if after == self._position:
            await asyncio.sleep(timeout_ms / 1000)
        self._position = after
        return {self._tp: records} if records else {}

    async def position(self, _tp: TopicPartition) -> int:
        return self._position


class Feed:
    """Fetches one input partition for one worker, and delivers chunks: late, twice, or not at all."""

    def __init__(self, worker: "Worker", tp: TopicPartition) -> None:
        self._worker, self._tp = worker, tp
        self._link = _Link(worker.network, f"{worker.name} fetch")
        self._log = worker.broker.logs[tp]
        self._seeks = 0
        self._arrival = asyncio.Event()
        self._log.on_change.append(self._arrival.set)
        self._sent: deque[Chunk] = deque()
        self._has_sent = asyncio.Event()
        self.position = 0
        worker.process.start(self._fetch())
        worker.process.start(self._deliver())

    def seek(self, offset: int) -> None:
        self.position = offset
        self._seeks += 1
        self._arrival.set()

    def wake(self) -> None:
        self._arrival.set()

    @property
    def _partition(self) -> Partition | None:
        tenure = self._worker.tenures.get(self._tp)
        return None if tenure is None else tenure.partition

    async def _fetch(self) -> None:
        random = self._worker.network.random
        while True:
            partition, seeks = self._partition, self._seeks
            self._arrival.clear()
            if partition is not None and partition.has_room():
                count = random.randint(1, self._worker.delivery.records)
                try:
                    records, after = await self._link.ask("records", partial(self._log.read, self.position, count))
                except KafkaError:
                    await asyncio.sleep(0.1)
                    continue
                if seeks != self._seeks:
                    continue
                if after > self.position:
                    self._sent.append(Chunk(self.position, after, list(records)))
                    self._has_sent.set()
                    self.position = after
                    continue
            try:
                await asyncio.wait_for(self._arrival.wait(), _FETCH_WAIT)
            except asyncio.TimeoutError:
                continue

    async def _deliver(self) -> None:
        random, delivery, trace = self._worker.network.random, self._worker.delivery, self._worker.network.trace
        while True:
            while not self._sent:
                self._has_sent.clear()
                await self._has_sent.wait()
            chunk = self._sent.popleft()
            await asyncio.sleep(delivery.delay * random.random())
            partition, chance = self._partition, random.random()
            if partition is None or chance < delivery.dropped:
                trace(f"{self._worker.name}  chunk {chunk.start}-{chunk.end} of {self._tp.partition} is dropped")
                continue
            trace(f"{self._worker.name}  chunk {chunk.start}-{chunk.end} of {self._tp.partition}")
            await partition.accept(chunk)
            if chance > 1 - delivery.repeated:
                self._sent.append(chunk)


@dataclass
class Tenure:
    """A worker's time with a partition."""

    worker: "Worker"
    partition: Partition
    task: "asyncio.Task[Work | None]"


#: Metrics are dear to make, and no run looks at them.
_METRICS = Metrics(["fold"])


class Worker:
    """A process that holds partitions, as processor/engine/worker.py does.

    Args:
        stage: what its partitions work at.
        engine: what partitions and producers are made of.
        counts: partitions of each topic.
        versions: of the requests that the broker takes.
    """

    def __init__(
        self,
        process: Process,
        network: Network,
        broker: Cluster,
        settings: Settings,
        stage: Stage,
        delivery: Delivery,
        engine: Engine,
        counts: Mapping[str, int],
        versions: Mapping[int, tuple[int, int]],
    ) -> None:
        self.process, self.network, self.broker = process, network, broker
        self.settings, self.metrics, self.delivery = settings, _METRICS, delivery
        self.name = process.name
        self.partition_counts = dict(counts)
        self.clock = BrokerClock(_METRICS, lambda: _START + network.loop.time(), network.loop.time)
        self.monotonic = network.loop.time
        self.versions = versions
        self.tenures: dict[TopicPartition, Tenure] = {}
        self.suspended: dict[TopicPartition, Work] = {}
        self.left: dict[TopicPartition, Left] = {}
        self._stage, self._engine = stage, engine
        self._feeds: dict[TopicPartition, Feed] = {}
        self._admin = _Link(network, f"{self.name} admin")
        self.producers: list[AIOKafkaProducer] = []
        self.input_buffer = InputBuffer(settings.chunk_records)
        self.rounds = engine.rounds(
            settings, f"{settings.app_id}-worker-{self.name}", self._transactional_producer, self.clock, self.monotonic
        )

        lost_markers = engine.lost_markers(settings, _METRICS, self, self.rounds, self.monotonic)
        process.start(lost_markers.watch(self._outputs_to_watch, self._changelogs))

    def _changelogs(self) -> Mapping[TopicPartition, Owned]:
        return dict(owned for tenure in self.tenures.values() for owned in tenure.partition.owned())

    def _outputs_to_watch(self) -> Sequence[TopicPartition]:
        tenure = self.tenures.get(TopicPartition(self.settings.topic(self._stage.inputs[0]), 0))
        if tenure is None or tenure.partition.state is not PartitionState.RUNNING:
            return ()
        return outputs_without_changelogs([self._stage], self.settings, self.partition_counts)

    # What a partition asks for

    cluster = "cluster"

    def _transactional_producer(self, transactional_id: str) -> AIOKafkaProducer:
        producer = self._engine.make_producer(self.settings, transactional_id)
        self.producers.append(producer)
        name = f"{self.name}.{len(self.producers)}"
        client = Client(self.network, self.broker, name, self.settings.commit_timeout, self.versions)
        producer.client = producer._sender.client = client
        producer.host = self
        producer._metadata = producer._message_accumulator._cluster = client.cluster
        return producer

    def reader(self) -> Any:
        return _Reader(_Link(self.network, f"{self.name} reader"), self.network, self.broker)

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        group, offsets = self.broker.group, self.broker.offsets
        refusal, is_stable, found = await self._admin.ask(
            "committed offset", lambda: (group.judge(*pin), offsets.is_stable(tp), offsets.committed.get(tp))
        )
        if refusal:
            raise MembershipUnknownError(pin)
        if not is_stable:
            raise UnstableOffsetError(tp)
        return found

    async def any_offset(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """Ask for the last offset that is decided, whatever waits: only a mutant does."""
        return await self._admin.ask("any offset", lambda: self.broker.offsets.committed.get(tp))

    async def commit_offset(self, tp: TopicPartition, offset: OffsetAndMetadata) -> None:
        """Commit an offset by itself: only a mutant does."""
        await self._admin.ask("commit", lambda: self.broker.offsets.committed.update({tp: offset}))

    async def holders(self, tp: TopicPartition | None) -> frozenset[Undecided]:
        return await self._admin.ask("holders", lambda: self.broker.holders(OFFSETS if tp is None else tp))

    async def predecessors(
        self, _tp: TopicPartition, producer_ids: Collection[int], *, spares_members: bool
    ) -> Sequence[str]:
        return await self._admin.ask(
            "predecessors", lambda: self.broker.transactional_ids(producer_ids, spares_members=spares_members)
        )

    async def undecided(self, tps: Collection[TopicPartition]) -> frozenset[Undecided]:
        return await self._admin.ask("undecided", lambda: frozenset().union(*map(self.broker.holders, tps)))

    async def transactions(self, producer_ids: Collection[int]) -> Sequence[Transaction]:
        return await self._admin.ask("transactions", lambda: self.broker.transactions(producer_ids))

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        log = self.broker.logs[tp]
        return 0, await self._admin.ask("stable offset", lambda: log.stable)

    async def high_watermark(self, tp: TopicPartition) -> int:
        log = self.broker.logs[tp]
        return await self._admin.ask("high watermark", lambda: log.end)

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        await asyncio.sleep(self.network.latency())
        self._feeds[tp].seek(offset)

    def position(self, tp: TopicPartition) -> int | None:
        return self._feeds[tp].position

    def wake(self) -> None:
        for feed in self._feeds.values():
            feed.wake()

    # Life-cycle

    def open(self, tp: TopicPartition, generation: int) -> Tenure:
        """Take a partition, as a member of a generation."""
        if tp not in self._feeds:
            self._feeds[tp] = self.process.context.copy().run(Feed, self, tp)
        partition = self._engine.partition(self._stage, tp, self, Pin(generation, self.name))
        task = self.process.start(partition.run(self.suspended.pop(tp, None), self.left.pop(tp, None)))
        self.tenures[tp] = tenure = Tenure(self, partition, task)
        task.add_done_callback(lambda _: self._end(tp, tenure))
        return tenure

    def _end(self, tp: TopicPartition, tenure: Tenure) -> None:
        """Keep the work of a partition that was closed in good order."""
        if self.tenures.get(tp) is tenure:
            del self.tenures[tp]
        if tenure.task.cancelled() or tenure.task.exception() is not None:
            return
        if (work := tenure.task.result()) is not None:
            self.suspended[tp] = work
            if tenure.partition.left is not None:
                self.left[tp] = tenure.partition.left

    @property
    def is_usable(self) -> bool:
        return self.process.is_alive and not self.process.is_frozen
