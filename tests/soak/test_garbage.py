"""What a worker makes, it lets go by itself: the collector runs seldom, so what waits for it looks like a leak.

A worker lets Python's garbage collector run once a minute (cli/garbage.py), for what libraries leave. Thousands of
objects that wait for it are memory that an allocator keeps, and a longer pause.
"""

import asyncio
import signal
import sys
from datetime import datetime, timedelta, timezone

import pytest

from processor.demo.simulate import canonical_events
from tests.engine.harness import Trial, WorkerProcess, eventually

pytestmark = pytest.mark.kafka

COUNTING = (sys.executable, "-m", "tests.soak.counting", "worker")

#: What is asked of a worker all day.
ASKED = ("/metrics", "/readyz", "/livez", "/", "/api/v1/overview", "/api/v1/deliveries", "/api/v1/messages/m-000000001")

#: Seconds of work, at least; rows are swept every five (watch/sweeper.py).
ROUNDS = 7

#: Objects that may be left all the same, by a connection that a library closes for instance. One sweep through the rows
#: of one partition left 119.
FEW = 50


async def garbage_left(worker: WorkerProcess) -> dict:
    """Give what the worker has left to the collector since this was asked last."""
    told = len(worker.log("garbage_left"))
    worker.signal(signal.SIGUSR1)

    async def tells() -> list[dict]:
        return worker.log("garbage_left")[told:]

    [answer] = await eventually(tells, "the worker counts its garbage")
    return answer


async def test_a_worker_leaves_nothing_to_the_collector(make_trial):
    trial: Trial = await make_trial(partitions=4)
    worker = await trial.start_worker(COUNTING)
    await worker.ready()
    events = [*canonical_events(1, 200, datetime.now(timezone.utc) - timedelta(days=5))]
    await trial.publish_events(events)
    await trial.settled()
    await work(trial, worker, events)
    await garbage_left(worker)
    await work(trial, worker, events)
    left = await garbage_left(worker)
    assert left["objects"] < FEW, left["types"]


async def work(trial: Trial, worker: WorkerProcess, events: list[bytes]) -> None:
    """Do for some seconds what a worker does all day."""
    for _ in range(ROUNDS):
        await trial.publish_events(events[:100])
        for path in ASKED:
            assert (await worker.get(path))[0] == 200
        await asyncio.sleep(1)
    await trial.settled()
