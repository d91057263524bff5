"""Latency: from the moment at which a record was due to its row at a reader of committed records, at a steady rate."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import TopicPartition
from bench import Bench, prepare, remove, running, turned
from check import check, check_normalized
from contenders import HERE, Contender
from load import TRAFFIC, fill, keyed_events, keyed_payloads
from measure import Group, PeerError, Process, Sample, _cpu_seconds, costs, move, others_share, percentile, watch
from tables import Row

from processor.engine import clients
from processor.settings import Settings

#: A median above this means that the load was more than the contender can take.
_BEHIND_MS = 1_000
_WARM_SECONDS = 900

_QUIET_SECONDS, _TAIL_SECONDS = 1, 120

#: What is published, by scenario.
_TRAFFIC = {"latency": "events", "hops": "payloads"}

Records = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Load:
    """Records at a steady rate; those of the first seconds do not count."""

    rate: int
    seconds: float
    settle_seconds: float = 0.0
    traffic: str = "events"


@dataclass(frozen=True)
class _Run:
    """One contender under one load, in one round; before it, it has folded what warms it."""

    table: str
    contender: Contender
    load: Load
    number: int
    warm: Records


async def latency(bench: Bench) -> None:
    """Publish events at a fixed rate, and see when their rows can be read."""
    await _measure(bench, "latency", list(keyed_events(bench.size.warm_events // 3)))


async def hops(bench: Bench) -> None:
    """The same with payloads: normalize, the topic of events, fold."""
    await _measure(bench, "hops", list(keyed_payloads(bench.size.warm_events // 3, "warm")))


async def _measure(bench: Bench, table: str, records: Records) -> None:
    warm = records[: bench.size.warm_events]
    gc.freeze()
    rates = {contender.name: [bench.size.rate] for contender in bench.contenders if contender.is_timed}
    mine = os.sched_getaffinity(0)
    if bench.cores:
        # The load is started by this script, and has its cores.
        os.sched_setaffinity(0, mine - set(bench.cores))
        move(bench.broker_pid, mine - set(bench.cores))
    try:
        for number in bench.rounds():
            for contender in turned(bench.contenders, number):
                for rate in rates.get(contender.name, ()):
                    load = Load(rate, bench.size.latency_seconds, bench.size.settle_seconds, _TRAFFIC[table])
                    measured = _delay(bench, _Run(table, contender, load, number, warm))
                    row = await bench.step(table, contender.name, {"rate": rate, "round": number}, measured)
                    if row.get("keeps_up") is False and len(rates[contender.name]) == 1:
                        rates[contender.name].append(rate // 2)
    finally:
        os.sched_setaffinity(0, mine)
        move(bench.broker_pid, mine)
        gc.unfreeze()


async def _delay(bench: Bench, run: _Run) -> Row:
    name = f"{run.table}-{run.contender.name}-{run.load.rate}-{run.number}"
    settings = bench.on(f"{name}.")
    contender = replace(run.contender, name=name)
    await prepare(settings, contender)
    warmed = await fill(settings, TRAFFIC[run.load.traffic].topic, run.warm)
    process = bench.process(contender, settings, payloads=run.table == "hops", cores=bench.cores)
    # With two hops the second one is the last to be done with what warms both.
    async with running(process), bench.group(contender, settings) as group:
        samples = await watch(process, group, warmed, _WARM_SECONDS)
        if samples[-1].events < warmed:
            raise PeerError(f"warmed by {samples[-1].events:,} of {warmed:,} records in {_WARM_SECONDS} s")
        feed = contender.feed_topic(settings.topic_prefix)
        delays, samples = await delays_of(process, group, settings, feed, run.load)
    found = await _checked(settings, contender, run) if run.number == 0 else {}
    await remove(settings, contender.group)
    await remove(settings, settings.topic_prefix)
    shutil.rmtree(bench.data / f"{settings.topic_prefix}{contender.name}")
    delays.sort()
    if not delays:
        raise PeerError("published no row")
    figures = costs(samples)
    return found | {
        "records": len(delays),
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "max_ms": delays[-1],
        "contender_us": figures["contender_us"],
        "broker_us": figures["broker_us"],
        # Who does not falls behind for as long as the load lasts.
        "keeps_up": percentile(delays, 0.5) < _BEHIND_MS,
        "others_percent": round(100 * others_share(samples)),
    }


async def _checked(settings: Settings, contender: Contender, run: _Run) -> Row:
    found = await check(settings, contender)
    if run.table == "hops":
        found = found.and_also(await check_normalized(settings))
    return {"checked": found.compared, "wrong": found.wrong}


async def delays_of(
    process: Process, group: Group, settings: Settings, feed: str, load: Load
) -> tuple[list[int], list[Sample]]:
    """Publish a load; return the milliseconds from each due moment to its row, and what that took of the CPU."""
    tps = [TopicPartition(feed, number) for number in range(settings.partitions)]
    reader = clients.reader(settings, fetch_max_wait_ms=50)
    await reader.start()
    try:
        reader.assign(tps)
        await reader.seek_to_end(*tps)
        due = await group.committed() + int(load.rate * load.seconds)
        generator = await start_generator(settings, load)
        # What it took to make the load was before the first sample.
        loaded = _children_cpu_seconds() + _cpu_seconds(generator.pid)
        samples = [process.sample(0)]
        begin = int((time.time() + load.settle_seconds) * 1000)
        delays: list[int] = []
        async for now, timestamps in _rows_until_done(reader, generator, group, due):
            delays.extend(now - timestamp for timestamp in timestamps if timestamp >= begin)
        process.check()
        samples.append(process.sample(int(load.rate * load.seconds), _children_cpu_seconds() - loaded))
        return delays, samples
    finally:
        await reader.stop()


async def _rows_until_done(
    reader: Any, generator: asyncio.subprocess.Process, group: Group, due: int
) -> AsyncIterator[tuple[int, list[int]]]:
    """Yield when rows were read, and when their events were due.

    What falls behind the load is waited for: until all is committed and no row has come for a while, or for minutes.
    """
    is_done = False
    until = time.monotonic() + _TAIL_SECONDS
    while time.monotonic() < until:
        fetched = await reader.getmany(timeout_ms=100)
        if fetched:
            yield int(time.time() * 1000), [each.timestamp for records in fetched.values() for each in records]
        if generator.returncode is None:
            until = time.monotonic() + _TAIL_SECONDS
        elif fetched and is_done:
            until = time.monotonic() + _QUIET_SECONDS
        elif not is_done and await group.committed() >= due:
            is_done, until = True, time.monotonic() + _QUIET_SECONDS


def _children_cpu_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


async def start_generator(settings: Settings, load: Load) -> asyncio.subprocess.Process:
    """Start the load in a process of its own, and wait until it flows."""
    options = {
        "--brokers": settings.brokers,
        "--prefix": settings.topic_prefix,
        "--partitions": str(settings.partitions),
        "--rate": str(load.rate),
        "--seconds": str(load.seconds),
        "--traffic": load.traffic,
    }
    arguments = [part for option in options.items() for part in option]
    generator = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "load.py"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert generator.stdout is not None
    if await generator.stdout.readline() != b"begun\n":
        raise PeerError(f"the load ended with {await generator.wait()} before it began")
    return generator
