"""Collect a worker's garbage by time, not by numbers of allocations.

Rows at rest are bytes, and reference counts free what a chunk allocates (docs/performance.md). Python's own schedule
counts allocations: it walks the tens of thousands of tuples of each chunk in hand for nothing, or, made rare, never
comes to what is left by chance: a closed client of aiokafka, an error with its traceback. Such a cycle keeps the
megabytes that its last fetch brought.

Then the C library gives what is free back to the system. Without being asked, glibc keeps nearly all of what the
largest chunks needed, as after a pause of the brokers.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

#: Seconds from one collection to the next, and the share of a core that they may take: many objects make them rarer.
_SECONDS = 60.0
_SHARE = 0.002

#: Objects of the youngest generation that are collected before that: more than all chunks in hand have.
_MANY = 500_000


def make_rare() -> None:
    """Leave collection to `collect_by_time`, short of a flood; what was imported is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MANY, 5, 20)


async def collect_by_time() -> None:
    """Collect garbage once a minute, or more rarely where that takes long, until cancelled."""
    give_back = _trim()
    pause = _SECONDS
    while True:
        await asyncio.sleep(pause)
        began = time.thread_time()
        gc.collect()
        give_back(0)
        pause = max(_SECONDS, (time.thread_time() - began) / _SHARE)


def _trim() -> Callable[[int], object]:
    """Return malloc_trim(3), which leaves so many bytes at the top; a C library without it gives memory back itself."""
    trim: Callable[[int], object] = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
    return trim
