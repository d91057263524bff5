"""A worker: Faust for membership and life-cycle, our partitions for the work.

Faust's rebalance is eager: every rebalance revokes everything. So a closed partition's work is parked, and taken up
again when the partition comes back; then only what others wrote meanwhile is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from processor.engine import clients
from processor.engine.admin import look_at_cluster
from processor.engine.bounds import closed, end, within
from processor.engine.clock import BrokerClock
from processor.engine.follower import Follower
from processor.engine.membership.agreement import DisagreementError, Terms, disagreements_of_group, terms
from processor.engine.membership.app import App
from processor.engine.membership.consumer import ChunkConsumer, ChunkSchema
from processor.engine.partition import Partition, State
from processor.engine.stage import Stage, Work
from processor.engine.status import PartitionStatus
from processor.engine.topic_watch import TopicWatch
from processor.logs import get_logger
from processor.metrics import PARTITION_STATES, Metrics
from processor.settings import Settings
from processor.wire.topics import Topic

log = get_logger(__name__)

#: Seconds between looks at lag, progress and stalls.
_MONITOR_SECONDS = 2.0

#: Seconds beyond the session timeout after which members that differ are no dead ones.
_AGREEMENT_SECONDS = 5.0

#: Seconds between attempts to reach a broker that is away.
_RETRY_SECONDS = 1.0

#: The parts of the commit timeout that a stop may take: for the transactions in hand, for Faust to leave the group, and
#: for connections to close. None is shorter than this many seconds.
_CLOSING_SHARE, _LEAVING_SHARE, _PARTING_SHARE = 1 / 2, 1 / 3, 1 / 6
_SHORTEST_SECONDS = 2.0

#: Seconds beyond the commit timeout that a partition which is taken away may take.
_REVOKED_SECONDS = 15.0

#: Seconds without a turn of the watch, beyond what one may take, and of a fetch after which they count as hung.
_HUNG_SECONDS = 60.0

#: Seconds between audits of the books: the sums go over every delivery.
_AUDIT_SECONDS = 15.0


class StalledError(Exception):
    """There is something to read and nothing was committed for too long."""


class HungError(Exception):
    """Something does not end although it was cancelled, so what it holds cannot be handed over in good order."""


Client = TypeVar("Client", AIOKafkaAdminClient, AIOKafkaConsumer)


async def _close(client: AIOKafkaAdminClient | AIOKafkaConsumer) -> None:
    await closed("client", client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


class _Wanted:
    """The partitions whose queues have room: a container that the fetch asks while it waits."""

    def __init__(self, partitions: dict[TopicPartition, Partition]) -> None:
        self._partitions = partitions

    def __contains__(self, tp: object) -> bool:
        partition = self._partitions.get(tp)
        return partition is not None and partition.has_room()


class Worker:
    """Runs stages on the partitions that the group gives it, until it is stopped or fails."""

    def __init__(self, settings: Settings, stages: Iterable[Stage], metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = BrokerClock(metrics)
        self.stages = tuple(stages)
        self.partitions: dict[TopicPartition, Partition] = {}
        self.partition_counts: dict[str, int] = {}
        self.cluster = ""
        #: Where the other workers reach this one; set before `run`, which tells the group.
        self.url = ""
        #: Records still to commit, when the broker was last asked.
        self._known_lags: dict[TopicPartition, int] = {}
        self._tasks: dict[TopicPartition, asyncio.Task[Work | None]] = {}
        #: The one task that lets go of a partition, however many ask for it.
        self._closings: dict[TopicPartition, asyncio.Task[None]] = {}
        self._parked: dict[TopicPartition, Work] = {}
        self._stage_of = {settings.topic(topic): stage for stage in self.stages for topic in stage.inputs}
        self._failure: asyncio.Future[None] | None = None
        self._is_assigned = False
        self._is_stopping = False
        #: By when it must have ended, once it is to; when the watch last turned; and whether it has ended.
        self._end_by: float | None = None
        self._turned: float | None = None
        self._has_ended = False
        self._next_audit = 0.0
        #: On what the group that we would join disagrees with us.
        self._disagreed: tuple[str, ...] = ()
        self._topics = TopicWatch(metrics)
        self._app: App | None = None
        self._admin: Any = None
        self._reader: Any = None
        self._uncommitted_reader: Any = None
        self._show_states()

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
        working.add_done_callback(self._on_task_done)
        stopping = asyncio.ensure_future(stop.wait())
        ends: set[asyncio.Future[Any]] = {working, stopping, self._failure}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_stopping = True
            self._end_by = time.monotonic() + self.settings.commit_timeout
            await self._stop([working, stopping])
            self._has_ended = True
        if self._failure.done():
            self._failure.result()

    async def _work(self) -> None:
        """Start, then watch until something fails: whatever Faust is waited for, its crash ends the wait."""
        app = await self._prepare()
        followers = [follower.run() for follower in self._followers()]
        works: list[Coroutine[Any, Any, None]] = [self._start_and_watch(app), app.raise_its_crash(), *followers]
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(tasks)

    def _followers(self) -> Iterator[Follower]:
        """Make a follower of all that the stages are to know beside their partitions."""
        for stage in self.stages:
            if stage.follows is not None:
                yield Follower(self.settings, *stage.follows)

    async def _start_and_watch(self, app: App) -> None:
        await app.start()
        await self._monitor()

    async def _prepare(self) -> App:
        self.cluster, self.partition_counts = await look_at_cluster(self.settings, self.stages)
        self._admin = await self._connected(clients.admin)
        self._reader = await self._connected(clients.reader)
        self._uncommitted_reader = await self._connected(clients.uncommitted_reader)
        ours = terms(self.settings, self.partition_counts)
        await self._agree(ours)
        app = self._app = App(self.settings, self.url, _Wanted(self.partitions))
        app.terms, app.on_disagreement = ours, self._on_disagreement
        for stage in self.stages:
            self._add_agent(app, stage)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_partitions_assigned.connect(self._on_assigned)
        return app

    async def _agree(self, ours: Terms) -> None:
        """Leave a group alone whose members work by other settings.

        One that has died is still a member for the session timeout, so we wait for longer than that.

        Raises:
            DisagreementError: they still differ.
        """
        deadline = time.monotonic() + self.settings.session_timeout + _AGREEMENT_SECONDS
        while problems := await self._disagreements(ours):
            self._disagreed = tuple(problems)
            self.metrics.settings_differ.set(len(problems))
            log.warning("settings_differ", problems=problems)
            if time.monotonic() >= deadline:
                raise DisagreementError(problems)
            await asyncio.sleep(_RETRY_SECONDS)
        self._disagreed = ()

    async def _disagreements(self, ours: Terms) -> list[str]:
        describing = self._admin.describe_consumer_groups([self.settings.app_id])
        try:
            [response] = await within(describing, self.settings.commit_timeout)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            # The leader of the group judges, too.
            log.warning("broker_away", brokers=self.settings.brokers, error=repr(error))
            return []
        return disagreements_of_group(ours, response)

    def _on_disagreement(self, problems: Sequence[str], is_refused: bool) -> None:
        self.metrics.settings_differ.set(len(problems))
        if is_refused:
            self.fail(DisagreementError(problems))

    async def _connected(self, make: Callable[[Settings], Client]) -> Client:
        """Make a client that is connected; a broker that is away is waited for."""
        while True:
            client = make(self.settings)
            try:
                await within(client.start(), self.settings.commit_timeout)
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                log.warning("broker_away", brokers=self.settings.brokers, error=repr(error))
                await _close(client)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return client

    def _add_agent(self, app: App, stage: Stage) -> None:
        names = [self.settings.topic(topic) for topic in stage.inputs]
        topic = app.topic(*names, acks=False, schema=ChunkSchema(), internal=False)

        async def deliver(stream: Any) -> None:
            async for event in stream.events():
                await self._deliver(event.message.tp, event.value)

        app.agent(topic, name=f"processor.{stage.name}")(deliver)

    async def _deliver(self, tp: TP, chunk: Any) -> None:
        partition = self.partitions.get(tp)
        if partition is None:
            return
        try:
            await partition.accept(chunk)
        except Exception as error:
            self.fail(error)

    async def _stop(self, tasks: Iterable[asyncio.Future[Any]] = ()) -> None:
        """Let go of everything, in bounded time: of partitions first, since only they hold what others wait for."""
        await end(tasks)
        await self._close(list(self.partitions), self._share(_CLOSING_SHARE))
        self._drop_parked(set(self._parked))
        if self._app is not None:
            # All that is ours is committed by now. Faust's consumer may wait for a broker that was restarted.
            await closed("faust", self._app.stop(), self._share(_LEAVING_SHARE))
        clients_of_ours = [each for each in (self._reader, self._uncommitted_reader, self._admin) if each is not None]
        closings = asyncio.gather(*(_close(client) for client in clients_of_ours))
        await closed("clients", closings, self._share(_PARTING_SHARE))

    def _share(self, part: float) -> float:
        return max(_SHORTEST_SECONDS, part * self.settings.commit_timeout)

    def fail(self, error: BaseException) -> None:
        """End the worker with this error; the first one wins."""
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    @property
    def _has_failed(self) -> bool:
        return self._failure is not None and self._failure.done()

    # Assignment

    async def _on_revoked(self, _app: Any, revoked: Iterable[TP], **_: Any) -> None:
        self._is_assigned = False
        # A transaction ends within the commit timeout by itself, and its producer closes soon after.
        seconds = self.settings.commit_timeout + _REVOKED_SECONDS
        await self._close([TopicPartition(*tp) for tp in revoked], seconds)

    async def _on_assigned(self, _app: Any, assigned: Iterable[TP], **_: Any) -> None:
        if self._is_stopping or self._has_failed:
            return
        self.metrics.rebalances.inc()
        tps = [TopicPartition(*tp) for tp in sorted(assigned)]
        log.info("partitions_assigned", partitions=len(tps))
        self._drop_parked(set(self._parked) - set(tps))
        for tp in tps:
            self._open(tp)
        self._is_assigned = True

    def _open(self, tp: TopicPartition) -> None:
        stage = self._stage_of[tp.topic]
        partition = self.partitions[tp] = Partition(stage, tp, self)
        task = self._tasks[tp] = asyncio.ensure_future(partition.run(self._parked.pop(tp, None)))
        task.add_done_callback(self._on_task_done)

    def _drop_parked(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            self._parked.pop(tp).close()

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return
        if task in {self._tasks.get(tp) for tp in self._closings} and task.cancelled():
            return
        if not self._is_stopping:
            self.fail(error if isinstance(error, Exception) else RuntimeError("work was cancelled from within"))
        elif isinstance(error, Exception):
            # What it did not commit is done again by the next owner, as after any stop.
            log.warning("not_closed_in_order", what="task", error=repr(error))

    async def _close(self, tps: Iterable[TopicPartition], seconds: float) -> None:
        """Close partitions in good order: the transaction in hand is finished, the rest is left to the next owner.

        What takes longer than `seconds` is cancelled; a transaction in hand is then aborted by the next owner.
        """
        closings = {tp: self._closing(tp) for tp in tps if tp in self.partitions}
        if not closings:
            return
        _, late = await asyncio.wait(closings.values(), timeout=seconds)
        stuck = await end([self._tasks[tp] for tp, closing in closings.items() if closing in late])
        if stuck:
            self.fail(HungError(f"{len(stuck)} partitions do not end within {seconds:g} s, and cannot be cancelled"))
            return
        await asyncio.wait(closings.values())

    def _closing(self, tp: TopicPartition) -> asyncio.Task[None]:
        if tp not in self._closings:
            closing = self._closings[tp] = asyncio.ensure_future(self._let_go(tp))
            closing.add_done_callback(self._on_task_done)
        return self._closings[tp]

    async def _let_go(self, tp: TopicPartition) -> None:
        task = self._tasks[tp]
        try:
            self.partitions[tp].close()
            await asyncio.wait({task})
        finally:
            del self.partitions[tp], self._tasks[tp], self._closings[tp]
            with suppress(KeyError):
                # Its lag is told by who owns it now.
                self.metrics.lag.remove(tp.topic, str(tp.partition))
        if task.cancelled() or task.exception() is not None:
            return
        work = task.result()
        if work is not None:
            work.released()
            if work.is_durable:
                work.close()
            else:
                self._parked[tp] = work

    # What partitions ask for

    def transactional_producer(self, transactional_id: str) -> AIOKafkaProducer:
        """Make a producer; starting it fences every older one with the same id."""
        return clients.transactional_producer(self.settings, transactional_id)

    def reader(self) -> AIOKafkaConsumer:
        """Make a consumer that belongs to no group and reads committed records."""
        return clients.reader(self.settings)

    async def committed_offset(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """Ask the broker for the group's committed offset of a partition; None when there is none."""
        offsets = await self._admin.list_consumer_group_offsets(self.settings.app_id, partitions=[tp])
        found = offsets.get(tp)
        return None if found is None or found.offset < 0 else found

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Ask the broker for the oldest offset of a partition and the one after its last that is committed."""
        begin = await self._reader.beginning_offsets([tp])
        end = await self._reader.end_offsets([tp])
        return int(begin[tp]), int(end[tp])

    async def high_watermark(self, tp: TopicPartition) -> int:
        """Ask the broker for the offset after a partition's last record, of open transactions too."""
        return int((await self._uncommitted_reader.end_offsets([tp]))[tp])

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Make `offset` the next that is fetched from a partition."""
        await self._consumer.seek_to(TP(*tp), offset)

    def position(self, tp: TopicPartition) -> int | None:
        """Tell which offset the fetch hands out next, without waiting; None when the partition is not assigned."""
        return self._consumer.position(TP(*tp))

    @property
    def member_id(self) -> str:
        """Who this worker is in the group; empty while it is in none."""
        return "" if self._app is None else self._app.consumer.member_id

    def wake(self) -> None:
        """Make the fetch look again at which partitions have room."""
        self._consumer.wake()

    @property
    def _consumer(self) -> ChunkConsumer:
        if self._app is None:
            raise RuntimeError("the worker has not been started")
        consumer: ChunkConsumer = self._app.consumer
        return consumer

    # What is asked of its partitions

    def running_work(self, topic: Topic, number: int) -> Work | None:
        """Give the work of an input partition, when it is ours and has recovered."""
        partition = self.partitions.get(TopicPartition(self.settings.topic(topic), number))
        return partition.work if partition is not None and partition.state is State.RUNNING else None

    def inputs(self) -> Iterator[tuple[str, str]]:
        """Give stage and full name of every topic that the stages read."""
        for topic, stage in self._stage_of.items():
            yield stage.name, topic

    def partition_statuses(self) -> Iterator[PartitionStatus]:
        """Give the status of every partition of this worker."""
        for tp, partition in self.partitions.items():
            state, lag = partition.state, self._known_lags.get(tp)
            progress = partition.recovered / (partition.to_recover or 1) if state is State.RECOVERING else None
            yield PartitionStatus(partition.stage.name, tp.topic, tp.partition, state.value, lag, progress)

    # Health

    @property
    def is_ready(self) -> bool:
        """Whether partitions were assigned, all of them have recovered, and nothing is wrong."""
        running = all(partition.state is State.RUNNING for partition in self.partitions.values())
        return self._is_assigned and running and not self.problems

    @property
    def problems(self) -> Sequence[str]:
        """Say what is wrong that no waiting mends, each with its mend."""
        return (*self._disagreed, *self._topics.problems.values())

    @property
    def ailment(self) -> str:
        """Say why only a restart helps, as far as it shows without asking the broker; empty when nothing does."""
        now = time.monotonic()
        if self._has_ended:
            return "the worker has ended, and its process has not"
        if self._end_by is not None:
            return "the worker does not end" if now > self._end_by else ""
        if self._turned is None:
            return ""
        if now - self._turned > _MONITOR_SECONDS + self.settings.commit_timeout + _HUNG_SECONDS:
            return "the worker's watch stands still"
        if self._consumer.stands_still_for > _HUNG_SECONDS:
            return "the fetch of records stands still"
        return ""

    @property
    def recovery_progress(self) -> float:
        """How much of the changelogs has been read, from 0 to 1."""
        recovering = [each for each in self.partitions.values() if each.changelog and each.state is State.RECOVERING]
        total = sum(partition.to_recover for partition in recovering)
        done = sum(partition.recovered for partition in recovering)
        if not recovering:
            return 1.0
        return done / total if total else 0.0

    def states(self) -> dict[str, int]:
        """Count the partitions of this worker by state."""
        found = [partition.state.value for partition in self.partitions.values()]
        return {state: found.count(state) for state in PARTITION_STATES}

    async def _monitor(self) -> None:
        while True:
            self._turned = time.monotonic()
            await asyncio.sleep(_MONITOR_SECONDS)
            self._audit()
            for watch in (self._look_at_topics, self._watch_lag):
                with suppress(KafkaError, OSError, asyncio.TimeoutError):
                    # A broker that is away is waited for: without its answer there is nothing to judge by.
                    await within(watch(), self.settings.commit_timeout)

    async def _look_at_topics(self) -> None:
        # Not the reader of what is committed: a transaction that has been decided shows there a moment later.
        await self._topics.look(self._admin, self._uncommitted_reader, self.partition_counts, dict(self._reached()))

    def _reached(self) -> Iterator[tuple[TopicPartition, int]]:
        """Give how far the topics of the partitions that run had come, as these know it."""
        for tp, partition in self.partitions.items():
            if partition.state is State.RUNNING and partition.work is not None:
                yield tp, partition.committed
                if partition.changelog is not None:
                    yield partition.changelog, partition.work.position

    def _audit(self) -> None:
        now = time.monotonic()
        if now < self._next_audit:
            return
        self._next_audit = now + _AUDIT_SECONDS
        works = [each.work for each in self.partitions.values() if each.state is State.RUNNING]
        error = sum(work.audit() for work in works if work is not None)
        self.metrics.conservation_error.set(error)
        if error:
            log.error("conservation_broken", messages=error, mend="restart this worker: it recovers from the changelog")

    def _show_states(self) -> None:
        """Let the gauges count partitions when they are asked: a rebalance is over sooner than any clock would tell."""
        for stage in self.stages:
            for state in PARTITION_STATES:
                gauge = self.metrics.partition_state.labels(stage.name, state)
                gauge.set_function(partial(self._count_partitions, stage.name, state))
        self.metrics.recovery_progress.set_function(lambda: self.recovery_progress)

    def _count_partitions(self, stage: str, state: str) -> int:
        return sum(each.stage.name == stage and each.state.value == state for each in self.partitions.values())

    async def lag(self) -> int:
        """Ask the broker how many records this worker's partitions have still to commit."""
        return sum((await within(self._lags(), self.settings.commit_timeout)).values())

    async def _lags(self) -> dict[TopicPartition, int]:
        partitions = {tp: each for tp, each in self.partitions.items() if each.state is State.RUNNING}
        ends = await self._reader.end_offsets(list(partitions)) if partitions else {}
        return {tp: max(0, ends[tp] - partition.committed) for tp, partition in partitions.items()}

    async def _watch_lag(self) -> None:
        """Export the lag; end the worker when there is some and nothing has been committed for too long."""
        lags = self._known_lags = await self._lags()
        now = time.monotonic()
        self.metrics.lag.clear()
        for tp, lag in lags.items():
            partition = self.partitions.get(tp)
            if partition is None or partition.state is not State.RUNNING:
                continue
            self.metrics.lag.labels(tp.topic, str(tp.partition)).set(lag)
            silent = now - partition.last_commit
            if not lag:
                partition.last_commit = now
            elif silent > self.settings.stall_timeout:
                raise StalledError(
                    f"{tp.topic}[{tp.partition}] has {lag} records to read, and none was committed for {silent:.0f} s"
                )
