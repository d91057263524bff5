"""Measure how long partitions stand still when a worker joins and leaves: python benchmarks/moves.py [--rate 2000]

Events come at a fixed rate. One worker runs, a second joins, and leaves by SIGTERM; a third joins, and is killed. The
group's committed offsets are looked at from outside: a partition stands still between two looks at which its offset has
grown. What is told of each step is the longest such time of each partition, apart for those that keep their owner and
those that change it. `steady` is the rhythm of rounds on this machine, which every other figure contains.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.demo.broker import EmbeddedKafka
from processor.engine import clients
from processor.engine.admin import create_topics
from processor.engine.membership.members import Members, UnreachableError, UnsettledError
from processor.settings import Settings

_LOOK_SECONDS = 0.05
#: Seconds for which the workers are left alone before the first step, and once the group is stable after each.
_AFTER_SECONDS = 12.0
_PATIENCE_SECONDS = 120.0

#: The id of the member that owns each partition.
Owners = Mapping[TopicPartition, str]


class Step(NamedTuple):
    """What was done to the group, and how long each partition stood still for it, in seconds."""

    name: str
    stayed: list[float]
    moved: list[float]


class Pulse:
    """When the committed offset of each partition has grown, by the clock of this process."""

    def __init__(self, settings: Settings) -> None:
        topic = settings.topic_prefix + "events.v1"
        self.tps = [TopicPartition(topic, number) for number in range(settings.partitions)]
        self._settings = settings
        self._signs: dict[TopicPartition, list[float]] = {tp: [] for tp in self.tps}
        self._offsets: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        admin = clients.admin(self._settings)
        await admin.start()
        try:
            while True:
                # A broker that has just started has no group yet.
                with suppress(KafkaError):
                    found = await admin.list_consumer_group_offsets(self._settings.app_id, partitions=self.tps)
                    self._note(time.monotonic(), {tp: found[tp].offset for tp in self.tps if tp in found})
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await admin.close()

    def _note(self, now: float, offsets: Mapping[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            if offset > self._offsets.get(tp, -1):
                self._signs[tp].append(now)
                self._offsets[tp] = offset

    def beats_since(self, moment: float) -> bool:
        """Return whether every partition has committed since a moment."""
        return all(signs and signs[-1] > moment for signs in self._signs.values())

    def longest(self, tp: TopicPartition, begin: float, end: float) -> float:
        """Return the longest time in which a partition stood still, of those that a span of time contains in part."""
        signs = [*self._signs[tp], end]
        gaps = (after - before for before, after in pairwise(signs) if after > begin < end)
        return max(gaps, default=end - begin)


class Group:
    """The workers, and what the broker says of them."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self._settings, self._logs = settings, logs
        self._members = Members(settings)
        self._started = 0
        self.tps = [
            TopicPartition(settings.topic_prefix + "events.v1", number) for number in range(settings.partitions)
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        self._started += 1
        environment = {
            **os.environ,
            "DELIVERY_BROKERS": self._settings.brokers,
            "DELIVERY_TOPIC_PREFIX": self._settings.topic_prefix,
            "DELIVERY_PARTITIONS": str(self._settings.partitions),
            "DELIVERY_APP_ID": self._settings.app_id,
            "DELIVERY_HTTP_PORT": "0",
            "DELIVERY_LOG_FORMAT": "json",
        }
        log = self._logs / f"{self._settings.topic_prefix}worker-{self._started}.log"
        with log.open("wb") as output:
            return subprocess.Popen([sys.executable, "-m", "processor", "worker"], env=environment, stderr=output)

    async def owners(self, members: int) -> Owners:
        """Wait until the group is stable with so many members; return who owns what."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with suppress(UnsettledError, UnreachableError):
                group = await self._members.group(anew=True)
                if len(group.members) == members:
                    return {tp: group.owners[tp].id for tp in self.tps}
            if time.monotonic() > deadline:
                raise TimeoutError(f"no stable group of {members}")
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Close the connection."""
        await self._members.close()


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("partitions stand still for good")
        await asyncio.sleep(_LOOK_SECONDS)


async def measure(settings: Settings, logs: Path, rate: int) -> list[Step]:
    """Do all steps, and return what partitions stood still for each."""
    await create_topics(settings)
    pulse, group = Pulse(settings), Group(settings, logs)
    processes: list[subprocess.Popen[bytes]] = []
    looking = asyncio.ensure_future(pulse.run())
    try:
        processes.append(_publisher(settings, rate))
        processes.append(group.start())
        return [step async for step in _steps(pulse, group, processes)]
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await group.close()
        for process in processes:
            process.kill()
            process.wait()


def _publisher(settings: Settings, rate: int) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("load.py")
    # The steps, two starts of a worker, and the session of one that was killed; what is left over is not waited for.
    seconds = 6 * _AFTER_SECONDS + 150
    options = {
        "--brokers": settings.brokers,
        "--prefix": settings.topic_prefix,
        "--partitions": str(settings.partitions),
        "--rate": str(rate),
        "--seconds": str(seconds),
    }
    words = [word for option in options.items() for word in option]
    return subprocess.Popen([sys.executable, str(script), *words], stdout=subprocess.DEVNULL)


async def _steps(pulse: Pulse, group: Group, processes: list[subprocess.Popen[bytes]]):
    await _until(lambda: pulse.beats_since(0.0))
    await asyncio.sleep(2.0)
    before = await group.owners(1)
    yield await _step("steady", pulse, (before, before), time.monotonic())
    for name, number in (("SIGTERM", signal.SIGTERM), ("SIGKILL", signal.SIGKILL)):
        began = time.monotonic()
        other = group.start()
        processes.append(other)
        after = await group.owners(2)
        yield await _step("a worker joins", pulse, (before, after), began)
        began = time.monotonic()
        other.send_signal(number)
        alone = await group.owners(1)
        yield await _step(f"it leaves by {name}", pulse, (after, alone), began)
        before = alone


async def _step(name: str, pulse: Pulse, owners: tuple[Owners, Owners], began: float) -> Step:
    await asyncio.sleep(_AFTER_SECONDS)
    now = time.monotonic()
    await _until(lambda: pulse.beats_since(now))
    before, after = owners
    longest = {tp: pulse.longest(tp, began, now) for tp in pulse.tps}
    return Step(
        name,
        [longest[tp] for tp in pulse.tps if before[tp] == after[tp]],
        [longest[tp] for tp in pulse.tps if before[tp] != after[tp]],
    )


def _shown(seconds: Iterable[float]) -> str:
    found = sorted(seconds)
    return f"{statistics.median(found):5.2f} {found[-1]:6.2f} ({len(found):2})" if found else "    -      -     "


def table(partitions: int, steps: Iterable[Step]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{partitions} partitions: seconds without a commit   stayed: median  longest (n)   moved: median longest (n)"
    for step in steps:
        yield f"{step.name:24} {_shown(step.stayed):>36} {_shown(step.moved):>30}"


async def main(partitions: Iterable[int], rate: int, folder: Path, logs: Path) -> None:
    """Measure, and print a table for each number of partitions."""
    with EmbeddedKafka(folder) as broker:
        for number in partitions:
            settings = Settings(
                brokers=broker.bootstrap_servers,
                topic_prefix=f"p{number}.",
                app_id=f"delivery-status-{number}",
                partitions=number,
            )
            steps = await measure(settings, logs, rate)
            print("\n".join(table(number, steps)), json.dumps([step._asdict() for step in steps]), sep="\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--logs", type=Path, help="folder to leave the workers' logs in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(options.partitions, options.rate, Path(directory), options.logs or Path(directory)))
