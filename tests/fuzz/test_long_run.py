"""A million records (`make fuzz`, FUZZ_PAYLOADS): none takes long, and nothing is left behind of them.

Only a run of its own can judge this: CPU time and memory of a process that shares its machine and its caches with other
tests say little.

LONG_SECONDS is what a record of some 64 kB may take, and a larger one in proportion. Time grows with what a record
holds, and no faster: a report that leads to an event costs 10 to 60 us, from its bytes to the event's, so a megabyte of
reports (the usual limit, 1,000 to 6,000 of them) takes 0.03 to 0.2 s of honest work. What leads to no event is bounded
in number, whatever the size: 50,000 arrays and objects, 1,000 unreadable and 2,000 unknown elements, 1,000 dead
letters; a megabyte of it stays about at LONG_SECONDS. Between two transactions a partition takes eight fetches of a
megabyte at most.
"""

import ctypes
import gc
import os
import sys
import time
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import pytest

from processor.providers import ADAPTERS
from tests.fuzz.line import Line
from tests.fuzz.running import SEED, fuzz

PAYLOADS = int(os.environ.get("FUZZ_PAYLOADS", "0"))

#: CPU time of the one that takes longest for its size.
LONG_SECONDS = 0.05

#: Records of a provider between two measurements.
ROUND = 2_000

#: By how much the process may grow after a fifth of the run: in blocks that Python has in use, and in memory when
#: what is free has been given back, as a worker does: the largest records take 10 MiB for a moment, whenever they come.
GROWTH = 1.05

pytestmark = pytest.mark.skipif(not PAYLOADS, reason="takes minutes: make fuzz, or FUZZ_PAYLOADS")


def test_none_takes_long_and_nothing_grows(monkeypatch):
    line, done, rounds, found = Line(monkeypatch), 0, 0, []
    caches, give_back = caches_of_ours(), getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
    # The samples are no garbage, and to look through them time and again is no part of reading a record.
    gc.freeze()
    began = time.monotonic()
    while done < PAYLOADS:
        for provider in ADAPTERS:
            fuzz(line, provider, SEED + rounds, ROUND)
            line.finish()
            done += ROUND
        rounds += 1
        empty(caches)
        gc.collect()
        give_back(0)
        found.append((sys.getallocatedblocks(), resident_mib()))
        say(f"{done} records, {done / (time.monotonic() - began):.0f}/s, {found[-1][0]} blocks, {found[-1][1]:.1f} MiB")
    tell(line)
    assert line.slowest.relative < LONG_SECONDS, line.slowest
    settled = found[len(found) // 5 :]
    for first, last in zip(settled[0], settled[-1], strict=True):
        assert last <= first * GROWTH, found


def caches_of_ours() -> list[Any]:
    """Give the caches of functions; all have a bound."""
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith("processor.")]
    ours = {id(each): each for names in modules for each in names.values() if isinstance(each, _lru_cache_wrapper)}
    assert ours
    assert all(each.cache_info().maxsize is not None for each in ours.values())
    return list(ours.values())


def empty(caches: list[Any]) -> None:
    """Empty caches, which fill with every new word and second until they reach their bound."""
    for cache in caches:
        cache.cache_clear()


def tell(line: Line) -> None:
    say(f"findings: {dict(line.outcomes)}")
    say(f"dead letters: {dict(line.dead)}")
    slowest = line.slowest
    say(f"slowest: {slowest.seconds * 1000:.1f} ms, {slowest.provider}, {len(slowest.record.value or b'')} bytes")
    say("errors of Python that no adapter put into words:")
    for error, times in line.raw_errors.most_common(40):
        say(f"{times:8} {error}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def resident_mib() -> float:
    rss = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(rss.split()[1]) / 1024
