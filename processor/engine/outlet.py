"""Publish for callers who wait for the brokers' answer: what is offered at the same time goes out together.

One batch for each partition, one answer for each batch, so that a record costs little; and nobody waits for the brokers
to be there: while they are away, an offer fails, or its caller withdraws it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from aiokafka.errors import (
    CorruptRecordException,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from processor.engine import clients
from processor.engine.admin import MissingTopicError
from processor.engine.bounds import closed, within
from processor.engine.publishing import Publisher
from processor.engine.streams import Outgoing
from processor.logs import get_logger
from processor.settings import Settings
from processor.wire.partitioner import partition_of

log = get_logger(__name__)

#: Seconds between the moments at which batches leave, those of all partitions together: one request has them all. While
#: a batch is on its way, the next one collects for longer by itself.
_TICK_SECONDS = 0.01

#: Seconds between attempts to connect, and that one of them may take.
_RETRY_SECONDS = 1.0
_CONNECT_SECONDS = 30.0

#: Seconds after which a topic that is not seen does not exist.
_TOPIC_SECONDS = 5.0


#: What brokers say of a record, and will say again whenever they are offered it.
_OF_RECORD = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, CorruptRecordException)
#: INVALID_RECORD, which aiokafka does not know.
_INVALID_RECORD = 87


class OutletError(Exception):
    """The brokers have not taken what was offered. It may be there nevertheless: an answer may have been lost.

    Args:
        reason: why.
        is_of_record: whether one of the records is to blame, or another that went out with it; else the brokers are.
    """

    def __init__(self, reason: str, *, is_of_record: bool = False) -> None:
        super().__init__(reason)
        self.is_of_record = is_of_record


def _told(error: BaseException) -> OutletError:
    is_of_record = isinstance(error, _OF_RECORD) or getattr(error, "errno", None) == _INVALID_RECORD
    return error if isinstance(error, OutletError) else OutletError(repr(error), is_of_record=is_of_record)


class _Offer:
    """Some records, and who waits for them."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, number: int, error: BaseException | None) -> None:
        """Note that some of its records have been taken, or that they have not."""
        self.left -= number
        if self.taken.done():
            return
        if error is not None:
            self.taken.set_exception(_told(error))
        elif self.left == 0:
            self.taken.set_result(None)


class _Waiting(NamedTuple):
    record: Outgoing
    offer: _Offer


