"""Whatever happens to workers and broker while load runs, every event has its effect exactly once.

CHAOS_SECONDS says how long faults are injected (`make chaos`: 15 minutes), CHAOS_SEED which ones, CHAOS_STORE where
rows are kept. What each fault cost is printed: the seconds until the group committed anew.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from processor.broker import EmbeddedKafka
from processor.engine.streams import Outgoing, Writer
from processor.simulate import canonical_events
from processor.topics import EVENTS
from tests.engine.harness import Trial, WorkerProcess, eventually, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
STORE = os.environ.get("CHAOS_STORE", "memory")

#: Events a second. The load is there so that something is always in flight, not to measure anything.
RATE = 1_500

#: Seconds that a paused worker is paused for: longer than its session.
PAUSE = 9.0


class Cost(NamedTuple):
    """What a fault cost."""

    fault: str
    seconds: float


class Chaos:
    """A group of workers under load, a supervisor that restarts what ends, and faults."""

    def __init__(self, trial: Trial, broker: EmbeddedKafka, seed: int) -> None:
        self.trial = trial
        self.broker = broker
        self.random = random.Random(seed)
        self.running: list[WorkerProcess] = []
        self.costs: list[Cost] = []
        self.restarts = 0
        self.published = 0

    # The group

    async def scale_to(self, number: int) -> None:
        while len(self.running) < number:
            self.running.append(await self.trial.start_worker())
        while len(self.running) > number:
            await self.running.pop().stop()

    async def supervise(self) -> None:
        """Start again whatever has ended by itself, as systemd or Kubernetes would."""
        while True:
            await asyncio.sleep(0.2)
            for worker in list(self.running):
                if worker.exit_code is not None:
                    self.running.remove(worker)
                    self.restarts += 1
                    self.running.append(await self.trial.start_worker())

    async def publish(self) -> None:
        """Publish whole lives, out of order and with duplicates, until cancelled."""
        topic = self.trial.topic(EVENTS)
        async with Writer(self.trial.settings) as writer:
            for part in count():
                start = datetime.now(timezone.utc) - timedelta(minutes=10)
                for value in canonical_events(SEED + part, 2_000, start, out_of_order=0.1, duplicates=0.05):
                    event = orjson.loads(value)
                    # Each part tells of messages of its own, and a few of the first part's again.
                    event["message_id"] = f"{event['message_id']}-{part}"
                    await writer.write(Outgoing(topic, orjson.dumps(event), event["message_id"].encode()))
                    self.published += 1
                    if self.published % 100 == 0:
                        await asyncio.sleep(100 / RATE)

    # Faults

    async def _a_worker(self) -> WorkerProcess:
        """Choose one that runs; after a fault there may be none until the supervisor has started another."""

        async def running() -> list[WorkerProcess]:
            return [worker for worker in self.running if worker.exit_code is None]

        return self.random.choice(await eventually(running, "a worker runs"))

    async def kill_a_worker(self) -> None:
        await (await self._a_worker()).kill()

    async def stop_a_worker(self) -> None:
        (await self._a_worker()).signal(signal.SIGTERM)

    async def pause_a_worker(self) -> None:
        """Make a zombie: it wakes up after its partitions have gone to others, with a transaction in hand."""
        worker = await self._a_worker()
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSE)
        with suppress(ProcessLookupError):
            worker.signal(signal.SIGCONT)

    async def add_a_worker(self) -> None:
        await self.scale_to(min(3, len(self.running) + 1))

    async def remove_a_worker(self) -> None:
        await self.scale_to(max(1, len(self.running) - 1))

    async def kill_the_broker(self) -> None:
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(self.random.uniform(0, 3))
        await asyncio.to_thread(self.broker.start)

    async def stop_the_broker(self) -> None:
        await asyncio.to_thread(self.broker.stop)
        await asyncio.to_thread(self.broker.start)

    async def inject(self, name: str) -> None:
        """Inject one fault and wait until the group commits again."""
        fault: Callable[[], Awaitable[None]] = getattr(self, name)
        started = time.monotonic()
        await fault()
        before = await self.trial.committed_total()

        async def commits_again() -> bool:
            return await self.trial.committed_total() > before

        await eventually(commits_again, f"the group commits after {name}")
        self.costs.append(Cost(name, time.monotonic() - started))


FAULTS = (
    "kill_a_worker",
    "pause_a_worker",
    "stop_a_worker",
    "add_a_worker",
    "kill_the_broker",
    "remove_a_worker",
    "stop_the_broker",
)


@pytest.fixture
async def chaos(tmp_path: Path) -> AsyncIterator[Chaos]:
    broker = EmbeddedKafka()
    await asyncio.to_thread(broker.start)
    try:
        settings = settings_for_a_trial(
            broker.bootstrap_servers,
            partitions=8,
            chunk_records=500,
            commit_timeout=15.0,
            store=STORE,
            # All workers share the folder, as those of one machine do.
            store_path=str(tmp_path / "store"),
            store_cache_mib=16,
        )
        async with Trial(settings, tmp_path) as trial:
            yield Chaos(trial, broker, SEED)
    finally:
        await asyncio.to_thread(broker.close)


async def test_every_event_has_its_effect_once_whatever_happens(chaos: Chaos):
    await chaos.scale_to(2)
    publishing = asyncio.ensure_future(chaos.publish())
    supervising = asyncio.ensure_future(chaos.supervise())
    try:
        ends = time.monotonic() + SECONDS
        # Every fault once, in a seeded order, then whatever comes: a short run misses none.
        order = chaos.random.sample(FAULTS, len(FAULTS))
        while time.monotonic() < ends or order:
            await chaos.inject(order.pop() if order else chaos.random.choice(FAULTS))
            for task in (publishing, supervising):
                assert not task.done(), task
    finally:
        publishing.cancel()
        await asyncio.wait({publishing})
        report(chaos)
    try:
        await all_is_committed(chaos)
    finally:
        supervising.cancel()
        await asyncio.wait({supervising})
    await chaos.trial.assert_rows_are_those_of_the_offline_fold()
    await chaos.trial.assert_every_event_had_its_effect_once()
    await chaos.trial.assert_every_status_change_is_told_once()
    await chaos.trial.assert_counts_are_a_recount_of_the_rows()
    await chaos.trial.assert_gauges_say_what_the_rows_say()
    assert await chaos.trial.dead_letters() == []


async def all_is_committed(chaos: Chaos) -> None:
    trial = chaos.trial

    async def committed_to_the_end() -> bool:
        committed = await trial.committed()
        return committed == await trial._reader.end_offsets(trial._inputs())

    await eventually(committed_to_the_end, "the lag is 0", 180)


def report(chaos: Chaos) -> None:
    sys.stdout.write(f"seed {SEED}, {chaos.published} events published, {chaos.restarts} workers started again\n")
    for cost in chaos.costs:
        sys.stdout.write(f"{cost.fault:20} {cost.seconds:6.1f} s until the group committed again\n")
