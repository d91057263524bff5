"""One partition, with a broker that is an object: what it takes, what it commits, and what it does when that fails."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
)
from structlog.testing import capture_logs

from processor.engine import partition
from processor.engine.bounds import end
from processor.engine.chunks import Chunk
from processor.engine.partition import PartitionState
from processor.engine.pin import MEMBERSHIP_OVER
from processor.engine.stage import Partitioning
from processor.settings import Settings
from tests.engine.partition_stand import GRAVE, INPUT, PASSING, ROUNDS, Host, Work, chunk, rows, stand, until

__all__ = ["stand"]


class TestChunks:
    async def test_a_chunk_is_one_transaction_with_its_records_and_the_offset_after_it(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 3))
            await until(lambda: running.committed == 3)
        assert stand.broker.changelog == [*rows(0, 1, 2).items(), None]
        assert stand.broker.committed == 3
        assert stand.works[0].rows == rows(0, 1, 2)
        assert stand.broker.producers[0].calls == ["start", "begin", "offsets", "commit"]

    async def test_what_waits_is_merged_into_one_transaction_of_bounded_size(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            for start in range(1, 7):
                await running.accept(chunk(start, start + 1))
            stand.broker.gate.set()
            await until(lambda: running.committed == 7)
        assert stand.works[0].processed == [[0], [1, 2, 3, 4], [5, 6]]

    async def test_a_chunk_that_leaves_a_hole_is_not_taken_and_the_hole_is_read_again(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            wakes = stand.host.wakes
            await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 2]
            assert stand.host.wakes > wakes
            assert running.has_room()
            await running.accept(chunk(2, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]

    async def test_a_hole_that_retention_made_is_passed_over(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            stand.broker.oldest = 4
            await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 4]
            await running.accept(chunk(4, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 4, 5]

    async def test_while_the_broker_does_not_say_what_expired_the_hole_is_read_again(self, stand, monkeypatch):
        async def bounds(_tp: TopicPartition) -> tuple[int, int]:
            raise KafkaConnectionError

        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            with monkeypatch.context() as away:
                away.setattr(stand.host, "bounds", bounds)
                await running.accept(chunk(4, 6))
            assert stand.host.seeks == [0, 2]
            await running.accept(chunk(2, 6))
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]

    async def test_what_was_dropped_on_its_way_is_read_again_although_nothing_else_comes(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            stand.host.fetched = 6
            # While it seeks it takes nothing.
            await until(lambda: stand.host.seeks == [0, 2] and running.has_room())
            stand.host.fetched = 2
            await running.accept(chunk(2, 6))
            stand.host.fetched = 6
            await until(lambda: running.committed == 6)
        assert stand.offsets_of_the_last_work() == [0, 1, 2, 3, 4, 5]
        assert stand.host.seeks == [0, 2]

    async def test_a_chunk_without_records_moves_the_offset_when_nothing_else_comes(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await running.accept(Chunk(1, 5, []))
            await until(lambda: running.committed == 5)
            await running.accept(Chunk(5, 7, []))
            await until(lambda: running.committed == 7)
        assert stand.broker.committed == 7
        assert stand.offsets_of_the_last_work() == [0]

    async def test_nothing_is_taken_before_it_runs_and_while_it_seeks(self, stand):
        running = stand.partition()
        await running.accept(chunk(0, 1))
        assert not running.has_room()
        async with stand.running():
            assert stand.works[0].processed == []


class TestWhatIsDue:
    async def test_is_written_in_a_transaction_of_its_own_when_no_record_comes(self, stand):
        async with stand.running() as partition:
            await partition.accept(chunk(0, 2))
            await until(lambda: partition.committed == 2)
            partition.work.due = [b"b", b"a"]
            await until(lambda: not partition.work.due)
            await until(lambda: partition.work.rows.get(b"b") == b"due")
        assert stand.broker.committed == 2
        assert [each[0] for each in stand.broker.changelog if each and each[1] == b"due"] == [b"a", b"b"]

    async def test_there_is_a_moment_to_punctuate_after_each_chunk(self, stand):
        async with stand.running() as partition:
            looks = len(partition.work.looks)
            await partition.accept(chunk(0, 2))
            await until(lambda: partition.committed == 2)
            await until(lambda: len(partition.work.looks) > looks)
        assert partition.work.looks[-1] is False


class TestRoom:
    async def test_the_queue_is_bounded_and_there_is_room_again_when_some_is_done(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            assert running.has_room()
            await running.accept(chunk(1, 9))
            assert not running.has_room()
            wakes = stand.host.wakes
            stand.broker.gate.set()
            await until(running.has_room)
            assert stand.host.wakes > wakes
            await until(lambda: running.committed == 9)


class TestClosing:
    async def test_the_transaction_in_hand_is_finished_and_the_rest_is_left_to_the_next_owner(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(stand.broker.waiting.is_set)
            await running.accept(chunk(2, 9))
            running.close()
            await running.accept(chunk(9, 10))
            assert not running.has_room()
            stand.broker.gate.set()
        assert stand.broker.committed == 2
        assert stand.works[0].rows == rows(0, 1)
        assert stand.suspended is stand.works[0]
        assert stand.suspended.position == 2

    async def test_work_on_disk_is_closed_with_its_partition_for_who_opens_it_next(self, stand, monkeypatch):
        monkeypatch.setattr(Work, "is_durable", True)
        async with stand.running():
            pass
        assert stand.suspended is None
        assert stand.works[0].closed

    async def test_closed_while_it_waits_to_try_again_it_ends_without_work(self, stand, monkeypatch):
        monkeypatch.setattr(partition, "_RETRY_SECONDS", (3_600,))
        stand.broker.failures["start"] = [KafkaConnectionError()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: stand.reopened() == 1)
        running.close()
        assert await asyncio.wait_for(task, 120) is None

    async def test_closed_before_it_ran_it_opens_nothing(self, stand):
        running = stand.partition()
        running.close()
        assert await stand.outcome(running) is None
        assert stand.broker.producers == []

    async def test_closed_while_it_recovers_what_it_has_read_is_not_lost(self, stand):
        stand.broker.changelog = [*rows(*range(10)).items()]
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.recovered > 0)
        running.close()
        suspended = await task
        assert suspended.position == len(suspended.rows) < 10
        async with stand.running(suspended):
            assert suspended.rows == rows(*range(10))
        assert len(stand.broker.recovered) == 10


class TestAPartitionThatCommitsApart:
    async def test_takes_part_in_rounds_again_by_being_opened_anew_with_the_work_that_it_has(self, stand):
        stand.broker.failures["send"] = [KafkaTimeoutError()]
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            [apart] = [each for each in stand.broker.producers if each.transactional_id != ROUNDS]
            assert apart.calls[-1] == "commit"
            stand.host.seconds += 60
            await until(lambda: apart.calls[-1] == "stop" and running.state is PartitionState.RUNNING)
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        assert stand.works[-1].rows == rows(0, 1, 2, 3)
        assert len(stand.works) == 2
        assert stand.reopened() == 1
        assert stand.broker.recovered == []

    async def test_leaves_nothing_open_when_it_is_closed(self, stand):
        stand.broker.failures["send"] = [KafkaTimeoutError()]
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
        [apart] = [each for each in stand.broker.producers if each.transactional_id != ROUNDS]
        assert apart.calls == ["start", "stop"]


class TestFailures:
    @pytest.mark.parametrize("error", MEMBERSHIP_OVER, ids=lambda error: error.__name__)
    async def test_one_whose_membership_is_over_rests_until_the_group_takes_it_back(self, stand, error):
        with capture_logs() as told:
            async with stand.running() as running:
                await running.accept(chunk(0, 2))
                await until(lambda: running.committed == 2)
                stand.broker.failures["offsets"] = [error()]
                await running.accept(chunk(2, 4))
                await until(lambda: running.state is PartitionState.RECOVERING)
                assert stand.broker.producers[0].calls[-1] == "stop"
                assert stand.works[0].closed
                await running.accept(chunk(4, 6))
                assert not running.has_room()
        assert stand.suspended is None
        assert stand.broker.committed == 2
        assert stand.broker.changelog == [*rows(0, 1).items(), None]
        assert [each["error"] for each in told if each["event"] == "membership_over"] == [error.__name__]

    @pytest.mark.parametrize("call", ["begin", "send", "offsets", "commit"])
    @pytest.mark.parametrize("error", PASSING, ids=lambda error: error.__name__)
    async def test_when_the_broker_is_away_its_state_is_dropped_and_recovered(self, stand, call, error):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            stand.broker.failures[call] = [error()]
            await running.accept(chunk(2, 4))
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
            assert stand.reopened() == 1
            assert stand.works[0].shown == 0, "what was dropped is out of the gauges"
            assert stand.works[0].closed
            assert stand.works[1].rows == rows(0, 1)
            assert stand.works[1].shown == 2
            assert stand.host.seeks == [0, 2]
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        assert stand.works[1].rows == rows(0, 1, 2, 3)
        assert stand.broker.changelog == [*rows(0, 1).items(), None, *rows(2, 3).items(), None]
        assert stand.suspended is stand.works[1]
        assert stand.suspended.position == 5

    @pytest.mark.parametrize("call", ["start", "read", "committed_offset"])
    async def test_a_broker_that_is_away_when_it_opens_is_waited_for(self, stand, call):
        stand.broker.changelog = [*rows(0).items(), None]
        stand.broker.committed = 1
        stand.broker.failures[call] = [KafkaConnectionError(), KafkaConnectionError(), OSError()]
        async with stand.running() as running:
            assert stand.reopened() == 3
            assert stand.works[-1].rows == rows(0)
            assert running.committed == 1
        assert [work.shown for work in stand.works[:-1]] == [0] * (len(stand.works) - 1)
        assert all(producer.calls[-1] == "stop" for producer in stand.broker.producers[:-1])

    async def test_chunks_that_waited_when_it_failed_are_forgotten_and_read_again(self, stand):
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 1))
            await until(stand.broker.waiting.is_set)
            await running.accept(chunk(1, 9))
            stand.broker.failures["commit"] = [KafkaConnectionError()]
            stand.broker.gate.set()
            await until(lambda: len(stand.works) == 2 and running.state is PartitionState.RUNNING)
            assert stand.reopened() == 1
            assert running.has_room()
            assert stand.host.seeks == [0, 0]
            await running.accept(chunk(0, 9))
            await until(lambda: running.committed == 9)
        assert stand.works[-1].rows == rows(*range(9))

    async def test_suspended_work_is_not_taken_up_again_after_a_failure(self, stand):
        stand.broker.changelog = [*rows(0).items(), None]
        suspended = Work(Partitioning(INPUT.topic, INPUT.partition, Host.partition_counts, Host.cluster))
        stand.broker.failures["committed_offset"] = [KafkaConnectionError()]
        async with stand.running(suspended):
            assert stand.works[-1] is not suspended
            assert stand.works[-1].rows == rows(0)
            assert suspended.shown == 0

    @pytest.mark.parametrize("call", ["begin", "send", "offsets", "commit"])
    @pytest.mark.parametrize("error", GRAVE, ids=lambda error: error.__name__)
    async def test_any_other_error_ends_it_without_another_try(self, stand, call, error):
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.state is PartitionState.RUNNING)
        stand.broker.failures[call] = [error()]
        await running.accept(chunk(0, 2))
        with pytest.raises(error):
            await asyncio.wait_for(task, 120)
        assert stand.broker.producers[0].calls[-1] == "stop"
        assert stand.broker.committed is None

    @pytest.mark.parametrize("when", ["it opens", "a hole is read again"])
    async def test_a_fetch_that_has_crashed_is_not_waited_for(self, stand, monkeypatch, when):
        """Nobody answers to a seek once Faust's thread has gone."""
        stand.host.settings = replace(stand.host.settings, commit_timeout=0.05)
        sought = asyncio.Event()

        async def seek(*_: Any) -> None:
            sought.set()
            await asyncio.Event().wait()

        if when == "it opens":
            monkeypatch.setattr(stand.host, "seek", seek)
            running = stand.partition()
            task = asyncio.ensure_future(running.run())
            await sought.wait()
            await until(stand.reopened)
            running.close()
            await asyncio.wait_for(task, 60)
        else:
            async with stand.running() as running:
                monkeypatch.setattr(stand.host, "seek", seek)
                with pytest.raises(asyncio.TimeoutError):
                    await running.accept(chunk(5, 7))

    async def test_cancelled_it_lets_go_of_its_work(self, stand):
        running = stand.partition()
        task = asyncio.ensure_future(running.run())
        await until(lambda: running.state is PartitionState.RUNNING)
        assert await end([task]) == set()
        assert task.cancelled()
        assert stand.works[0].closed

    async def test_a_transaction_that_takes_too_long_is_given_up_and_done_again(self, stand, monkeypatch):
        settings = Settings(app_id="app", topic_prefix="t.", commit_timeout=1.0)
        monkeypatch.setattr(stand.host.rounds, "_settings", settings)
        stand.broker.gate.clear()
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: stand.reopened() == 1)
            stand.broker.gate.set()
            await until(lambda: running.state is PartitionState.RUNNING)
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        assert stand.broker.changelog == [*rows(0, 1).items(), None]
