"""Read and write topics without a group, for the commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from processor.domain.moment import Millis
from processor.engine import clients
from processor.engine.admin import count_partitions
from processor.engine.batches import readable
from processor.engine.publishing import Publisher
from processor.engine.records import Stored
from processor.settings import Settings
from processor.wire.topics import INPUT_MAX_BYTES

#: Records that may wait for the broker's answer before the writer waits too.
_IN_FLIGHT = 5_000

#: Records that are read at a time.
_AT_A_TIME = 1_000


class Outgoing(NamedTuple):
    """One record to publish; `timestamp` in milliseconds, None: now."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: Millis | None = None
    partition: int | None = None


class Writer:
    """Publishes records outside of transactions, each exactly once in the order given for its partition.

    Args:
        settings: where the topics are.
        max_bytes: the size of the largest record.
    """

    def __init__(self, settings: Settings, *, max_bytes: int = INPUT_MAX_BYTES) -> None:
        self._settings, self._max_bytes = settings, max_bytes
        self._producer: Publisher | None = None
        self._pending: set[asyncio.Future[Any]] = set()
        self._error: BaseException | None = None

    async def __aenter__(self) -> Writer:  # noqa: PYI034 - Self is not in Python 3.10
        producer = clients.producer(self._settings, max_bytes=self._max_bytes)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._producer is not None:
            try:
                await self.flush()
            finally:
                await self._producer.stop()

    async def write(self, record: Outgoing) -> None:
        """Send one record; an earlier one's failure is raised here or by `flush`."""
        if self._producer is None:
            raise RuntimeError("the writer has not been started")
        future = await self._producer.send(
            record.topic,
            record.value,
            key=record.key,
            partition=record.partition,
            timestamp_ms=record.timestamp,
            headers=list(record.headers),
        )
        self._pending.add(future)
        future.add_done_callback(self._done)
        if len(self._pending) >= _IN_FLIGHT:
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        self._raise_error()

    async def flush(self) -> None:
        """Wait until the brokers have all records."""
        if self._pending:
            await asyncio.wait(self._pending)
        self._raise_error()

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._pending.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._error = self._error or future.exception()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


async def read_to_end(  # noqa: PLR0913 - where to read, and from where on
    settings: Settings,
    topic: str,
    partitions: Iterable[int] | None = None,
    *,
    newest: int | None = None,
    since: Millis | None = None,
    begin: Mapping[int, int] | None = None,
) -> AsyncGenerator[Stored, None]:
    """Yield the committed records that a topic holds now, in order by partition; then end.

    Args:
        settings: where the topic is.
        topic: its full name.
        partitions: the partitions to read; None: all.
        newest: about how many of each partition's last records to read; None: all.
        since: begin at the first record of this time, in milliseconds; None: at the beginning.
        begin: the offset to begin at, by partition; one that is absent begins at the beginning.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    if partitions is None:
        partitions = range(await count_partitions(settings, topic))
    tps = [TopicPartition(topic, number) for number in partitions]
    reader = clients.reader(settings)
    await reader.start()
    try:
        reader.assign(tps)
        ends = await reader.end_offsets(tps)
        begins = await reader.beginning_offsets(tps)
        for tp in tps:
            reader.seek(tp, begins[tp] if newest is None else max(begins[tp], ends[tp] - newest))
            if begin is not None and begins[tp] <= begin.get(tp.partition, -1) <= ends[tp]:
                reader.seek(tp, begin[tp.partition])
        if since is not None:
            found = await reader.offsets_for_times(dict.fromkeys(tps, int(since)))
            for tp in tps:
                reader.seek(tp, ends[tp] if found[tp] is None else found[tp].offset)
        waiting = set(tps)
        while waiting:
            fetched = await reader.getmany(timeout_ms=200, max_records=_AT_A_TIME)
            for tp, records in fetched.items():
                for record in readable(tp.topic, tp.partition, records):
                    if record.offset < ends[tp]:
                        yield Stored.of(tp.topic, tp.partition, record)
            for tp in list(waiting):
                if await reader.position(tp) >= ends[tp]:
                    waiting.discard(tp)
                    reader.pause(tp)
            # Others have their turn in the loop, also while there is always something to read.
            await asyncio.sleep(0)
    finally:
        await reader.stop()


async def offsets_of(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """Return the first offset of each partition of a topic, and the one after its last.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    tps = [TopicPartition(topic, number) for number in range(await count_partitions(settings, topic))]
    reader = clients.reader(settings)
    await reader.start()
    try:
        begins, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
    finally:
        await reader.stop()
    return {tp.partition: (begins[tp], ends[tp]) for tp in tps}
