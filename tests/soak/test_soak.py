"""A worker that folds the same events round and round takes no more of its machine after an hour than after minutes.

SOAK_SECONDS says how long (`make soak`: an hour), SOAK_RATE how many events a second. The first five minutes do not
count: caches fill, and the allocator finds its size. `make test` cannot wait for a creep to show: there two loads
follow each other, and after the second the worker holds at rest what it held after the first.
"""

import asyncio
import os
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from processor.demo.broker import EmbeddedKafka
from processor.wire.topics import EVENTS
from tests.chaos.group import Load
from tests.engine.harness import WORKER, Trial, WorkerProcess, eventually, settings_for_a_trial
from tests.soak.footprint import CONSTANT, Footprint, complaints, footprint_of, growth, spans_of, table

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
RATE = float(os.environ.get("SOAK_RATE", "10000"))
MESSAGES = 15_000

#: What a brief load has: events a second, of how many messages, and how many events are folded before it ends.
BRIEF_RATE, BRIEF_MESSAGES, BRIEF_EVENTS = 1_000.0, 500, 3_000

#: Seconds that do not count, between samples, and of which the median is one line of the table.
WARM_UP = 300.0
EVERY = 5.0
SPAN = 60.0

#: Seconds of load that wait for the worker when it starts: it has folded its largest chunks, which a busy machine would
#: otherwise bring later, before anything counts.
BACKLOG = 30.0

#: Seconds of load that may wait to be folded: of what waits longer than the broker keeps it, some would expire unread.
BEHIND = 60.0

#: What the broker keeps of the input, a partition: an hour of it would be ten gigabytes.
KEPT = {
    "log.retention.bytes": str(256 * 1024 * 1024),
    "log.segment.bytes": str(32 * 1024 * 1024),
    "log.retention.check.interval.ms": "30000",
}


@pytest.mark.skipif(SECONDS == 0, reason="takes an hour: make soak")
async def test_nothing_grows_while_nothing_new_is_told(tmp_path: Path):
    with EmbeddedKafka(properties=KEPT) as broker:
        settings = settings_for_a_trial(broker.bootstrap_servers, partitions=8)
        async with Trial(settings, tmp_path) as trial:
            load = Load(trial, "tests.soak.load", RATE, MESSAGES)
            try:
                await load.start()
                await asyncio.sleep(BACKLOG)
                worker = await trial.start_worker(WORKER)
                await worker.ready()
                samples = await watch(worker)
                published = await load.stop()
            finally:
                load.kill()
            await all_is_folded(trial, worker, published)
            assert await worker.stop() == 0
    judge([sample for sample in samples if sample.seconds >= WARM_UP], published)


async def test_what_a_load_took_is_given_back_when_it_ends(trial: Trial):
    worker = await trial.start_worker(WORKER)
    await worker.ready()
    published = await fold_a_load(trial, worker, 0)
    rest = await at_rest(worker)
    await fold_a_load(trial, worker, published)

    async def is_given_back() -> bool:
        now = await look(worker, 0.0)
        return all(getattr(now, name) <= getattr(rest, name) + allowed for name, allowed in CONSTANT.items())

    await eventually(is_given_back, f"no more than {rest._asdict()} is held, as after the first load")


async def fold_a_load(trial: Trial, worker: WorkerProcess, folded: int) -> int:
    """Publish for a while beside what has been folded; give how many events have been folded in the end."""
    load = Load(trial, "tests.soak.load", BRIEF_RATE, BRIEF_MESSAGES)

    async def is_loaded() -> bool:
        return await worker.metric("delivery_events_total") >= folded + BRIEF_EVENTS

    try:
        await load.start()
        await eventually(is_loaded, f"{BRIEF_EVENTS} events more are folded")
        published = folded + await load.stop()
    finally:
        load.kill()
    await all_is_folded(trial, worker, published)
    return published


async def at_rest(worker: WorkerProcess) -> Footprint:
    """Give what the worker holds once that has been the same for several looks."""
    looks: deque[Footprint] = deque(maxlen=5)

    async def is_at_rest() -> Footprint | None:
        looks.append(await look(worker, 0.0))
        same = {tuple(getattr(each, name) for name in CONSTANT) for each in looks}
        return looks[-1] if len(looks) == looks.maxlen and len(same) == 1 else None

    found: Footprint = await eventually(is_at_rest, "a worker without work holds the same at each look")
    return found


async def look(worker: WorkerProcess, seconds: float) -> Footprint:
    """Read what the worker takes, of the system and of its own metrics."""
    status, page = await worker.get("/metrics")
    assert status == 200, page
    tasks, events = (value_of(page, name) for name in ("delivery_tasks", "delivery_events_total"))
    return footprint_of(worker.pid, seconds, tasks, events)


async def watch(worker: WorkerProcess) -> list[Footprint]:
    """Sample the worker until the time is over; print a line a minute, so that a long soak shows that it lives."""
    samples: list[Footprint] = []
    began, told = time.monotonic(), 0.0
    while (seconds := time.monotonic() - began) < SECONDS:
        assert worker.exit_code is None, worker.log_text()[-4_000:]
        samples.append(await look(worker, seconds))
        assert RATE * (seconds - BEHIND) <= samples[-1].events, (
            f"the machine is too busy for {RATE:.0f} events/s: {table(samples[-1:])}"
        )
        if seconds >= told:
            sys.stdout.write(f"{table(samples[-1:])}\n")
            sys.stdout.flush()
            told += 60
        await asyncio.sleep(EVERY)
    return samples


def value_of(page: str, name: str) -> float:
    """Sum a metric's samples; to parse a whole page would take what the load needs."""
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    )


async def all_is_folded(trial: Trial, worker: WorkerProcess, published: int) -> None:
    """Wait until every event has been folded: what was not worked on cannot have cost anything."""

    async def is_folded() -> bool:
        return await worker.metric("delivery_events_total") == published

    await eventually(is_folded, f"all {published} events of {trial.topic(EVENTS)} have been folded")
    assert await worker.metric("delivery_events_total", verdict="duplicate") > 0


def judge(samples: list[Footprint], published: int) -> None:
    spans = spans_of(samples, SPAN)
    sys.stdout.write(f"\n{table(spans)}\n{published / SECONDS:.0f} events/s; {growth(spans):+.1f} MiB an hour\n")
    found = complaints(spans)
    assert not found, found
    assert published >= 0.95 * RATE * SECONDS, "the machine was too busy for this rate"
