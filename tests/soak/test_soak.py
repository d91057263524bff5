"""A worker that folds the same events round and round takes no more of its machine after an hour than after minutes.

SOAK_SECONDS says how long (`make soak`: an hour), SOAK_RATE how many events a second. The first five minutes do not
count: caches fill, and the allocator finds its size. Without SOAK_SECONDS the trial is the brief one of `make test`: it
shares two cores with other tests and ends before a creep of memory could show, so memory is printed and not judged.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from processor.demo.broker import EmbeddedKafka
from processor.wire.topics import EVENTS
from tests.chaos.group import Load
from tests.engine.harness import Trial, WorkerProcess, eventually, settings_for_a_trial
from tests.soak.footprint import FLAT, Footprint, complaints, footprint_of, growth, spans_of, table

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

IS_LONG = "SOAK_SECONDS" in os.environ
SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
RATE = float(os.environ.get("SOAK_RATE", "500"))
MESSAGES = 15_000 if IS_LONG else 500

#: Seconds that do not count, between samples, and of which the median is one line of the table.
WARM_UP = 300.0 if IS_LONG else 5.0
EVERY = 5.0 if IS_LONG else 0.5
SPAN = 60.0 if IS_LONG else 5.0

#: Seconds of load that wait for the worker of a long soak when it starts: it has folded its largest chunks, which a
#: busy machine would otherwise bring later, before anything counts.
BACKLOG = 30.0

#: Seconds of load that may wait to be folded: of what waits longer than the broker keeps it, some would expire unread.
BEHIND = 60.0

#: What the broker keeps of the input, a partition: an hour of it would be ten gigabytes.
KEPT = {
    "log.retention.bytes": str(256 * 1024 * 1024),
    "log.segment.bytes": str(32 * 1024 * 1024),
    "log.retention.check.interval.ms": "30000",
}


async def test_nothing_grows_while_nothing_new_is_told(tmp_path: Path):
    with EmbeddedKafka(properties=KEPT) as broker:
        settings = settings_for_a_trial(broker.bootstrap_servers, partitions=8)
        async with Trial(settings, tmp_path) as trial:
            load = Load(trial, "tests.soak.load", RATE, MESSAGES)
            try:
                if IS_LONG:
                    await load.start()
                    await asyncio.sleep(BACKLOG)
                worker = await trial.start_worker()
                await worker.ready()
                if not IS_LONG:
                    await load.start()
                samples = await watch(worker)
                published = await load.stop()
            finally:
                load.kill()
            await all_is_folded(trial, worker, published)
            assert await worker.stop() == 0
    judge([sample for sample in samples if sample.seconds >= WARM_UP], published)


async def watch(worker: WorkerProcess) -> list[Footprint]:
    """Sample the worker until the time is over; print a line a minute, so that a long soak shows that it lives."""
    samples: list[Footprint] = []
    began, told = time.monotonic(), 0.0
    while (seconds := time.monotonic() - began) < SECONDS:
        assert worker.exit_code is None, worker.log_text()[-4_000:]
        status, page = await worker.get("/metrics")
        assert status == 200, page
        tasks, events = (value_of(page, name) for name in ("delivery_tasks", "delivery_events_total"))
        samples.append(footprint_of(worker.pid, seconds, tasks, events))
        assert RATE * (seconds - BEHIND) <= events, (
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
    if not IS_LONG:
        found = [each for each in found if each.split()[0] not in FLAT]
    assert not found, found
    if IS_LONG:
        assert published >= 0.95 * RATE * SECONDS, "the machine was too busy for this rate"
