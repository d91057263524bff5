"""Replay and discard dead letters, each exactly once: what is published and that it was are one transaction (ADR 0026).

All replays and discards of an application have the same transactional id. Whoever begins takes over: the start ends the
open transaction of a predecessor, alive or killed, and only then is it read what became of every letter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from processor.domain.moment import Millis
from processor.engine import clients
from processor.engine.admin import count_partitions
from processor.engine.batches import readable
from processor.engine.bounds import closed
from processor.engine.records import Stored
from processor.engine.streams import Outgoing, read_to_end
from processor.settings import Settings
from processor.wire.deadletters import Headers, size_of
from processor.wire.letters import DeadLetter, LetterId, obstacle, read_letter, replayed_at, replayed_headers
from processor.wire.settled import Outcome, Outcomes, Settled, encode_settled, key_of
from processor.wire.topics import DEAD, INPUT_MAX_BYTES, INPUTS, SETTLED

#: What one transaction replays at most.
_LETTERS_MAX, _BYTES_MAX = 500, 8 * 1024 * 1024


class TakenOverError(Exception):
    """Another replay or discard has begun, and goes on with what was left."""

    def __init__(self) -> None:
        super().__init__("another replay or discard has begun meanwhile: what it has not done, run this again for")


def letter_of(record: Stored) -> DeadLetter:
    """Read a stored record of the dead letter topic."""
    place = LetterId(record.partition, record.offset)
    return read_letter(place, record.timestamp, record.key, record.value, record.headers)


async def read_outcomes(settings: Settings) -> Outcomes:
    """Read what became of every dead letter.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    outcomes = Outcomes()
    async for record in read_to_end(settings, settings.topic(SETTLED)):
        outcomes.take(record.value)
    return outcomes


async def letters(settings: Settings, *, since: Millis | None = None) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters that are kept now, in order by partition.

    Args:
        settings: where the topic is.
        since: begin with the first one written since then, in milliseconds; None: with the oldest.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    async with aclosing(read_to_end(settings, settings.topic(DEAD), since=since)) as records:
        async for record in records:
            yield letter_of(record)


async def letters_at(settings: Settings, ids: Iterable[LetterId]) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters that have these ids; those that are not kept are left out.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    topic = settings.topic(DEAD)
    numbers = await count_partitions(settings, topic)
    reader = clients.reader(settings)
    await reader.start()
    try:
        tps = [TopicPartition(topic, number) for number in range(numbers)]
        begins, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
        for wanted in ids:
            tp = TopicPartition(topic, wanted.partition)
            if not begins.get(tp, 0) <= wanted.offset < ends.get(tp, 0):
                continue
            found = await _read_at(reader, tp, wanted.offset)
            if found is not None:
                yield letter_of(found)
    finally:
        await closed("reader", reader.stop())


