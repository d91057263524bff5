"""Share a spool between coroutines: what they append at the same time is committed together.

A commit waits for the disk, some milliseconds each; all that comes meanwhile goes into the next one. So a thousand
calls in a second cost the disk a hundred commits and not a thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from processor.gateway.spool import Spool, Spooled, SpoolError

_Result = TypeVar("_Result")

#: Calls and octets of one commit: a disk that is full of one of them must not refuse many.
_MAX_CALLS = 1000
_MAX_OCTETS = 8 * 2**20

#: Seconds for which a commit is collected: at a thousand calls a second, it costs each of them a third of the CPU time.
_COLLECT_SECONDS = 0.003

_Waiting = tuple[Sequence[Spooled], "asyncio.Future[None]"]


class SharedSpool:
    """A spool for the coroutines of one loop. The spool itself is used from here on by nobody else.

    Args:
        spool: not opened yet.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        # One thread: SQLite does one thing after the other anyway.
        self._thread = ThreadPoolExecutor(1, "spool")
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the file; raise SpoolError where it cannot be."""
        await self._in_thread(self.spool.open)

    async def append(self, spooled: Sequence[Spooled]) -> None:
        """Append the records of one call, all or none; when this returns, they are on disk.

        Who is cancelled meanwhile may not assume that they are not.

        Raises:
            SpoolError: none was appended.
        """
        appended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((spooled, appended))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        await appended

    async def oldest(self, limit: int) -> list[tuple[int, Spooled]]:
        """Return the oldest records, each with its place; they stay. Raise SpoolError where they cannot be read."""
        return await self._in_thread(partial(self.spool.oldest, limit))

    async def remove(self, last: int) -> None:
        """Remove all records up to a place, and it; raise SpoolError where they stay."""
        await self._in_thread(partial(self.spool.remove, last))

    async def put_last(self, place: int) -> None:
        """Move a record behind all others; raise SpoolError where it stays."""
        await self._in_thread(partial(self.spool.put_last, place))

    async def close(self) -> None:
        """Close the file when what is being appended is on disk."""
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        await self._in_thread(self.spool.close)
        self._thread.shutdown()

    async def _commit(self) -> None:
        while self._waiting:
            await asyncio.sleep(_COLLECT_SECONDS)
            group = self._next_group()
            together = [each for spooled, _ in group for each in spooled]
            try:
                await self._in_thread(partial(self.spool.append, together))
            except Exception as error:
                # Whatever it is: nobody may wait for ever, nor be told that it is on disk.
                failed: Exception | None = error
            else:
                failed = None
            for _, appended in group:
                if appended.done():
                    continue
                if failed is None:
                    appended.set_result(None)
                else:
                    appended.set_exception(SpoolError(str(failed)))

    def _next_group(self) -> list[_Waiting]:
        size = taken = 0
        for spooled, _ in self._waiting[:_MAX_CALLS]:
            size += sum(len(each.value) for each in spooled)
            if taken and size > _MAX_OCTETS:
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return group

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
