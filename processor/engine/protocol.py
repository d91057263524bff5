"""Versions of requests that aiokafka does not send (ADR 0015, 0025), as it declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v3
from aiokafka.protocol.offset import OffsetRequest_v2
from aiokafka.protocol.transaction import EndTxnRequest_v0, TxnOffsetCommitRequest_v0
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import OffsetAndMetadata

from processor.engine.pin import Pin

__all__ = [
    "UNSTABLE_OFFSET_COMMIT",
    "CommittedOffset",
    "EndTxnRequest",
    "EndTxnResponseV5",
    "ListOffsetsRequest",
    "OffsetFetchRequest",
    "Place",
    "ProducerState",
    "ToldOffset",
    "TxnOffsetCommitRequest",
    "TxnOffsetCommitResponseV3",
    "by_topic",
]

#: What a coordinator says of an offset whose transaction has not ended; aiokafka does not know the code.
UNSTABLE_OFFSET_COMMIT = 88

_Text = CompactString("utf-8")

#: What each struct of a flexible version ends with; we have none to send.
_Tags = Mapping[int, bytes]
_NO_TAGS: _Tags = {}

#: An epoch of the leader of a partition that is not known.
_NO_EPOCH = -1


def _list(*fields: tuple[str, Any]) -> Any:
    """Declare an array of structs, as flexible versions have it."""
    return CompactArray(*fields, ("tags", TaggedFields))


def by_topic(tps: Iterable[TopicPartition]) -> dict[str, list[int]]:
    """Gather the numbers of partitions by their topics."""
    numbers: dict[str, list[int]] = {}
    for tp in tps:
        numbers.setdefault(tp.topic, []).append(tp.partition)
    return numbers


class ProducerState(NamedTuple):
    """What identifies a transactional producer to brokers."""

    transactional_id: str
    producer_id: int
    epoch: int


class EndTxnResponseV5(Response):
    """The answer that brings the epoch of the next transaction."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class _EndTxnRequestV5(RequestStruct):
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponseV5
    SCHEMA = Schema(
        ("transactional_id", _Text),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        ("tags", TaggedFields),
    )


class EndTxnRequest(Request[EndTxnRequest_v0 | _EndTxnRequestV5]):
    """Ends a transaction, in the highest version that the broker knows."""

    API_KEY = 26

    def __init__(self, producer: ProducerState, *, commit: bool) -> None:
        self._fields = (*producer, commit)

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the version that was agreed on."""
        return request_struct_class(*self._fields, *([_NO_TAGS] if request_struct_class.FLEXIBLE_VERSION else []))


class TxnOffsetCommitResponseV3(Response):
    """The answer for each partition; a membership that is over is told at each."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("errors", _list(("topic", _Text), ("partitions", _list(("partition", Int32), ("error_code", Int16))))),
        ("tags", TaggedFields),
    )


class _TxnOffsetCommitRequestV3(RequestStruct):
    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", _Text),
        ("group_id", _Text),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _Text),
        ("group_instance_id", _Text),
        (
            "topics",
            _list(
                ("topic", _Text),
                (
                    "partitions",
                    _list(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _Text)),
                ),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequest(Request[TxnOffsetCommitRequest_v0 | _TxnOffsetCommitRequestV3]):
    """Commits offsets in a transaction as a member of the group; brokers before Kafka 2.5 do not ask as whom.

    Args:
        producer: whose transaction it is.
        group_id: the group.
        pin: the membership.
        offsets: by partition.
    """

    API_KEY = 28

    def __init__(
        self, producer: ProducerState, group_id: str, pin: Pin, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        self._producer, self._group_id, self._pin = producer, group_id, pin
        self._topics: dict[str, list[tuple[int, int, str]]] = {}
        for tp, offset in sorted(offsets.items()):
            self._topics.setdefault(tp.topic, []).append((tp.partition, offset.offset, offset.metadata))

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the version that was agreed on."""
        transactional_id, producer_id, epoch = self._producer
        fields = transactional_id, self._group_id, producer_id, epoch
        if not request_struct_class.FLEXIBLE_VERSION:
            return request_struct_class(*fields, list(self._topics.items()))
        topics = [
            (topic, [(number, offset, _NO_EPOCH, note, _NO_TAGS) for number, offset, note in offsets], _NO_TAGS)
            for topic, offsets in self._topics.items()
        ]
        return request_struct_class(*fields, self._pin.generation, self._pin.member_id, None, topics, _NO_TAGS)


class _OffsetFetchResponseV7(Response):
    API_KEY = 9
    API_VERSION = 7
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
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _Text),
                        ("error_code", Int16),
                    ),
                ),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class _OffsetFetchRequestV7(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", _Text),
        ("topics", _list(("topic", _Text), ("partitions", CompactArray(Int32)))),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class CommittedOffset(NamedTuple):
    """What a coordinator tells of the offset of one partition."""

    tp: TopicPartition
    #: Negative: there has never been one.
    offset: int
    metadata: str
    error_code: int


class OffsetFetchRequest(Request[OffsetFetchRequest_v3 | _OffsetFetchRequestV7]):
    """Asks for committed offsets, but for those whose transaction has not ended; brokers before Kafka 2.5 tell the old.

    Args:
        group_id: the group.
        tps: the partitions.
    """

    API_KEY = 9

    def __init__(self, group_id: str, tps: Iterable[TopicPartition]) -> None:
        self._group_id, self._numbers = group_id, by_topic(tps)

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request of the version that was agreed on."""
        if not request_struct_class.FLEXIBLE_VERSION:
            return request_struct_class(self._group_id, list(self._numbers.items()))
        topics = [(topic, numbers, _NO_TAGS) for topic, numbers in self._numbers.items()]
        return request_struct_class(self._group_id, topics, True, _NO_TAGS)

    @staticmethod
    def read(response: Any) -> Iterable[CommittedOffset]:
        """Yield what an answer of either version says."""
        for topic, partitions, *_ in response.topics:
            for number, offset, *rest in partitions:
                _, metadata, code, _ = rest if len(rest) > 2 else (None, *rest, None)
                yield CommittedOffset(TopicPartition(topic, number), offset, metadata or "", code)


class Place(Enum):
    """A place in a partition: the time and the isolation level by which its leader is asked for it."""

    OLDEST = (-2, 0)
    #: After the last record that is committed or aborted: the last stable offset.
    STABLE = (-1, 1)
    #: After the last record, of open transactions too: the high watermark.
    END = (-1, 0)


class ToldOffset(NamedTuple):
    """What the leader of a partition tells of a place in it."""

    tp: TopicPartition
    offset: int
    error_code: int


class ListOffsetsRequest(Request[OffsetRequest_v2]):
    """Asks the leader of some partitions where a place in each of them is.

    Args:
        place: the place.
        tps: the partitions, all led by the broker that is asked.
    """

    API_KEY = 2

    def __init__(self, place: Place, tps: Iterable[TopicPartition]) -> None:
        self._place, self._numbers = place, by_topic(tps)

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Make the request, as a consumer."""
        time, isolation_level = self._place.value
        topics = [(topic, [(number, time) for number in numbers]) for topic, numbers in self._numbers.items()]
        return request_struct_class(-1, isolation_level, topics)

    @staticmethod
    def read(response: Any) -> Iterable[ToldOffset]:
        """Yield what an answer says."""
        for topic, partitions in response.topics:
            for number, code, _, offset in partitions:
                yield ToldOffset(TopicPartition(topic, number), offset, code)
