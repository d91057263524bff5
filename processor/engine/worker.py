"""The worker: its life-cycle, and the interface for its partitions and its server.

membership/ joins the group through Faust, assignment.py holds the assigned partitions, and watchdog.py checks that they
make progress.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.admin import look_at_cluster
from processor.engine.assignment import Assignment
from processor.engine.bounds import closed, end
from processor.engine.brokers import Brokers
from processor.engine.clock import BrokerClock
from processor.engine.follower import Follower
from processor.engine.inbox import InputBuffer
from processor.engine.lost_markers import LostMarkers, Owned, outputs_without_changelogs
from processor.engine.membership.agreement import Agreement, DisagreementError, terms
from processor.engine.membership.app import Introduction
from processor.engine.membership.membership import Membership
from processor.engine.partition import PartitionState
from processor.engine.pin import Pin
from processor.engine.predecessors import Undecided
from processor.engine.rounds import Rounds
from processor.engine.shadow import problems_of_group
from processor.engine.shared_reader import PartitionReader, SharedReader
from processor.engine.stage import Stage, Work
from processor.engine.status import PartitionStatus
from processor.engine.together import Together
from processor.engine.watchdog import Watchdog
from processor.metrics import Metrics
from processor.settings import Settings, SettingsError
from processor.wire.topics import Topic

#: The parts of the commit timeout that a stop may take: for the transactions in hand, for Faust to leave the group, and
#: for connections to close. None is shorter than this many seconds.
_CLOSING_SHARE, _LEAVING_SHARE, _PARTING_SHARE = 1 / 2, 1 / 3, 1 / 6
_SHORTEST_SECONDS = 2.0

#: Seconds after which a fetch counts as hung.
_HUNG_SECONDS = 60.0


class Worker:
    """Runs the stages on the partitions that the group assigns to it, until it is stopped or fails.

    Args:
        monotonic: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        stages: Iterable[Stage],
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = BrokerClock(metrics, monotonic=monotonic)
        self.partition_counts: dict[str, int] = {}
        self.cluster = ""
        #: Where the other workers reach this one; set before `run`, which tells the group.
        self.url = ""
        self._stages = tuple(stages)
        self._stage_of = {settings.topic(topic): stage for stage in self._stages for topic in stage.inputs}
        self.monotonic = monotonic
        self.input_buffer = InputBuffer(settings.chunk_records)
        self.rounds = Rounds(
            settings,
            # Of this process alone: two workers that took one for theirs would fence one another for ever.
            f"{settings.app_id}-worker-{uuid.uuid4().hex[:12]}",
            partial(clients.transactional_producer, settings),
            self.clock,
            monotonic,
        )
        self._brokers = Brokers(settings)
        self._agreement = Agreement(settings, metrics, self._brokers.describe_group, monotonic)
        self._membership: Membership | None = None
        self._seeks = Together(self._seek)
        self._shared_reader = SharedReader(partial(clients.shared_reader, settings))
        #: They read the topics that stages read whole.
        self._followers = [Follower(settings, *stage.follows) for stage in self._stages if stage.follows is not None]
        self.assignment = Assignment(self._stage_of, self, self.fail)
        is_member = partial(self._brokers.has_member, self.rounds.transactional_id)
        self._watchdog = Watchdog(settings, metrics, self.assignment, self._brokers, is_member, monotonic)
        self._lost_markers = LostMarkers(settings, metrics, self._brokers, self.rounds, monotonic)
        self._failure: asyncio.Future[None] | None = None
        #: By when it must have ended, once it is to; and whether it has.
        self._end_by: float | None = None
        self._has_ended = False

    # Life-cycle

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            Exception: the worker cannot go on; what it did not commit is done again by the next one.
        """
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        self.metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
        working = asyncio.ensure_future(self._work())
        working.add_done_callback(self.assignment.judge)
        stopping = asyncio.ensure_future(stop.wait())
        ends: set[asyncio.Future[Any]] = {working, stopping, self._failure}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.assignment.expect_end()
            self._end_by = self.monotonic() + self.settings.commit_timeout
            await self._stop([working, stopping])
            self._has_ended = True
        if self._failure.done():
            self._failure.result()

    async def _work(self) -> None:
        """Start, then watch until something fails. A crash of Faust ends every wait for it."""
        membership = await self._prepare()
        followers = [follower.run() for follower in self._followers]
        works: list[Coroutine[Any, Any, None]] = [
            self._join_and_watch(membership),
            membership.raise_crash(),
            self._lost_markers.watch(self._outputs_to_watch, self._changelogs),
            *followers,
        ]
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(tasks)

    async def _prepare(self) -> Membership:
        """Read the cluster's metadata, and wait until the group agrees with our settings."""
        self.cluster, self.partition_counts = await look_at_cluster(self.settings, self._stages)
        await self._brokers.connect()
        if self.settings.shadow_of:
            await self._refuse_live_group()
        ours = terms(self.settings, self.partition_counts)
        await self._agreement.wait(ours)
        inputs = {stage.name: [self.settings.topic(topic) for topic in stage.inputs] for stage in self._stages}
        introduction = Introduction(self.url, ours, self.rounds.transactional_id)
        self._membership = Membership(self.settings, introduction, inputs, self.assignment, self._on_disagreement)
        return self._membership

    async def _refuse_live_group(self) -> None:
        """Check that the group of a shadow is not the live one.

        Raises:
            SettingsError: it is.
        """
        if problems := problems_of_group(self.settings, await self._brokers.offsets_of_group()):
            raise SettingsError(problems)

    async def _join_and_watch(self, membership: Membership) -> None:
        # Who is erased must be known before the first event is folded, or the feed of changes has the person again.
        await asyncio.gather(*(follower.caught_up() for follower in self._followers))
        await membership.start()
        await asyncio.gather(self._watchdog.watch(self.partition_counts), membership.go_on_after_errors())

    def _on_disagreement(self, problems: Sequence[str], is_refused: bool) -> None:
        self._agreement.see(problems)
        if is_refused:
            self.fail(DisagreementError(problems))

    async def _stop(self, tasks: Iterable[asyncio.Future[Any]] = ()) -> None:
        """Close everything in bounded time; partitions first, since other workers wait for them."""
        await end(tasks)
        await self.assignment.end(self._share(_CLOSING_SHARE))
        # The others wait for our partitions, so nothing else is closed before we leave.
        await asyncio.gather(
            closed("membership", self._leave(), self._share(_LEAVING_SHARE)),
            closed("rounds", self.rounds.close(), self._share(_PARTING_SHARE)),
        )
        await self._shared_reader.close()
        if self._membership is not None:
            # All that is ours is committed by now. Faust's consumer may wait for a broker that was restarted.
            await closed("faust", self._membership.stop(), self._share(_PARTING_SHARE))
        await closed("clients", self._brokers.close(), self._share(_PARTING_SHARE))

    async def _leave(self) -> None:
        if self._membership is not None:
            await self._membership.leave()

    def _outputs_to_watch(self) -> Sequence[TopicPartition]:
        """Return the outputs of the group, if we have the first of all input partitions: one worker looks at them."""
        first = TopicPartition(next(iter(self._stage_of)), 0)
        if first not in dict(self.assignment.running()):
            return ()
        return outputs_without_changelogs(self._stages, self.settings, self.partition_counts)

    def _changelogs(self) -> Mapping[TopicPartition, Owned]:
        return dict(owned for _, partition in self.assignment.running() for owned in partition.owned())

    def _share(self, part: float) -> float:
        return max(_SHORTEST_SECONDS, part * self.settings.commit_timeout)

    def fail(self, error: BaseException) -> None:
        """End the worker with this error; the first one wins."""
        if self._failure is not None and not self._failure.done():
            self.assignment.refuse()
            self._failure.set_exception(error)

    # What partitions ask for

    def reader(self) -> PartitionReader:
        """Make a reader of the committed records of one partition."""
        return self._shared_reader.reader()

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        """Return the group's committed offset of a partition, from the broker; None if there is none."""
        return await self._brokers.committed_offset(tp, pin)

    async def holders(self, tp: TopicPartition | None) -> frozenset[Undecided]:
        """Return whose transactions hold up a partition, or the group's offsets (None), from the brokers."""
        return await self._brokers.holders(tp)

    async def predecessors(
        self, tp: TopicPartition, producer_ids: Collection[int], *, spares_members: bool
    ) -> Sequence[str]:
        """Return which transactional ids of some producers may be ended for a partition, from the brokers."""
        return await self._brokers.predecessors(tp, producer_ids, spares_members=spares_members)

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Return a partition's first offset and its last stable offset, from the broker."""
        return await self._brokers.bounds(tp)

    async def high_watermark(self, tp: TopicPartition) -> int:
        """Return a partition's high watermark, which includes open transactions, from the broker."""
        return await self._brokers.high_watermark(tp)

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Fetch from `offset` next, if the partition is still assigned."""
        await self._seeks.of((tp, offset))

    async def _seek(self, asked: Collection[tuple[TopicPartition, int]]) -> Mapping[tuple[TopicPartition, int], None]:
        await self._joined.seek(dict(asked))
        return dict.fromkeys(asked)

    def position(self, tp: TopicPartition) -> int | None:
        """Return the offset that the fetch returns next; None if the partition is not assigned. Does not wait."""
        return self._joined.position(tp)

    def wake(self) -> None:
        """Make a waiting fetch check again which partitions have room."""
        self._joined.wake()

    @property
    def _joined(self) -> Membership:
        if self._membership is None:
            raise RuntimeError("the worker has not been started")
        return self._membership

    # What its server asks for

    @property
    def member_id(self) -> str:
        """The member id of this worker; empty while it is in no group."""
        return "" if self._membership is None else self._membership.member_id

    def running_work(self, topic: Topic, number: int) -> Work | None:
        """Return the work of an input partition, when it is ours and has recovered."""
        partition = self.assignment.partitions.get(TopicPartition(self.settings.topic(topic), number))
        return partition.work if partition is not None and partition.state is PartitionState.RUNNING else None

    def inputs(self) -> Iterator[tuple[str, str]]:
        """Yield the stage and the full name of every input topic."""
        for topic, stage in self._stage_of.items():
            yield stage.name, topic

    def partition_statuses(self) -> Iterator[PartitionStatus]:
        """Yield the status of every partition of this worker."""
        for tp, partition in self.assignment.partitions.items():
            state, lag = partition.state, self._watchdog.lags.get(tp)
            progress = partition.recovered / (partition.to_recover or 1) if state is PartitionState.RECOVERING else None
            yield PartitionStatus(partition.stage.name, tp.topic, tp.partition, state.value, lag, progress)

    async def lag(self) -> int:
        """Return the number of records that its partitions have still to commit, from the broker."""
        return await self._watchdog.lag()

    # Health

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned, all of them run, and there are no problems."""
        return self.assignment.runs and not self.problems

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong that no waiting mends, each with its mend."""
        return (*self._agreement.problems, *self._watchdog.problems, *self.assignment.problems)

    @property
    def ailment(self) -> str:
        """The reason why only a restart helps, judged without the broker; empty if there is none."""
        if self._has_ended:
            return "the worker has ended, and its process has not"
        if self._end_by is not None:
            return "the worker does not end" if self.monotonic() > self._end_by else ""
        if self._watchdog.stands_still:
            return "the worker's watch stands still"
        if self._membership is not None and self._membership.stands_still_for > _HUNG_SECONDS:
            return "the fetch of records stands still"
        return ""

    @property
    def recovery_progress(self) -> float:
        """The share of the changelogs that has been read, from 0 to 1."""
        return self.assignment.recovery_progress

    def states(self) -> dict[str, int]:
        """Count the partitions of this worker by state."""
        return self.assignment.states()
