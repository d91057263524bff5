"""The transactional producer: aiokafka's, with transactions that end as requested (ADR 0015).

aiokafka's own has three faults, each of which commits records without a commit or makes committed ones unreadable:

1. It ends transactions with the first version of `EndTxn`, and all transactions of a producer have the same epoch. A
   request that is sent again on a new connection may still arrive later on the old one, and is taken for the *next*
   transaction's: half of it is committed. Version 5 raises the epoch at each end, so what is late is refused. Where the
   broker does not know it, a producer one of whose requests got no answer begins no other transaction.
2. After a refusal that the producer survives, aiokafka forgets what has joined the transaction, takes it for empty, and
   sends no `EndTxn` at its abort: what was written is committed with the next one.
3. Sequence numbers wrap to a negative one after 2^31 records to a partition, which the broker refuses for good. With
   version 5 they begin anew with each transaction; else a producer ends before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    GroupAuthorizationFailedError,
    InvalidProducerIdMapping,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    ProducerFenced,
)
from aiokafka.producer.sender import (
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
    BaseHandler,
    EndTxnHandler,
    Sender,
    TxnOffsetCommitHandler,
)
from aiokafka.producer.transaction_manager import PidAndEpoch, TransactionManager
from aiokafka.protocol.api import Response
from aiokafka.structs import OffsetAndMetadata

from processor.engine.pin import MEMBERSHIP_OVER, PinnedGroup
from processor.engine.protocol import (
    EndTxnRequest,
    EndTxnResponseV5,
    ProducerState,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponseV3,
)

__all__ = ["LAST_SEQUENCE", "NewProducerNeededError", "ProducerReplacedError", "TransactionalProducer", "equip"]

#: A producer that has given a partition's record this number is replaced: half of what aiokafka counts to.
LAST_SEQUENCE = 2**30

#: Milliseconds between attempts, as aiokafka's producer has it.
_RETRY_BACKOFF_MS = 100

#: What a broker answers to an epoch that is not the last; aiokafka does not know the code.
_PRODUCER_FENCED = 90


class NewProducerNeededError(KafkaError):
    """This producer must not begin another transaction; a new one with the same id can."""

    retriable = True


class ProducerReplacedError(ProducerFenced):
    """The broker has another producer id for our transactional id, or has forgotten it: none of ours is valid."""


class _TransactionManager(TransactionManager):
    """Knows the partitions of the transaction, and whether another may follow."""

    def __init__(self, transactional_id: str, transaction_timeout_ms: int) -> None:
        super().__init__(transactional_id, transaction_timeout_ms)
        #: Whether a request of a former transaction may still arrive, with an epoch that is valid.
        self._may_be_late = False
        #: Whose sequence numbers are counted: each epoch has its own.
        self._numbered: PidAndEpoch | None = None

    def begin_transaction(self) -> None:
        if self._may_be_late:
            raise NewProducerNeededError("a request without an answer may still arrive")
        if self._numbered != self._pid_and_epoch:
            self._sequence_numbers.clear()
            self._numbered = self._pid_and_epoch
        if max(self._sequence_numbers.values(), default=0) > LAST_SEQUENCE:
            raise NewProducerNeededError("its sequence numbers come to their end")
        super().begin_transaction()

    def error_transaction(self, exc: BaseException) -> None:
        """Record a failure after which only an abort is possible, of all partitions of the transaction."""
        partitions, group = self._txn_partitions.copy(), self._txn_consumer_group
        super().error_transaction(exc)
        self._txn_partitions.update(partitions)
        self._txn_consumer_group: str | None = group

    def fatal_error(self, exc: BaseException) -> None:
        """Record a failure after which nothing is possible; who waits for something is told, if anybody does."""
        super().fatal_error(exc)
        self.wait_for_transaction_end().exception()

    @property
    def producer(self) -> ProducerState:
        """What identifies the producer in a request."""
        return ProducerState(self.transactional_id, self.producer_id, self.producer_epoch)

    def request_unanswered(self) -> None:
        """Record that a request may have been sent, and may arrive at any time."""
        self._may_be_late = True

    def ended(self, producer_id: int, epoch: int) -> None:
        """Take over the producer id and epoch of the next transaction; brokers refuse the former epoch."""
        self._pid_and_epoch = PidAndEpoch(producer_id, epoch)
        self._may_be_late = False


class _NotingHandler(BaseHandler):
    """Reports a request without an answer, which aiokafka sends again silently, and an id that was replaced."""

    async def do(self, node_id: int) -> bool:
        self._is_answered = False
        is_done: bool = await super().do(node_id)
        if not self._is_answered:
            self._sender._txn_manager.request_unanswered()
        return is_done

    def handle_response(self, response: Response) -> float | None:
        self._is_answered = True
        try:
            backoff: float | None = super().handle_response(response)
        except InvalidProducerIdMapping as error:
            # aiokafka would end its sender with "unexpected error during batch delivery".
            raise ProducerReplacedError from error
        return backoff


class _AddPartitionsHandler(_NotingHandler, AddPartitionsToTxnHandler):
    pass


class _AddOffsetsHandler(_NotingHandler, AddOffsetsToTxnHandler):
    pass


class _OffsetCommitHandler(_NotingHandler, TxnOffsetCommitHandler):
    """Commits offsets as the member that a `PinnedGroup` names; as nobody, where the group's id is a plain one."""

    def create_request(self) -> Any:
        if not isinstance(self._group_id, PinnedGroup):
            return super().create_request()
        producer = self._sender._txn_manager.producer
        return TxnOffsetCommitRequest(producer, str(self._group_id), self._group_id.pin, self._offsets)

    def handle_response(self, response: Response) -> float | None:
        if isinstance(response, TxnOffsetCommitResponseV3):
            response.errors = _without_tags(response.errors)
        codes = {code for _, partitions in response.errors for _, code in partitions}
        if ConcurrentTransactions.errno in codes:
            # The coordinator of the transaction is being asked about another one of ours.
            self._is_answered = True
            backoff: float = self._default_backoff
            return backoff
        for refusal in MEMBERSHIP_OVER:
            if refusal.errno in codes:
                self._is_answered = True
                self._refuse(refusal())
                return None
        return super().handle_response(response)

    def _refuse(self, error: KafkaError) -> None:
        """Leave nothing but an abort; the producer may be used on."""
        manager = self._sender._txn_manager
        manager.error_transaction(error)
        # Whoever has sent the offsets is told; nobody waits for the transaction's end, where it is told once more.
        manager.wait_for_transaction_end().exception()


