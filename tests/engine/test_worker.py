"""A worker without a broker: what it judges by lag, readiness and progress, and how it ends."""

import asyncio
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from processor.engine import worker as engine
from processor.engine.partition import State
from processor.engine.worker import StalledError, Worker
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
        await worker._close([EVENTS])
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


class TestEnd:
    async def test_does_not_wait_for_ever_for_a_client_that_waits_for_a_broker(self, worker, monkeypatch):
        class Client:
            async def stop(self):
                await asyncio.Event().wait()

        monkeypatch.setattr(engine, "_STOP_SECONDS", 0.01)
        worker._app = Client()
        await worker._stop()

    @pytest.mark.parametrize("code", [0, 1])
    def test_a_thread_of_a_client_does_not_keep_the_process(self, code):
        process = (
            "import threading; from processor.cli import run; run._END_SECONDS = 0.01;"
            f"threading.Thread(target=threading.Event().wait).start(); run._end_soon({code})"
        )
        assert subprocess.run([sys.executable, "-c", process], check=False).returncode == code


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
