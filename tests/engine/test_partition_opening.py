"""How a partition opens: what it recovers, and where it goes on; what it ends first: see test_left_open.py."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from processor.engine import recovery
from processor.engine.chunks import Chunk
from processor.engine.commit import Begin
from processor.engine.partition import PartitionState
from processor.engine.pin import Pin
from processor.engine.proof import Proof
from processor.engine.recovery import Left, goes_on
from processor.engine.stage import Partitioning
from tests.engine.partition_stand import (
    CHANGELOG,
    FIRST,
    INPUT,
    SECOND,
    TWO_CHUNKS,
    Host,
    Reader,
    Stand,
    Work,
    chunk,
    rows,
    stand,
    until,
)

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

    async def test_each_offset_says_what_was_written_with_it_and_from_where(self, stand):
        async with stand.running() as running:
            await running.accept(chunk(0, 2))
            await until(lambda: running.committed == 2)
            assert stand.broker.metadata == FIRST
            await running.accept(chunk(2, 4))
            await until(lambda: running.committed == 4)
            assert stand.broker.metadata == SECOND

    async def test_an_offset_that_nothing_was_written_with_goes_on_proving_what_was(self, stand):
        stand.broker.changelog, stand.broker.committed = [*TWO_CHUNKS, None], 4
        stand.broker.metadata = SECOND
        async with stand.running() as running:
            await running.accept(Chunk(4, 6, []))
            await until(lambda: stand.broker.committed == 6)
        assert stand.broker.metadata == SECOND

    async def test_neither_rows_nor_offset_were_told_the_chunk_is_done_again(self, stand):
        stand.broker.changelog, stand.broker.stable = [*TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 2, FIRST
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
        stand.broker.changelog, stand.broker.stable, stand.broker.forgets = [*TWO_CHUNKS], 3, 2
        stand.broker.committed, stand.broker.metadata = 2, FIRST
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))
            assert stand.broker.stable is None
        assert stand.broker.producers[0].calls.count("abort") == 3

    async def test_only_the_rows_were_told_the_offset_is_decided_before_it_counts(self, stand):
        """What waits for its marker would be made true, or not, by the next transaction of its producer."""
        stand.broker.changelog, stand.broker.is_unstable = [*TWO_CHUNKS, None], True
        stand.broker.committed, stand.broker.metadata = 2, FIRST
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
        stand.broker.changelog, stand.broker.stable = [*TWO_CHUNKS], 3
        stand.broker.committed, stand.broker.metadata = 4, SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    async def test_only_the_offset_was_told_and_the_rows_have_been_aborted_since(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 4, SECOND
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (2, rows(0, 1))

    @pytest.mark.parametrize("oldest", [0, 1])
    async def test_two_in_a_row_have_been_aborted_all_that_is_there_is_done_again(self, stand, oldest):
        """Two crashes, each of which left out the marker of the same changelog; the abort that ended both is there."""
        stand.broker.changelog = [None] * 7
        stand.broker.committed, stand.broker.metadata, stand.broker.oldest = 4, SECOND, oldest
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (oldest, {})
            await running.accept(chunk(oldest, 4))
            await until(lambda: running.committed == 4)
            assert stand.works[0].rows == rows(*range(oldest, 4))

    async def test_of_two_in_a_row_only_the_second_has_been_aborted_only_its_chunk_is_done_again(self, stand):
        stand.broker.changelog = [*rows(0, 1).items(), None, None, None, None, None]
        stand.broker.committed, stand.broker.metadata = 4, SECOND
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
        stand.broker.committed, stand.broker.metadata = 2, FIRST
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
        stand.broker.changelog, stand.broker.committed = [*TWO_CHUNKS, None], 3
        async with stand.running() as running:
            assert (running.committed, stand.works[0].rows) == (3, rows(0, 1, 2, 3))


class TestAChangelogThatEndsTooEarly:
    """A broker that led it, stood still and was replaced tells its former end; or it has lost records (ADR 0025)."""

    @pytest.fixture
    def stand(self, stand) -> Stand:
        stand.broker.changelog = [*rows(0, 1).items(), None]
        stand.broker.committed, stand.broker.metadata = 4, SECOND
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
            stand.broker.changelog = [*TWO_CHUNKS, None]
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
