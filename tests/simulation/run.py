"""One run: a plan drawn from a seed, the faults it holds, the healing, and the judgement.

A run goes through three times. In the first, workers take the partitions from one another, are killed and frozen, the
broker restarts, and the network does what it does. In the second nothing fails any more, and the partitions must come
to the end of their input. In the third the logs are compared with what must be on them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from aiokafka import TopicPartition

from processor.engine import left_open, lost_markers, partition, recovery, rounds
from processor.engine.partition import PartitionState
from processor.engine.stage import close
from processor.settings import Settings
from processor.stages import fold
from processor.wire.topics import EVENTS, MESSAGES, REJECTED
from tests.simulation.cluster import OLD_VERSIONS, VERSIONS, Cluster, Fate, Log
from tests.simulation.loop import DeadlockError, Process, VirtualLoop
from tests.simulation.mutants import ENGINE, Engine
from tests.simulation.network import Faults, Network
from tests.simulation.worker import Delivery, Tenure, Worker
from tests.simulation.works import PARTITIONS, PREFIX, TOPICS, Case, Disk, Folding, Tally, place, surplus

#: Virtual seconds after the healing within which all must be done.
_LIMIT = 600.0

#: Virtual seconds after which brokers abort what a worker that has died left open.
_TRANSACTION_SECONDS = 16.0

#: Virtual seconds after which the group takes its partitions from a worker that is silent.
_SESSION = 3.0


@dataclass
class Plan:
    """What a seed means. Each seed has some kinds of faults and not others: together they hide one another."""

    work: str
    seconds: float
    inputs: int
    #: Whether all input is there from the start: then one transaction follows the other.
    is_full: bool
    chunk_records: int
    faults: Faults
    delivery: Delivery
    #: Chances that a tenure ends by handing over, and by leaving the old owner to itself.
    hand_over: float
    leave: float
    #: Mean number of callbacks after which a worker is killed, and frozen; 0: never.
    kill_after: int
    freeze_after: int
    frozen_seconds: float
    #: Mean seconds between restarts of the broker, and the chance that it forgets a marker; 0: never.
    restart_every: float
    forgets: float
    #: Chance for each worker that it dies with the broker.
    dies_too: float
    compacts: bool
    first_epoch: int
    #: Whether the broker knows only the old way to end a transaction.
    is_old: bool

    @classmethod
    def draw(cls, random: Random) -> "Plan":
        def some(chance: float, value: Any) -> Any:
            return value if random.random() < chance else type(value)(0)

        forgets = some(0.3, random.uniform(0.2, 0.9))
        tally = random.choice(("", "durable ")) + "tally" + (" that knows" if forgets else "")
        return cls(
            work=random.choice((tally, tally, "fold")),
            seconds=random.uniform(2, 8),
            inputs=random.randint(8, 30),
            is_full=random.random() < 0.5,
            chunk_records=random.randint(1, 5),
            faults=Faults(
                latency=random.choice((0.002, 0.01, 0.03)),
                lost=some(0.4, random.uniform(0, 0.05)),
                unanswered=some(0.5, random.uniform(0, 0.1)),
                late=some(0.6, random.uniform(0, 0.25)),
                late_request=random.choice(("", "", "EndTxn", "EndTxn", "TxnOffsetCommit", "AddPartitions", "Produce")),
                busy=some(0.3, random.uniform(0, 0.1)),
                lateness=random.choice((0.1, 0.3, 1.0, 5.0, 20.0)),
                silent=random.choice((0.0, 0.2, 0.8)),
                marker_delay=0.2 if forgets else random.choice((0.001, 0.01, 0.1)),
            ),
            delivery=Delivery(
                dropped=some(0.4, random.uniform(0, 0.3)),
                repeated=some(0.4, random.uniform(0, 0.3)),
                delay=random.choice((0.0, 0.005, 0.05)),
                records=random.randint(1, 8),
            ),
            hand_over=some(0.7, random.random()),
            leave=some(0.5, random.random()),
            kill_after=some(0.6, random.randint(50, 1_000)),
            freeze_after=some(0.4, random.randint(50, 1_500)),
            frozen_seconds=random.choice((1.0, 5.0, 20.0)),
            restart_every=random.uniform(0.2, 2) if forgets else some(0.3, random.uniform(0.5, 5)),
            forgets=forgets,
            dies_too=some(0.5, random.random()),
            compacts=random.random() < 0.3,
            first_epoch=32_764 if random.random() < 0.1 and not forgets else 0,
            is_old=random.random() < 0.15,
        )


#: Changes a plan, so that more of its faults are of one kind.
Focus = Callable[[Plan], None]


@dataclass
class Outcome:
    """How a run ended."""

    seed: int
    plan: Plan
    problems: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    #: Why workers ended by themselves.
    ends: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    digest: str = ""

    def __str__(self) -> str:
        lines = self.trace[-_TRACE_LINES:]
        left_out = len(self.trace) - len(lines)
        head = [f"... {left_out} lines"] if left_out else []
        return "\n".join([f"seed {self.seed}: {self.plan}", *head, *lines, *self.problems])


#: Lines of a trace that are shown.
_TRACE_LINES = 2_000


class _TraceLog:
    """Takes the place of a module's logger."""

    def __init__(self, trace: Callable[[str], None]) -> None:
        self._trace = trace

    def info(self, event: str, **facts: Any) -> None:
        self._trace(f"engine   {event} {facts}")

    warning = error = info