class _EndTxnHandler(_NotingHandler, EndTxnHandler):
    def create_request(self) -> EndTxnRequest:
        return EndTxnRequest(self._sender._txn_manager.producer, commit=bool(self._commit_result))

    def handle_response(self, response: Response) -> float | None:
        if response.error_code == _PRODUCER_FENCED:
            raise ProducerFenced
        if response.error_code == 0 and isinstance(response, EndTxnResponseV5):
            self._sender._txn_manager.ended(response.producer_id, response.producer_epoch)
        return super().handle_response(response)


class _Sender(Sender):
    """Sends the four requests of a transaction through our handlers."""

    async def _do_add_partitions_to_txn(self, tps: set[TopicPartition]) -> bool:
        return await _AddPartitionsHandler(self, tps).do(await self._transaction_coordinator())

    async def _do_add_offsets_to_txn(self, group_id: str) -> bool:
        return await _AddOffsetsHandler(self, group_id).do(await self._transaction_coordinator())

    async def _do_txn_offset_commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str) -> None:
        try:
            node_id = await self._find_coordinator(CoordinationType.GROUP, str(group_id))
        except GroupAuthorizationFailedError as error:
            self._txn_manager.error_transaction(error)
            return
        await _OffsetCommitHandler(self, offsets, group_id).do(node_id)

    async def _do_txn_commit(self, commit_result: int) -> None:
        await self._message_accumulator.flush_for_commit()
        if self._txn_manager.is_empty_transaction():
            self._txn_manager.complete_transaction()
            return
        await _EndTxnHandler(self, commit_result).do(await self._transaction_coordinator())

    async def _find_coordinator(self, coordinator_type: CoordinationType, coordinator_key: str) -> int:
        """Ask again if the connection breaks meanwhile, which aiokafka takes for a fatal error."""
        while True:
            try:
                node_id: int = await super()._find_coordinator(coordinator_type, coordinator_key)
            except KafkaError as error:
                if not isinstance(error.__cause__, KafkaConnectionError):
                    raise
                await asyncio.sleep(_RETRY_BACKOFF_MS / 1000)
            else:
                return node_id

    async def _transaction_coordinator(self) -> int:
        node_id: int = await self._find_coordinator(CoordinationType.TRANSACTION, self._txn_manager.transactional_id)
        return node_id


class TransactionalProducer(AIOKafkaProducer):
    """Writes in transactions; its start fences every older one with the same id.

    `begin_transaction` raises NewProducerNeededError, which is retriable, if a new producer must continue.
    """

    def __init__(self, *, transactional_id: str, transaction_timeout_ms: int, **options: Any) -> None:
        super().__init__(transactional_id=transactional_id, transaction_timeout_ms=transaction_timeout_ms, **options)
        equip(self, _TransactionManager(transactional_id, transaction_timeout_ms), _Sender)

    async def start(self) -> None:
        """Connect, and fence.

        Raises:
            KafkaError: the brokers are away or refuse.
        """
        try:
            await super().start()
        except AssertionError as error:
            # A broker that has just started may name none, which aiokafka asserts it never does.
            raise NodeNotReadyError("the brokers name no broker yet") from error


def _without_tags(topics: Sequence[Any]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return the errors of an answer as aiokafka's handler reads them."""
    return [(topic, [(number, code) for number, code, _ in partitions]) for topic, partitions, _ in topics]


def equip(producer: AIOKafkaProducer, manager: TransactionManager, sender: type[Sender]) -> None:
    """Replace parts of a producer before it is started; aiokafka offers no way to."""
    producer._txn_manager = producer._message_accumulator._txn_manager = manager
    producer._sender = sender(
        producer.client,
        acks=-1,
        txn_manager=manager,
        message_accumulator=producer._message_accumulator,
        retry_backoff_ms=_RETRY_BACKOFF_MS,
        request_timeout_ms=producer._request_timeout_ms,
    )
