"""A worker without a broker: what it judges by lag, readiness and progress, and how it ends."""

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from processor.engine import bounds
from processor.engine import worker as engine
from processor.engine.partition import State
from processor.engine.worker import HungError, StalledError, Worker
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages

EVENTS = TopicPartition("delivery.events.v1", 0)
CHANGELOG = TopicPartition("delivery.messages.v1", 0)


class Reader:
    def __init__(self, end: int) -> None:
        self.end = end

    async def end_offsets(self, tps):
        return dict.fromkeys(tps, self.end)


def partition(state: State = State.RUNNING, committed: int = 10, silent: float = 0, **more):
    facts = {"recovered": 0, "to_recover": 0, "changelog": CHANGELOG, "work": None, **more}
    return SimpleNamespace(
        state=state,
        committed=committed,
        last_commit=time.monotonic() - silent,
        stage=SimpleNamespace(name="fold"),
        **facts,
    )


@pytest.fixture
def worker() -> Worker:
    settings = Settings(stall_timeout=60)
    metrics = Metrics(STAGE_NAMES)
    worker = Worker(settings, stages(settings, metrics), metrics)
    worker._is_assigned = True
    return worker


def lag_shown(worker: Worker) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["topic"], sample.labels["partition"]): sample.value
        for family in worker.metrics.lag.collect()
        for sample in family.samples
    }


class TestWatchdog:
    async def test_ends_the_worker_when_there_is_something_to_read_and_nothing_is_committed(self, worker):
        worker._reader = Reader(end=15)
        worker.partitions[EVENTS] = partition(committed=10, silent=61)
        with pytest.raises(StalledError, match=r"delivery\.events\.v1\[0\] has 5 records to read"):
            await worker._watch_lag()

    async def test_waits_for_as_long_as_the_setting_says(self, worker):
        worker._reader = Reader(end=15)
        worker.partitions[EVENTS] = partition(committed=10, silent=59)
        await worker._watch_lag()
        assert lag_shown(worker) == {("delivery.events.v1", "0"): 5}

    async def test_takes_silence_for_rest_when_there_is_nothing_to_read(self, worker):
        worker._reader = Reader(end=10)
        worker.partitions[EVENTS] = partition(committed=10, silent=3_600)
        await worker._watch_lag()
        # The clock starts with the first record that waits, not with the last commit.
        worker._reader.end = 11
        await worker._watch_lag()

    async def test_leaves_a_partition_alone_that_recovers_or_waits_for_its_broker(self, worker):
        worker._reader = Reader(end=15)
        worker.partitions[EVENTS] = partition(State.RECOVERING, committed=10, silent=3_600)
        await worker._watch_lag()
        assert lag_shown(worker) == {}

    async def test_shows_no_lag_of_partitions_that_have_gone(self, worker):
        worker._reader = Reader(end=15)
        worker.partitions[EVENTS] = partition()
        await worker._watch_lag()
        worker.partitions.clear()
        await worker._watch_lag()
        assert lag_shown(worker) == {}