class Simulation:
    """One run."""

    def __init__(self, seed: int, engine: Engine, focus: Focus) -> None:
        self.random = Random(seed)
        self.plan = plan = Plan.draw(self.random)
        focus(plan)
        self.loop = VirtualLoop()
        self.outcome = Outcome(seed, plan)
        self._engine = engine
        self.network = Network(self.loop, self.random, plan.faults, self.trace)
        self.cluster = Cluster(self.network.later, self._marker_delay, self.trace, plan.first_epoch)
        self.cluster.on_complete = self._look_at_books
        self.settings = Settings(
            app_id="app",
            topic_prefix=PREFIX,
            chunk_records=plan.chunk_records,
            commit_timeout=5.0,
            partitions=PARTITIONS,
        )
        self.case = self._case()
        counts = {PREFIX + topic.name: PARTITIONS for topic in TOPICS}
        for topic in TOPICS:
            for number in range(PARTITIONS):
                self.cluster.logs[place(topic, number)] = Log()
        self._counts = counts
        self._disks = [{number: Disk() for number in range(PARTITIONS)} for _ in range(_SLOTS)]
        self._workers: list[Worker] = []
        self._all_workers: list[Worker] = []
        self._started = 0
        self._current: dict[TopicPartition, Tenure] = {}
        self._old: list[Tenure] = []
        self._healed = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    def _case(self) -> Case:
        work = self.plan.work
        if work == "fold":
            return Folding(self.random, self.settings)
        return Tally(self.random, knows_records="knows" in work, is_durable="durable" in work)

    def trace(self, line: str) -> None:
        self.outcome.trace.append(f"{self.loop.time():9.4f} {line}")

    def _marker_delay(self) -> float:
        return self.plan.faults.marker_delay * (0.1 + self.random.random())

    # Running

    def run(self) -> Outcome:
        with _quiet(self.trace), _replaced(self._engine):
            try:
                self.loop.run_until_complete(self._run())
                self._judge()
            except DeadlockError:
                self.outcome.problems.append("all wait for ever")
            finally:
                self._clean_up()
        self.outcome.steps = sum(worker.process.steps for worker in self._all_workers)
        self.outcome.digest = sha256("\n".join(self.outcome.trace).encode()).hexdigest()
        return self.outcome

    async def _run(self) -> None:
        self._workers = [self._start_worker(slot) for slot in range(_SLOTS)]
        inputs = [place(EVENTS, number) for number in range(PARTITIONS)]
        self._tasks = [asyncio.ensure_future(self._lead(inputs))]
        self._tasks += [asyncio.ensure_future(self._write(tp)) for tp in inputs]
        self._tasks.append(asyncio.ensure_future(self._trouble_broker()))
        await asyncio.sleep(self.plan.seconds)
        await self._heal()
        try:
            await asyncio.wait_for(self._settle(inputs), _LIMIT)
        except asyncio.TimeoutError:
            self.outcome.problems.append("the partitions do not come to their ends")
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for tenure in self._current.values():
            tenure.partition.close()
        await asyncio.wait([tenure.task for tenure in self._current.values()], timeout=60)

    async def _heal(self) -> None:
        """Let nothing fail any more: what was late still comes."""
        self.trace("all is healed")
        self.network.faults = Faults(marker_delay=self.plan.faults.marker_delay)
        self.network.is_down = False
        for worker in self._all_workers:
            worker.process.acts_at = -1
            worker.delivery = Delivery()
            if worker.process.is_alive:
                worker.process.thaw()
        self._healed.set()
        for number in range(PARTITIONS):
            self._write_some(number, 3)

    async def _settle(self, inputs: Sequence[TopicPartition]) -> None:
        """Wait until all is committed, and nothing that was late is still to come."""
        await asyncio.sleep(max(self.plan.faults.lateness, _TRANSACTION_SECONDS))
        for number in range(PARTITIONS):
            # What a broker forgot is ended by the next transaction that writes to the same place.
            self._write_some(number, 3)
        await self._all_done(inputs)
        for tenure in self._old:
            tenure.partition.close()
        ending = [tenure.task for tenure in self._old if tenure.worker.process.is_alive]
        if ending:
            await asyncio.wait(ending)
        await asyncio.sleep(1)
        await self._all_done(inputs)
        await self._all_decided()

    async def _all_decided(self) -> None:
        """Wait until nothing is open in any output, which is looked at in turns of a minute."""
        while any(log.stable < log.end for tp, log in self.cluster.logs.items()):  # noqa: ASYNC110
            await asyncio.sleep(5)

    async def _all_done(self, inputs: Sequence[TopicPartition]) -> None:
        while not all(self._is_done(tp) for tp in inputs):  # noqa: ASYNC110 - time is a number here
            await asyncio.sleep(1)

    def _is_done(self, tp: TopicPartition) -> bool:
        end = self.cluster.logs[tp].stable
        offset = self.cluster.offsets.committed.get(tp)
        tenure = self._current.get(tp)
        if tenure is None or offset is None:
            return False
        partition = tenure.partition
        return partition.state is PartitionState.RUNNING and partition.committed == offset.offset == end

    # What goes on

    def _start_worker(self, slot: int) -> Worker:
        self._started += 1
        process = Process(self.loop, f"worker{self._started}")
        self._act_later(process)
        stage = self.case.stage(self._disks[slot])
        delivery = Delivery() if self._healed.is_set() else self.plan.delivery
        worker = Worker(
            process,
            self.network,
            self.cluster,
            self.settings,
            stage,
            delivery,
            self._engine,
            self._counts,
            OLD_VERSIONS if self.plan.is_old else VERSIONS,
        )
        self._all_workers.append(worker)
        return worker

    def _act_later(self, process: Process) -> None:
        """Choose the callback before which the process is killed or frozen."""
        random, plan = self.random, self.plan
        if self._healed.is_set():
            return
        kill = random.randint(1, 2 * plan.kill_after) if plan.kill_after else 0
        freeze = random.randint(1, 2 * plan.freeze_after) if plan.freeze_after else 0
        if kill and (not freeze or kill <= freeze):
            process.acts_at, process.act = process.steps + kill, lambda: self._kill(process)
        elif freeze:
            process.acts_at, process.act = process.steps + freeze, lambda: self._freeze(process)

    def _kill(self, process: Process) -> None:
        self.trace(f"{process.name}  is killed")
        process.kill()

    def _freeze(self, process: Process) -> None:
        self.trace(f"{process.name}  is frozen")
        process.freeze()
        self.network.later(self.random.random() * self.plan.frozen_seconds, lambda: self._thaw(process))

    def _thaw(self, process: Process) -> None:
        if process.is_alive and process.is_frozen and not self.network.is_gone:
            self.trace(f"{process.name}  goes on")
            process.thaw()
            self._act_later(process)

    async def _write(self, tp: TopicPartition) -> None:
        for _ in range(self.plan.inputs // 3):
            self._write_some(tp.partition, self.random.randint(1, 5))
            if not self.plan.is_full:
                await asyncio.sleep(self.random.random() * self.plan.seconds * 5 / self.plan.inputs)

    def _write_some(self, number: int, count: int) -> None:
        """Write input as the stage before does: in transactions, some of which are aborted."""
        log = self.cluster.logs[place(EVENTS, number)]
        if self.random.random() < 0.2:
            log.write([self.case.entry(number)], Fate.ABORTED)
            log.skip()
        log.write([self.case.entry(number) for _ in range(count)])
        if self.random.random() < 0.5:
            log.skip()

    async def _trouble_broker(self) -> None:
        plan, random = self.plan, self.random
        while not self._healed.is_set():
            await asyncio.sleep(random.random() * 2 * (plan.restart_every or 2))
            if self._healed.is_set():
                return
            if plan.compacts:
                for number in range(PARTITIONS):
                    self.cluster.logs[place(MESSAGES, number)].compact()
            if plan.restart_every:
                self.trace("broker   dies")
                self.network.go_down()
                self.cluster.restart(lambda: random.random() < plan.forgets)
                for worker in self._workers:
                    if worker.process.is_alive and random.random() < plan.dies_too:
                        self._kill(worker.process)
                await asyncio.sleep(random.random())
                self.trace("broker   is back")
                self.network.is_down = False

    # Who has which partition

    async def _lead(self, inputs: Sequence[TopicPartition]) -> None:
        """Give all partitions out, again and again, each time to the members of another generation."""
        left: set[str] = set()
        while True:
            members = await self._gather(left)
            if not members:
                await asyncio.sleep(0.2)
                continue
            generation = self.cluster.group.begin([worker.name for worker in members])
            for tp in inputs:
                worker = self.random.choice(members)
                if self.random.random() < 0.3 and tp in worker.suspended:
                    close(worker.suspended.pop(tp))
                self.trace(f"{worker.name}  is given {tp.partition} in generation {generation}")
                self._current[tp] = worker.open(tp, generation)
            left = await self._hold()

    async def _gather(self, left: Collection[str]) -> list[Worker]:
        """Let the members that learn of it let go of all that they have; start others in the place of the dead.

        Args:
            left: those that do not learn of it: the next generation begins without them.
        """
        for slot, worker in enumerate(self._workers):
            if not worker.process.is_alive:
                self._workers[slot] = self._start_worker(slot)
        told = [worker for worker in self._workers if worker.name not in left]
        releases = await asyncio.gather(*(self._release(worker) for worker in told))
        members = [worker for worker, is_done in zip(told, releases, strict=True) if is_done and worker.is_usable]
        remaining = {id(worker): worker for worker in self._workers if worker not in members}
        self._old += [tenure for worker in remaining.values() for tenure in worker.tenures.values()]
        return members

    async def _release(self, worker: Worker) -> bool:
        tenures = list(worker.tenures.values())
        if not worker.is_usable or not tenures:
            return worker.is_usable
        for tenure in tenures:
            tenure.partition.close()
        tasks = {tenure.task for tenure in tenures}
        # As long as a group waits for one of its members.
        _, late = await asyncio.wait(tasks, timeout=20)
        for tenure in tenures:
            if tenure.task not in late:
                self._note_end(tenure)
        return not late and worker.is_usable

    async def _hold(self) -> set[str]:
        """Wait until another generation must begin; return who does not learn of it."""
        ends_at = self.loop.time() + self.random.expovariate(1) * self.plan.seconds / 4
        how = self.random.random()
        silent_since: dict[str, float] = {}
        while True:
            tenures = list(self._current.values())
            await asyncio.sleep(0.3)
            for tenure in tenures:
                if tenure.task.done():
                    self._note_end(tenure)
            holders = {tenure.worker.name: tenure.worker for tenure in tenures}
            for name, worker in holders.items():
                if worker.is_usable:
                    silent_since.pop(name, None)
                elif self.loop.time() - silent_since.setdefault(name, self.loop.time()) > _SESSION:
                    self.trace(f"{name}  is silent: all partitions are given out anew")
                    return {name}
            if self._healed.is_set() or self.loop.time() < ends_at:
                continue
            if how < self.plan.leave:
                name = self.random.choice(sorted(holders))
                self.trace(f"{name}  does not learn that what it has is taken from it")
                return {name}
            if how < self.plan.leave + self.plan.hand_over:
                return set()
            ends_at = self.loop.time() + self.random.expovariate(1) * self.plan.seconds / 4
            how = self.random.random()

    def _note_end(self, tenure: Tenure) -> None:
        """Learn why a partition ended by itself: its worker ends too."""
        error = None if tenure.task.cancelled() else tenure.task.exception()
        if error is None:
            return
        self._judge_end(error)
        self.trace(f"{tenure.worker.name}  ends: {error!r}")
        if tenure.worker.process.is_alive:
            self._kill(tenure.worker.process)

    # Judging

    def _judge_end(self, error: BaseException) -> None:
        """See that no worker ends by itself."""
        self.outcome.ends[repr(error)] += 1
        self.outcome.problems.append(f"a worker ended: {error!r}")

    def _look_at_books(self, _transactional_id: str) -> None:
        """See whether what is committed fits the offset: it must after each transaction, not only in the end."""
        if self.plan.forgets or self.plan.work == "fold":
            return
        for number in range(PARTITIONS):
            tp, changelog = place(EVENTS, number), self.cluster.logs[place(MESSAGES, number)]
            offset = self.cluster.offsets.committed.get(tp)
            # Another transaction may have told one of the two, and not the other yet.
            is_decided = self.cluster.offsets.is_stable(tp) and changelog.stable == changelog.end
            if is_decided and offset is not None:
                read = sum(record.offset < offset.offset for record in self.cluster.logs[tp].committed())
                written = len(changelog.committed())
                if read != written:
                    line = f"messages[{number}] holds {written} records at {self.loop.time():.4f}, and {read} are read"
                    self.trace(line)
                    self.outcome.problems.append(line)

    def _judge(self) -> None:
        for tenure in self._old:
            task = tenure.task
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._judge_end(error)
        problems = self.outcome.problems
        outputs: list[tuple[Any, Any]] = []
        for number in range(PARTITIONS):
            inputs = self.cluster.logs[place(EVENTS, number)].committed()
            changes, output = self.case.expected(inputs)
            outputs += output
            changelog = self.cluster.logs[place(MESSAGES, number)]
            found = [(record.key, record.value) for record in changelog.committed()]
            if found != changes:
                problems.append(f"messages[{number}]: {_difference(found, changes)}")
            if changelog.stable < changelog.end:
                problems.append(f"messages[{number}]: a transaction is open at {changelog.stable}")
            self._judge_rows(number, changes)
        found = [
            (record.key, record.value)
            for number in range(PARTITIONS)
            for record in self.cluster.logs[place(REJECTED, number)].committed()
        ]
        more, less = surplus(found, outputs)
        # Where a broker forgot the end of a transaction, its chunk is folded again: an output may be there twice, or,
        # where the output's own marker was forgotten, go with the next transaction that is aborted (ADR 0013).
        is_excused = any(tp.topic == place(REJECTED, 0).topic for tp in self.cluster.forgotten)
        if (less and not is_excused) or (more and not self.plan.forgets):
            problems.append(f"rejected: too often {dict(more)}, missing {dict(less)}")

    def _judge_rows(self, number: int, changes: Sequence[tuple[Any, Any]]) -> None:
        tenure = self._current.get(place(EVENTS, number))
        work = None if tenure is None else tenure.partition.work
        if work is None:
            self.outcome.problems.append(f"nobody holds partition {number}")
            return
        expected = {key: self.case.row_in(value) for key, value in dict(changes).items() if value is not None}
        if (rows := self.case.rows(work)) != expected:
            self.outcome.problems.append(f"rows of {number}: {rows} instead of {expected}")

    def _clean_up(self) -> None:
        """End all that is left, so that nothing of it is told later."""
        self.network.is_gone = True
        for worker in self._all_workers:
            worker.process.acts_at = -1
            worker.process.thaw()
        with suppress(DeadlockError, RuntimeError):
            self.loop.run_until_complete(self._end_tasks())
        for worker in self._all_workers:
            for producer in worker.producers:
                # Its network is gone: there is nothing to close, and aiokafka need not complain of it.
                producer._closed = True
        self.loop.close()

    async def _end_tasks(self) -> None:
        this = asyncio.current_task()
        for _ in range(20):
            left = [task for task in self.loop.tasks if task is not this and not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=30)


#: Workers at a time.
_SLOTS = 3


def _difference(found: Sequence[Any], expected: Sequence[Any]) -> str:
    """Tell where two sequences part."""
    pairs = enumerate(zip(found, expected, strict=False))
    at = next((n for n, (one, other) in pairs if one != other), min(len(found), len(expected)))
    end = at + 3
    return f"{len(found)} records instead of {len(expected)}: {found[at:end]} at {at} instead of {expected[at:end]}"


@contextmanager
def _quiet(trace: Callable[[str], None]) -> Iterator[None]:
    """Send what the engine logs to the trace, and silence aiokafka, which fails all the time."""
    loggers = [(module, module.log) for module in (partition, recovery, left_open, rounds, lost_markers, fold)]
    for module, _ in loggers:
        module.log = _TraceLog(trace)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        for module, log in loggers:
            module.log = log


@contextmanager
def _replaced(engine: Engine) -> Iterator[None]:
    """Let partitions be made of the engine's parts."""
    kept = partition.Recovery, recovery.LeftOpen
    partition.Recovery, recovery.LeftOpen = engine.recovery, engine.left_open
    try:
        yield
    finally:
        partition.Recovery, recovery.LeftOpen = kept


def simulate(seed: int, engine: Engine = ENGINE, focus: Focus = lambda _: None) -> Outcome:
    """Run one seed.

    Args:
        seed: decides everything.
        engine: what is simulated.
        focus: changes the plan that was drawn.
    """
    return Simulation(seed, engine, focus).run()
