"""Wait with a bound, even if a client or Faust suppresses a cancellation.

aiokafka and Faust suppress `CancelledError` while they wait for their own tasks. A cancellation of their caller is lost
there, and both `asyncio.wait_for` and a plain `cancel()` then wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from processor.logs import get_logger

log = get_logger(__name__)

Answer = TypeVar("Answer")

#: Seconds after which what has not ended is cancelled once more, and after which it is left alone.
_AGAIN_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


async def within(awaitable: Awaitable[Answer], seconds: float) -> Answer:
    """Wait for a result for at most some seconds, and a few more for its cancellation.

    Raises:
        asyncio.TimeoutError: there was none in time. The task has been cancelled, and may have had its effect.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await end([task])
        if task.done() and not task.cancelled():
            # Nobody waits for its answer any more: that it failed is no news.
            task.exception()
        raise
    stuck = await end([task])
    if stuck or task.cancelled():
        raise asyncio.TimeoutError(f"no answer within {seconds:g} s")
    return task.result()


async def end(tasks: Iterable[asyncio.Future[Any]]) -> set[asyncio.Future[Any]]:
    """Cancel tasks repeatedly until they have ended; return those that still run after some seconds.

    A caller that is cancelled meanwhile waits on, and raises `CancelledError` afterwards.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_SECONDS
    running = {task for task in tasks if not task.done()}
    interruption: asyncio.CancelledError | None = None
    while running and loop.time() < deadline:
        for task in running:
            task.cancel()
        try:
            _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            interruption = error
            running = {task for task in running if not task.done()}
    for task in running:
        log.error("task_does_not_end", task=repr(task))
    if interruption is not None:
        raise interruption
    return running


async def closed(what: str, closing: Awaitable[object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until something is closed; log a failure or a timeout, and go on."""
    try:
        await within(closing, seconds)
    except Exception as error:
        log.warning("not_closed_in_order", what=what, error=repr(error))
