"""Find whose transactions hang, and end them by their transactional ids (ADR 0025).

A partition's last stable offset shows that records are undecided; the answer to a question for an offset, that the
offset is. Partition leaders know whose records are undecided (`DescribeProducers`); coordinators know the transactional
id (`ListTransactions`). Whoever starts a producer with that id fences its owner and ends what the owner had open; an
empty transaction then ends what has been decided, and whose markers were never written.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from processor.engine import clients
from processor.engine.protocol import by_topic

__all__ = [
    "OFFSETS_TOPIC",
    "Transaction",
    "Undecided",
    "commit_lost",
    "end_transactions",
    "holders",
    "offsets_partition",
    "transactions",
    "undecided",
]

#: The topic of the groups' offsets.
OFFSETS_TOPIC = "__consumer_offsets"

#: What coordinators call a transaction that has not ended.
_OPEN_STATES = ("Ongoing", "PrepareCommit", "PrepareAbort")

_Text = CompactString("utf-8")

_NO_TAGS: Mapping[int, bytes] = {}


def _list(*fields: tuple[str, Any]) -> Array:
    """Declare an array of structs, in the form of flexible versions."""
    return CompactArray(*fields, ("tags", TaggedFields))


class _DescribeProducersResponse(Response):
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            _list(
                ("topic", _Text),
                (
                    "partitions",
                    _list(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", _Text),
                        (
                            "producers",
                            _list(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("first_open_offset", Int64),
                            ),
                        ),
                    ),
                ),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducersRequestV0(RequestStruct):
    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _DescribeProducersResponse
    SCHEMA = Schema(
        ("topics", _list(("topic", _Text), ("partitions", CompactArray(Int32)))),
        ("tags", TaggedFields),
    )


class _ListTransactionsResponse(Response):
    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_states", CompactArray(_Text)),
        ("transactions", _list(("transactional_id", _Text), ("producer_id", Int64), ("state", _Text))),
        ("tags", TaggedFields),
    )


class _ListTransactionsRequestV0(RequestStruct):
    API_KEY = 66
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ListTransactionsResponse
    SCHEMA = Schema(
        ("states", CompactArray(_Text)),
        ("producer_ids", CompactArray(Int64)),
        ("tags", TaggedFields),
    )


class _DescribeProducers(Request[_DescribeProducersRequestV0]):
    """Asks a leader who writes to partitions."""

    API_KEY = 61

    def __init__(self, tps: Iterable[TopicPartition]) -> None:
        self._topics = [(topic, numbers, _NO_TAGS) for topic, numbers in by_topic(tps).items()]

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the only version."""
        return request_struct_class(self._topics, _NO_TAGS)


class _ListTransactions(Request[_ListTransactionsRequestV0]):
    """Asks a broker for the transactional ids that it coordinates."""

    API_KEY = 66

    def __init__(self, states: Collection[str], producer_ids: Collection[int]) -> None:
        self._fields = (list(states), list(producer_ids))

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the only version."""
        return request_struct_class(*self._fields, _NO_TAGS)


class Transaction(NamedTuple):
    """A transactional id and what its coordinator knows of it."""

    transactional_id: str
    producer_id: int
    #: In Kafka's words: Empty, Ongoing, PrepareCommit, CompleteCommit and others.
    state: str

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, as far as its coordinator knows."""
        return self.state in _OPEN_STATES


class Undecided(NamedTuple):
    """Records of one transaction in one partition that are neither committed nor aborted."""

    tp: TopicPartition
    producer_id: int
    #: The offset of the first of them; negative where we may not see it.
    first: int


