"""A group of workers under load, a supervisor that starts again what ends by itself, and what each fault cost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import orjson
from aiokafka import TopicPartition

from processor.demo.broker import EmbeddedKafka
from processor.settings import PREFIX
from processor.wire.topics import EVENTS, MESSAGES
from tests.chaos.pulse import STANDSTILL, Progress, Pulse
from tests.engine.harness import WORKER, Trial, WorkerProcess, environment_of, eventually

#: Changelog records that a worker with its rows in memory is given a second for: what it takes over it reads whole, and
#: that is what most of its time goes to once there are millions. A sixth of what a worker alone on a core can do:
#: broker, load and the other workers want the two cores too.
READING = 50_000

#: Processes that wait for each core, on average, from which on a machine is too busy to keep a promise of seconds: what
#: a fault costs is then printed and not judged. The trial itself keeps one or two waiting.
OVERLOAD = 3.0

#: Seconds until a group that can work at all must work again.
PATIENCE = 300.0


class Recipe(NamedTuple):
    """How a worker is started."""

    command: tuple[str, ...] = WORKER
    environment: tuple[tuple[str, str], ...] = ()


USUAL = Recipe()


class Member(NamedTuple):
    """A worker, and how to start another one like it."""

    worker: WorkerProcess
    recipe: Recipe


class Cost(NamedTuple):
    """What a fault cost."""

    #: Seconds since the trial began.
    at: float
    fault: str
    #: Seconds until the last of the partitions that stood still was at work again.
    resumed: float
    #: Seconds that the partition which suffered most stood still, taken together.
    still: float
    #: Partitions that stood still.
    partitions: int
    #: Seconds that it may cost; None where nothing is promised.
    at_most: float | None
    #: Processes that waited for each core.
    load: float

    def exceeds(self, allowance: float) -> bool:
        """Say whether a promise was broken on a machine that could have kept it."""
        return self.at_most is not None and self.resumed > self.at_most + allowance and self.load < OVERLOAD

    def __str__(self) -> str:
        told = f"{self.at:6.0f} s  {self.fault:38}"
        if not self.partitions:
            return f"{told} no partition stood still for {STANDSTILL:g} s"
        promise = "" if self.at_most is None else f" (at most {self.at_most:.1f} s)"
        stood = f"{self.partitions} stood still, up to {self.still:.1f} s"
        if self.load >= OVERLOAD:
            stood += f"; not judged: {self.load:.0f} processes wait for each core"
        return f"{told} {self.resumed:5.1f} s until all partitions worked{promise}; {stood}"


class Group:
    """The workers of a trial."""

    def __init__(self, trial: Trial, broker: EmbeddedKafka, seed: int) -> None:
        self.trial = trial
        self.broker = broker
        self.random = random.Random(seed)
        self.session = trial.settings.session_timeout
        self.members: list[Member] = []
        self.costs: list[Cost] = []
        self.restarts = 0
        self.pulse = Pulse(self._progress)
        self.tps = [TopicPartition(trial.topic(EVENTS), number) for number in range(trial.settings.partitions)]
        self._began = self.now()
        self._at_work: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Supervise and watch; whatever these two run into is a failure of the trial."""
        self._at_work = [asyncio.ensure_future(work) for work in (self._supervise(), self.pulse.run())]
        try:
            yield
        finally:
            for task in self._at_work:
                task.cancel()
            await asyncio.wait(self._at_work)

    def _raise_what_they_ran_into(self) -> None:
        for task in self._at_work:
            if task.done():
                task.result()

    async def _progress(self) -> dict[TopicPartition, Progress]:
        committed = await self.trial.committed_offsets(self.tps)
        ends = await self.trial.end_offsets(self.tps)
        return {tp: Progress(committed[tp], ends[tp]) for tp in self.tps}

    # Workers

    async def start(self, recipe: Recipe = USUAL) -> WorkerProcess:
        """Start a worker and wait until it has its share."""
        worker = await self.trial.start_worker(recipe.command, **dict(recipe.environment))
        self.members.append(Member(worker, recipe))

        async def has_joined() -> bool:
            return worker.exit_code is not None or (await worker.get("/readyz"))[0] == 200

        await eventually(has_joined, "a worker that was started is ready", PATIENCE)
        return worker

    async def _supervise(self) -> None:
        """Start again whatever has ended by itself, as systemd or Kubernetes would."""
        while True:
            await asyncio.sleep(0.2)
            for member in list(self.members):
                if member.worker.exit_code is not None:
                    self.restarts += 1
                    worker = await self.trial.start_worker(member.recipe.command, **dict(member.recipe.environment))
                    # Until now the dead one kept its place, so that the group's size was what it is meant to be.
                    self.members[self.members.index(member)] = Member(worker, member.recipe)

    async def scale_to(self, number: int) -> None:
        """Bring the group to a size and measure what that costs: workers join at once, and leave one by one."""
        joining = number - len(self.members)
        if joining > 0:
            began = self.now()
            await asyncio.gather(*(self.start() for _ in range(joining)))
            await self.resumed("a worker joins" if joining == 1 else f"{joining} workers join", began)
        while len(self.members) > number:
            await self.stop_one()

    def choose(self) -> Member:
        """Choose a worker that runs."""
        return self.random.choice([member for member in self.members if member.worker.exit_code is None])

    def take(self) -> WorkerProcess:
        """Choose a worker, and let the supervisor forget it: nobody starts it again."""
        member = self.choose()
        self.members.remove(member)
        return member.worker

    async def stop_one(self) -> None:
        """End a worker in good order while others are there to take over."""
        at_most = 2.0 + await self.reading()
        victim = self.take()
        began = self.now()
        victim.signal(signal.SIGTERM)
        await self.resumed("SIGTERM", began, at_most)
        assert await victim.ended() == 0, victim.log_text()[-4_000:]

    async def reading(self) -> float:
        """Give the seconds that may go to reading what one worker had; with rows on disk only a tail is read."""
        if self.trial.settings.store != "memory":
            return 0.0
        changelog = [TopicPartition(self.trial.topic(MESSAGES), tp.partition) for tp in self.tps]
        ends = await self.trial.end_offsets(changelog)
        return sum(ends.values()) / len(self.members) / READING

    async def failover(self) -> float:
        """Give the seconds that the others may take to notice that a worker is gone, and to take over."""
        return self.session + 3 + await self.reading()

    # The clock

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def steady(self) -> None:
        """Wait until every partition works."""
        await self._steady("the group works")

    async def resumed(self, fault: str, since: float, at_most: float | None = None) -> None:
        """Wait until every partition works again, and note what the fault cost since it began."""
        await self._steady(f"the group works again after: {fault}")
        until = self.now()
        stood = [still for tp in self.tps if (still := self.pulse.standstills(tp, since, until))]
        resumed = max((spells[-1].ended - since for spells in stood), default=0.0)
        still = max((sum(each.ended - max(each.began, since) for each in spells) for spells in stood), default=0.0)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.costs.append(Cost(since - self._began, fault, resumed, still, len(stood), at_most, load))
        sys.stdout.write(f"{self.costs[-1]}\n")
        sys.stdout.flush()

    async def _steady(self, what: str) -> None:
        since = self.now()

        async def is_steady() -> bool:
            self._raise_what_they_ran_into()
            return self.pulse.is_steady(since, self.now())

        await eventually(is_steady, what, PATIENCE)


