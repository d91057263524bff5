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
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from processor.domain.moment import Millis
from processor.engine import clients
from processor.engine.admin import count_partitions
from processor.engine.batches import readable
from processor.engine.bounds import closed
from processor.engine.records import Stored
from processor.engine.streams import read_to_end
from processor.settings import Settings
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

    def refusal(self, letter: DeadLetter, outcome: Outcome, *, force: bool) -> str | None:
        """Return why a letter is not to be settled so, or None."""
        settled = self._outcomes.of(letter)
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
        producer = self._producer
        if producer is None:
            raise RuntimeError("the settler has not been started")
        now = datetime.now(timezone.utc)
        told = [(letter, _settled(letter, outcome, now)) for letter in chosen]
        try:
            async with producer.transaction():
                sent = []
                for letter, settled in told:
                    if outcome is Outcome.REPLAYED:
                        sent.append(await self._publish(producer, letter, Millis(int(now.timestamp() * 1000))))
                    topic = self._settings.topic(SETTLED)
                    number = letter.id.partition % self._settled_partitions
                    sent.append(
                        await producer.send(topic, encode_settled(settled), key=key_of(letter.id), partition=number)
                    )
                await asyncio.gather(*sent)
        except (ProducerFenced, InvalidProducerEpoch):
            raise TakenOverError from None
        for _, settled in told:
            self._outcomes.add(settled)

    async def _publish(self, producer: AIOKafkaProducer, letter: DeadLetter, now: Millis) -> Any:
        if letter.origin is None:
            raise RuntimeError("a letter without an origin has been refused")
        topic, number, _ = letter.origin
        return await producer.send(
            topic,
            letter.value,
            key=letter.key,
            # Fewer partitions than then: the topic was created again, and the key decides.
            partition=number if number < self._inputs[topic] else None,
            timestamp_ms=replayed_at(letter, now),
            headers=list(replayed_headers(letter, now)),
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
    waiting: list[DeadLetter] = []
    size = 0
    async for letter in chosen:
        if waiting and (len(waiting) >= most or size + len(letter.value or b"") > _BYTES_MAX):
            done += len(waiting)
            await settler.settle(waiting, outcome)
            yield len(waiting)
            waiting, size = [], 0
            if rate is not None:
                await asyncio.sleep(max(0.0, begun + done / rate - time.monotonic()))
        waiting.append(letter)
        size += len(letter.value or b"")
    if waiting:
        await settler.settle(waiting, outcome)
        yield len(waiting)
