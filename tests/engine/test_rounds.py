"""Rounds without a broker: who takes part in one, what a failed one does to the others, and when producers are new."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, KafkaConnectionError, KafkaTimeoutError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from processor.engine.clock import BrokerClock
from processor.engine.pin import Pin, PinnedGroup
from processor.engine.rounds import Ends, Rounds, Share
from processor.engine.stage import Outbox
from processor.engine.transactions import NewProducerNeededError
from processor.metrics import Metrics
from processor.settings import Settings
from tests.engine.partition_stand import Batch, until

INPUTS = [TopicPartition("events", number) for number in range(4)]
PIN = Pin(7, "member")
ID = "app-worker-1"


class Broker:
    """Takes whole transactions, a log by place."""

    def __init__(self) -> None:
        self.rounds: list[dict[TopicPartition, int]] = []
        self.logs: dict[tuple[str, int], list[Any]] = {}
        #: What calls raise, by their name.
        self.failures: dict[str, list[BaseException]] = {}
        #: A place that answers to nobody.
        self.silent: tuple[str, int] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    def maybe_fail(self, call: str) -> None:
        if self.failures.get(call):
            raise self.failures[call].pop(0)


class Producer:
    def __init__(self, broker: Broker, name: str) -> None:
        self.broker, self.name, self.calls = broker, name, []
        self.client = SimpleNamespace(close=self.stop)
        self.joined: list[TopicPartition] = []
        self._txn_manager = SimpleNamespace(maybe_add_partition_to_txn=self.joined.append)

    async def start(self) -> None:
        self.broker.maybe_fail("start")
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def begin_transaction(self) -> None:
        self.broker.maybe_fail("begin")
        self.written, self.offsets = {}, {}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        place = topic, partition
        if place != self.broker.silent:
            written = self.written.setdefault(place, [])
            offset = len(self.broker.logs.get(place, ())) + len(written)
            written += batch.records
            answer.set_result(SimpleNamespace(offset=offset, timestamp_type=0))
        return answer

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, OffsetAndMetadata], group: Any) -> None:
        self.broker.maybe_fail("offsets")
        self.group, self.offsets = group, {tp: offset.offset for tp, offset in offsets.items()}

    async def commit_transaction(self) -> None:
        self.broker.waiting += 1
        await self.broker.gate.wait()
        self.broker.maybe_fail("commit")
        self.broker.rounds.append(self.offsets)
        for place, records in self.written.items():
            self.broker.logs.setdefault(place, []).extend(records)

    async def abort_transaction(self) -> None:
        self.calls.append("abort")


class Stand:
    def __init__(self, **settings: Any) -> None:
        self.broker = Broker()
        self.producers: list[Producer] = []
        self.seconds = 0.0
        made = Settings(app_id="app", topic_prefix="t.", chunk_records=10, **settings)
        clock = BrokerClock(Metrics(["fold"]))
        self.rounds = Rounds(made, ID, self._make, clock, lambda: self.seconds)

    def _make(self, name: str) -> Any:
        self.producers.append(Producer(self.broker, name))
        return self.producers[-1]

    def commit(
        self, tp: TopicPartition, end: int, *, records: int = 1, pin: Pin = PIN, place: tuple[str, int] | None = None
    ) -> "asyncio.Future[Ends]":
        """Hand in a share that writes its offset to a changelog of the partition, or to another place."""
        return asyncio.ensure_future(self.rounds.commit(self.share(tp, end, records, pin, place)))

    def share(
        self,
        tp: TopicPartition,
        end: int = 5,
        records: int = 1,
        pin: Pin = PIN,
        place: tuple[str, int] | None = None,
    ) -> Share:
        outbox = Outbox(0, (0, 10))
        outbox.add(*(place or ("rows", tp.partition)), 1, b"%d" % tp.partition, b"%d" % end)

        def offset(_: Ends) -> OffsetAndMetadata:
            return OffsetAndMetadata(end, "")

        return Share(tp, PinnedGroup("app", pin), outbox, records, offset)

    @property
    def names(self) -> list[str]:
        return [producer.name for producer in self.producers]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    yield made
    await made.rounds.close()
    assert all(producer.calls[-1] == "stop" for producer in made.producers)


async def held(stand: Stand, *commits: Callable[[], Any]) -> list[Any]:
    """Hand shares in while a round is under way, which then ends."""
    stand.broker.gate.clear()
    first = stand.commit(INPUTS[3], 1)
    await until(lambda: stand.broker.waiting)
    rest = [commit() for commit in commits]
    await asyncio.sleep(0)
    stand.broker.gate.set()
    return await asyncio.gather(first, *rest, return_exceptions=True)


class TestARound:
    async def test_has_all_that_came_during_the_one_before(self, stand):
        first, *ends = await held(stand, *(lambda tp=tp: stand.commit(tp, 5) for tp in INPUTS[:3]))
        assert stand.broker.rounds == [{INPUTS[3]: 1}, dict.fromkeys(INPUTS[:3], 5)]
        assert first == {("rows", 3): 1}
        assert ends == [{("rows", number): 1 for number in range(3)}] * 3
        assert stand.names == [ID], "one producer makes all of them"

    async def test_puts_together_what_goes_to_one_place_in_the_order_in_which_it_came(self, stand):
        place = "dead", 0
        await held(stand, *(lambda tp=tp: stand.commit(tp, 5, place=place) for tp in INPUTS[:3]))
        assert stand.broker.logs[place] == [(b"0", b"5"), (b"1", b"5"), (b"2", b"5")]

    async def test_is_bounded_in_records(self, stand):
        await held(stand, *(lambda tp=tp: stand.commit(tp, 5, records=9_000) for tp in INPUTS[:2]))
        assert stand.broker.rounds == [{INPUTS[3]: 1}, {INPUTS[0]: 5}, {INPUTS[1]: 5}]

    async def test_takes_a_share_that_alone_is_beyond_the_bound(self, stand):
        assert await stand.commit(INPUTS[0], 5, records=99_000) == {("rows", 0): 1}

    async def test_is_of_one_membership(self, stand):
        later = Pin(8, "member")
        await held(stand, lambda: stand.commit(INPUTS[0], 5), lambda: stand.commit(INPUTS[1], 5, pin=later))
        assert stand.broker.rounds == [{INPUTS[3]: 1}, {INPUTS[0]: 5}, {INPUTS[1]: 5}]
        assert stand.producers[-1].group.pin == later

    async def test_is_without_what_was_withdrawn(self, stand):
        def withdrawn() -> Any:
            task = stand.commit(INPUTS[0], 5)
            asyncio.get_running_loop().call_soon(task.cancel)
            return task

        outcomes = await held(stand, withdrawn, lambda: stand.commit(INPUTS[1], 5))
        assert isinstance(outcomes[1], asyncio.CancelledError)
        assert stand.broker.rounds == [{INPUTS[3]: 1}, {INPUTS[1]: 5}]

    async def test_goes_on_when_one_who_waits_for_it_is_cancelled(self, stand):
        stand.broker.gate.clear()
        gone, other = stand.commit(INPUTS[0], 5), stand.commit(INPUTS[1], 5)
        await until(lambda: stand.broker.waiting)
        gone.cancel()
        stand.broker.gate.set()
        assert await other
        assert stand.broker.rounds == [dict.fromkeys(INPUTS[:2], 5)]


class TestWhoFoldsNext:
    """As much may wait for the next round as it takes; then whoever has records to fold waits, too."""

    async def folds(self, stand: Stand, *tps: TopicPartition, records: int) -> list[TopicPartition]:
        """Let partitions fold and commit in turn; give those that have begun while a round is under way."""
        begun: list[TopicPartition] = []

        async def fold(tp: TopicPartition) -> None:
            await stand.rounds.turn(tp)
            begun.append(tp)
            # A task of its own would hand it in later.
            await stand.rounds.commit(stand.share(tp, records=records))

        stand.broker.gate.clear()
        folding = [asyncio.ensure_future(fold(tp)) for tp in tps]
        await until(lambda: stand.broker.waiting)
        await asyncio.sleep(0.01)
        at_first = list(begun)
        stand.broker.gate.set()
        await asyncio.gather(*folding)
        assert begun == list(tps), "in the order in which they came"
        return at_first

    async def test_all_while_less_than_a_round_waits(self, stand):
        assert await self.folds(stand, *INPUTS, records=1) == INPUTS

    async def test_nobody_while_a_round_waits(self, stand):
        assert await self.folds(stand, *INPUTS, records=16_000) == INPUTS[:2]
        assert stand.broker.rounds == [{tp: 5} for tp in INPUTS]

    async def test_who_commits_apart_need_not_wait(self):
        stand = Stand(commit_timeout=1.0, stall_timeout=60.0)
        stand.broker.silent = "rows", 0
        await asyncio.gather(stand.commit(INPUTS[0], 5), return_exceptions=True)
        assert stand.rounds.is_apart(INPUTS[0])
        stand.broker.gate.clear()
        waiting = [stand.commit(tp, 5, records=16_000) for tp in INPUTS[1:3]]
        await until(lambda: stand.broker.waiting)
        await stand.rounds.turn(INPUTS[0])
        stand.broker.gate.set()
        await asyncio.gather(*waiting)
        await stand.rounds.close()

    async def test_the_others_when_one_who_waits_is_cancelled(self, stand):
        stand.broker.gate.clear()
        committing = [stand.commit(tp, 5, records=16_000) for tp in INPUTS[:2]]
        await until(lambda: stand.broker.waiting)
        gone, other = (asyncio.ensure_future(stand.rounds.turn(tp)) for tp in INPUTS[2:])
        await asyncio.sleep(0)
        gone.cancel()
        stand.broker.gate.set()
        await asyncio.gather(other, *committing)


class TestARoundThatFails:
    @pytest.mark.parametrize("call", ["begin", "offsets", "commit"])
    async def test_fails_for_all_of_it_and_a_new_producer_ends_it_at_once(self, stand, call):
        stand.broker.failures[call] = [KafkaConnectionError()]
        outcomes = await asyncio.gather(*(stand.commit(tp, 5) for tp in INPUTS[:2]), return_exceptions=True)
        assert [type(each) for each in outcomes] == [KafkaConnectionError] * 2
        assert stand.broker.rounds == []
        await stand.rounds.ready(INPUTS[2])
        assert stand.names == [ID, ID]
        assert stand.producers[0].calls == ["start", "stop"]

    async def test_is_ended_before_anybody_looks(self, stand):
        """Also where brokers are away at first: who opens a partition waits, and is told."""
        stand.broker.failures = {"commit": [KafkaConnectionError()], "start": []}
        failing = stand.commit(INPUTS[0], 5)
        stand.broker.gate.clear()
        await until(lambda: stand.broker.waiting)
        stand.broker.failures["start"] = [KafkaConnectionError(), KafkaConnectionError()]
        opening = [asyncio.ensure_future(stand.rounds.ready(tp)) for tp in INPUTS]
        stand.broker.gate.set()
        outcomes = await asyncio.gather(failing, *opening, return_exceptions=True)
        assert [type(each) for each in outcomes] == [KafkaConnectionError] * 5
        await stand.rounds.ready(INPUTS[0])
        assert len(stand.producers) == 4, "all that wait share one attempt"

    async def test_makes_those_that_its_place_fails_commit_apart_and_they_hold_up_no_others(self):
        stand = Stand(commit_timeout=1.0, stall_timeout=60.0)
        stand.broker.silent = "rows", 0
        outcomes = await asyncio.gather(*(stand.commit(tp, 5) for tp in INPUTS[:3]), return_exceptions=True)
        assert [type(each) for each in outcomes] == [asyncio.TimeoutError] * 3
        stuck = stand.commit(INPUTS[0], 5)
        for end in range(6, 40):
            await asyncio.gather(*(stand.commit(tp, end) for tp in INPUTS[1:]))
        assert not stuck.done()
        with pytest.raises(asyncio.TimeoutError):
            await stuck
        assert set(stand.names) == {ID, f"{ID}-events-0"}, "the others are not to blame"
        await stand.rounds.close()

    @pytest.mark.parametrize("error", [IllegalGenerationError(), ProducerFenced()])
    async def test_sets_nobody_apart_for_what_no_place_is_to_blame(self, stand, error):
        stand.broker.failures["offsets"] = [error]
        await asyncio.gather(*(stand.commit(tp, 5) for tp in INPUTS), return_exceptions=True)
        await asyncio.gather(*(stand.commit(tp, 5) for tp in INPUTS))
        assert stand.broker.rounds == [dict.fromkeys(INPUTS, 5)]

    async def test_sets_nobody_apart_once_all_was_written(self, stand):
        stand.broker.failures["commit"] = [KafkaTimeoutError()]
        await asyncio.gather(stand.commit(INPUTS[0], 5), return_exceptions=True)
        await asyncio.gather(*(stand.commit(tp, 5) for tp in INPUTS))
        assert stand.broker.rounds == [dict.fromkeys(INPUTS, 5)]


class TestAPartitionThatCommitsApart:
    @pytest.fixture
    async def stand(self) -> AsyncIterator[Stand]:
        made = Stand(commit_timeout=1.0, stall_timeout=60.0)
        made.broker.silent = "rows", 0
        await asyncio.gather(*(made.commit(tp, 5) for tp in INPUTS), return_exceptions=True)
        made.broker.silent = None
        yield made
        await made.rounds.close()
        assert all(producer.calls[-1] == "stop" for producer in made.producers)

    async def test_takes_part_again_when_it_is_opened_after_it_has_succeeded_for_a_while(self, stand):
        await stand.rounds.ready(INPUTS[0])
        await stand.commit(INPUTS[0], 5)
        assert not stand.rounds.may_return(INPUTS[0])
        stand.seconds += 60
        assert stand.rounds.may_return(INPUTS[0])
        await stand.commit(INPUTS[0], 6)
        assert stand.names[-1] != ID, "it goes on apart until it is opened"
        await stand.rounds.ready(INPUTS[0])
        names = stand.names
        await asyncio.gather(*(stand.commit(tp, 99) for tp in INPUTS))
        assert stand.broker.rounds[-1] == dict.fromkeys(INPUTS, 99)
        assert stand.names == names

    async def test_stays_apart_while_it_fails_again(self, stand):
        await stand.commit(INPUTS[0], 5)
        stand.broker.failures["commit"] = [KafkaTimeoutError()]
        with pytest.raises(KafkaTimeoutError):
            await stand.commit(INPUTS[0], 6)
        stand.seconds += 60
        await stand.rounds.ready(INPUTS[0])
        await stand.commit(INPUTS[0], 6)
        assert not stand.rounds.may_return(INPUTS[0])

    async def test_leaves_nothing_open_when_it_is_another_workers(self, stand):
        await stand.commit(INPUTS[0], 5)
        await stand.rounds.leave(INPUTS[0])
        apart = [producer for producer in stand.producers if producer.name != ID]
        assert [producer.calls[-1] for producer in apart] == ["stop"]

    async def test_is_not_fenced_by_what_ends_its_own_transactions(self, stand):
        await stand.commit(INPUTS[0], 5)
        await stand.rounds.end_transactions(f"{ID}-events-0", PinnedGroup("app", PIN), [], INPUTS[0])
        await stand.rounds.commit_in(f"{ID}-events-0", [INPUTS[0]])
        await stand.commit(INPUTS[0], 6)
        assert stand.names.count(f"{ID}-events-0") == 1
        assert stand.rounds.is_own(f"{ID}-events-0")
        assert not stand.rounds.is_own(f"{ID}2")

    async def test_is_not_set_apart_from_itself(self, stand):
        stand.broker.silent = "rows", 0
        with pytest.raises(asyncio.TimeoutError):
            await stand.commit(INPUTS[0], 5)
        assert set(stand.names) == {ID, f"{ID}-events-0"}


class TestAProducer:
    async def test_that_must_not_begin_again_is_replaced_and_no_partition_learns_of_it(self, stand):
        await stand.commit(INPUTS[0], 5)
        stand.broker.failures["begin"] = [NewProducerNeededError()]
        await stand.commit(INPUTS[0], 6)
        assert stand.broker.rounds == [{INPUTS[0]: 5}, {INPUTS[0]: 6}]
        assert stand.names == [ID, ID]

    async def test_that_was_long_unused_is_replaced_before_brokers_have_forgotten_it(self, stand):
        await stand.commit(INPUTS[0], 5)
        stand.seconds += 500
        await stand.commit(INPUTS[0], 6)
        stand.seconds += 700
        await stand.commit(INPUTS[0], 7)
        assert stand.names == [ID, ID]

    async def test_ends_what_hangs_of_its_own_between_two_rounds_and_of_others_with_their_name(self, stand):
        group = PinnedGroup("app", PIN)
        await stand.commit(INPUTS[0], 5)
        await stand.rounds.end_transactions(ID, group, [], INPUTS[0])
        await stand.rounds.end_transactions("app-worker-2", group, [], INPUTS[0])
        await stand.commit(INPUTS[0], 6)
        ours, other = stand.producers
        assert (ours.calls, other.calls) == (["start", "abort"], ["start", "abort", "stop"])
        assert other.name == "app-worker-2"

    async def test_commits_what_was_lost_of_its_own_between_two_rounds_and_of_others_with_their_name(self, stand):
        await stand.commit(INPUTS[0], 5)
        await stand.rounds.commit_in(ID, [INPUTS[0]])
        await stand.rounds.commit_in("app-worker-2", [INPUTS[0]])
        await stand.commit(INPUTS[0], 6)
        ours, other = stand.producers
        assert (ours.joined, other.joined, other.name) == ([INPUTS[0]], [INPUTS[0]], "app-worker-2")
        assert (ours.calls, other.calls) == (["start"], ["start", "stop"])