async def holders(admin: AIOKafkaAdminClient, group_id: str, tp: TopicPartition | None) -> frozenset[Undecided]:
    """Ask whose transactions hold up a partition, or the offsets of a group.

    Where we may not read the offsets' topic, all transactions are among them that are open and that we may see.

    Args:
        admin: asks.
        group_id: the group.
        tp: the partition; None: the group's offsets.

    Raises:
        KafkaError, NotImplementedError: a broker does not tell.
    """
    await admin._client.force_metadata_update()
    if tp is not None:
        return await undecided(admin, [tp])
    numbers = admin._client.cluster.partitions_for_topic(OFFSETS_TOPIC) or ()
    place = offsets_partition(group_id, len(numbers) or 1)
    try:
        if numbers:
            return await undecided(admin, [place])
    except TopicAuthorizationFailedError:
        pass
    return frozenset(Undecided(place, each.producer_id, -1) for each in await transactions(admin, states=_OPEN_STATES))


async def undecided(admin: AIOKafkaAdminClient, tps: Collection[TopicPartition]) -> frozenset[Undecided]:
    """Ask the leaders of partitions what is undecided in them, and whose it is.

    What is there at two looks, some time apart, is of one transaction, which hangs or takes long. At one look there may
    be the round of any worker that lives.

    Raises:
        KafkaError: a leader has moved, or does not let us see it.
    """
    cluster = admin._client.cluster
    by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
    for tp in tps:
        by_leader[cluster.leader_for_partition(tp)].append(tp)
    found: set[Undecided] = set()
    for leader, led in by_leader.items():
        response = await admin._send_request(_DescribeProducers(led), leader)
        for topic, partitions, _ in response.topics:
            for partition, code, _, producers, _ in partitions:
                _raise(code)
                found.update(
                    Undecided(TopicPartition(topic, partition), producer_id, first)
                    for producer_id, _, _, _, _, first, _ in producers
                    if first >= 0
                )
    return frozenset(found)


async def transactions(
    admin: AIOKafkaAdminClient, *, producer_ids: Collection[int] = (), states: Collection[str] = ()
) -> Sequence[Transaction]:
    """Ask every broker for transactional ids: those of some producer ids or in some states, else all of them.

    Brokers leave out those that we may not see.

    Raises:
        KafkaError: a broker did not answer, so some may be missing.
    """
    nodes = [broker.nodeId for broker in admin._client.cluster.brokers()]
    request = _ListTransactions(states, producer_ids)
    responses = await asyncio.gather(*(admin._send_request(request, node) for node in nodes))
    for response in responses:
        _raise(response.error_code)
    return [Transaction(*fields[:3]) for response in responses for fields in response.transactions]


async def end_transactions(
    producer: AIOKafkaProducer, group: str, places: Iterable[TopicPartition], tp: TopicPartition
) -> None:
    """Fence whoever has a transactional id, abort what that had open, and write the markers that are missing.

    Safe against an owner that lives: its next request is refused (ProducerFenced), and it begins anew.

    Args:
        producer: one with the id, not started; it is closed afterwards.
        group: the consumer group.
        places: the partitions that may lack markers.
        tp: a partition of the group, whose offsets may lack a marker.
    """
    try:
        await producer.start()
        await clients.abort_in(producer, places, tp, group)
    finally:
        await producer.stop()


async def commit_lost(producer: AIOKafkaProducer, places: Iterable[TopicPartition]) -> None:
    """Fence whoever has a transactional id, and write the markers of a commit in some places.

    Args:
        producer: one with the id, not started; it is closed afterwards.
        places: where records of the id are undecided, though no transaction of it is open.
    """
    try:
        await producer.start()
        await clients.commit_in(producer, places)
    finally:
        await producer.stop()


def offsets_partition(group_id: str, partitions: int) -> TopicPartition:
    """Return where a group's offsets are: Java's hash of its id decides."""
    code = 0
    for (unit,) in struct.iter_unpack(">H", group_id.encode("utf-16-be")):
        code = (31 * code + unit) & 0xFFFFFFFF
    magnitude = code if code < 1 << 31 else (1 << 32) - code
    return TopicPartition(OFFSETS_TOPIC, magnitude % partitions)


def _raise(code: int) -> None:
    if code:
        raise for_code(code)(f"code {code}")