class Admin:
    """A broker that tells how many partitions topics have; an error instead where a topic cannot be told of."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers

    async def _send_request(self, request):
        assert request._allow_auto_topic_creation is False
        topics = []
        for name in request._topics:
            answer = self.answers[name.split(".")[1]]
            error, partitions = (0, [None] * answer) if answer >= 0 else (-answer, [])
            topics.append({"topic": name, "error_code": error, "partitions": partitions})
        return SimpleNamespace(to_object=lambda: {"topics": topics})


class TestTopics:
    GONE, NO_LEADER = -3, -5

    @pytest.fixture
    def worker(self, worker) -> Worker:
        worker.partition_counts = {EVENTS.topic: 4, CHANGELOG.topic: 4}
        worker._uncommitted_reader = Reader(end=15)
        worker.partitions[EVENTS] = partition(committed=15, work=SimpleNamespace(position=15))
        return worker

    @staticmethod
    async def look(worker: Worker, **answers: int) -> list[str]:
        worker._admin = Admin(**answers)
        worker._topics._next_look = 0.0
        await worker._look_at_topics()
        assert worker.is_ready is not bool(worker.problems)
        assert worker.metrics.registry.get_sample_value("delivery_topic_problems") == len(worker.problems)
        return list(worker.problems)

    async def test_that_are_as_they_were_are_no_problem(self, worker):
        assert await self.look(worker, events=4, messages=4) == []

    async def test_that_have_gone(self, worker):
        [problem] = await self.look(worker, events=4, messages=self.GONE)
        assert problem.startswith("topic delivery.messages.v1 has gone")

    @pytest.mark.parametrize("partitions", [3, 5])
    async def test_that_have_another_number_of_partitions(self, worker, partitions):
        [problem] = await self.look(worker, events=partitions, messages=4)
        assert problem.startswith(f"topic delivery.events.v1 has {partitions} partitions, and had 4")

    async def test_of_which_the_broker_says_nothing_now_are_no_problem(self, worker):
        assert await self.look(worker, events=4, messages=self.NO_LEADER) == []

    async def test_that_end_before_what_was_read_or_written(self, worker):
        worker._uncommitted_reader.end = 14
        assert await self.look(worker, events=4, messages=4) == [], "a leader that is new may not know its end yet"
        problems = await self.look(worker, events=4, messages=4)
        assert [problem.split(",")[0] for problem in problems] == [
            "topic delivery.events.v1 ends at offset 14 in partition 0",
            "topic delivery.messages.v1 ends at offset 14 in partition 0",
        ]

    async def test_whose_new_leader_knew_its_end_a_moment_later_are_no_problem(self, worker):
        for end in (14, 15, 14):
            worker._uncommitted_reader.end = end
            assert await self.look(worker, events=4, messages=4) == []

    async def test_that_are_mended_are_no_problem_any_more(self, worker):
        assert await self.look(worker, events=4, messages=self.GONE)
        assert await self.look(worker, events=4, messages=4) == []


class TestReadiness:
    def test_needs_an_assignment(self, worker):
        worker._is_assigned = False
        assert not worker.is_ready

    def test_comes_with_the_last_partition_that_runs(self, worker):
        worker.partitions[EVENTS] = partition()
        worker.partitions[CHANGELOG] = recovering = partition(State.RECOVERING)
        assert not worker.is_ready
        recovering.state = State.RUNNING
        assert worker.is_ready

    def test_of_a_worker_that_was_given_nothing_is_there_at_once(self, worker):
        assert worker.is_ready


class TestStates:
    def test_count_the_partitions_that_there_are_when_they_are_asked_for(self, worker):
        value = worker.metrics.registry.get_sample_value
        running = {"stage": "fold", "state": "running"}
        worker.partitions[EVENTS] = partition()
        assert value("delivery_partition_state", running) == 1
        del worker.partitions[EVENTS]
        assert value("delivery_partition_state", running) == 0

    async def test_a_partition_that_has_gone_takes_its_lag_along(self, worker):
        worker._reader = Reader(end=15)
        leaves = worker.partitions[EVENTS] = partition(close=lambda: None)
        await worker._watch_lag()
        worker._tasks[EVENTS] = asyncio.ensure_future(asyncio.sleep(0, leaves.work))
        await worker._close([EVENTS], 60)
        assert lag_shown(worker) == {}


class TestProgress:
    def test_is_whole_when_nothing_recovers(self, worker):
        worker.partitions[EVENTS] = partition()
        assert worker.recovery_progress == 1

    def test_is_the_share_of_changelog_records_read(self, worker):
        worker.partitions[EVENTS] = partition(State.RECOVERING, recovered=30, to_recover=100)
        worker.partitions[CHANGELOG] = partition(State.RECOVERING, recovered=20, to_recover=100)
        assert worker.recovery_progress == 0.25

    def test_starts_at_nothing_before_the_changelog_is_known(self, worker):
        worker.partitions[EVENTS] = partition(State.RECOVERING)
        assert worker.recovery_progress == 0

    def test_shows_in_the_gauges(self, worker):
        worker.partitions[EVENTS] = partition(State.RECOVERING, recovered=1, to_recover=4)
        value = worker.metrics.registry.get_sample_value
        assert value("delivery_recovery_progress_ratio") == 0.25
        assert value("delivery_partition_state", {"stage": "fold", "state": "recovering"}) == 1
        assert value("delivery_partition_state", {"stage": "fold", "state": "running"}) == 0


class Works:
    """A partition's work, that remembers what it was told."""

    is_durable = False

    def __init__(self) -> None:
        self.told: list[str] = []

    def released(self) -> None:
        self.told.append("released")

    def close(self) -> None:
        self.told.append("closed")


class Open:
    """An open partition of a worker. It ends when it is closed and let; a stubborn one loses every cancellation."""

    def __init__(self, worker: Worker, *, is_stubborn: bool = False) -> None:
        self.state, self.closes, self.work = State.RUNNING, 0, Works()
        self.stage = SimpleNamespace(name="fold")
        self.may_end = asyncio.Event()
        self._closed = asyncio.Event()
        self._is_stubborn = is_stubborn
        worker.partitions[EVENTS] = self
        self.task = worker._tasks[EVENTS] = asyncio.ensure_future(self._run())
        self.task.add_done_callback(worker._on_task_done)

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


