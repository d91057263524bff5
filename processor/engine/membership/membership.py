"""The membership of a worker in its group: a small interface to Faust.

Faust joins the group, assigns partitions, fetches, and runs an agent for each stage, which hands over chunks. Nothing
outside of this package knows Faust: an `Owner` is called with assigned and revoked partitions and with chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from aiokafka import TopicPartition
from faust.types import TP

from processor.engine.chunks import Chunk
from processor.engine.membership.app import App, Introduction
from processor.engine.membership.consumer import ChunkConsumer, ChunkSchema
from processor.engine.pin import Pin
from processor.settings import Settings

#: Seconds between looks whether aiokafka has stopped for an error.
_LOOK_SECONDS = 1.0


class Owner(Protocol):
    """The owner of the partitions that the group assigns to this worker."""

    async def assigned(self, tps: Sequence[TopicPartition], pin: Pin) -> None:
        """Take the assigned partitions, all that the worker has from now on, and the membership they belong to."""

    async def revoked(self, tps: Sequence[TopicPartition]) -> None:
        """Release revoked partitions; the rebalance waits for it."""

    async def take(self, tp: TopicPartition, chunk: Chunk) -> None:
        """Take a fetched chunk of a partition; the fetch waits for it."""

    def wants(self, tp: TopicPartition) -> bool:
        """Return whether more of a partition may be fetched. Called by the consumer's thread."""


class _Wanted:
    """The partitions that may be fetched: a container that the fetch queries while it waits.

    It must not have a length: the fetch takes an empty container for all partitions.
    """

    def __init__(self, owner: Owner) -> None:
        self._wants = owner.wants

    def __contains__(self, tp: TopicPartition) -> bool:
        return self._wants(tp)


class Membership:
    """A member of the group, from `start` to `stop`.

    Args:
        introduction: the worker's URL and terms.
        inputs: full names of the topics of each stage, by its name.
        owner: called with partitions and chunks.
        on_disagreement: called with the disagreements of members, each with both values, and whether the group's leader
            refuses this worker.
    """

    def __init__(
        self,
        settings: Settings,
        introduction: Introduction,
        inputs: Mapping[str, Sequence[str]],
        owner: Owner,
        on_disagreement: Callable[[Sequence[str], bool], None],
    ) -> None:
        self._owner = owner
        self._app = App(settings, introduction, _Wanted(owner), on_disagreement)
        for stage, topics in inputs.items():
            self._add_agent(stage, topics)
        # Faust holds them weakly.
        self._app.on_partitions_assigned.connect(self._on_assigned)
        self._app.on_partitions_revoked.connect(self._on_revoked)

    def _add_agent(self, stage: str, topics: Sequence[str]) -> None:
        topic = self._app.topic(*topics, acks=False, schema=ChunkSchema(), internal=False)

        async def hand_over(stream: Any) -> None:
            async for event in stream.events():
                await self._owner.take(TopicPartition(*event.message.tp), event.value)

        self._app.agent(topic, name=f"processor.{stage}")(hand_over)

    async def _on_assigned(self, _app: Any, assigned: Iterable[TP], **_: Any) -> None:
        pin = self._consumer.pin
        # One that is lost already is followed by another assignment; until then nothing can be committed.
        tps = sorted(assigned) if pin.is_of_a_member else ()
        await self._owner.assigned([TopicPartition(*tp) for tp in tps], pin)

    async def _on_revoked(self, _app: Any, revoked: Iterable[TP], **_: Any) -> None:
        await self._owner.revoked([TopicPartition(*tp) for tp in sorted(revoked)])

    async def start(self) -> None:
        """Join the group. It may wait as long as the brokers cannot be reached."""
        await self._app.start()

    async def leave(self) -> None:
        """Leave the group, for good. It may wait for a broker that cannot be reached."""
        await self._consumer.leave()

    async def stop(self) -> None:
        """Stop, and leave the group if that has not been done. It may wait for a broker that cannot be reached."""
        await self._app.stop()

    async def raise_crash(self) -> NoReturn:
        """Wait until Faust crashes, and raise the reason."""
        await self._app.raise_its_crash()

    async def go_on_after_errors(self) -> NoReturn:
        """Join the group anew whenever its coordinator has given an answer that aiokafka stops for."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._consumer.go_on()

    @property
    def member_id(self) -> str:
        """The member id of this worker; empty while it is not in the group."""
        return self._consumer.member_id

    @property
    def stands_still_for(self) -> float:
        """Seconds since the fetch was called without returning; it waits for a second if there are no records."""
        return self._consumer.stands_still_for

    def position(self, tp: TopicPartition) -> int | None:
        """Return the offset that the fetch returns next, without waiting; None if the partition is not assigned."""
        return self._consumer.position(TP(*tp))

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Seek to offsets, where the partition is still assigned."""
        await self._consumer.seek_to({TP(*tp): offset for tp, offset in offsets.items()})

    def wake(self) -> None:
        """Wake a waiting fetch, so that it asks again which partitions it may fetch."""
        self._consumer.wake()

    @property
    def _consumer(self) -> ChunkConsumer:
        consumer: ChunkConsumer = self._app.consumer
        return consumer
