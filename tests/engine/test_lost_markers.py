"""Records of outputs whose transactions are over, without a broker: which are ended, by whose name, and when."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from structlog.testing import capture_logs

from processor.engine.lost_markers import LostMarkers, Owned, outputs_without_changelogs
from processor.engine.pin import Pin, PinnedGroup
from processor.engine.predecessors import Transaction, Undecided
from processor.engine.stage import Stage
from processor.metrics import Metrics
from processor.settings import Settings
from processor.wire.topics import CONTROL, CORRELATIONS, COUNTS, DEAD, EVENTS, MESSAGES

PLACE, OTHER = TopicPartition("t.events.v1", 3), TopicPartition("t.dead.v1", 0)
RECORDS = Undecided(PLACE, 7, 100)

INPUT, CHANGELOG = TopicPartition("t.events.v1", 0), TopicPartition("t.messages.v1", 0)
ROWS = Undecided(CHANGELOG, 7, 5)
GROUP = PinnedGroup("app", Pin(7, "member"))
OWNED = Owned(INPUT, GROUP, since=5.0)


class Stand:
    """The brokers, and the rounds that end transactions."""

    def __init__(self) -> None:
        self.undecided_now: set[Undecided] = {RECORDS}
        self.known = [Transaction("app-worker-1", 7, "CompleteCommit")]
        self.committed: list[tuple[str, list[TopicPartition]]] = []
        self.aborted: list[tuple[str, PinnedGroup, list[TopicPartition], TopicPartition]] = []
        self.error: Exception | None = None
        self.seconds = 0.0
        self.metrics = Metrics(["fold"])
        self.ending = asyncio.Lock()
        rounds: Any = SimpleNamespace(
            ending=self.ending,
            commit_in=self._commit_in,
            end_transactions=self._abort_in,
            is_own="app-worker-1".__eq__,
        )
        self.markers = LostMarkers(Settings(app_id="app"), self.metrics, self, rounds, lambda: self.seconds)

    async def undecided(self, tps: Collection[TopicPartition]) -> frozenset[Undecided]:
        return frozenset(each for each in self.undecided_now if each.tp in tps)

    async def transactions(self, producer_ids: Collection[int]) -> Sequence[Transaction]:
        return [each for each in self.known if each.producer_id in producer_ids]

    async def _commit_in(self, transactional_id: str, places: Sequence[TopicPartition]) -> None:
        assert self.ending.locked(), "two that end transactions at once fence one another"
        self.committed.append((transactional_id, list(places)))
        if self.error is not None:
            raise self.error

    async def _abort_in(
        self, transactional_id: str, group: PinnedGroup, places: Sequence[TopicPartition], tp: TopicPartition
    ) -> None:
        assert self.ending.locked(), "two that end transactions at once fence one another"
        self.aborted.append((transactional_id, group, list(places), tp))

    async def look(
        self,
        *moments: float,
        outputs: Collection[TopicPartition] = (PLACE, OTHER),
        changelogs: Mapping[TopicPartition, Owned] = MappingProxyType({}),
    ) -> list[Any]:
        """Look at some moments; return what is logged."""
        with capture_logs() as lines:
            for self.seconds in moments:
                await self.markers._look(outputs, changelogs)
        return lines

    @property
    def shown(self) -> float | None:
        return self.metrics.registry.get_sample_value("delivery_undecided_partitions")


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_what_stays_undecided_beyond_all_time_limits_is_committed_by_the_id_that_wrote_it(stand):
    [line] = await stand.look(0, 30, 61)
    assert stand.committed == [("app-worker-1", [PLACE])]
    assert (line["event"], line["topic"], line["partition"]) == ("lost_marker_written", *PLACE)
    assert stand.shown == 1
    stand.undecided_now.clear()
    await stand.look(75)
    assert stand.shown == 0


async def test_what_a_transaction_may_still_end_is_left(stand):
    assert await stand.look(0, 30, 59) == []
    stand.known.clear()
    [line] = await stand.look(61)
    assert stand.committed == []
    assert (line["event"], line["producer_id"]) == ("transaction_hangs", 7)
    assert "docs/runbooks/DeliveryRecoveryTooLong.md" in line["mend"]


async def test_what_others_write_in_transactions_of_their_own_is_left_to_them(stand):
    stand.known = [Transaction("publisher", 7, "Ongoing")]
    assert await stand.look(0, 61) == []
    assert (stand.committed, stand.shown) == ([], 0)


async def test_another_transaction_of_the_same_producer_is_another(stand):
    await stand.look(0, 50)
    stand.undecided_now = {RECORDS._replace(first=200)}
    await stand.look(70, 100)
    assert stand.committed == []


async def test_what_one_id_left_in_many_places_is_ended_at_once(stand):
    stand.undecided_now.add(Undecided(OTHER, 7, 5))
    await stand.look(0, 61)
    [(name, places)] = stand.committed
    assert (name, sorted(places)) == ("app-worker-1", [OTHER, PLACE])


async def test_who_has_nothing_to_look_at_forgets_what_it_saw(stand):
    await stand.look(0)
    await stand.look(61, outputs=())
    assert (stand.committed, stand.shown) == ([], 0)


@pytest.mark.parametrize("error", [KafkaConnectionError(), ProducerFenced(), asyncio.TimeoutError()])
async def test_what_could_not_be_ended_is_ended_at_the_next_look(stand, error):
    stand.error = error
    await stand.look(0)
    with pytest.raises(type(error)):
        await stand.look(61)
    stand.error = None
    await stand.look(76)
    assert stand.committed == [("app-worker-1", [PLACE])] * 2


class TestTheChangelogOfAPartitionThatRuns:
    @pytest.fixture
    def stand(self) -> Stand:
        made = Stand()
        made.undecided_now = {ROWS}
        return made

    async def test_what_its_own_rounds_wrote_is_committed_for_it_is_taken_for_true(self, stand):
        await stand.look(10, 80, outputs=(), changelogs={CHANGELOG: OWNED})
        assert (stand.committed, stand.aborted) == ([("app-worker-1", [CHANGELOG])], [])

    async def test_what_others_wrote_came_too_late_and_is_aborted_as_the_member_that_owns_it(self, stand):
        stand.known = [Transaction("app-worker-2", 7, "CompleteCommit")]
        await stand.look(10, 80, outputs=(), changelogs={CHANGELOG: OWNED})
        assert (stand.committed, stand.aborted) == ([], [("app-worker-2", GROUP, [CHANGELOG], INPUT)])

    async def test_what_was_there_before_it_ran_is_its_openings(self, stand):
        changelogs = {CHANGELOG: OWNED._replace(since=40.0)}
        await stand.look(10, 80, 120, outputs=(), changelogs=changelogs)
        assert (stand.committed, stand.aborted) == ([], [])
        stand.undecided_now = {ROWS._replace(first=9)}
        await stand.look(130, 200, outputs=(), changelogs=changelogs)
        assert stand.committed == [("app-worker-1", [CHANGELOG])]

    async def test_is_nobody_elses(self, stand):
        await stand.look(10, 80)
        assert (stand.committed, stand.aborted) == ([], [])


def test_no_place_that_holds_a_state_is_among_the_outputs_that_are_looked_at():
    settings = Settings(topic_prefix="t.")
    made = Stage(
        name="made", inputs=(CONTROL,), outputs=(EVENTS, MESSAGES, COUNTS), start=SimpleNamespace, changelog=MESSAGES
    )
    other = Stage(name="other", inputs=(EVENTS,), outputs=(MESSAGES, CORRELATIONS, DEAD), start=SimpleNamespace)
    counts = {"t.events.v1": 2, "t.messages.v1": 9, "t.counts.v1": 1, "t.correlations.v1": 1, "t.dead.v1": 1}
    assert [tuple(each) for each in outputs_without_changelogs([made, other], settings, counts)] == [
        ("t.correlations.v1", 0),
        ("t.counts.v1", 0),
        ("t.dead.v1", 0),
        ("t.events.v1", 0),
        ("t.events.v1", 1),
    ]