class _Lane:
    """What is to go to one partition, in the order in which it was offered."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.sending: asyncio.Task[None] | None = None


class _Batch:
    """Records that go out together: how many of each offer."""

    def __init__(self) -> None:
        self.numbers: dict[_Offer, int] = {}

    def add(self, offer: _Offer) -> None:
        """Count a record of an offer."""
        self.numbers[offer] = self.numbers.get(offer, 0) + 1

    def settle(self, error: BaseException | None) -> None:
        """Tell each offer."""
        for offer, number in self.numbers.items():
            offer.settle(number, error)


class Outlet:
    """Publishes to some topics, from `run` on.

    Args:
        settings: where the brokers are.
        topics: full names.
    """

    def __init__(self, settings: Settings, topics: Iterable[str]) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._producer: Publisher | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}
        #: Batches that are on their way.
        self._sent: set[_Batch] = set()
        #: Where records without a key go until a batch of them has gone.
        self._anywhere: dict[str, int] = {}
        self._renewal = asyncio.Event()
        #: Why nothing can be taken; empty while it can.
        self.problem = "not connected yet"

    async def run(self) -> None:
        """Connect, and connect anew whenever that is asked for; until it is cancelled."""
        while True:
            producer = await self._connected()
            # Whatever asked for it has got it.
            self._renewal.clear()
            try:
                self._producer, self.problem = producer, ""
                log.info("outlet_connected", brokers=self._settings.brokers)
                await self._renewal.wait()
            finally:
                self._producer, self.problem = None, "the connection is made anew"
                self._give_up(OutletError(self.problem))
                await closed("producer", producer.stop())

    def renew(self) -> None:
        """Connect anew: whatever has not been taken fails."""
        self._renewal.set()

    def offer(self, records: Sequence[Outgoing]) -> asyncio.Future[None]:
        """Offer records, which go out together with others; those of one partition stay in order.

        Returns:
            What is done when the brokers have all of them, and raises OutletError when one is not taken. Whoever
            cancels it withdraws those that are not on their way yet.
        """
        offer = _Offer(len(records))
        if self._producer is None:
            offer.settle(0, OutletError(self.problem))
            return offer.taken
        if _has_ended(self._producer):
            self.renew()
            offer.settle(0, OutletError("the producer has ended"))
            return offer.taken
        for record in records:
            partition = self._partition_of(self._producer, record)
            if partition is None:
                offer.settle(0, OutletError(f"topic {record.topic} is not there any more"))
                break
            place = record.topic, partition
            lane = self._lanes.get(place)
            if lane is None:
                lane = self._lanes[place] = _Lane()
            lane.waiting.append(_Waiting(record, offer))
            if lane.sending is None or lane.sending.done():
                lane.sending = asyncio.create_task(self._send(self._producer, lane, *place))
        return offer.taken

    async def _connected(self) -> Publisher:
        while True:
            producer = clients.producer(self._settings)
            try:
                await within(self._look(producer), _CONNECT_SECONDS)
            except (KafkaError, MissingTopicError, OSError, asyncio.TimeoutError) as error:
                await closed("producer", producer.stop())
                self.problem = str(error) if isinstance(error, MissingTopicError) else repr(error)
                log.warning("broker_away", brokers=self._settings.brokers, error=self.problem)
                await asyncio.sleep(_RETRY_SECONDS)
            except BaseException:
                await closed("producer", producer.stop())
                raise
            else:
                return producer

    async def _look(self, producer: Publisher) -> None:
        """Start, and learn which partitions there are."""
        await producer.start()
        for topic in self._topics:
            try:
                await within(producer.partitions_for(topic), _TOPIC_SECONDS)
            except asyncio.TimeoutError:
                raise MissingTopicError(topic) from None

    def _partition_of(self, producer: Publisher, record: Outgoing) -> int | None:
        """Return the partition of a record; None when its topic is gone."""
        cluster = producer.client.cluster
        known = cluster.partitions_for_topic(record.topic)
        if not known:
            return None
        if record.key is not None:
            return partition_of(record.key, len(known))
        chosen = self._anywhere.get(record.topic)
        if chosen is None:
            led = cluster.available_partitions_for_topic(record.topic) or known
            chosen = self._anywhere[record.topic] = random.choice([*led])  # noqa: S311 - no secret
        return chosen

    async def _send(self, producer: Publisher, lane: _Lane, topic: str, partition: int) -> None:
        """Send what waits in a lane, batch by batch, until nothing does."""
        while lane.waiting:
            await asyncio.sleep(_TICK_SECONDS - asyncio.get_running_loop().time() % _TICK_SECONDS)
            if self._anywhere.get(topic) == partition:
                del self._anywhere[topic]
            builder, batch = _filled(producer, lane)
            if not batch.numbers:
                continue
            self._sent.add(batch)
            try:
                # Waits until the one before it has left; that one may still be without an answer.
                delivered = await producer.send_batch(builder, topic, partition=partition)
            except Exception as error:
                self._settle(producer, batch, error)
            else:
                delivered.add_done_callback(partial(self._delivered, producer, batch))
        lane.sending = None

    def _delivered(self, producer: Publisher, batch: _Batch, answer: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        self._settle(producer, batch, error)

    def _settle(self, producer: Publisher, batch: _Batch, error: BaseException | None) -> None:
        self._sent.discard(batch)
        batch.settle(error)
        if error is None or producer is not self._producer:
            return
        log.warning("batch_not_taken", error=repr(error))

    def _give_up(self, error: OutletError) -> None:
        lanes, self._lanes = self._lanes, {}
        sent, self._sent = self._sent, set()
        self._anywhere.clear()
        for lane in lanes.values():
            if lane.sending is not None:
                lane.sending.cancel()
            for waiting in lane.waiting:
                waiting.offer.settle(0, error)
        for batch in sent:
            batch.settle(error)


def _has_ended(producer: Publisher) -> bool:
    """Return whether a producer has ended by itself: nothing that it is given would ever go out."""
    sending = producer._sender.sender_task
    return sending is None or bool(sending.done())


def _filled(producer: Publisher, lane: _Lane) -> tuple[Any, _Batch]:
    """Fill a batch from a lane, as far as it goes: one that is empty takes a record of any size."""
    builder, batch = producer.create_batch(), _Batch()
    while lane.waiting:
        record, offer = lane.waiting[0]
        # Else it has been withdrawn, or another of its records has failed.
        if not offer.taken.done():
            appended = builder.append(
                timestamp=record.timestamp, key=record.key, value=record.value, headers=list(record.headers)
            )
            if appended is None:
                break
            batch.add(offer)
        lane.waiting.popleft()
    # One that is open would wait for more.
    builder.close()
    return builder, batch
