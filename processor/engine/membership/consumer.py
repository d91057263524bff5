"""Faust's consumer, made to hand over chunks of records instead of single messages.

Every per-message cost of Faust becomes a per-chunk cost. Faust drops fetched records in several places around a
rebalance (flow stopped, generation changed, queue cleared) and does not put them back. So each chunk has the positions
at which it starts and ends, and a partition accepts only the chunk that starts where the last one ended (see
engine/inbox.py): a dropped chunk shows as a hole and is read again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from contextlib import suppress
from typing import Any

import uvloop
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from faust import Schema
from faust.transport.consumer import Fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from processor.engine import clients
from processor.engine.chunks import Chunk
from processor.engine.pin import NO_MEMBER, Pin
from processor.engine.stage import Record
from processor.logs import get_logger
from processor.settings import Settings

log = get_logger(__name__)

#: Seconds between looks whether a thread has ended.
_THREAD_SECONDS = 0.02

#: Without this, Faust would log its services' lives under our own modules' names.
FAUST_LOGGER = logging.getLogger("faust")


class ChunkSchema(Schema):
    """Passes a chunk through Faust without decoding."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001 - Faust's signature
            return app.create_event(message.key, message.value, message.headers, message)

        return decode


class PinningListener(driver.ConsumerRebalanceListener):
    """Remembers under which membership partitions are assigned."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pass an assignment on. Nothing changes the membership until all have taken it, unless it is lost."""
        coordinator = self._thread._ensure_consumer()._coordinator
        self._thread.pin = Pin(coordinator.generation, coordinator.member_id)
        await super().on_partitions_assigned(assigned)


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches and keeps the group membership alive while the main thread folds."""

    logger = FAUST_LOGGER

    #: The membership of the last assignment. One object, so safe to read from any thread.
    pin = NO_MEMBER

    #: Where partitions were sought to since the present fetch began to wait; used in the thread only.
    _sought: Mapping[TP, int] = {}

    def _create_worker_consumer(self, transport: ChunkTransport) -> Any:
        # Faust would fall back to round robin without tables, which moves every partition at each rebalance.
        self._assignor = self.app.assignor
        return clients.group_consumer(transport.settings, self._assignor)

    async def stop(self) -> None:
        """Stop the thread and wait for its end, without blocking the caller's loop.

        Faust does not stop a thread that has just been started, and blocks its own loop until the thread has ended.
        """
        if self._thread is None:
            return
        await Service.stop(self)
        while not self._thread.is_stopped.is_set():  # noqa: ASYNC110 - a thread's event cannot be awaited.
            await asyncio.sleep(_THREAD_SECONDS)

    def close(self) -> None:
        """Do nothing: the thread closes its client itself when it stops.

        Faust calls this when a rebalance meets a worker that stops, and closes the client from the main thread. The
        sockets belong to the loop of this thread: closed while it polls, they end the process with SIGSEGV.
        """

    async def leave(self) -> None:
        """Leave the group. aiokafka does so last when it stops, and until then nobody has the partitions."""
        if self._consumer is not None and self._consumer._coordinator is not None:
            await self.call_thread(self._consumer._coordinator.close)

    async def fetch_chunks(self, wanted: Container[TP], timeout: float) -> Mapping[TP, Chunk]:
        """Fetch records of the wanted partitions, waiting up to `timeout` seconds for the first ones."""
        found: Mapping[TP, Chunk] = await self.call_thread(self._fetch_chunks, wanted, timeout)
        return found

    async def _fetch_chunks(self, wanted: Container[TP], timeout: float) -> Mapping[TP, Chunk]:
        consumer = self._ensure_consumer()
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        before, self._sought = self._positions(), {}
        with consumer._fetcher._subscriptions.fetch_context():
            try:
                fetched = await consumer._fetcher.fetched_records(wanted, timeout=timeout)
            except OffsetOutOfRangeError as error:
                [expired] = error.args
                self._go_on_at_the_oldest(expired)
                fetched = {}
            except NoOffsetForPartitionError:
                # It has only just been assigned. Whoever opens it seeks.
                fetched = {}
            except GroupAuthorizationFailedError:
                raise
            except KafkaError:
                # The group's, which a fetch that waits is told of, or one of its own.
                if consumer._coordinator._pending_exception is None:
                    raise
                self._see_error(consumer._coordinator)
                fetched = {}
        return dict(self._chunks(before, fetched))

    def _go_on_at_the_oldest(self, expired: Iterable[TopicPartition]) -> None:
        """Reset partitions to their oldest offset, since the record at the position does not exist any more.

        aiokafka could do so by itself, but in the middle of a fetch, whose chunk would then seem to hold all records
        from the old position to the new one. This way the hole between two chunks is visible.
        """
        for tp in expired:
            state = self._state(tp)
            if state is not None:
                state.await_reset(OffsetResetStrategy.EARLIEST)

    def _chunks(self, before: Mapping[TP, int], fetched: Mapping[Any, list[Record]]) -> Any:
        for tp, end in self._positions().items():
            records = fetched.get(tp, [])
            # Without a position before, the partition has only just been assigned, or the record that was due has
            # expired and the oldest was asked for: what came before this chunk is not known, and may be a hole.
            start = before.get(tp, records[0].offset if records else end)
            # A seek while the fetch waited is where it began: the first records there may be aborted ones, or markers.
            start = self._sought.get(tp, start)
            if records:
                yield tp, Chunk(min(start, records[0].offset), end, records)
            elif end > start:
                yield tp, Chunk(start, end, records)

    def _positions(self) -> dict[TP, int]:
        assignment = self._assignment
        states = {} if assignment is None else {tp: assignment.state_value(tp) for tp in assignment.tps}
        return {
            TP(tp.topic, tp.partition): state._position
            for tp, state in states.items()
            if state is not None and state.has_valid_position
        }

    def position(self, tp: TP) -> int | None:
        """Return the offset that is returned next; None if the partition is not assigned. Safe from any thread."""
        state = self._state(TopicPartition(tp.topic, tp.partition))
        position: int | None = None if state is None or not state.has_valid_position else state._position
        return position

    def _state(self, tp: TopicPartition) -> Any:
        assignment = self._assignment
        return None if assignment is None else assignment.state_value(tp)

    @property
    def _assignment(self) -> Any:
        subscription = None if self._consumer is None else self._consumer._subscription.subscription
        return None if subscription is None else subscription.assignment

    @property
    def member_id(self) -> str:
        """The member id from the broker; empty while this worker is not in the group. Safe from any thread."""
        coordinator = None if self._consumer is None else self._consumer._coordinator
        member_id: str = "" if coordinator is None else coordinator.member_id
        return member_id

    def wake(self) -> None:
        """Wake a waiting fetch, so that it asks again which partitions are wanted. Safe from any thread."""
        consumer = self._consumer
        if consumer is not None and not consumer._closed:
            self.thread_loop.call_soon_threadsafe(self._wake_waiters)

    def _wake_waiters(self) -> None:
        fetcher = self._ensure_consumer()._fetcher
        for waiter in list(fetcher._fetch_waiters):
            fetcher._notify(waiter)

    def go_on(self) -> None:
        """Join the group anew if aiokafka waits for its user to see why it stopped. Safe from any thread.

        It does so after each answer of a coordinator that it does not know how to take, and sends no heartbeat until
        then. A fetch that waits is told, and nobody during a rebalance, when none waits.
        """
        coordinator = None if self._consumer is None else self._consumer._coordinator
        if coordinator is not None and coordinator._error_consumed_fut is not None:
            self.thread_loop.call_soon_threadsafe(self._see_error, coordinator)

    @staticmethod
    def _see_error(coordinator: Any) -> None:
        try:
            coordinator.check_errors()
        except KafkaError as error:
            log.warning("membership_failed", error=repr(error))
            coordinator.request_rejoin()

    async def seek_to(self, offsets: Mapping[TP, int]) -> None:
        """Seek to offsets, where the partition is still assigned."""
        await self.call_thread(self._seek_to, offsets)

    async def _seek_to(self, offsets: Mapping[TP, int]) -> None:
        sought = dict(self._sought)
        for tp, offset in offsets.items():
            # One that was revoked meanwhile starts from the committed offset, wherever it goes.
            with suppress(IllegalStateError):
                self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), offset)
                sought[tp] = offset
        self._sought = sought


class ChunkConsumer(driver.Consumer):
    """Faust's consumer, with one message for each partition and fetch, whose value is the chunk."""

    logger = FAUST_LOGGER

    RebalanceListener = PinningListener

    _thread: ChunkConsumerThread

    #: Seconds; and when the fetch that has not returned yet began.
    monotonic = staticmethod(time.monotonic)
    _fetching_since: float | None = None

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon, thread_loop=uvloop.new_event_loop())

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message for each partition that has records and whose queue has room."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self.should_stop:
            return
        self._fetching_since = self.monotonic()
        chunks = await self._thread.fetch_chunks(self.transport.wanted, timeout)
        self._fetching_since = None
        # Asked for after the fetch, which may have waited while partitions changed hands: Faust drops what is of an
        # older generation, and a partition judges for itself whether a chunk is what it waits for.
        generation = self.app.consumer_generation_id
        for tp, chunk in chunks.items():
            if not self.flow_active or self.app.consumer_generation_id != generation or self.should_stop:
                return
            yield tp, self._message(tp, chunk, generation)

    def _message(self, tp: TP, chunk: Chunk, generation: int) -> ConsumerMessage:
        # Faust drops messages below the offset that it read last; a chunk judges that by itself.
        self._read_offset[tp] = None
        return ConsumerMessage(
            tp.topic, tp.partition, chunk.end, 0.0, 0, None, None, chunk, None, 0, 0, tp, generation_id=generation
        )

    @property
    def stands_still_for(self) -> float:
        """Return the seconds for which a fetch has not returned; it waits for a second if there are no records."""
        return 0.0 if self._fetching_since is None else self.monotonic() - self._fetching_since

    async def leave(self) -> None:
        """Leave the group."""
        await self._thread.leave()

    async def seek_to(self, offsets: Mapping[TP, int]) -> None:
        """Seek to offsets, where the partition is still assigned."""
        await self._thread.seek_to(offsets)

    def position(self, tp: TP) -> int | None:
        """Return the offset of a partition that is returned next, without waiting."""
        return self._thread.position(tp)

    @property
    def member_id(self) -> str:
        """The member id; empty while this worker is not in the group."""
        return self._thread.member_id

    @property
    def pin(self) -> Pin:
        """The membership under which the last partitions were assigned."""
        return self._thread.pin

    def go_on(self) -> None:
        """Join the group anew if aiokafka has stopped for an error."""
        self._thread.go_on()

    def wake(self) -> None:
        """Wake a waiting fetch, so that it asks again which partitions are wanted."""
        self._thread.wake()

    async def perform_seek(self) -> None:
        """Do nothing: a partition seeks by itself when it opens."""

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: the watchdog, which knows the commits, detects stalled partitions (watchdog.py).

        Faust checks every few seconds, and crashes if a partition has no position, as while the fetch asks for the
        oldest record because the next one has expired.
        """


class ChunkFetcher(Fetcher):
    """Faust's fetch task, which may be cancelled at any time during a rebalance.

    Faust's own asks a supervisor to start it anew, and it has none.
    """

    logger = FAUST_LOGGER

    @Service.task  # type: ignore[untyped-decorator]
    async def _fetcher(self) -> None:
        try:
            await self.app.consumer._drain_messages(self)
        except asyncio.CancelledError:
            if not (self.should_stop or self.app.should_stop):
                await self.crash(RuntimeError("the fetch was cancelled although nobody stops it"))
            raise
        finally:
            self.set_shutdown()


class ChunkProducer(driver.Producer):
    """Faust's own producer, which is not used but must be able to connect."""

    logger = FAUST_LOGGER

    def _settings_auth(self) -> Mapping[str, Any]:
        options = clients.connection(self.transport.settings)
        return {name: option for name, option in options.items() if name.startswith(("security_", "ssl_", "sasl_"))}


class ChunkTransport(driver.Transport):
    """Faust's transport over aiokafka, with our consumer."""

    Consumer = ChunkConsumer
    Producer = ChunkProducer
    Fetcher = ChunkFetcher

    #: Set by the worker before the app starts.
    settings: Settings
    #: Which partitions may be fetched now; asked for membership from the consumer's thread.
    wanted: Container[TP]
