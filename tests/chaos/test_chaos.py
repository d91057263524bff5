"""Whatever happens to workers, broker, disk and clock while load runs, every event has its effect exactly once.

CHAOS_SECONDS says how long faults are injected (`make chaos`: 15 minutes; below 5 minutes the trial is the mild one of
`make test`, and every fault comes once), CHAOS_SEED which ones and when, CHAOS_STORE where rows are kept,
CHAOS_PARTITIONS how many partitions there are. What must be on the output topics is computed by an observer outside the
product (observer.py); what each fault cost is measured outside of it too (pulse.py), and printed with the seed.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from processor.demo.broker import EmbeddedKafka
from processor.wire.topics import MESSAGES
from tests.chaos.disk import NoSmallDiskError, SmallDisk
from tests.chaos.group import Group, Load, Recipe, judge
from tests.chaos.linked import PREFIX, PROVISIONAL
from tests.engine.harness import WORKER, Trial, WorkerProcess, eventually, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
STORE = os.environ.get("CHAOS_STORE", "memory")
PARTITIONS = int(os.environ.get("CHAOS_PARTITIONS", "8"))


#: What is printed with the result.
CHOSEN = f"CHAOS_SEED={SEED} CHAOS_STORE={STORE} CHAOS_PARTITIONS={PARTITIONS} CHAOS_SECONDS={SECONDS:g}"
AGAIN = f"seed {SEED}; again: {CHOSEN} make chaos"


class Extent(NamedTuple):
    """How hard the trial is."""

    #: Whether variants of faults are injected as well.
    has_variants: bool

    #: Events a second, and messages a second whose receipts know only the provider's id.
    rate: float
    linked: float
    #: Seconds that the broker is away.
    away: float
    #: Seconds until a silent worker's partitions go to others.
    session: float
    #: Seconds by which a promise is broken without harm; None: promises of time are printed, and not judged.
    allowance: float | None


#: `make chaos`. The allowance is what measuring costs: one look and its answer.
LONG = Extent(has_variants=True, rate=5_000, linked=100, away=60, session=10, allowance=0.5)

#: `make test`. It shares two slow cores with the other half of the tests, which have brokers and workers of their own:
#: at 5,000 events/s broker, load and three workers that start, recover and die would want both cores for themselves,
#: and every cost would be that of waiting for one. What is in flight when a fault strikes is the same. For the same
#: reason time is not judged.
SHORT = Extent(has_variants=False, rate=500, linked=5, away=12, session=6, allowance=None)

EXTENT = LONG if SECONDS >= 300 else SHORT

#: How far a wrong clock is off, in seconds.
SKEW = 600

#: The small disk: room for what RocksDB makes of eight partitions, and soon full.
DISK_MEBIBYTES = 96


class Chaos(Group):
    """A group and what can happen to it. Each fault leaves a group of two that works."""

    async def sigkill(self) -> None:
        """A worker is gone, and nobody starts it again: the others must notice and take over."""
        at_most = await self.failover()
        victim = self.take()
        began = self.now()
        victim.signal(signal.SIGKILL)
        await self.resumed("SIGKILL", began, at_most)
        await self.scale_to(2)

    async def sigkill_and_restart(self) -> None:
        """A worker is gone, and its supervisor starts another one while the group still waits for the first."""
        at_most = await self.failover()
        victim = self.choose().worker
        began = self.now()
        victim.signal(signal.SIGKILL)
        await self.resumed("SIGKILL, restarted at once", began, at_most)

    async def sigterm(self) -> None:
        """A worker is told to end."""
        await self.stop_one()
        await self.scale_to(2)

    async def zombie(self) -> None:
        """A worker sleeps for longer than its session, with transactions in hand, and wakes up in a changed world."""
        at_most = await self.failover()
        victim = self.choose().worker
        assigned = len(victim.log("partitions_assigned"))
        began = self.now()
        victim.signal(signal.SIGSTOP)
        if STORE == "memory":
            # With rows on disk it sleeps on the locks of its folders, and others of this machine wait until it wakes.
            await self.resumed("SIGSTOP", began, at_most)
        await asyncio.sleep(max(0.0, self.session * 1.5 - (self.now() - began)))
        woke = self.now()
        victim.signal(signal.SIGCONT)

        async def knows() -> bool:
            return victim.exit_code is not None or len(victim.log("partitions_assigned")) > assigned

        await eventually(knows, "the zombie ends, or comes back as a new member")
        await self.resumed("SIGCONT", woke)
        end = "came back" if victim.exit_code is None else f"ended with {victim.exit_code}"
        sys.stdout.write(f"  the zombie {end}\n")

    async def rolling_restart(self) -> None:
        """One worker after the other is replaced, as a new version is brought out."""
        began = self.now()
        for _ in range(len(self.members)):
            victim = self.members.pop(0).worker
            assert await victim.stop() == 0, victim.log_text()[-4_000:]
            await self.start()
        await self.resumed("rolling restart", began)

    async def scale(self) -> None:
        """One worker, three or four, two, one."""
        for number in (1, 4 if EXTENT.has_variants else 3, 2, 1, 2):
            await self.scale_to(number)

    async def broker_killed(self) -> None:
        """The broker crashes and is started again."""
        began = self.now()
        await asyncio.to_thread(self.broker.kill)
        await self._broker_returns("broker killed", began)

    async def broker_stopped(self) -> None:
        """The broker is restarted in good order."""
        began = self.now()
        await asyncio.to_thread(self.broker.stop)
        await self._broker_returns("broker restarted", began)

    async def broker_away(self) -> None:
        """The broker is gone for so long that everybody has given up waiting for its answers."""
        began = self.now()
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(EXTENT.away)
        await self._broker_returns("broker away", began)

    async def _broker_returns(self, fault: str, began: float) -> None:
        """Start the broker; what is measured is the time from when it can be used again."""
        await asyncio.to_thread(self.broker.start)
        returned = self.now()
        await self.resumed(f"{fault}, {returned - began:.0f} s later back", returned)

    async def wrong_clock(self) -> None:
        """A worker joins whose clock is ten minutes ahead, or behind; it works like the others, and hands over."""
        skew = self.random.choice([SKEW, -SKEW])
        recipe = Recipe((sys.executable, "-m", "tests.chaos.skewed", str(skew), *WORKER[3:]))
        began = self.now()
        worker = await self._replace_one_by(recipe)
        await self.resumed(f"a clock {SKEW} s {'ahead' if skew > 0 else 'behind'} joins", began)
        await self._remove(worker)
        await self.scale_to(2)

    async def full_disk(self) -> None:
        """The disk under a worker's rows is full for a while, and then no more."""
        try:
            disk = SmallDisk(self.trial.folder / "small-disk", DISK_MEBIBYTES)
        except NoSmallDiskError as error:
            sys.stdout.write(f"full disk: LEFT OUT, no small disk can be made here: {error}\n")
            return
        try:
            await self._with_full_disk(disk)
        finally:
            disk.close()

    async def _with_full_disk(self, disk: SmallDisk) -> None:
        environment = {"DELIVERY_STORE": "rocksdb", "DELIVERY_STORE_PATH": str(disk.folder / "store")}
        worker = await self._replace_one_by(Recipe((*disk.prefix, *WORKER), tuple(environment.items())))
        await self.steady()

        async def says_so() -> bool:
            disk.fill()
            return "No space left on device" in worker.log_text()

        await eventually(says_so, "the worker says that the disk is full")
        for _ in range(10):
            # Whatever is given back is taken too.
            disk.fill()
            await asyncio.sleep(0.5)
        assert worker.exit_code is None, "it waits for room: to end and be started again would stop the whole group"
        began = self.now()
        disk.make_room()
        await self.resumed("a full disk has room again", began)
        assert worker.log("store_rebuilt") == [], "a full disk says nothing against what is on it"
        await self._remove(worker)
        await self.scale_to(2)

    async def storm(self) -> None:
        """All at once: one worker sleeps, another one dies, and the broker with them."""
        sleeper, victim = self.random.sample([member.worker for member in self.members], 2)
        sleeper.signal(signal.SIGSTOP)
        victim.signal(signal.SIGKILL)
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(self.random.uniform(0, 3))
        await asyncio.to_thread(self.broker.start)
        await asyncio.sleep(self.random.uniform(0, self.session * 1.5))
        began = self.now()
        sleeper.signal(signal.SIGCONT)
        await self.resumed("storm", began)

    async def _replace_one_by(self, recipe: Recipe) -> WorkerProcess:
        victim = self.take()
        assert await victim.stop() == 0, victim.log_text()[-4_000:]
        return await self.start(recipe)

    async def _remove(self, worker: WorkerProcess) -> None:
        self.members = [member for member in self.members if member.worker is not worker]
        assert await worker.stop() == 0, worker.log_text()[-4_000:]


