"""The transactional producer on a real broker, with a proxy between them that delays, repeats and loses requests."""

import asyncio
import gc
import struct
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidProducerIdMapping,
    NodeNotReadyError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata

from processor.demo.broker import EmbeddedKafka
from processor.engine import clients
from processor.engine.predecessors import undecided
from processor.engine.streams import read_to_end
from processor.engine.transactions import (
    LAST_SEQUENCE,
    NewProducerNeededError,
    ProducerReplacedError,
    _TransactionManager,
)
from processor.settings import Settings
from tests.engine.harness import eventually
from tests.engine.proxy import PASSES, Answered, Api, CutAfter, CutBefore, Fate, Late, Proxy, Repeated, Request

pytestmark = pytest.mark.kafka

#: What a broker answers to an epoch that is not its last.
PRODUCER_FENCED = 90

#: What a transaction consists of, beside its records.
TRANSACTION = [Api.ADD_PARTITIONS_TO_TXN, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN]

#: The newest EndTxn that a broker before Kafka 4 knows.
BEFORE_KAFKA_4 = {Api.END_TXN: 4}


class Stand:
    """A topic and a group of its own, and producers that reach the broker through a proxy."""

    def __init__(self, proxy: Proxy, broker: str) -> None:
        name = f"txn-{uuid.uuid4().hex[:10]}"
        self.proxy = proxy
        self.direct = Settings(brokers=broker, app_id=name, commit_timeout=30.0)
        self.settings = Settings(brokers=proxy.address, app_id=name, commit_timeout=30.0)
        self.topic, self.other_topic = name, f"{name}-other"
        self.offset_of = TopicPartition(name, 0)

    async def create(self) -> None:
        admin = clients.admin(self.direct)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in (self.topic, self.other_topic)])
        await admin.close()

    def producer(self) -> AIOKafkaProducer:
        return clients.transactional_producer(self.settings, self.settings.app_id)

    def producer_of_aiokafka(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(**clients.connection(self.settings), transactional_id=self.settings.app_id)

    async def write(self, producer: AIOKafkaProducer, *values: bytes, topic: str | None = None) -> None:
        for value in values:
            await producer.send_and_wait(topic or self.topic, value, partition=0)

    async def move(self, producer: AIOKafkaProducer, offset: int) -> None:
        await producer.send_offsets_to_transaction(
            {self.offset_of: OffsetAndMetadata(offset, "")}, self.settings.app_id
        )

    async def transaction(self, producer: AIOKafkaProducer, *values: bytes) -> None:
        await producer.begin_transaction()
        await self.write(producer, *values)
        await producer.commit_transaction()

    def refusal(self, of: str, error: int) -> bytes:
        """Give the body of an answer that refuses a group, the offset or a partition."""
        topic = self.topic if of == "offset" else self.other_topic
        name = struct.pack(f">h{len(topic)}s", len(topic), topic.encode())
        no_wait, one = struct.pack(">i", 0), struct.pack(">i", 1)
        if of == "group":
            return no_wait + struct.pack(">h", error)
        return no_wait + one + name + one + struct.pack(">ih", 0, error)

    async def shows(self, expected: list[bytes]) -> bool:
        return await self.visible() == expected

    async def visible(self) -> list[bytes]:
        """Return what is committed, once all is decided: markers come after the answers."""
        admin = clients.admin(self.direct)
        await admin.start()

        async def is_decided() -> bool:
            return not await undecided(admin, [TopicPartition(self.topic, 0)])

        try:
            await eventually(is_decided, "all transactions have their markers")
        finally:
            await admin.close()
        return [record.value async for record in read_to_end(self.direct, self.topic)]


@pytest.fixture
async def make_stand(kafka_broker: str) -> AsyncIterator[Callable[..., Any]]:
    proxies = []

    async def make(newest: dict[int, int] | None = None) -> Stand:
        proxy = Proxy(kafka_broker, newest)
        proxies.append(await proxy.__aenter__())
        stand = Stand(proxy, kafka_broker)
        await stand.create()
        return stand

    yield make
    for proxy in proxies:
        await proxy.__aexit__()


@pytest.fixture
async def stand(make_stand: Callable[..., Any]) -> Stand:
    return await make_stand()


def error_of(answer: bytes, *, flexible: bool = False) -> int:
    """Read the error of an answer to EndTxn: it follows the header and the time to wait."""
    return struct.unpack_from(">h", answer, 9 if flexible else 8)[0]


def first(api: Api, fate: Fate) -> Callable[[Request], Fate]:
    """Give a judge that mistreats the first request of a kind."""
    fates = iter([fate])
    return lambda request: next(fates, PASSES) if request.api == api else PASSES


class TestALateEndOfATransaction:
    async def test_commits_half_of_the_next_with_a_producer_of_aiokafka(self, stand):
        """The fault that all this is for. Where it is gone, transactions.py has lost its reason."""
        late = Late()
        async with stand.producer_of_aiokafka() as producer:
            stand.proxy.fate_of = first(Api.END_TXN, late)
            await stand.transaction(producer, b"a")
            await producer.begin_transaction()
            await stand.write(producer, b"half of b")
            assert error_of(await late.arrives()) == 0
            # Nobody has committed it; its marker comes after the answer.
            await eventually(lambda: stand.shows([b"a", b"half of b"]), "half of the second transaction is true")

    async def test_is_refused_and_the_next_is_aborted_as_it_is_told(self, stand):
        late = Late()
        async with stand.producer() as producer:
            stand.proxy.fate_of = first(Api.END_TXN, late)
            await stand.transaction(producer, b"a")
            await producer.begin_transaction()
            await stand.write(producer, b"half of b")
            assert error_of(await late.arrives(), flexible=True) == PRODUCER_FENCED
            await producer.abort_transaction()
            await stand.transaction(producer, b"c")
        assert await stand.visible() == [b"a", b"c"]

    async def test_is_refused_and_the_next_is_committed_as_it_is_told(self, stand):
        late = Late()
        async with stand.producer() as producer:
            stand.proxy.fate_of = first(Api.END_TXN, late)
            await stand.transaction(producer, b"a")
            await producer.begin_transaction()
            await stand.write(producer, b"half of b")
            assert error_of(await late.arrives(), flexible=True) == PRODUCER_FENCED
            await stand.write(producer, b"rest of b")
            await producer.commit_transaction()
        assert await stand.visible() == [b"a", b"half of b", b"rest of b"]

    async def test_is_refused_after_an_abort_of_what_hung(self, stand):
        """`abort_in` is the one place at which the engine aborts and goes on."""
        late = Late()
        async with stand.producer() as producer:
            stand.proxy.fate_of = first(Api.END_TXN, late)
            places = [TopicPartition(stand.topic, 0)]
            await clients.abort_in(producer, places, stand.offset_of, stand.settings.app_id)
            await producer.begin_transaction()
            await stand.write(producer, b"half of a")
            assert error_of(await late.arrives(), flexible=True) == PRODUCER_FENCED
            await stand.write(producer, b"rest of a")
            await producer.commit_transaction()
        assert await stand.visible() == [b"half of a", b"rest of a"]


class TestABrokerThatDoesNotKnowVersion5:
    """What is late is valid there, so the next transaction is a new producer's, which has another epoch."""

    @pytest.fixture
    async def stand(self, make_stand):
        return await make_stand(BEFORE_KAFKA_4)

    async def test_ends_transactions_with_the_version_that_it_knows(self, stand):
        async with stand.producer() as producer:
            await stand.transaction(producer, b"a")
            await stand.transaction(producer, b"b")
        assert {request.version for request in stand.proxy.seen if request.api == Api.END_TXN} == {0}
        assert await stand.visible() == [b"a", b"b"]

    @pytest.mark.parametrize("api", TRANSACTION)
    async def test_a_producer_one_of_whose_requests_got_no_answer_begins_no_other(self, stand, api):
        late = Late()
        async with stand.producer() as producer:
            stand.proxy.fate_of = first(api, late)
            await producer.begin_transaction()
            await stand.write(producer, b"a")
            await stand.move(producer, 1)
            await producer.commit_transaction()
            with pytest.raises(NewProducerNeededError) as refused:
                await producer.begin_transaction()
        assert refused.value.retriable
        async with stand.producer() as producer:
            await producer.begin_transaction()
            await stand.write(producer, b"half of b")
            await late.arrives()
            await stand.write(producer, b"rest of b")
            await producer.commit_transaction()
            await stand.transaction(producer, b"c")
        assert await stand.visible() == [b"a", b"half of b", b"rest of b", b"c"]

    async def test_neither_after_an_abort_of_what_hung(self, stand):
        async with stand.producer() as producer:
            stand.proxy.fate_of = first(Api.END_TXN, CutBefore())
            places = [TopicPartition(stand.topic, 0)]
            await clients.abort_in(producer, places, stand.offset_of, stand.settings.app_id)
            with pytest.raises(NewProducerNeededError):
                await producer.begin_transaction()


class TestRequestsThatAreLostOrRepeated:
    @pytest.mark.parametrize("api", [*TRANSACTION, Api.PRODUCE])
    @pytest.mark.parametrize("fate", [CutBefore, CutAfter, lambda: Repeated(0.05)], ids=["before", "after", "repeated"])
    async def test_each_transaction_is_there_once(self, stand, api, fate):
        expected = []
        async with stand.producer() as producer:
            for number in range(4):
                stand.proxy.fate_of = first(api, fate())
                values = [b"%d" % number, b"%d again" % number]
                await producer.begin_transaction()
                await stand.write(producer, *values)
                await stand.move(producer, number)
                await producer.commit_transaction()
                expected += values
        assert await stand.visible() == expected
        assert stand.proxy.count(api) > 4 or fate not in {CutBefore, CutAfter}

    @pytest.mark.parametrize("lost", [1, 2], ids=["of the transactional id", "of the group"])
    @pytest.mark.parametrize("fate", [CutBefore, CutAfter], ids=["before", "after"])
    async def test_a_connection_that_breaks_while_a_coordinator_is_looked_for_is_no_end(self, stand, lost, fate):
        fates = iter([*[PASSES] * (lost - 1), fate()])
        stand.proxy.fate_of = lambda request: next(fates, PASSES) if request.api == Api.FIND_COORDINATOR else PASSES
        async with stand.producer() as producer:
            await producer.begin_transaction()
            await stand.write(producer, b"a")
            await stand.move(producer, 1)
            await producer.commit_transaction()
        assert await stand.visible() == [b"a"]
        assert stand.proxy.count(Api.FIND_COORDINATOR) > 2


class TestARefusalThatTheProducerSurvives:
    @pytest.mark.parametrize(
        ("api", "answer", "error"),
        [
            (Api.TXN_OFFSET_COMMIT, "offset", GroupAuthorizationFailedError),
            (Api.ADD_OFFSETS_TO_TXN, "group", GroupAuthorizationFailedError),
            (Api.ADD_PARTITIONS_TO_TXN, "partition", TopicAuthorizationFailedError),
        ],
    )
    async def test_what_was_refused_is_aborted_and_never_seen(self, stand, api, answer, error):
        async with stand.producer() as producer:
            await producer.begin_transaction()
            await stand.write(producer, b"refused")
            stand.proxy.fate_of = first(api, Answered(stand.refusal(answer, error.errno)))
            if api == Api.ADD_PARTITIONS_TO_TXN:
                await producer.send(stand.other_topic, b"refused", partition=0)
                step = producer._txn_manager.wait_for_transaction_end()
            else:
                step = stand.move(producer, 1)
            with pytest.raises(error):
                await step
            ends = stand.proxy.count(Api.END_TXN)
            await producer.abort_transaction()
            assert stand.proxy.count(Api.END_TXN) == ends + 1
            await stand.transaction(producer, b"true")
        assert await stand.visible() == [b"true"]


class TestAnotherProducerId:
    """A transactional id has another one after 32,767 transactions, or was forgotten: the former is no owner's."""

    @pytest.mark.parametrize(
        ("api", "answer"),
        [
            (Api.TXN_OFFSET_COMMIT, "offset"),
            (Api.ADD_OFFSETS_TO_TXN, "group"),
            (Api.ADD_PARTITIONS_TO_TXN, "partition"),
        ],
    )
    async def test_fences_whoever_has_the_former(self, stand, api, answer):
        async with stand.producer() as producer:
            await producer.begin_transaction()
            stand.proxy.fate_of = first(api, Answered(stand.refusal(answer, InvalidProducerIdMapping.errno)))
            is_record = api == Api.ADD_PARTITIONS_TO_TXN
            step = stand.write(producer, b"a", topic=stand.other_topic) if is_record else stand.move(producer, 1)
            with pytest.raises(ProducerReplacedError):
                await step


@pytest.mark.slow
async def test_an_id_that_is_used_now_and_then_is_not_forgotten():
    """As a partition uses it that has nothing to write; the broker's week lasts six seconds here."""
    week = {
        "transactional.id.expiration.ms": "6000",
        "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    }
    with EmbeddedKafka(properties=week) as broker:
        async with Proxy(broker.bootstrap_servers) as proxy:
            used, unused = Stand(proxy, broker.bootstrap_servers), Stand(proxy, broker.bootstrap_servers)
            await used.create()
            await unused.create()
            async with used.producer() as producer, unused.producer() as forgotten:
                await used.transaction(producer, b"a")
                await unused.transaction(forgotten, b"a")
                for _ in range(18):
                    await asyncio.sleep(0.5)
                    await clients.abort_in(producer, [], used.offset_of, used.settings.app_id)
                await used.transaction(producer, b"b")
                with pytest.raises(ProducerReplacedError):
                    await unused.transaction(forgotten, b"b")
            assert await used.visible() == [b"a", b"b"]


class TestSequenceNumbers:
    async def test_begin_anew_with_each_transaction(self, stand):
        async with stand.producer() as producer:
            await producer.begin_transaction()
            # A producer id that a partition does not know yet may begin at any number.
            producer._txn_manager._sequence_numbers[stand.offset_of] = 2**31 - 2
            await stand.write(producer, b"a", b"b")
            await producer.commit_transaction()
            await stand.transaction(producer, b"c", b"d")
            await stand.transaction(producer, b"e")
        assert await stand.visible() == [b"a", b"b", b"c", b"d", b"e"]

    async def test_a_broker_before_version_5_has_a_new_producer_before_they_end(self, make_stand):
        stand = await make_stand(BEFORE_KAFKA_4)
        async with stand.producer() as producer:
            await producer.begin_transaction()
            producer._txn_manager._sequence_numbers[stand.offset_of] = LAST_SEQUENCE - 1
            await stand.write(producer, b"a")
            await producer.commit_transaction()
            await stand.transaction(producer, b"b")
            with pytest.raises(NewProducerNeededError) as refused:
                await producer.begin_transaction()
        assert refused.value.retriable
        async with stand.producer() as producer:
            await stand.transaction(producer, b"c")
        assert await stand.visible() == [b"a", b"b", b"c"]


async def test_a_failure_that_nobody_waits_for_is_not_told_once_more_by_the_loop():
    """Whoever had sent the offsets is told; the end of the transaction, which is refused too, is waited for by none."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    manager = _TransactionManager("id", 1_000)
    manager.set_pid_and_epoch(1, 0)
    manager.begin_transaction()
    offsets = manager.add_offsets_to_txn({}, "group")
    manager.fatal_error(ProducerFenced())
    with pytest.raises(ProducerFenced):
        await offsets
    del manager, offsets
    gc.collect()
    assert told == []


async def test_brokers_that_name_none_yet_are_waited_for(monkeypatch):
    """A broker that has just started answers so for a moment."""

    async def start(_: AIOKafkaProducer) -> None:
        raise AssertionError("Did we not perform bootstrap?")

    monkeypatch.setattr(AIOKafkaProducer, "start", start)
    producer = clients.transactional_producer(Settings(), "id")
    with pytest.raises(NodeNotReadyError):
        await producer.start()
    await producer.stop()
