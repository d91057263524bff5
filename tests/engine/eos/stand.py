"""One group on a real broker or on three: its members, its workers' producers, and what is committed."""

import asyncio
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.brokers import UnstableOffsetError, offsets_at
from processor.engine.pin import Pin, PinnedGroup
from processor.engine.predecessors import OFFSETS_TOPIC, end_transactions, offsets_partition
from processor.engine.streams import read_to_end
from processor.engine.transactions import TransactionalProducer
from processor.settings import Settings
from tests.engine.harness import eventually

#: What Kafka calls the kinds of coordinators.
GROUP, TRANSACTION = 0, 1

#: Milliseconds after which a broker that does not answer is one that hangs, and another one is asked.
_PATIENCE_MS = 2_000
_REQUEST_MS = 5_000

#: Milliseconds that a transaction may stay open while a test looks at it, or waits for a broker.
_OPEN_MS = 300_000


class Member(ConsumerRebalanceListener):
    """A member of the group, and the pin of each assignment that it was given."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.consumer = consumer
        self.pins: list[Pin] = []
        self.assigned: set[TopicPartition] = set()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        coordinator = self.consumer._coordinator
        self.pins.append(Pin(coordinator.generation, coordinator.member_id))
        self.assigned = set(assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.assigned = set()

    @property
    def pin(self) -> Pin:
        return self.pins[-1]


class Stand:
    """Topics and a group of its own, until it is closed.

    Args:
        brokers: their addresses.
        name: of the group, and what its transactional ids begin with.
        replicas: of each partition.
        partitions: of the input, and of its changelog.
        settings: more of them.
    """

    def __init__(
        self, brokers: str, *, name: str | None = None, replicas: int = 1, partitions: int = 4, **settings: Any
    ) -> None:
        self.name = name or f"eos-{uuid.uuid4().hex[:10]}"
        self.settings = Settings(brokers=brokers, app_id=self.name, **{"commit_timeout": 30.0, **settings})
        self.inputs = [TopicPartition(f"{self.name}-in", number) for number in range(partitions)]
        self.changelogs = [TopicPartition(f"{self.name}-log", number) for number in range(partitions)]
        self._replicas = replicas
        self._stack = AsyncExitStack()
        self.admin: Any = None

    async def __aenter__(self) -> "Stand":  # noqa: PYI034 - Self is not in Python 3.10
        self.admin = await self.asker(_PATIENCE_MS)
        topics = [NewTopic(tps[0].topic, len(tps), self._replicas) for tps in (self.inputs, self.changelogs)]
        await self.admin.create_topics(topics)

        async def are_led() -> bool:
            await self.admin._client.force_metadata_update()
            return all(
                self.admin._client.cluster.leader_for_partition(tp) not in {None, -1}
                for tp in self.inputs + self.changelogs
            )

        await eventually(are_led, "the topics have leaders")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def asker(self, patience_ms: int) -> AIOKafkaAdminClient:
        """Connect a client that asks, and waits for so long for an answer."""
        admin = AIOKafkaAdminClient(**clients.connection(self.settings), request_timeout_ms=patience_ms)
        await admin.start()
        self._stack.push_async_callback(admin.close)
        return admin

    # Members and producers

    async def join(self, session: float = 60.0, settings: Settings | None = None) -> Member:
        """Join the group; return the member when it has its share."""
        consumer = AIOKafkaConsumer(
            **clients.connection(settings or self.settings),
            group_id=self.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=int(session * 1000),
            heartbeat_interval_ms=300,
            rebalance_timeout_ms=10_000,
            request_timeout_ms=_REQUEST_MS,
            metadata_max_age_ms=5_000,
        )
        member = Member(consumer)
        consumer.subscribe([self.inputs[0].topic], listener=member)
        await consumer.start()
        self._stack.push_async_callback(consumer.stop)

        async def has_share() -> bool:
            return bool(member.assigned)

        await eventually(has_share, "a member has its share")
        return member

    async def producer(self, worker: str, **options: Any) -> TransactionalProducer:
        """Start the producer of a worker by its name."""
        limits = {"request_timeout_ms": _REQUEST_MS, "transaction_timeout_ms": _OPEN_MS, **options}
        producer = TransactionalProducer(
            **clients.connection(self.settings), transactional_id=self.transactional_id(worker), **limits
        )
        await producer.start()
        self._stack.push_async_callback(stopped, producer)
        return producer

    def transactional_id(self, worker: str) -> str:
        return f"{self.name}-{worker}"

    def as_member(self, pin: Pin) -> PinnedGroup:
        return PinnedGroup(self.name, pin)

    async def write(self, producer: TransactionalProducer, tps: Iterable[TopicPartition], value: bytes) -> None:
        sent = [await producer.send(tp.topic, value, partition=tp.partition) for tp in tps]
        await asyncio.gather(*sent)

    async def move(self, producer: TransactionalProducer, pin: Pin, ends: Mapping[TopicPartition, int]) -> None:
        offsets = {tp: OffsetAndMetadata(end, "") for tp, end in ends.items()}
        await producer.send_offsets_to_transaction(offsets, self.as_member(pin))

    async def transaction(self, producer: TransactionalProducer, pin: Pin, value: bytes, end: int) -> None:
        """Write to every changelog, and move every offset, in one transaction."""
        await producer.begin_transaction()
        await self.write(producer, self.changelogs, value)
        await self.move(producer, pin, dict.fromkeys(self.inputs, end))
        await producer.commit_transaction()

    async def end_transactions(self, transactional_id: str, places: Iterable[TopicPartition], number: int = 0) -> None:
        """End what an id has left undecided in some partitions, and in the offset of one input."""
        producer = clients.transactional_producer(self.settings, transactional_id)
        await end_transactions(producer, self.name, places, self.inputs[number])

    # Looking

    async def offset(self, tp: TopicPartition | None = None) -> int | None:
        """Return the committed offset of a partition.

        Raises:
            UnstableOffsetError: it is not known yet.
        """
        tp = tp or self.inputs[0]
        found = (await self._stable_offsets([tp])).get(tp)
        return None if found is None else found.offset

    async def _stable_offsets(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        return await offsets_at(self.admin, self.name, tps, await self.admin.find_coordinator(self.name))

    async def is_unstable(self, tp: TopicPartition | None = None) -> bool:
        """Say whether an offset waits for a transaction; False, too, while nobody answers."""
        try:
            await self.offset(tp)
        except UnstableOffsetError:
            return True
        except (KafkaError, OSError):
            return False
        return False

    async def settled_offset(self, tp: TopicPartition | None = None) -> int:
        """Wait until an offset is known, also while coordinators move; -1: there has never been one."""
        answers: list[int] = []

        async def answers_come() -> bool:
            try:
                found = await self.offset(tp)
            except (KafkaError, OSError):
                return False
            answers.append(-1 if found is None else found)
            return True

        await eventually(answers_come, "the offset is known")
        return answers[0]

    async def offsets(self) -> set[int]:
        """Wait until the offsets of all inputs are known, and return which there are."""
        found: set[int] = set()

        async def are_known() -> bool:
            try:
                answers = await self._stable_offsets(self.inputs)
            except (KafkaError, OSError):
                return False
            found.update(answers[tp].offset if tp in answers else -1 for tp in self.inputs)
            return True

        await eventually(are_known, "the offsets are known")
        return found

    async def hangs(self, tp: TopicPartition) -> bool:
        """Say whether a partition has records that are neither committed nor aborted."""
        return await self._end(clients.reader, tp) < await self._end(clients.uncommitted_reader, tp)

    async def _end(self, make: Callable[[Settings], Any], tp: TopicPartition) -> int:
        async with make(self.settings) as reader:
            return int((await reader.end_offsets([tp]))[tp])

    async def visible(self, tp: TopicPartition) -> list[bytes]:
        """Return what is committed in a partition."""
        return [record.value async for record in read_to_end(self.settings, tp.topic, [tp.partition])]

    async def all_visible(self) -> list[list[bytes]]:
        """Return what is committed in each changelog partition."""
        found: list[list[bytes]] = [[] for _ in self.changelogs]
        async for record in read_to_end(self.settings, self.changelogs[0].topic):
            found[record.partition].append(record.value)
        return found

    async def show(self, expected: list[bytes]) -> None:
        """Wait until this, and nothing else, is committed in each changelog partition: markers come after answers."""

        async def is_there() -> bool:
            try:
                return await self.all_visible() == [expected] * len(self.changelogs)
            except (KafkaError, OSError):
                return False

        await eventually(is_there, f"{expected} is committed")

    async def coordinator(self, kind: int, key: str) -> int:
        """Wait until a coordinator is known, and return its broker's number."""
        found: list[int] = []

        async def is_known() -> bool:
            try:
                found.append(await self.admin.find_coordinator(key, kind))
            except (KafkaError, OSError):
                return False
            return True

        await eventually(is_known, "the coordinator is known")
        return found[-1]

    async def offsets_partition(self) -> TopicPartition:
        """Return where the group's offsets are."""
        await self.admin._client.force_metadata_update()
        return offsets_partition(self.name, len(self.admin._client.cluster.partitions_for_topic(OFFSETS_TOPIC)))


async def stopped(producer: Any) -> None:
    """Stop a producer whatever state it is in; what it has open, others end."""
    try:
        await asyncio.wait_for(producer.stop(), 2)
    except (KafkaError, OSError, asyncio.TimeoutError):
        await producer.client.close()
