"""As much of partitions and their worker as assignment, watchdog and worker look at."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from processor.engine.assignment import Assignment
from processor.engine.partition import PartitionState
from processor.engine.recovery import Left
from processor.engine.stage import Outbox, StoredWork, Work
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages

EVENTS = TopicPartition("delivery.events.v1", 0)
CHANGELOG = TopicPartition("delivery.messages.v1", 0)


def partition(
    state: PartitionState = PartitionState.RUNNING, committed: int = 10, last_commit: float = 0.0, **more: Any
) -> Any:
    facts = {"recovered": 0, "to_recover": 0, "changelog": CHANGELOG, "work": None, "problem": "", **more}
    return SimpleNamespace(
        state=state, committed=committed, last_commit=last_commit, stage=SimpleNamespace(name="fold"), **facts
    )


class Hosting:
    """A worker that has an assignment, and remembers with what it was told to fail."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.metrics = Metrics(STAGE_NAMES)
        self.failures: list[BaseException] = []
        self.assignment = Assignment(
            {
                self.settings.topic(topic): stage
                for stage in stages(self.settings, self.metrics)
                for topic in stage.inputs
            },
            self,
            self.failures.append,
        )


class Stateless(Work):
    """What every work has, and no more."""

    def process(self, records: Any, outbox: Outbox) -> None:
        """Write nothing."""

    def put_aside(self, unreadable: Any, outbox: Outbox) -> None:
        """Keep nothing."""

    def committed(self, positions: Any) -> None:
        """Do nothing."""


class Works(Stateless, StoredWork):
    """A partition's work with state in a store, that remembers what it was told."""

    position = 0

    def __init__(self, *, is_durable: bool = False) -> None:
        self.is_durable = is_durable
        self.told: list[str] = []

    def restore(self, records: Any, position: int) -> None:
        """Read nothing."""

    def restored(self) -> None:
        """Show nothing."""

    def forget(self) -> None:
        """Know nothing."""

    def suspended(self) -> None:
        self.told.append("suspended")

    def close(self) -> None:
        self.told.append("closed")


class Open:
    """An open partition. It ends when it is closed and let; a stubborn one loses every cancellation."""

    def __init__(self, assignment: Assignment, *, is_stubborn: bool = False) -> None:
        self.state, self.closes, self.work = PartitionState.RUNNING, 0, Works()
        self.problem = ""
        self.left: Left | None = None
        self.stage = SimpleNamespace(name="fold")
        self.may_end = asyncio.Event()
        self._closed = asyncio.Event()
        self._is_stubborn = is_stubborn
        assignment.partitions[EVENTS] = self
        self.task = assignment._tasks[EVENTS] = asyncio.ensure_future(self._run())
        self.task.add_done_callback(assignment.judge)

    def close(self) -> None:
        self.closes += 1
        self._closed.set()

    async def _run(self) -> Works:
        while True:
            try:
                await self._closed.wait()
                await self.may_end.wait()
                return self.work
            except asyncio.CancelledError:
                if not self._is_stubborn:
                    raise


def lag_shown(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["topic"], sample.labels["partition"]): sample.value
        for family in metrics.lag.collect()
        for sample in family.samples
    }
