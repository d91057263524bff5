"""One request for all who ask the same question at about the same moment.

When a worker is assigned partitions, hundreds of them ask the brokers the same few questions, one after the other. A
request for all of them costs what one for a single partition does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

#: Seconds for which questions are gathered.
_GATHERING_SECONDS = 0.005

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Together(Generic[Key, Answer]):
    """Asks one question, for many keys at once.

    An answer is never older than its question: who asks while a request is under way waits for the next one, which is
    sent at once.

    Args:
        ask: asks for some keys, and returns the answer or the error of each. What it raises concerns all of them.
    """

    def __init__(self, ask: Callable[[Collection[Key]], Awaitable[Mapping[Key, Answer | Exception]]]) -> None:
        self._ask = ask
        #: In the order in which they were asked for; a set has none.
        self._keys: dict[Key, None] = {}
        self._asking: asyncio.Task[Mapping[Key, Answer | Exception]] | None = None

    async def of(self, key: Key) -> Answer:
        """Return the answer for a key. Who is cancelled does not end the question for others.

        Raises:
            Exception: what the question met, for this key or for all.
        """
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_soon())
            self._asking.add_done_callback(_seen)
        self._keys[key] = None
        answer = (await asyncio.shield(self._asking))[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _ask_soon(self) -> Mapping[Key, Answer | Exception]:
        await asyncio.sleep(_GATHERING_SECONDS)
        keys, self._keys, self._asking = list(self._keys), {}, None
        return await self._ask(keys)


def _seen(asking: asyncio.Future[Any]) -> None:
    """Note that a question has failed, also when all who asked it have gone."""
    if not asking.cancelled():
        asking.exception()
