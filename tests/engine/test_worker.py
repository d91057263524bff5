"""A worker without a broker: when it is ready, what ails it, and how it ends."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest

from processor.engine import bounds
from processor.engine import worker as engine
from processor.engine.assignment import HungError
from processor.engine.pin import Pin
from processor.engine.worker import Worker
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages
from tests.engine.fakes import EVENTS, Open, partition


class Clock:
    now = 10_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock) -> Worker:
    settings = Settings()
    metrics = Metrics(STAGE_NAMES)
    return Worker(settings, stages(settings, metrics), metrics, clock)


class Membership:
    """As much of a membership as a worker's end needs."""

    stands_still_for = 0.0

    def __init__(self) -> None:
        self.stops = 0
        self.crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def raise_crash(self) -> None:
        await self.crash

    async def start(self) -> None:
        await asyncio.Event().wait()

    async def leave(self) -> None:
        """The others take its partitions."""

    async def stop(self) -> None:
        self.stops += 1


class Follows:
    """A follower that has caught up when it is told."""

    def __init__(self) -> None:
        self.has_caught_up = asyncio.Event()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def caught_up(self) -> None:
        await self.has_caught_up.wait()


async def test_it_joins_the_group_once_it_knows_what_its_stages_follow(worker, monkeypatch):
    class Joins(Membership):
        is_joined = False

        async def start(self) -> None:
            self.is_joined = True

        async def go_on_after_errors(self) -> None:
            await asyncio.Event().wait()

    membership, follower, stop = Joins(), Follows(), asyncio.Event()

    async def prepare() -> Joins:
        worker._membership = membership
        return membership

    monkeypatch.setattr(worker, "_prepare", prepare)
    worker._followers = [follower]
    running = asyncio.ensure_future(worker.run(stop))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not membership.is_joined
    follower.has_caught_up.set()
    for _ in range(100):
        await asyncio.sleep(0)
    assert membership.is_joined
    stop.set()
    await running


class TestReadiness:
    def test_needs_partitions_that_run_and_nothing_that_is_wrong(self, worker):
        assert not worker.is_ready
        worker.assignment.is_assigned = True
        worker.assignment.partitions[EVENTS] = partition()
        assert worker.is_ready
        worker._watchdog._topics.problems = {EVENTS.topic: "it has gone"}
        assert worker.problems == ("it has gone",)
        assert not worker.is_ready

    def test_says_what_a_partition_waits_for(self, worker):
        worker.assignment.partitions[EVENTS] = partition(problem="a transaction hangs")
        assert worker.problems == ("a transaction hangs",)


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
        worker._membership = Membership()
        return worker

    async def test_does_not_wait_for_ever_for_a_client_that_waits_for_a_broker(self, worker):
        class Waits(Membership):
            async def stop(self):
                await asyncio.Event().wait()

        worker._membership = Waits()
        await worker._stop()

    @pytest.mark.parametrize("code", [0, 1])
    def test_a_thread_of_a_client_does_not_keep_the_process(self, code):
        process = (
            "import threading; from processor.cli import run;"
            f"threading.Thread(target=threading.Event().wait).start(); run._end_soon({code}, 0.01)"
        )
        assert subprocess.run([sys.executable, "-c", process], check=False).returncode == code

    async def test_leaves_the_group_once_its_partitions_are_closed_and_before_anything_else_is(self, worker):
        """The others wait for its partitions; its clients may wait for a broker."""
        partition = Open(worker.assignment)
        left = asyncio.Event()

        class Leaves(Membership):
            async def leave(self) -> None:
                left.set()

            async def stop(self) -> None:
                assert left.is_set()
                await super().stop()

        async def close_rounds() -> None:
            await left.wait()

        worker._membership, worker.rounds.close = Leaves(), close_rounds
        stopping = asyncio.ensure_future(worker._stop())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not left.is_set(), "the transaction in hand comes first"
        partition.may_end.set()
        await stopping
        assert worker._membership.stops == 1

    @pytest.mark.parametrize("first", ["revoked", "stopped"])
    async def test_a_stop_during_a_rebalance_lets_go_of_a_partition_once_and_goes_on_to_leave_the_group(
        self, worker, first
    ):
        worker.settings = replace(worker.settings, commit_timeout=60.0)
        leaves = Open(worker.assignment)
        both = [worker.assignment.revoked([EVENTS]), worker._stop()]
        ends = [asyncio.ensure_future(each) for each in (both if first == "revoked" else reversed(both))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert leaves.closes == 1
        assert worker._membership.stops == 0, "it waits for the transaction in hand"
        leaves.may_end.set()
        await asyncio.gather(*ends)
        assert leaves.work.told == ["closed"]
        assert worker._membership.stops == 1
        assert worker.assignment.partitions == {}
        assert not worker._failure.done()

    async def test_a_partition_that_takes_too_long_at_a_stop_is_cancelled(self, worker):
        leaves = Open(worker.assignment)
        await worker._stop()
        assert leaves.task.cancelled()
        assert worker._membership.stops == 1
        assert not worker._failure.done()

    async def test_one_that_cannot_be_cancelled_is_left_and_the_worker_says_so(self, worker):
        leaves = Open(worker.assignment, is_stubborn=True)
        await worker._stop()
        assert worker._membership.stops == 1
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
            return worker._membership

        monkeypatch.setattr(worker, "_prepare", prepare)
        running = asyncio.ensure_future(worker.run(asyncio.Event()))
        worker._membership.crash.set_exception(ValueError("the thread fell over"))
        with pytest.raises(ValueError, match="the thread fell over"):
            await running
        assert worker._membership.stops == 1

    async def test_the_first_failure_is_the_one_that_is_told(self, worker):
        worker.fail(ValueError("first"))
        worker.fail(ValueError("second"))
        with pytest.raises(ValueError, match="first"):
            await worker._failure

    async def test_a_worker_that_has_failed_takes_no_partitions_any_more(self, worker):
        worker.fail(ValueError("wrong"))
        await worker.assignment.assigned([], Pin(1, "member"))
        assert not worker.is_ready
        with suppress(ValueError):
            await worker._failure


class TestAilment:
    @pytest.fixture
    async def worker(self, worker) -> Worker:
        worker._membership = Membership()
        return worker

    async def test_there_is_none_before_it_has_started_and_while_its_watch_turns(self, worker, clock):
        assert worker.ailment == ""
        worker._watchdog._looked = clock.now
        assert worker.ailment == ""

    async def test_is_a_watch_that_stands_still(self, worker, clock):
        worker._watchdog._looked = clock.now - 3_600
        assert "watch stands still" in worker.ailment

    async def test_is_a_fetch_that_does_not_return(self, worker):
        worker._membership.stands_still_for = 3_600
        assert "fetch" in worker.ailment

    async def test_is_a_stop_that_is_overdue(self, worker, clock):
        worker._end_by = clock.now + 60
        assert worker.ailment == ""
        worker._end_by = clock.now - 1
        assert "does not end" in worker.ailment

    async def test_is_a_process_that_outlives_its_worker(self, worker, monkeypatch):
        async def fails():
            raise ValueError("wrong")

        monkeypatch.setattr(worker, "_prepare", fails)
        with pytest.raises(ValueError, match="wrong"):
            await worker.run(asyncio.Event())
        assert "has ended" in worker.ailment
