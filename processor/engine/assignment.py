"""The partitions of this worker: opened, suspended and closed as the group assigns and revokes them.

Faust's rebalance is eager: every rebalance revokes everything. So the work of a closed partition is suspended, and
resumed when the partition comes back; then only what others wrote meanwhile is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from processor.engine.bounds import end
from processor.engine.chunks import Chunk
from processor.engine.host import Host
from processor.engine.partition import Partition, PartitionState
from processor.engine.pin import Pin
from processor.engine.recovery import Left
from processor.engine.stage import Stage, Work, close
from processor.logs import get_logger
from processor.metrics import PARTITION_STATES
from processor.metrics.labels import ByPartition, ByState

log = get_logger(__name__)

#: Seconds beyond the commit timeout that a partition which is taken away may take.
_REVOKED_SECONDS = 15.0


class HungError(Exception):
    """A task does not end although it was cancelled, so its partition cannot be handed over in order."""


class Assignment:
    """The partitions that the group has assigned to this worker, each with the task that runs it.

    Args:
        stage_of: the stage of each input topic, by its full name.
        host: what partitions ask of their worker.
        fail: ends the worker.
    """

    def __init__(self, stage_of: Mapping[str, Stage], host: Host, fail: Callable[[BaseException], None]) -> None:
        self.partitions: dict[TopicPartition, Partition] = {}
        #: Whether the group has assigned partitions, perhaps none, and not taken them back since.
        self.is_assigned = False
        self._stage_of, self._host, self._fail = stage_of, host, fail
        self._tasks: dict[TopicPartition, asyncio.Task[Work | None]] = {}
        #: The one task that closes a partition, however many ask for it.
        self._closings: dict[TopicPartition, asyncio.Task[None]] = {}
        self._suspended: dict[TopicPartition, Work] = {}
        #: Where those that were closed in good order were left.
        self._left: dict[TopicPartition, Left] = {}
        self._takes_more = True
        self._is_ending = False
        self._show_states()

    # What the group decides

    async def assigned(self, tps: Sequence[TopicPartition], pin: Pin) -> None:
        """Open partitions, and drop suspended work of partitions that are not among them: other workers own those.

        Args:
            tps: the partitions.
            pin: the membership under which they are ours.
        """
        if not self._takes_more:
            return
        self._host.metrics.rebalances.inc()
        log.info("partitions_assigned", partitions=len(tps))
        self._drop_suspended(set(self._suspended) - set(tps))
        for tp in tps:
            self._open(tp, pin)
        self.is_assigned = True

    async def revoked(self, tps: Sequence[TopicPartition]) -> None:
        """Close partitions, and suspend their work."""
        self.is_assigned = False
        # A transaction ends within the commit timeout by itself, and its producer closes soon after.
        await self._close(tps, self._host.settings.commit_timeout + _REVOKED_SECONDS)

    async def take(self, tp: TopicPartition, chunk: Chunk) -> None:
        """Pass a chunk to its partition; drop it if the partition is no longer assigned."""
        partition = self.partitions.get(tp)
        if partition is None:
            return
        try:
            await partition.accept(chunk)
        except Exception as error:
            self._fail(error)

    def wants(self, tp: TopicPartition) -> bool:
        """Return whether more of a partition may be fetched. Safe to call from another thread."""
        partition = self.partitions.get(tp)
        return partition is not None and partition.has_room()

    def refuse(self) -> None:
        """Open no more partitions, since the worker is about to end."""
        self._takes_more = False

    async def end(self, seconds: float) -> None:
        """Close all partitions and drop their work. Takes at most `seconds`, and a few more for cancellation."""
        await self._close(list(self.partitions), seconds)
        self._drop_suspended(set(self._suspended))

    def expect_end(self) -> None:
        """Log failures from now on instead of failing the worker, since it is being stopped."""
        self.refuse()
        self._is_ending = True

    # Opening and closing

    def _open(self, tp: TopicPartition, pin: Pin) -> None:
        partition = self.partitions[tp] = Partition(self._stage_of[tp.topic], tp, self._host, pin)
        running = partition.run(self._suspended.pop(tp, None), self._left.pop(tp, None))
        task = self._tasks[tp] = asyncio.ensure_future(running)
        task.add_done_callback(self.judge)

    def judge(self, task: asyncio.Future[Any]) -> None:
        """Fail the worker if its task has failed, or was cancelled by a library."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return
        if task.cancelled() and task in {self._tasks.get(tp) for tp in self._closings}:
            return
        if not self._is_ending:
            self._fail(error if isinstance(error, Exception) else RuntimeError("work was cancelled from within"))
        elif isinstance(error, Exception):
            # What it did not commit is done again by the next owner, as after any stop.
            log.warning("not_closed_in_order", what="task", error=repr(error))

    async def _close(self, tps: Iterable[TopicPartition], seconds: float) -> None:
        """Close partitions in order: finish the current transaction, and leave the rest to the next owner.

        A partition that takes longer than `seconds` is cancelled; the next owner aborts its transaction.
        """
        closings = {tp: self._closing(tp) for tp in tps if tp in self.partitions}
        if not closings:
            return
        _, late = await asyncio.wait(closings.values(), timeout=seconds)
        stuck = await end([self._tasks[tp] for tp, closing in closings.items() if closing in late])
        if stuck:
            self._fail(HungError(f"{len(stuck)} partitions do not end within {seconds:g} s, and cannot be cancelled"))
            return
        await asyncio.wait(closings.values())

    def _closing(self, tp: TopicPartition) -> asyncio.Task[None]:
        if tp not in self._closings:
            closing = self._closings[tp] = asyncio.ensure_future(self._suspend(tp))
            closing.add_done_callback(self.judge)
        return self._closings[tp]

    async def _suspend(self, tp: TopicPartition) -> None:
        """Close a partition, and keep its work in case it is assigned again."""
        task, partition = self._tasks[tp], self.partitions[tp]
        try:
            partition.close()
            await asyncio.wait({task})
        finally:
            del self.partitions[tp], self._tasks[tp], self._closings[tp]
            with suppress(KeyError):
                # Its lag is told by who owns it now.
                self._host.metrics.lag.remove(ByPartition(tp.topic, tp.partition))
        if task.cancelled() or task.exception() is not None:
            return
        if (work := task.result()) is not None:
            self._suspended[tp] = work
            if partition.left is not None:
                self._left[tp] = partition.left

    def _drop_suspended(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            close(self._suspended.pop(tp))
            self._left.pop(tp, None)

    # What is asked of it

    def running(self) -> Iterator[tuple[TopicPartition, Partition]]:
        """Yield the partitions that have recovered."""
        return ((tp, each) for tp, each in self.partitions.items() if each.state is PartitionState.RUNNING)

    @property
    def runs(self) -> bool:
        """Whether partitions were assigned, and all of them have recovered."""
        return self.is_assigned and all(each.state is PartitionState.RUNNING for each in self.partitions.values())

    @property
    def recovery_progress(self) -> float:
        """How much of the changelogs has been read, from 0 to 1."""
        stateful = [each for each in self.partitions.values() if each.changelog]
        recovering = [each for each in stateful if each.state is PartitionState.RECOVERING]
        total = sum(partition.to_recover for partition in recovering)
        done = sum(partition.recovered for partition in recovering)
        if not recovering:
            return 1.0
        return done / total if total else 0.0

    @property
    def problems(self) -> Sequence[str]:
        """What partitions wait for that somebody has to do."""
        return [partition.problem for partition in self.partitions.values() if partition.problem]

    def states(self) -> dict[str, int]:
        """Count the partitions by state."""
        found = [partition.state.value for partition in self.partitions.values()]
        return {state: found.count(state) for state in PARTITION_STATES}

    def _show_states(self) -> None:
        """Make the gauges count partitions at each scrape: a rebalance is shorter than any interval of updates."""
        metrics = self._host.metrics
        for stage in dict.fromkeys(stage.name for stage in self._stage_of.values()):
            for state in PARTITION_STATES:
                gauge = metrics.partition_state.labels(ByState(stage, state))
                gauge.set_function(partial(self._count, stage, state))
        metrics.recovery_progress.set_function(lambda: self.recovery_progress)

    def _count(self, stage: str, state: str) -> int:
        return sum(each.stage.name == stage and each.state.value == state for each in self.partitions.values())