def environment_beside(trial: Trial) -> dict[str, str]:
    """Give the environment of a process that knows the trial's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, **environment_of(trial.settings)}


class Load:
    """The process that publishes."""

    def __init__(self, trial: Trial, module: str, *arguments: float) -> None:
        self._trial = trial
        self._command = [sys.executable, "-m", module, *map(str, arguments)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=environment_beside(self._trial), stdout=asyncio.subprocess.PIPE
        )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> int:
        """Let it publish what is due, and end; give how many events it published."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        output, _ = await self._process.communicate()
        assert self._process.returncode == 0, "the load ended by itself"
        return int(output)

    def kill(self) -> None:
        if self._process is not None and self.runs:
            self._process.kill()


async def judge(trial: Trial) -> Counter[tuple[str, str]]:
    """Let the observer judge every partition, as many at a time as there are cores; the rows of all would be too many.

    Returns:
        How many messages there are, by channel and status.
    """
    cores = asyncio.Semaphore(os.cpu_count() or 1)

    async def judge_one(partition: int) -> Counter[tuple[str, str]]:
        command = [sys.executable, "-m", "tests.chaos.observer", str(partition), str(trial.folder)]
        async with cores:
            observer = await asyncio.create_subprocess_exec(
                *command, env=environment_beside(trial), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            output, errors = await observer.communicate()
        assert observer.returncode == 0, errors.decode()
        return Counter({(channel, status): number for channel, status, number in orjson.loads(output)})

    return sum(await asyncio.gather(*map(judge_one, range(trial.settings.partitions))), Counter())
