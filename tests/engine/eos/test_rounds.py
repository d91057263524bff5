"""Workers with one transaction a round are killed and stopped, brokers too: each number has its row once, in order.

EOS_SECONDS says for how long, EOS_SEED which faults.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import KafkaError

from processor.demo.broker import EmbeddedKafka
from tests.engine.eos.cluster import BROKERS, Cluster
from tests.engine.eos.stand import Stand
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.trial]

SECONDS = float(os.environ.get("EOS_SECONDS", "20"))
SEED = int(os.environ.get("EOS_SEED", "20261129"))

PARTITIONS, WORKERS = 6, 3


class Pace(NamedTuple):
    """How long rounds linger, and how many numbers are more than can be done while faults are injected."""

    linger: float
    total: int


#: What strikes finds a round open; or it finds one that ends.
SLOW, FAST = Pace(0.2, int(60 * SECONDS)), Pace(0.0, int(300 * SECONDS))

#: Seconds until all is done once nothing strikes any more.
PATIENCE = 400.0

Fault = Callable[[], Awaitable[None]]


class Crew:
    """Processes of mini.py, and what befalls them."""

    def __init__(self, stand: Stand, folder: Path, pace: Pace) -> None:
        self.stand, self.folder, self.pace = stand, folder, pace
        self.chance = random.Random(SEED)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.logs: list[Path] = []

    def start(self, name: str) -> None:
        log = self.folder / f"{name}-{len(self.logs)}.log"
        self.logs.append(log)
        command = [sys.executable, "-m", "tests.engine.eos.mini", self.stand.settings.brokers, self.stand.name]
        arguments = [name, str(self.pace.total), str(self.pace.linger)]
        with log.open("wb") as output:
            self.processes[name] = subprocess.Popen([*command, *arguments], stdout=output, stderr=output)

    async def kill_one(self) -> None:
        """A worker is gone; another one with its name, or with a new one, comes some seconds later."""
        name, process = self.chance.choice(list(self.processes.items()))
        process.kill()
        await asyncio.to_thread(process.wait)
        del self.processes[name]
        await asyncio.sleep(self.chance.uniform(0, 8))
        self.start(name if self.chance.random() < 0.5 else f"{name}x")

    async def pause_one(self) -> None:
        """A worker stands still, for less than its session or for longer, and wakes up in the middle of a round."""
        process = self.chance.choice(list(self.processes.values()))
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(1, 12))
        process.send_signal(signal.SIGCONT)

    def told(self) -> str:
        return "".join(log.read_text() for log in self.logs)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def strike(faults: list[Fault], chance: random.Random) -> list[str]:
    """Let one fault follow the other until the time is over."""
    until, struck = time.monotonic() + SECONDS, []
    while time.monotonic() < until:
        fault = faults[len(struck)] if len(struck) < len(faults) else chance.choice(faults)
        struck.append(fault.__name__)
        sys.stdout.write(f"{time.time():.2f} {fault.__name__}\n")
        await fault()
        await asyncio.sleep(chance.uniform(0.5, 3))
    return struck


async def all_is_there_once(stand: Stand, crew: Crew) -> None:
    total = crew.pace.total
    expected = [b"%d" % number for number in range(total)]

    async def offsets_are_at_the_end() -> bool:
        for name, process in crew.processes.items():
            assert process.poll() is None, f"worker {name} has ended:\n{crew.told()[-4000:]}"
        try:
            return all([await stand.offset(tp) == total for tp in stand.inputs])
        except (KafkaError, OSError):
            return False

    await eventually(offsets_are_at_the_end, "all is done", PATIENCE)
    for tp in stand.changelogs:
        await eventually(lambda tp=tp: _decided(stand, tp), "everything is decided")
        found = await stand.visible(tp)
        repeated = len(found) - len(set(found))
        assert found == expected, f"{tp}: {repeated} twice, {len(set(expected) - set(found))} missing"


async def _decided(stand: Stand, tp: Any) -> bool:
    return not await stand.hangs(tp)


async def trial(crew: Crew, faults: list[Fault]) -> None:
    stand = crew.stand
    try:
        for number in range(WORKERS):
            crew.start(f"w{number}")
        await eventually(lambda: _committed(stand), "workers work")
        struck = await strike(faults, crew.chance)
        await all_is_there_once(stand, crew)
    finally:
        crew.close()
        sys.stdout.write(crew.told()[-12_000:])
    sys.stdout.write(f"seed {SEED}: {len(struck)} faults, {PARTITIONS} x {crew.pace.total} numbers, each once\n")


async def _committed(stand: Stand) -> bool:
    try:
        return bool(await stand.offset())
    except (KafkaError, OSError):
        return False


async def test_on_three_brokers(tmp_path):
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster())
        stand = await stack.enter_async_context(
            Stand(cluster.bootstrap_servers, replicas=BROKERS, partitions=PARTITIONS)
        )
        crew = Crew(stand, tmp_path, SLOW)

        async def a_broker_is_killed() -> None:
            victim = crew.chance.randint(1, BROKERS)
            await cluster.kill(victim)
            await asyncio.sleep(crew.chance.uniform(0, 8))
            await cluster.start(victim)

        async def a_broker_hangs() -> None:
            victim = crew.chance.randint(1, BROKERS)
            cluster.hang(victim)
            await asyncio.sleep(crew.chance.uniform(2, 10))
            cluster.wake(victim)

        await trial(crew, [a_broker_is_killed, crew.pause_one, a_broker_hangs, crew.kill_one])


async def test_on_one_broker_that_dies_in_mid_commit(tmp_path):
    """Where markers may be left out (ADR 0013): all of it crashes, and who leads what is not known at once."""
    with EmbeddedKafka() as broker:
        async with Stand(broker.bootstrap_servers, partitions=PARTITIONS) as stand:
            crew = Crew(stand, tmp_path, FAST)

            async def the_broker_is_killed() -> None:
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.start)

            await trial(crew, [the_broker_is_killed, the_broker_is_killed, crew.kill_one])
