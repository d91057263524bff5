"""How long each partition stood still: its committed offset, looked at from outside ten times a second.

A partition gives a sign of life whenever its committed offset has grown since the last look, or when there is nothing
left to read. The time between two signs is a standstill. Nothing that a worker says of itself is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

#: Seconds between looks.
LOOK = 0.1
#: Seconds after which the answer to a look is not waited for: the broker is away.
ANSWER = 2.0
#: A partition that gives no sign for so many seconds stands still; less is the rhythm of chunks on a busy machine.
STANDSTILL = 1.0
#: Seconds that all partitions must have gone without a standstill to count as steady.
STEADY = 2.0


class Progress(NamedTuple):
    """Where one partition stands."""

    committed: int
    end: int


class Standstill(NamedTuple):
    """A time without a sign of life, in seconds of the event loop's clock."""

    began: float
    ended: float


class Pulse:
    """Signs of life of every partition."""

    def __init__(self, look: Callable[[], Awaitable[Mapping[TopicPartition, Progress]]]) -> None:
        self._look = look
        self._committed: dict[TopicPartition, int] = {}
        self.signs: dict[TopicPartition, list[float]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                progress = await asyncio.wait_for(self._look(), ANSWER)
                # After the answer: a cost may be told too high by one look, never too low.
                self.note(loop.time(), progress)
            await asyncio.sleep(LOOK)

    def note(self, now: float, progress: Mapping[TopicPartition, Progress]) -> None:
        """Take the answer to one look."""
        for tp, (committed, end) in progress.items():
            signs = self.signs.setdefault(tp, [])
            if committed > self._committed.get(tp, -1) or committed >= end:
                signs.append(now)
            self._committed[tp] = committed

    def standstills(self, tp: TopicPartition, since: float, until: float) -> list[Standstill]:
        """Give the standstills of a partition that overlap a span of time."""
        signs = [*self.signs.get(tp, []), until]
        pairs = [Standstill(*pair) for pair in zip([0.0, *signs], signs, strict=False)]
        return [each for each in pairs if each.ended > since and each.ended - max(each.began, since) >= STANDSTILL]

    def is_steady(self, since: float, now: float) -> bool:
        """Say whether no partition has stood still for a while after `since`."""
        begin = now - STEADY
        return bool(self.signs) and begin >= since and not any(self.standstills(tp, begin, now) for tp in self.signs)
