"""Followers: read compacted topics whole on every worker, outside of any group, for its answers and its stages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processor.engine import clients
from processor.engine.admin import MissingTopicError, count_partitions
from processor.engine.batches import readable
from processor.engine.bounds import closed, within
from processor.engine.stage import Take
from processor.logs import get_logger
from processor.settings import Settings
from processor.wire.topics import Topic

log = get_logger(__name__)

#: Seconds between attempts to reach a broker that is away, and between fetches once nothing waits any more: the longer,
#: the fewer records there are to decode, since only the last of each key counts.
_RETRY_SECONDS = 1.0
_PAUSE_SECONDS = 0.25

#: Seconds that one turn may take before the broker counts as away.
_PATIENCE_SECONDS = 60.0


class Follower:
    """Reads compacted topics from the beginning and follows them while it runs.

    Of the records of one fetch with the same key, `take` gets only the last one.
    """

    def __init__(self, settings: Settings, topics: Iterable[Topic], take: Take) -> None:
        self._settings = settings
        self._topics = {settings.topic(topic): topic for topic in topics}
        self._take = take
        #: Where reading goes on after the broker was away.
        self._positions: dict[TopicPartition, int] = {}
        #: Where each partition ended when it was first looked at; it is caught up when nothing is left here.
        self._ends: dict[TopicPartition, int] | None = None
        self._caught_up = asyncio.Event()

    @property
    def is_caught_up(self) -> bool:
        """Whether all records that existed at the start have been taken."""
        return self._ends is not None and not self._ends

    async def caught_up(self) -> None:
        """Wait until all records that existed at the start have been taken."""
        await self._caught_up.wait()

    async def run(self) -> None:
        """Follow until cancelled; wait for brokers that cannot be reached and topics that do not exist yet."""
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError, MissingTopicError, asyncio.TimeoutError) as error:
                log.warning("follower_waits", error=repr(error))
            except Exception:
                # A failure of the views must not end the processing.
                log.exception("follower_failed")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        tps = [
            TopicPartition(name, number)
            for name in self._topics
            for number in range(await within(count_partitions(self._settings, name), _PATIENCE_SECONDS))
        ]
        reader = clients.reader(self._settings)
        try:
            await within(reader.start(), _PATIENCE_SECONDS)
            reader.assign(tps)
            await within(self._seek(reader, tps), _PATIENCE_SECONDS)
            while True:
                await within(self._take_turn(reader, tps), _PATIENCE_SECONDS)
                await asyncio.sleep(_PAUSE_SECONDS if self.is_caught_up else 0)
        finally:
            await closed("follower", reader.stop())

    async def _take_turn(self, reader: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> None:
        self._hand_over(await reader.getmany(timeout_ms=500))
        await self._note_positions(reader, tps)

    async def _seek(self, reader: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> None:
        begins = await reader.beginning_offsets(tps)
        ends = await reader.end_offsets(tps)
        for tp in tps:
            # A topic that was created again begins before our position.
            known = self._positions.get(tp, begins[tp])
            self._positions[tp] = known if begins[tp] <= known <= ends[tp] else begins[tp]
            reader.seek(tp, self._positions[tp])
        if self._ends is None:
            self._ends = {tp: end for tp, end in ends.items() if end > self._positions[tp]}
        self._tell()

    def _hand_over(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        for tp, records in fetched.items():
            latest = {
                record.key: record for record in readable(tp.topic, tp.partition, records) if record.key is not None
            }
            if latest:
                self._take(self._topics[tp.topic], list(latest.values()))

    async def _note_positions(self, reader: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> None:
        """Record the positions: they step over markers, so an end is reached also without records."""
        for tp in tps:
            self._positions[tp] = await reader.position(tp)
        if self._ends:
            self._ends = {tp: end for tp, end in self._ends.items() if self._positions[tp] < end}
        self._tell()

    def _tell(self) -> None:
        if self.is_caught_up:
            self._caught_up.set()