async def _read_at(reader: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> Stored | None:
    reader.assign([tp])
    reader.seek(tp, offset)
    while await reader.position(tp) <= offset:
        for records in (await reader.getmany(tp, timeout_ms=200, max_records=1)).values():
            for record in readable(tp.topic, tp.partition, records):
                return Stored.of(tp.topic, tp.partition, record) if record.offset == offset else None
    return None


class Settler:
    """Settles dead letters: replays or discards them, and remembers that in the same transaction.

    Its start takes over from every other one of the application. TakenOverError is raised where another has done so
    since; what was committed until then stays.

    Args:
        settings: where the topics are.
        is_reading_only: only tell what is refused, and take over from nobody.
    """

    def __init__(self, settings: Settings, *, is_reading_only: bool = False) -> None:
        self._settings, self._is_reading_only = settings, is_reading_only
        self._inputs: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._settled_partitions = 0
        self._outcomes = Outcomes()

    async def __aenter__(self) -> Settler:  # noqa: PYI034 - Self is not in Python 3.10
        settings = self._settings
        for topic in INPUTS:
            name = settings.topic(topic)
            self._inputs[name] = await count_partitions(settings, name)
        self._settled_partitions = await count_partitions(settings, settings.topic(SETTLED))
        if self._is_reading_only:
            self._outcomes = await read_outcomes(settings)
            return self
        producer = clients.transactional_producer(settings, f"{settings.app_id}-dead")
        try:
            await producer.start()
            self._outcomes = await read_outcomes(settings)
        except BaseException:
            await closed("producer", producer.stop())
            raise
        self._producer = producer
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._producer is not None:
            await closed("producer", self._producer.stop())

    def outcome_of(self, letter: DeadLetter) -> Outcome | None:
        """Return what became of a letter; None: it waits."""
        return self._outcomes.of(letter)

    def refusal(self, letter: DeadLetter, outcome: Outcome, *, force: bool) -> str | None:
        """Return why a letter is not to be settled so, or None."""
        settled = self.outcome_of(letter)
        if settled is not None and not force:
            return f"it was {settled.value} before"
        if outcome is Outcome.REPLAYED:
            return obstacle(letter, self._inputs, INPUT_MAX_BYTES)
        return None

    async def settle(self, chosen: Sequence[DeadLetter], outcome: Outcome) -> None:
        """Replay or discard letters in one transaction.

        Raises:
            TakenOverError: another has begun; nothing was done.
            KafkaError: the broker knows whether it was done; a new settler will, too.
        """
        now = Millis(time.time_ns() // 1_000_000)
        replayed = [self._replayed(letter, now) for letter in chosen] if outcome is Outcome.REPLAYED else ()
        await self._settle(chosen, outcome, replayed)

    async def replace(self, chosen: Sequence[DeadLetter], anew: Sequence[Outgoing]) -> None:
        """Publish letters anew in one transaction, which discards those in their places.

        Raises:
            TakenOverError: another has begun; nothing was done.
            KafkaError: the broker knows whether it was done; a new settler will, too.
        """
        await self._settle(chosen, Outcome.DISCARDED, anew)

    async def _settle(self, chosen: Sequence[DeadLetter], outcome: Outcome, published: Sequence[Outgoing]) -> None:
        producer = self._producer
        if producer is None:
            raise RuntimeError("the settler has not been started")
        now = datetime.now(timezone.utc)
        told = [(letter, _settled(letter, outcome, now)) for letter in chosen]
        try:
            async with producer.transaction():
                sent = [await _send(producer, record) for record in published]
                topic = self._settings.topic(SETTLED)
                for letter, settled in told:
                    number = letter.id.partition % self._settled_partitions
                    record = Outgoing(topic, encode_settled(settled), key_of(letter.id), partition=number)
                    sent.append(await _send(producer, record))
                await asyncio.gather(*sent)
        except (ProducerFenced, InvalidProducerEpoch):
            raise TakenOverError from None
        for _, settled in told:
            self._outcomes.add(settled)

    def _replayed(self, letter: DeadLetter, now: Millis) -> Outgoing:
        if letter.origin is None:
            raise RuntimeError("a letter without an origin has been refused")
        topic, number, _ = letter.origin
        return Outgoing(
            topic,
            letter.value,
            letter.key,
            replayed_headers(letter, now),
            replayed_at(letter, now),
            # Fewer partitions than then: the topic was created again, and the key decides.
            number if number < self._inputs[topic] else None,
        )


async def _send(producer: AIOKafkaProducer, record: Outgoing) -> Any:
    return await producer.send(
        record.topic,
        record.value,
        key=record.key,
        partition=record.partition,
        timestamp_ms=record.timestamp,
        headers=list(record.headers),
    )


def _settled(letter: DeadLetter, outcome: Outcome, now: datetime) -> Settled:
    is_replay = outcome is Outcome.REPLAYED
    return Settled(
        letter.id.partition,
        letter.id.offset,
        letter.written,
        outcome,
        now,
        None if letter.reason is None else letter.reason.value,
        letter.origin.topic if is_replay and letter.origin is not None else None,
        letter.rounds + 1 if is_replay else None,
    )


class _Sized(Protocol):
    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Headers: ...


_Letter = TypeVar("_Letter", bound=_Sized)


async def in_batches(letters: AsyncIterator[_Letter], most: int = _LETTERS_MAX) -> AsyncIterator[list[_Letter]]:
    """Yield letters in batches of which each fits into one transaction."""
    batch: list[_Letter] = []
    size = 0
    async for letter in letters:
        more = size_of(letter.key, letter.value, letter.headers)
        if batch and (len(batch) >= most or size + more > _BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += more
    if batch:
        yield batch


async def settle_all(
    settler: Settler, chosen: AsyncIterator[DeadLetter], outcome: Outcome, *, rate: float | None = None
) -> AsyncIterator[int]:
    """Settle letters as they come, in transactions of bounded size; yield after each how many it settled.

    Args:
        settler: started.
        chosen: letters that are not refused.
        outcome: what becomes of them.
        rate: letters a second; None: as fast as it goes.

    Raises:
        TakenOverError: another has begun.
    """
    most = _LETTERS_MAX if rate is None else max(1, min(_LETTERS_MAX, int(rate)))
    begun, done = time.monotonic(), 0
    async for batch in in_batches(chosen, most):
        if rate is not None:
            await asyncio.sleep(max(0.0, begun + done / rate - time.monotonic()))
        await settler.settle(batch, outcome)
        done += len(batch)
        yield len(batch)
