"""The idempotent producer: aiokafka's, but able to continue where aiokafka's own stays broken (ADR 0015).

A broker accepts a producer's records for a partition only in the order of their sequence numbers. A failed batch has
used up its numbers, so all later ones are refused (OutOfOrderSequenceNumber); and numbers end after 2^31 records. The
remedy for both is a new producer id, with which numbers start again: a new producer for the broker, unnoticed by the
caller. Batches that were refused for their numbers, and hence not written, are renumbered and sent again, before those
that follow them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, OutOfOrderSequenceNumber, UnknownProducerId
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.producer.transaction_manager import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, PidAndEpoch, TransactionManager
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c
from aiokafka.util import create_future

from processor.engine.transactions import LAST_SEQUENCE, equip
from processor.logs import get_logger

log = get_logger(__name__)

__all__ = ["Publisher"]

#: What says that a batch was not written, and for its numbers only.
_NUMBERS_REFUSED = (OutOfOrderSequenceNumber, UnknownProducerId, InvalidProducerEpoch)

#: Of a batch (magic 2): where its checksum is, what that covers, and where producer id, epoch and first number are.
_CHECKSUM, _CHECKSUM_AT, _CHECKED_FROM = struct.Struct(">I"), 17, 21
_NUMBERS, _NUMBERS_AT = struct.Struct(">qhi"), 43

#: A transaction's time limit, which brokers ask for and ignore where there are no transactions.
_NO_TIMEOUT_MS = 2**31 - 1


class _Numbers(TransactionManager):
    """Counts the records of each partition, for one producer id after the other."""

    def __init__(self) -> None:
        super().__init__(None, _NO_TIMEOUT_MS)
        #: Batches that were refused, and have to be numbered once more.
        self.refused: set[MessageBatch] = set()
        self._is_spent = False

    def increment_sequence_number(self, tp: TopicPartition, increment: int) -> None:
        super().increment_sequence_number(tp, increment)
        self._is_spent = self._is_spent or not 0 <= self._sequence_numbers[tp] <= LAST_SEQUENCE

    def number(self, batch: MessageBatch) -> None:
        """Renumber the records of a batch, in its serialized bytes."""
        buffer, first = batch.get_data_buffer(), self.sequence_number(batch.tp)
        self.increment_sequence_number(batch.tp, batch.record_count)
        _NUMBERS.pack_into(buffer, _NUMBERS_AT, self.producer_id, self.producer_epoch, first)
        _CHECKSUM.pack_into(buffer, _CHECKSUM_AT, calc_crc32c(memoryview(buffer)[_CHECKED_FROM:]))

    def failed(self, batch: MessageBatch, error: KafkaError) -> None:
        """Record that a batch has failed: brokers accept no later number of this producer id."""
        producer_id, _, first = _NUMBERS.unpack_from(batch.get_data_buffer(), _NUMBERS_AT)
        log.warning(
            "batch_refused",
            topic=batch.tp.topic,
            partition=batch.tp.partition,
            producer_id=producer_id,
            sequence=first,
            error=repr(error),
        )
        self._is_spent = True

    def give_up_when_spent(self) -> None:
        """Drop a producer id that is used up, so that the sender asks for another."""
        if self._is_spent and self.has_pid():
            self._is_spent = False
            self._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
            self._pid_waiter = create_future()
            self._sequence_numbers.clear()


class _ProduceHandler(SendProduceReqHandler):
    def create_request(self) -> ProduceRequest:
        numbers = self._sender._txn_manager
        for batch in numbers.refused.intersection(self._batches.values()):
            numbers.refused.remove(batch)
            numbers.number(batch)
        return super().create_request()

    def _can_retry(self, error: KafkaError, batch: MessageBatch) -> bool:
        if super()._can_retry(error, batch):
            return True
        numbers = self._sender._txn_manager
        numbers.failed(batch, error)
        if isinstance(error, _NUMBERS_REFUSED):
            numbers.refused.add(batch)
            return True
        return False


class _Sender(Sender):
    async def _maybe_wait_for_pid(self) -> None:
        # Nothing is numbered before this has returned; what has a number keeps it, and may still be on its way.
        self._txn_manager.give_up_when_spent()
        await super()._maybe_wait_for_pid()

    async def _send_produce_req(self, node_id: int, batches: Mapping[TopicPartition, MessageBatch]) -> None:
        await _ProduceHandler(self, batches).do(node_id)
        self._in_flight.remove(node_id)
        self._muted_partitions.difference_update(batches)


class Publisher(AIOKafkaProducer):
    """Publishes outside of transactions: each record once, those of a partition in the order given.

    An error of a record itself (its size, its time, a permission) is raised to its sender only.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(enable_idempotence=True, **options)
        equip(self, _Numbers(), _Sender)