class App:
    """As much of Faust as a worker's end needs."""

    def __init__(self) -> None:
        self.stops = 0
        self._crashed, self.crash_reason = asyncio.Event(), None

    raise_its_crash = engine.App.raise_its_crash

    async def start(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stops += 1


class TestEnd:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch):
        monkeypatch.setattr(engine, "_SHORTEST_SECONDS", 0.05)
        monkeypatch.setattr(bounds, "_PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(bounds, "_AGAIN_SECONDS", 0.01)

    @pytest.fixture
    async def worker(self, worker) -> Worker:
        worker.settings = replace(worker.settings, commit_timeout=0.1)
        worker._failure = asyncio.get_running_loop().create_future()
        worker._app = App()
        return worker

    async def test_does_not_wait_for_ever_for_a_client_that_waits_for_a_broker(self, worker):
        class Client(App):
            async def stop(self):
                await asyncio.Event().wait()

        worker._app = Client()
        await worker._stop()

    @pytest.mark.parametrize("code", [0, 1])
    def test_a_thread_of_a_client_does_not_keep_the_process(self, code):
        process = (
            "import threading; from processor.cli import run;"
            f"threading.Thread(target=threading.Event().wait).start(); run._end_soon({code}, 0.01)"
        )
        assert subprocess.run([sys.executable, "-c", process], check=False).returncode == code

    @pytest.mark.parametrize("first", ["revoked", "stopped"])
    async def test_a_stop_during_a_rebalance_lets_go_of_a_partition_once_and_goes_on_to_leave_the_group(
        self, worker, first
    ):
        worker.settings = replace(worker.settings, commit_timeout=60.0)
        leaves = Open(worker)
        both = [worker._on_revoked(worker._app, [EVENTS]), worker._stop()]
        ends = [asyncio.ensure_future(each) for each in (both if first == "revoked" else reversed(both))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert leaves.closes == 1
        assert worker._app.stops == 0, "it waits for the transaction in hand"
        leaves.may_end.set()
        await asyncio.gather(*ends)
        assert leaves.work.told.count("released") == 1
        assert worker._app.stops == 1
        assert worker.partitions == {}
        assert not worker._failure.done()

    async def test_a_partition_that_takes_too_long_at_a_stop_is_cancelled(self, worker):
        leaves = Open(worker)
        await worker._stop()
        assert leaves.task.cancelled()
        assert worker._app.stops == 1
        assert not worker._failure.done()

    async def test_one_that_cannot_be_cancelled_is_left_and_the_worker_says_so(self, worker):
        leaves = Open(worker, is_stubborn=True)
        await worker._stop()
        assert worker._app.stops == 1
        with pytest.raises(HungError, match="1 partitions do not end"):
            await worker._failure
        leaves.may_end.set()
        await leaves.task

    async def test_a_stop_is_heard_although_a_client_loses_the_cancellation(self, worker, monkeypatch):
        asked, stop = asyncio.Event(), asyncio.Event()

        async def look_at_cluster(*_):
            asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
            await asyncio.sleep(3_600)

        monkeypatch.setattr(engine, "look_at_cluster", look_at_cluster)
        running = asyncio.ensure_future(worker.run(stop))
        await asked.wait()
        stop.set()
        await running

    async def test_a_crash_of_faust_ends_the_worker_while_it_still_starts(self, worker, monkeypatch):
        async def prepare():
            return worker._app

        monkeypatch.setattr(worker, "_prepare", prepare)
        running = asyncio.ensure_future(worker.run(asyncio.Event()))
        worker._app.crash_reason = ValueError("the thread fell over")
        worker._app._crashed.set()
        with pytest.raises(ValueError, match="the thread fell over"):
            await running
        assert worker._app.stops == 1

    async def test_work_that_is_cancelled_by_nobody_of_ours_ends_the_worker(self, worker):
        leaves = Open(worker)
        await asyncio.sleep(0)
        leaves.task.cancel()
        with pytest.raises(RuntimeError, match="cancelled from within"):
            await worker._failure


class TestAilment:
    @pytest.fixture
    def worker(self, worker, monkeypatch) -> Worker:
        self.consumer = SimpleNamespace(stands_still_for=0.0)
        monkeypatch.setattr(Worker, "_consumer", property(lambda _: self.consumer))
        return worker

    def test_there_is_none_before_it_has_started_and_while_its_watch_turns(self, worker):
        assert worker.ailment == ""
        worker._turned = time.monotonic()
        assert worker.ailment == ""

    def test_is_a_watch_that_stands_still(self, worker):
        worker._turned = time.monotonic() - 3_600
        assert "watch stands still" in worker.ailment

    def test_is_a_fetch_that_does_not_return(self, worker):
        worker._turned, self.consumer.stands_still_for = time.monotonic(), 3_600
        assert "fetch" in worker.ailment

    def test_is_a_stop_that_is_overdue(self, worker):
        worker._end_by = time.monotonic() + 60
        assert worker.ailment == ""
        worker._end_by = time.monotonic() - 1
        assert "does not end" in worker.ailment

    async def test_is_a_process_that_outlives_its_worker(self, worker, monkeypatch):
        async def fails():
            raise ValueError("wrong")

        monkeypatch.setattr(worker, "_prepare", fails)
        with pytest.raises(ValueError, match="wrong"):
            await worker.run(asyncio.Event())
        assert "has ended" in worker.ailment


async def test_books_that_do_not_balance_show_in_a_gauge(worker):
    worker.partitions[EVENTS] = partition(work=SimpleNamespace(audit=lambda: 3))
    worker._audit()
    assert worker.metrics.registry.get_sample_value("delivery_conservation_error") == 3


async def test_the_first_failure_ends_the_worker(worker):
    import asyncio

    worker._failure = asyncio.get_running_loop().create_future()
    worker.fail(ValueError("first"))
    worker.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        await worker._failure
