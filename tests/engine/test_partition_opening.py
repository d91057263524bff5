"""How a partition opens: what it recovers, what it waits for, and what of others it ends first."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, ProducerFenced, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from processor.engine import recovery
from processor.engine.chunks import Chunk
from processor.engine.commit import Begin
from processor.engine.partition import Partition, PartitionState
from processor.engine.pin import Pin
from processor.engine.proof import Proof
from processor.engine.recovery import Left, goes_on
from processor.engine.stage import Partitioning
from tests.engine.partition_stand import CHANGELOG, INPUT, Host, Reader, Stand, Work, chunk, rows, stand, until

__all__ = ["stand"]


class TestOpening:
    async def test_state_is_what_the_changelog_holds_and_reading_goes_on_at_the_committed_offset(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, (b"k0", None), None]
        stand.broker.committed = 7
        async with stand.running() as running:
            assert stand.works[0].rows == {b"k0": None, b"k1": b"v1"}
            assert running.committed == 7
            assert stand.host.seeks == [7]
            assert running.recovered == running.to_recover == 5

    async def test_it_tells_how_far_its_topics_had_come_while_it_runs(self, stand):
        stand.broker.changelog, stand.broker.committed = [*rows(0, 1).items(), None], 7
        assert list(stand.partition().reached()) == []
        async with stand.running() as running:
            assert dict(running.reached()) == {INPUT: 7, CHANGELOG: 2}

    async def test_without_a_committed_offset_it_reads_from_the_oldest_record(self, stand):
        stand.broker.oldest = 40
        async with stand.running() as running:
            assert (running.committed, stand.host.seeks) == (40, [40])

    async def test_records_that_expired_unread_are_passed_over(self, stand):
        stand.broker.oldest, stand.broker.committed = 40, 7
        async with stand.running() as running:
            assert running.committed == 40

    async def test_an_offset_beyond_the_end_is_that_of_a_topic_that_has_gone_and_the_new_one_is_read_whole(self, stand):
        stand.broker.committed = 1_001
        async with stand.running() as running:
            assert stand.host.seeks == [0]
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        assert stand.broker.changelog[0] == (b"k0", b"v0")

    async def test_it_fences_before_it_reads_where_it_stands(self, stand):
        seen = []
        committed_offset = stand.host.committed_offset

        async def spy(tp: TopicPartition, pin: Pin) -> int | None:
            seen.extend(stand.broker.producers[0].calls)
            return await committed_offset(tp, pin)

        stand.host.committed_offset = spy
        async with stand.running():
            assert seen == ["start"]

    async def test_suspended_work_taken_up_again_only_reads_what_others_wrote(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 3))
            await until(lambda: running.committed == 3)
        suspended = stand.suspended
        assert stand.broker.recovered == []
        # Another owner folded three more.
        stand.broker.changelog += [*rows(3, 4, 5).items(), None]
        stand.broker.committed = 6
        async with stand.running(suspended) as running:
            assert stand.works == [suspended]
            assert suspended.rows == rows(0, 1, 2, 3, 4, 5)
            assert suspended.shown == 6
            assert running.committed == 6
        assert stand.broker.recovered == [*rows(3, 4, 5).items()]


OFFSET = OffsetAndMetadata(7, "changelog=9 from=3")
LEFT = Left(Begin(7, Proof(9, 3), OFFSET), Pin(4, "member"), since=0.0)


@pytest.mark.parametrize(
    ("what", "left", "pin", "offset", "decided"),
    [
        ("it is the same member's in the next generation", LEFT, Pin(5, "member"), OFFSET, True),
        ("nothing has ever been committed", Left(Begin(0, None, None), *LEFT[1:]), Pin(5, "member"), None, True),
        ("it was not left in good order", None, Pin(5, "member"), OFFSET, False),
        ("a generation in between may have been another's", LEFT, Pin(6, "member"), OFFSET, False),
        ("the generation is the same, so it was not assigned anew", LEFT, Pin(4, "member"), OFFSET, False),
        ("the member was thrown out, and is another", LEFT, Pin(5, "other"), OFFSET, False),
        ("an operator has moved the offset", LEFT, Pin(5, "member"), OffsetAndMetadata(6, ""), False),
        ("the proof is not the one that was committed", LEFT, Pin(5, "member"), OffsetAndMetadata(7, ""), False),
        ("an operator has deleted the offset", LEFT, Pin(5, "member"), None, False),
        ("somebody has committed the first", Left(Begin(0, None, None), *LEFT[1:]), Pin(5, "member"), OFFSET, False),
    ],
)
def test_whether_a_partition_goes_on_where_it_was_left(what, left, pin, offset, decided):
    assert goes_on(left, pin, offset) is decided, what


class TestAPartitionThatStays:
    """A rebalance takes everything away; what the same member has in the very next generation nobody else had."""

    async def after_a_chunk(self, stand: Stand) -> None:
        async with stand.running() as running:
            await running.accept(chunk(0, 3))
            await until(lambda: running.committed == 3)

    async def test_goes_on_at_once_and_asks_for_nothing_but_its_offset(self, stand):
        await self.after_a_chunk(stand)
        stand.rebalance()
        async with stand.running(stand.suspended, stand.left) as running:
            assert stand.broker.questions == ["committed offset"]
            assert (running.committed, stand.host.seeks[-1]) == (3, 3)
            assert stand.works[-1].shown == 3
            await running.accept(chunk(3, 5))
            await until(lambda: running.committed == 5)
        assert stand.broker.recovered == []
        assert stand.works[0].rows == rows(0, 1, 2, 3, 4)
        # What it commits from then on proves what it does without a rebalance.
        assert stand.broker.metadata == "changelog=6 from=3 after=3"

    async def test_is_the_same_after_rebalances_one_upon_the_other(self, stand):
        await self.after_a_chunk(stand)
        for _ in range(3):
            stand.rebalance()
            async with stand.running(stand.suspended, stand.left):
                assert stand.broker.questions == ["committed offset"]

    async def test_is_opened_where_another_may_have_had_it_in_between(self, stand):
        await self.after_a_chunk(stand)
        stand.rebalance(2)
        stand.broker.changelog += [*rows(3, 4).items(), None]
        async with stand.running(stand.suspended, stand.left) as running:
            assert running.work.rows == rows(0, 1, 2, 3, 4)

    async def test_is_opened_where_its_offset_waits_for_a_transaction(self, stand):
        await self.after_a_chunk(stand)
        stand.rebalance()
        stand.broker.is_unstable = True
        async with stand.running(stand.suspended, stand.left):
            assert f"bounds of {CHANGELOG.topic}" in stand.broker.questions
        assert not stand.broker.is_unstable

    async def test_has_been_left_by_nobody_who_closed_it_before_it_was_open(self, stand):
        stand.broker.is_unstable, stand.broker.holder = True, "app-worker-2"
        closed = stand.partition()
        task = asyncio.ensure_future(closed.run())
        await until(lambda: stand.broker.questions)
        closed.close()
        await task
        assert closed.left is None

    async def test_that_commits_apart_is_opened_for_what_its_own_producer_may_have_left(self, stand, monkeypatch):
        monkeypatch.setattr(stand.host.rounds, "is_apart", lambda tp: tp == INPUT)
        await self.after_a_chunk(stand)
        assert stand.left is None

    async def test_runs_since_it_was_opened_for_who_judges_what_hangs(self, stand):
        """What came after the opening and hangs is the owner's to end (lost_markers.py), whatever rebalances came."""
        await self.after_a_chunk(stand)
        stand.rebalance()
        stand.host.seconds += 100
        async with stand.running(stand.suspended, stand.left) as running:
            [(_, owned)] = running.owned()
            assert owned.since == 0


