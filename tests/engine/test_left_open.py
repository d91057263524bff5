"""What predecessors left open when a partition opens: it is waited for and told, and ended where they do not end it."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, ProducerFenced, TopicAuthorizationFailedError
from structlog.testing import capture_logs

from processor.engine import left_open
from processor.engine.partition import Partition, PartitionState
from tests.engine.partition_stand import CHANGELOG, FIRST, INPUT, TWO_CHUNKS, Stand, chunk, rows, stand, until

__all__ = ["stand"]


class TestATransactionOfAnotherId:
    """Of a worker that has died, or stands still: no abort of ours ends it."""

    STRANGER = "app-worker-elsewhere"

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.holder = self.STRANGER
        stand.broker.changelog = [*TWO_CHUNKS]
        stand.broker.committed, stand.broker.metadata = 2, FIRST
        return stand

    @pytest.mark.parametrize("what", ["rows", "offset", "both"])
    async def test_is_ended_by_its_name_before_anything_is_read(self, stand, what):
        stand.broker.stable = None if what == "offset" else 3
        stand.broker.is_unstable = what != "rows"
        with capture_logs() as lines:
            async with stand.running() as running:
                assert running.committed == 2
                await running.accept(chunk(2, 4))
                await until(lambda: running.committed == 4)
        ours, *others = stand.broker.producers
        assert {producer.transactional_id for producer in others} == {self.STRANGER}
        for producer in others:
            assert producer.calls == ["start", "begin", "offsets", f"join {CHANGELOG.topic}", "abort", "stop"]
        assert "commit" in ours.calls
        [told] = [line for line in lines if line["event"] == "predecessor_ended"]
        assert told["transactional_id"] == self.STRANGER
        assert stand.works[0].rows == rows(0, 1, 2, 3)

    async def test_is_left_by_whoever_the_group_knows_no_more(self, stand):
        """Its rows may be those of the next owner, who has taken them for true."""
        stand.broker.stable = 3
        stand.broker.failures["offsets"] = [IllegalGenerationError()]
        opening = stand.partition()
        task = asyncio.ensure_future(opening.run())
        await until(lambda: [each.calls[-1:] for each in stand.broker.producers[1:]] == [["stop"]])
        opening.close()
        await asyncio.wait_for(task, 120)
        assert stand.broker.producers[1].calls == ["start", "begin", "offsets", "stop"]
        assert stand.broker.stable == 3

    async def test_that_another_worker_ends_as_well_is_looked_at_again(self, stand):
        """Whoever of the two begins last fences the other."""
        stand.broker.is_unstable = True
        opening = stand.partition()
        make, fenced = stand.host.rounds._make_producer, ProducerFenced()

        def made(transactional_id: str) -> Any:
            producer = make(transactional_id)
            if transactional_id == self.STRANGER and len(stand.broker.producers) == 2:
                stand.broker.failures["begin"] = [fenced]
            return producer

        stand.host.rounds._make_producer = made
        task = asyncio.ensure_future(opening.run())
        await until(lambda: opening.state is PartitionState.RUNNING or task.done())
        assert len(stand.broker.producers) == 3
        opening.close()
        await asyncio.wait_for(task, 120)
        assert stand.reopened() == 0

    async def test_is_left_alone_while_each_look_finds_another(self, stand):
        """Rounds of a worker that lives may be in the group's offsets at any look."""
        stand.broker.is_unstable = True
        opening = stand.partition()
        holders, looks = stand.host.holders, 0

        async def look(tp: TopicPartition | None) -> Any:
            nonlocal looks
            looks, stand.host.round = looks + 1, stand.host.round + 1
            return await holders(tp)

        stand.host.holders = look
        task = asyncio.ensure_future(opening.run())
        await until(lambda: looks > 5)
        assert len(stand.broker.producers) == 1
        stand.broker.is_unstable = False
        await until(lambda: opening.state is PartitionState.RUNNING)
        opening.close()
        await asyncio.wait_for(task, 120)

    @pytest.mark.parametrize("error", [TopicAuthorizationFailedError(), NotImplementedError()])
    async def test_is_waited_for_where_brokers_do_not_tell_whose_it_is(self, stand, error):
        stand.broker.is_unstable, stand.broker.failures = True, {"holders": [error] * 10**6}
        opening = stand.partition()
        task = asyncio.ensure_future(opening.run())
        await until(lambda: len(stand.broker.failures["holders"]) < 10**6 - 2)
        assert opening.state is PartitionState.RECOVERING
        stand.broker.is_unstable = False
        await until(lambda: opening.state is PartitionState.RUNNING)
        assert stand.reopened() == 0
        opening.close()
        await asyncio.wait_for(task, 120)


class TestATransactionThatDoesNotEnd:
    """Its producer id is no longer that of the transactional id, so no abort of ours ends it (ADR 0013)."""

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.changelog, stand.broker.stable, stand.broker.forgets = [*rows(0, 1, 2).items()], 2, 10**9
        return stand

    async def _opening(self, stand: Stand) -> tuple[Partition, "asyncio.Task[Any]"]:
        opening = stand.partition()
        return opening, asyncio.ensure_future(opening.run())

    async def test_is_told_with_its_place_and_its_mend_and_shows_while_it_lasts(self, stand, monkeypatch):
        monkeypatch.setattr(left_open, "_HANGING_SECONDS", 0.0)
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: opening.problem)
            assert opening.state is PartitionState.RECOVERING
            place = f"{CHANGELOG.topic}[{CHANGELOG.partition}] has not ended at offset 2"
            assert place in opening.problem
            assert "docs/runbooks/DeliveryRecoveryTooLong.md" in opening.problem
            # An operator ends it.
            stand.broker.forgets = 0
            await until(lambda: opening.state is PartitionState.RUNNING)
        assert opening.problem == ""
        [warning] = [line for line in lines if line["log_level"] == "warning"]
        assert warning["event"] == "transaction_hangs"
        told = warning["topic"], warning["partition"], warning["stable_offset"], warning["seconds"]
        assert told == (*CHANGELOG, 2, 0)
        opening.close()
        await asyncio.wait_for(task, 120)

    async def test_of_which_only_the_offset_knows_is_told_with_whose_offset_it_is(self, stand, monkeypatch):
        monkeypatch.setattr(left_open, "_HANGING_SECONDS", 0.0)
        stand.broker.stable, stand.broker.is_unstable = None, True
        opening, task = await self._opening(stand)
        await until(lambda: opening.problem)
        assert f"commits the offset of {INPUT.topic}[{INPUT.partition}] has not ended" in opening.problem
        opening.close()
        await asyncio.wait_for(task, 120)

    async def test_is_told_again_as_long_as_it_lasts(self, stand, monkeypatch):
        monkeypatch.setattr(left_open, "_HANGING_SECONDS", 0.0)
        monkeypatch.setattr(left_open, "_TOLD_EVERY", 0.0)
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: sum(line["log_level"] == "warning" for line in lines) > 2)
        opening.close()
        await asyncio.wait_for(task, 120)
        assert opening.problem == ""

    async def test_is_no_news_while_an_abort_may_still_end_it(self, stand):
        opening, task = await self._opening(stand)
        with capture_logs() as lines:
            await until(lambda: stand.broker.producers and stand.broker.producers[0].calls.count("abort") > 2)
            assert opening.problem == ""
        opening.close()
        await asyncio.wait_for(task, 120)
        told = [line["event"] for line in lines if line["event"].startswith(("open_", "transaction_"))]
        assert set(told) == {"open_transaction_found", "open_transaction_aborted"}
