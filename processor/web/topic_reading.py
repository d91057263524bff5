"""Shared by the lists of a topic's newest records: few readers at a time, and cursors that say where they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from processor.engine.admin import MissingTopicError
from processor.engine.bounds import within
from processor.engine.clients import KafkaError
from processor.web.problems import BROKER_AWAY, ProblemError, invalid
from processor.wire.letters import LetterId

_Found = TypeVar("_Found")

#: Seconds that reading may take, and readers that may be at it: each has connections and buffers.
PATIENCE_SECONDS = 60.0
_READERS_MAX = 2

#: Characters of a cursor.
CURSOR_MAX = 6_000


class Readers:
    """Lets few readers be at work at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_READERS_MAX)

    async def ask(self, ask: Callable[[], Awaitable[_Found]], seconds: float | None = None) -> _Found:
        """Return what a reader finds within some seconds, PATIENCE_SECONDS if not said; others may read first.

        Raises:
            ProblemError: Kafka does not answer in time, or has no such topic.
        """
        return await answered(self.read(ask), PATIENCE_SECONDS if seconds is None else seconds)

    async def read(self, ask: Callable[[], Awaitable[_Found]]) -> _Found:
        """Return what a reader finds, once there is room for it."""
        async with self._room:
            return await ask()


async def answered(asking: Awaitable[_Found], seconds: float) -> _Found:
    """Return an answer within some seconds.

    Raises:
        ProblemError: Kafka does not answer in time, or has no such topic.
    """
    try:
        return await within(asking, seconds)
    except MissingTopicError as error:
        raise ProblemError(BROKER_AWAY, str(error)) from None
    except (KafkaError, OSError, asyncio.TimeoutError) as error:
        raise ProblemError(BROKER_AWAY, f"Kafka did not answer: {type(error).__name__}") from None


def write_cursor(before: Mapping[int, int]) -> str:
    """Write where to go on: before which offset, by partition."""
    return ".".join([str(LetterId(number, offset)) for number, offset in sorted(before.items())])


def read_cursor(cursor: str) -> dict[int, int]:
    """Read where to go on.

    Raises:
        ProblemError: it is none of ours.
    """
    places = [LetterId.parse(place) for place in cursor.split(".")]
    if None in places:
        raise invalid("`cursor` is none of ours")
    return dict([place for place in places if place is not None])