class TestForgottenMarkers:
    """A broker that died between a commit and its markers (ADR 0013)."""

    #: Rows 0 and 1 with their marker, and rows 2 and 3 behind it.
    TWO_CHUNKS = (*rows(0, 1).items(), None, *rows(2, 3).items())
    FIRST, SECOND = "changelog=2 from=0", "changelog=5 from=2 after=2"

    async def test_each_offset_says_what_was_written_with_it_and_from_where(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            assert stand.broker.metadata == self.FIRST
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
            assert stand.broker.metadata == self.SECOND

    async def test_an_offset_that_nothing_was_written_with_goes_on_proving_what_was(self, stand):
        stand.broker.changelog, stand.broker.committed = [*self.TWO_CHUNKS, None], 4
        stand.broker.metadata = self.SECOND
        async with stand.running() as running:
            await running.accept(Chunk(4, 6, []))
            await until(lambda: stand.broker.committed == 6)
        assert stand.broker.metadata == self.SECOND

    async def test_neither_rows_nor_offset_were_told_the_chunk_is_done_again(self, stand):
        stand.broker.changelog, stand.broker.stable = [*self.TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        # What hung is aborted before anything is read, so that no later commit makes it true beside its repetition.
        assert stand.broker.changelog == [*rows(0, 1).items(), *[None] * 4, *rows(2, 3).items(), None]
        joined = f"join {CHANGELOG.topic}"
        assert stand.broker.producers[0].calls[:5] == ["start", "begin", "offsets", joined, "abort"]

    async def test_what_hangs_is_aborted_until_the_changelog_was_told_so(self, stand):
        """A broker may die and forget the end of the abort, too: then the first chunk would make true what hangs."""
        stand.broker.changelog, stand.broker.stable, stand.broker.forgets = [*self.TWO_CHUNKS], 3, 2
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))
            assert stand.broker.stable is None
        assert stand.broker.producers[0].calls.count("abort") == 3

    async def test_only_the_rows_were_told_the_offset_is_decided_before_it_counts(self, stand):
        """What waits for its marker would be made true, or not, by the next transaction of its producer."""
        stand.broker.changelog, stand.broker.is_unstable = [*self.TWO_CHUNKS, None], True
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1, 2, 3))
            assert not stand.broker.is_unstable
        assert stand.broker.producers[0].calls.count("abort") == 1

    async def test_who_is_closed_while_the_offset_is_undecided_forgets_nothing(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        stand.broker.is_unstable, stand.broker.forgets = True, 10**9
        closed = stand.partition()
        task = asyncio.ensure_future(closed.run(stand.suspended))
        await until(lambda: stand.broker.producers[-1].calls.count("abort") > 1)
        closed.close()
        assert (await asyncio.wait_for(task, 120)).rows == rows(0, 1)

    async def test_only_the_offset_was_told_its_chunk_is_done_again(self, stand):
        stand.broker.changelog, stand.broker.stable = [*self.TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 4, self.SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_only_the_offset_was_told_and_the_rows_have_been_aborted_since(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 4, self.SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    @pytest.mark.parametrize("oldest", [0, 1])
    async def test_two_in_a_row_have_been_aborted_all_that_is_there_is_done_again(self, stand, oldest):
        """Two crashes, each of which left out the marker of the same changelog; the abort that ended both is there."""
        stand.broker.changelog = [None] * 7
        stand.broker.committed, stand.broker.metadata, stand.broker.oldest = 4, self.SECOND, oldest
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (oldest, {})
            await running.accept(chunk(oldest, 4))
            await until(lambda: running.committed == 4)
            assert stand.works[0].rows == rows(*range(oldest, 4))

    async def test_of_two_in_a_row_only_the_second_has_been_aborted_only_its_chunk_is_done_again(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 4, self.SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_an_offset_that_an_older_version_committed_tells_of_its_own_transaction_only(self, stand):
        stand.broker.changelog = [None] * 7
        stand.broker.committed, stand.broker.metadata = 4, "changelog=5 from=2"
        async with stand.running() as running:
            assert running.committed == 2

    async def test_work_that_is_ahead_of_the_offset_is_forgotten(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
        # The second chunk was acknowledged, and is not true.
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 2, self.FIRST
        async with stand.running(stand.suspended) as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_who_is_closed_while_it_looks_forgets_nothing(self, stand, monkeypatch):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        # A hung transaction: so it looks whether the last record that was proven is there.
        stand.broker.changelog += [*rows(2).items()]
        stand.broker.stable = 3
        closed = stand.partition()
        start = Reader.start

        async def close_meanwhile(reader):
            closed.close()
            await start(reader)

        monkeypatch.setattr(Reader, "start", close_meanwhile)
        await asyncio.wait_for(closed.run(stand.suspended), 120)
        assert stand.suspended.rows == rows(0, 1)

    async def test_the_very_first_chunk_may_be_the_one_that_is_forgotten(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
        stand.broker.stable, stand.broker.committed = 0, None
        async with stand.running(stand.suspended) as running:
            assert (running.committed, stand.works[0].rows) == (0, {})

    async def test_an_offset_that_somebody_else_set_proves_nothing_and_is_taken(self, stand):
        stand.broker.changelog, stand.broker.committed = [*self.TWO_CHUNKS, None], 3
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (3, rows(0, 1, 2, 3))


class TestAChangelogThatEndsTooEarly:
    """A broker that led it, stood still and was replaced tells its former end; or it has lost records (ADR 0025)."""

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.changelog = [*rows(0, 1).items(), None]
        stand.broker.committed, stand.broker.metadata = 4, TestForgottenMarkers.SECOND
        return stand

    @pytest.mark.parametrize("is_resumed", [False, True])
    async def test_is_asked_for_again_until_it_has_what_the_offset_proves(self, stand, is_resumed):
        suspended = None
        if is_resumed:
            suspended = Work(Partitioning(INPUT.topic, INPUT.partition, Host.partition_counts, Host.cluster))
            suspended.rows, suspended.position = rows(0, 1, 2, 3), 5
        running = stand.partition()
        with capture_logs() as told:
            task = asyncio.ensure_future(running.run(suspended))
            await until(lambda: stand.reopened() > 1)
            assert running.state is PartitionState.RECOVERING
            stand.broker.changelog = [*TestForgottenMarkers.TWO_CHUNKS, None]
            await until(lambda: running.state is PartitionState.RUNNING)
            running.close()
            await asyncio.wait({task})
        assert running.committed == 4
        assert stand.works[-1].rows == rows(0, 1, 2, 3)
        assert "transaction_lost" not in [each["event"] for each in told]

    async def test_counts_as_one_that_has_lost_records_when_it_stays_so(self, stand, monkeypatch):
        monkeypatch.setattr(recovery, "_FORMER_LEADER_SECONDS", 0.0)
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))


class TestATransactionOfAnotherId:
    """Of a worker that has died, or stands still: no abort of ours ends it."""

    STRANGER = "app-worker-elsewhere"

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.holder = self.STRANGER
        stand.broker.changelog = [*TestForgottenMarkers.TWO_CHUNKS]
        stand.broker.committed, stand.broker.metadata = 2, TestForgottenMarkers.FIRST
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
        monkeypatch.setattr(recovery, "_HANGING_SECONDS", 0.0)
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
        monkeypatch.setattr(recovery, "_HANGING_SECONDS", 0.0)
        stand.broker.stable, stand.broker.is_unstable = None, True
        opening, task = await self._opening(stand)
        await until(lambda: opening.problem)
        assert f"commits the offset of {INPUT.topic}[{INPUT.partition}] has not ended" in opening.problem
        opening.close()
        await asyncio.wait_for(task, 120)

    async def test_is_told_again_as_long_as_it_lasts(self, stand, monkeypatch):
        monkeypatch.setattr(recovery, "_HANGING_SECONDS", 0.0)
        monkeypatch.setattr(recovery, "_TOLD_EVERY", 0.0)
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