FAULTS = (
    Chaos.sigkill,
    Chaos.zombie,
    Chaos.rolling_restart,
    Chaos.scale,
    Chaos.broker_killed,
    Chaos.broker_away,
    Chaos.wrong_clock,
    Chaos.full_disk,
)

#: The faults of `make test`: the others take minutes.
BRIEF = (Chaos.sigkill, Chaos.zombie, Chaos.rolling_restart, Chaos.scale)

#: Weaker or stronger forms of the others, for `make chaos`.
VARIANTS = (Chaos.sigkill_and_restart, Chaos.sigterm, Chaos.broker_stopped, Chaos.storm)


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Keep aiokafka from telling, several times a second, that the broker is away."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture
async def chaos(tmp_path: Path, _quiet: None) -> AsyncIterator[Chaos]:
    broker = EmbeddedKafka()
    await asyncio.to_thread(broker.start)
    try:
        settings = settings_for_a_trial(
            broker.bootstrap_servers,
            partitions=PARTITIONS,
            chunk_records=500,
            session_timeout=EXTENT.session,
            commit_timeout=15.0,
            store=STORE,
            # All workers share the folder, as those of one machine do.
            store_path=str(tmp_path / "store"),
            store_cache_mib=16,
        )
        async with Trial(settings, tmp_path) as trial:
            chaos = Chaos(trial, broker, SEED)
            yield chaos
        # Once more, below the workers' logs.
        sys.stdout.write("".join(f"{line}\n" for line in (AGAIN, *chaos.costs)))
    finally:
        await asyncio.to_thread(broker.close)


