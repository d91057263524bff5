"""A watchdog without a broker: what it judges by lag, topics and books."""

from types import SimpleNamespace

import pytest

from processor.engine.brokers import Brokers
from processor.engine.partition import PartitionState
from processor.engine.watchdog import StalledError, Watchdog
from tests.engine.fakes import CHANGELOG, EVENTS, Hosting, lag_shown, partition


class Reader:
    def __init__(self, end: int) -> None:
        self.end = end

    async def end_offsets(self, tps):
        return dict.fromkeys(tps, self.end)


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


class Watched:
    """A watchdog, the partitions that it watches, and its clock."""

    def __init__(self) -> None:
        self.now = 10_000.0
        host = Hosting(stall_timeout=60)
        self.assignment, self.metrics = host.assignment, host.metrics
        self.partitions = host.assignment.partitions
        self.brokers = Brokers(host.settings)
        self.committed = self.brokers._reader = Reader(end=15)
        self.all = self.brokers._uncommitted_reader = Reader(end=15)
        #: What the group says of this worker.
        self.membership: bool | None = True
        self.dog = Watchdog(
            host.settings, host.metrics, host.assignment, self.brokers, self.is_member, lambda: self.now
        )

    async def is_member(self) -> bool | None:
        return self.membership

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


@pytest.fixture
def watched() -> Watched:
    return Watched()


class TestLag:
    async def test_ends_the_worker_when_there_is_some_and_nothing_is_committed(self, watched):
        watched.partitions[EVENTS] = partition(committed=10, last_commit=watched.now - 61)
        with pytest.raises(StalledError, match=r"delivery\.events\.v1\[0\] has 5 records to read"):
            await watched.dog._look_at_lag()

    async def test_may_last_for_as_long_as_the_setting_says(self, watched):
        watched.partitions[EVENTS] = partition(committed=10, last_commit=watched.now - 59)
        await watched.dog._look_at_lag()
        assert lag_shown(watched.metrics) == {("delivery.events.v1", "0"): 5}
        assert await watched.dog.lag() == 5

    async def test_of_nothing_is_rest(self, watched):
        watched.committed.end = 10
        watched.partitions[EVENTS] = partition(committed=10, last_commit=watched.now - 3_600)
        await watched.dog._look_at_lag()
        # The clock starts with the first record that waits, not with the last commit.
        watched.committed.end = 11
        await watched.dog._look_at_lag()

    async def test_of_a_partition_that_recovers_or_waits_for_its_broker_is_left_alone(self, watched):
        watched.partitions[EVENTS] = partition(PartitionState.RECOVERING, committed=10, last_commit=watched.now - 3_600)
        await watched.dog._look_at_lag()
        assert lag_shown(watched.metrics) == {}

    async def test_of_partitions_that_have_gone_is_not_shown(self, watched):
        watched.partitions[EVENTS] = partition(last_commit=watched.now)
        await watched.dog._look_at_lag()
        watched.partitions.clear()
        await watched.dog._look_at_lag()
        assert lag_shown(watched.metrics) == {}


class TestMembership:
    @staticmethod
    async def look_for(watched: Watched, seconds: int) -> None:
        for _ in range(0, seconds, 15):
            await watched.dog._look_at_membership()
            watched.now += 15

    async def test_that_a_group_has_not_had_for_too_long_ends_the_worker(self, watched):
        watched.membership = False
        with pytest.raises(StalledError, match="the group has not had this worker for 75 s"):
            await self.look_for(watched, 120)

    @pytest.mark.parametrize("between", [True, None])
    async def test_that_is_there_or_unknown_in_between_counts_anew(self, watched, between):
        for answer in (False, between, False, between):
            watched.membership = answer
            await self.look_for(watched, 60 if answer is False else 15)


class TestTopics:
    GONE, NO_LEADER = -3, -5

    @pytest.fixture
    def watched(self, watched) -> Watched:
        watched.partitions[EVENTS] = partition(reached=lambda: [(EVENTS, 15), (CHANGELOG, 15)])
        return watched

    @staticmethod
    async def look(watched: Watched, **answers: int) -> list[str]:
        watched.brokers._admin = Admin(**answers)
        watched.now += 60
        await watched.dog._look_at_topics({EVENTS.topic: 4, CHANGELOG.topic: 4})
        assert watched.value("delivery_topic_problems") == len(watched.dog.problems)
        return list(watched.dog.problems)

    async def test_that_are_as_they_were_are_no_problem(self, watched):
        assert await self.look(watched, events=4, messages=4) == []

    async def test_that_have_gone(self, watched):
        [problem] = await self.look(watched, events=4, messages=self.GONE)
        assert problem.startswith("topic delivery.messages.v1 has gone")

    @pytest.mark.parametrize("partitions", [3, 5])
    async def test_that_have_another_number_of_partitions(self, watched, partitions):
        [problem] = await self.look(watched, events=partitions, messages=4)
        assert problem.startswith(f"topic delivery.events.v1 has {partitions} partitions, and had 4")

    async def test_of_which_the_broker_says_nothing_now_are_no_problem(self, watched):
        assert await self.look(watched, events=4, messages=self.NO_LEADER) == []

    async def test_that_end_before_what_was_read_or_written(self, watched):
        watched.all.end = 14
        assert await self.look(watched, events=4, messages=4) == [], "a leader that is new may not know its end yet"
        problems = await self.look(watched, events=4, messages=4)
        assert [problem.split(",")[0] for problem in problems] == [
            "topic delivery.events.v1 ends at offset 14 in partition 0",
            "topic delivery.messages.v1 ends at offset 14 in partition 0",
        ]

    async def test_whose_first_transaction_waits_for_its_marker_are_no_problem(self, watched):
        """Committed records end at 0 then, although the transaction has been decided and counted."""
        watched.committed.end = 0
        for _ in range(3):
            assert await self.look(watched, events=4, messages=4) == []

    async def test_whose_new_leader_knew_its_end_a_moment_later_are_no_problem(self, watched):
        for end in (0, 15, 0):
            watched.all.end = end
            assert await self.look(watched, events=4, messages=4) == []

    async def test_that_are_mended_are_no_problem_any_more(self, watched):
        assert await self.look(watched, events=4, messages=self.GONE)
        assert await self.look(watched, events=4, messages=4) == []


class TestStandstill:
    def test_is_none_before_it_has_started_and_while_it_turns(self, watched):
        assert not watched.dog.stands_still
        watched.dog._looked = watched.now
        assert not watched.dog.stands_still

    def test_is_a_look_that_does_not_end(self, watched):
        watched.dog._looked = watched.now - 3_600
        assert watched.dog.stands_still


async def test_books_that_do_not_balance_show_in_a_gauge(watched):
    watched.partitions[EVENTS] = partition(audit=lambda: 3)
    watched.dog._audit()
    assert watched.value("delivery_conservation_error") == 3
