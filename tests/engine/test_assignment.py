"""Partitions that come and go, without a broker: how they are let go of, and how they are counted."""

import asyncio

import pytest
from structlog.testing import capture_logs

from processor.engine import bounds
from processor.engine.assignment import HungError
from processor.engine.partition import PartitionState
from processor.engine.pin import Pin
from processor.metrics.labels import ByPartition
from tests.engine.fakes import CHANGELOG, EVENTS, Hosting, Open, lag_shown, partition

PIN = Pin(1, "member")


@pytest.fixture
def host() -> Hosting:
    return Hosting(commit_timeout=0.1)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(bounds, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(bounds, "_AGAIN_SECONDS", 0.01)


class TestRunning:
    def test_needs_an_assignment(self, host):
        assert not host.assignment.runs

    def test_comes_with_the_last_partition_that_runs(self, host):
        host.assignment.is_assigned = True
        host.assignment.partitions[EVENTS] = partition()
        host.assignment.partitions[CHANGELOG] = recovering = partition(PartitionState.RECOVERING)
        assert not host.assignment.runs
        recovering.state = PartitionState.RUNNING
        assert host.assignment.runs

    async def test_of_a_worker_that_was_given_nothing_is_there_at_once(self, host):
        await host.assignment.assigned([], PIN)
        assert host.assignment.runs
        await host.assignment.revoked([])
        assert not host.assignment.runs


class TestStates:
    def test_count_the_partitions_that_there_are_when_they_are_asked_for(self, host):
        value = host.metrics.registry.get_sample_value
        running = {"stage": "fold", "state": "running"}
        host.assignment.partitions[EVENTS] = partition()
        assert value("delivery_partition_state", running) == 1
        del host.assignment.partitions[EVENTS]
        assert value("delivery_partition_state", running) == 0

    async def test_a_partition_that_has_gone_takes_its_lag_along(self, host):
        leaves = Open(host.assignment)
        leaves.may_end.set()
        host.metrics.lag.labels(ByPartition(EVENTS.topic, EVENTS.partition)).set(5)
        await host.assignment.revoked([EVENTS])
        assert lag_shown(host.metrics) == {}


class TestProgress:
    def test_is_whole_when_nothing_recovers(self, host):
        host.assignment.partitions[EVENTS] = partition()
        assert host.assignment.recovery_progress == 1

    def test_is_the_share_of_changelog_records_read(self, host):
        host.assignment.partitions[EVENTS] = partition(PartitionState.RECOVERING, recovered=30, to_recover=100)
        host.assignment.partitions[CHANGELOG] = partition(PartitionState.RECOVERING, recovered=20, to_recover=100)
        assert host.assignment.recovery_progress == 0.25

    def test_starts_at_nothing_before_the_changelog_is_known(self, host):
        host.assignment.partitions[EVENTS] = partition(PartitionState.RECOVERING)
        assert host.assignment.recovery_progress == 0

    def test_shows_in_the_gauges(self, host):
        host.assignment.partitions[EVENTS] = partition(PartitionState.RECOVERING, recovered=1, to_recover=4)
        value = host.metrics.registry.get_sample_value
        assert value("delivery_recovery_progress_ratio") == 0.25
        assert value("delivery_partition_state", {"stage": "fold", "state": "recovering"}) == 1
        assert value("delivery_partition_state", {"stage": "fold", "state": "running"}) == 0


class TestClosing:
    async def test_suspends_the_work_until_the_partition_is_known_to_be_anothers(self, host):
        leaves = Open(host.assignment)
        leaves.may_end.set()
        await host.assignment.revoked([EVENTS])
        assert leaves.work.told == []
        await host.assignment.assigned([], PIN)
        assert leaves.work.told == ["closed"]

    async def test_that_takes_too_long_is_cancelled(self, host):
        leaves = Open(host.assignment)
        await host.assignment.end(0.05)
        assert leaves.task.cancelled()
        assert host.assignment.partitions == {}
        assert host.failures == []

    async def test_of_one_that_cannot_be_cancelled_fails_the_worker(self, host):
        leaves = Open(host.assignment, is_stubborn=True)
        await host.assignment.end(0.05)
        [failure] = host.failures
        assert isinstance(failure, HungError)
        assert "1 partitions do not end" in str(failure)
        leaves.may_end.set()
        await leaves.task

    async def test_that_two_ask_for_is_done_once(self, host):
        leaves = Open(host.assignment)
        ends = [asyncio.ensure_future(each) for each in (host.assignment.revoked([EVENTS]), host.assignment.end(60))]
        for _ in range(5):
            await asyncio.sleep(0)
        assert leaves.closes == 1
        leaves.may_end.set()
        await asyncio.gather(*ends)
        assert leaves.work.told == ["closed"]
        assert host.assignment.partitions == {}


class TestFailures:
    async def test_of_a_task_end_the_worker(self, host):
        async def fails() -> None:
            raise ValueError("wrong")

        task = asyncio.ensure_future(fails())
        await asyncio.wait({task})
        host.assignment.judge(task)
        assert [str(failure) for failure in host.failures] == ["wrong"]

    async def test_of_work_that_is_cancelled_by_nobody_of_ours_end_the_worker(self, host):
        leaves = Open(host.assignment)
        await asyncio.sleep(0)
        leaves.task.cancel()
        await asyncio.wait({leaves.task})
        [failure] = host.failures
        assert "cancelled from within" in str(failure)

    async def test_while_the_worker_ends_are_told_and_change_nothing(self, host):
        async def fails() -> None:
            raise ValueError("wrong")

        host.assignment.expect_end()
        task = asyncio.ensure_future(fails())
        await asyncio.wait({task})
        with capture_logs() as lines:
            host.assignment.judge(task)
        assert host.failures == []
        assert [line["event"] for line in lines] == ["not_closed_in_order"]

    async def test_of_a_chunk_end_the_worker(self, host):
        async def accept(_chunk) -> None:
            raise ValueError("wrong")

        host.assignment.partitions[EVENTS] = partition(accept=accept)
        await host.assignment.take(EVENTS, "chunk")
        assert [str(failure) for failure in host.failures] == ["wrong"]


async def test_nothing_is_opened_by_a_worker_that_is_about_to_end(host):
    host.assignment.refuse()
    await host.assignment.assigned([EVENTS], PIN)
    assert host.assignment.partitions == {}
    assert not host.assignment.runs


async def test_what_comes_late_for_a_partition_that_has_gone_is_dropped_and_no_more_is_wanted(host):
    await host.assignment.take(EVENTS, "chunk")
    assert not host.assignment.wants(EVENTS)
    host.assignment.partitions[EVENTS] = partition(has_room=lambda: True)
    assert host.assignment.wants(EVENTS)