async def test_every_event_has_its_effect_once_whatever_happens(chaos: Chaos):
    sys.stdout.write(f"\n{AGAIN}\n")
    load = Load(chaos.trial, "tests.chaos.load", EXTENT.rate, SEED)
    linked = Load(chaos.trial, "tests.chaos.linked", EXTENT.linked, SEED)
    began = time.monotonic()
    try:
        await load.start()
        await linked.start()
        async with chaos.at_work():
            await chaos.start()
            await chaos.start()
            await inject_faults(chaos, load)
            seconds = time.monotonic() - began
            published = await load.stop()
            messages = await linked.stop()
            await all_is_committed(chaos)
    finally:
        load.kill()
        linked.kill()
    rate = published / seconds
    sys.stdout.write(
        f"{published} events published, {rate:.0f} a second; {chaos.restarts} workers ended by themselves\n"
    )
    statuses = await judge(chaos.trial)
    sys.stdout.write(f"{sum(statuses.values())} messages: every event had its effect once\n")
    await every_receipt_found_its_message(chaos, messages)
    await chaos.trial.assert_gauges_say(statuses)
    await the_books_are_right(chaos)
    if EXTENT.allowance is not None:
        assert rate >= 0.95 * EXTENT.rate
        assert not (broken := [str(cost) for cost in chaos.costs if cost.exceeds(EXTENT.allowance)]), broken


async def inject_faults(chaos: Chaos, load: Load) -> None:
    """Inject every fault once in a seeded order, then whatever comes, each at a random moment."""
    ends = time.monotonic() + SECONDS
    faults = FAULTS + VARIANTS if EXTENT.has_variants else BRIEF
    order = chaos.random.sample(faults, len(faults))
    while order or time.monotonic() < ends:
        await chaos.steady()
        await asyncio.sleep(chaos.random.uniform(0, 2))
        fault = order.pop() if order else chaos.random.choice(faults)
        await fault(chaos)
        assert load.runs, "the load ended by itself"


async def all_is_committed(chaos: Chaos) -> None:
    """Wait until the lag is 0."""
    tps = chaos.trial.inputs()

    async def is_committed() -> bool:
        return await chaos.trial.committed_offsets(tps) == await chaos.trial.end_offsets(tps)

    await eventually(is_committed, "the lag is 0", 180)


async def every_receipt_found_its_message(chaos: Chaos, messages: int) -> None:
    """Of the messages whose receipts know only the provider's id, all were received, and no other row is left."""
    latest = {
        record.key: orjson.loads(record.value)
        for record in await chaos.trial.records(MESSAGES)
        if record.key.startswith((PREFIX, PROVISIONAL))
    }
    found = Counter("moved" if "moved_to" in value else value["status"] for value in latest.values())
    assert found.pop("moved", 0) > 0, "no receipt came before its link"
    assert found == {"received_on_mobile": messages}
    sys.stdout.write(f"{messages} messages were found by the provider's id of their receipts\n")


async def the_books_are_right(chaos: Chaos) -> None:
    """No worker ever found its counts and its rows apart; the last audit was after the last fault."""
    for worker in chaos.trial.workers:
        assert worker.log("conservation_broken") == []
    for member in chaos.members:
        assert await member.worker.metric("delivery_conservation_error") == 0
