"""A chunk says truly which offsets it stands for: a partition finds out by that what was lost on the way."""

import asyncio
from collections.abc import Mapping
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.types import TP

from processor.engine.chunks import Chunk
from processor.engine.membership.consumer import ChunkConsumer, ChunkConsumerThread, ChunkFetcher

ONE, OTHER = TP("events", 0), TP("events", 1)


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def chunks(before: Mapping[TP, int], after: Mapping[TP, int], fetched: Mapping[TP, list[Any]]) -> dict[TP, Chunk]:
    """Give the chunks of a fetch, by the positions before and after it."""
    thread = SimpleNamespace(_positions=lambda: dict(after), _sought={})
    return dict(ChunkConsumerThread._chunks(thread, before, fetched))


class TestBounds:
    def test_it_starts_and_ends_at_the_positions_before_and_after_the_fetch(self):
        found = records(5, 6, 7)
        assert chunks({ONE: 5}, {ONE: 8}, {ONE: found}) == {ONE: Chunk(5, 8, found)}

    def test_offsets_that_a_reader_never_sees_are_within_it(self):
        found = records(7, 9)
        assert chunks({ONE: 5}, {ONE: 12}, {ONE: found}) == {ONE: Chunk(5, 12, found)}

    def test_markers_alone_are_a_chunk_without_records(self):
        assert chunks({ONE: 5}, {ONE: 6}, {}) == {ONE: Chunk(5, 6, [])}

    def test_what_did_not_move_is_none(self):
        assert chunks({ONE: 5, OTHER: 0}, {ONE: 5, OTHER: 0}, {}) == {}

    def test_partitions_are_told_apart(self):
        one, other = records(5), records(0, 1)
        fetched = {ONE: one, OTHER: other}
        assert chunks({ONE: 5, OTHER: 0}, {ONE: 6, OTHER: 2}, fetched) == {
            ONE: Chunk(5, 6, one),
            OTHER: Chunk(0, 2, other),
        }

    def test_after_a_seek_back_while_the_fetch_waited_it_starts_at_its_first_record(self):
        found = records(2, 3)
        assert chunks({ONE: 5}, {ONE: 4}, {ONE: found}) == {ONE: Chunk(2, 4, found)}

    def test_a_seek_back_alone_is_no_chunk(self):
        assert chunks({ONE: 5}, {ONE: 2}, {}) == {}

    def test_without_a_position_before_it_starts_at_its_first_record_and_so_shows_a_hole(self):
        """The record that was due has expired, and the oldest was asked for: what is missing must be told."""
        found = records(70, 71)
        assert chunks({}, {ONE: 72}, {ONE: found}) == {ONE: Chunk(70, 72, found)}

    def test_the_first_position_of_a_partition_is_no_chunk(self):
        assert chunks({}, {ONE: 72}, {}) == {}

    def test_records_of_a_partition_that_was_revoked_meanwhile_are_dropped(self):
        assert chunks({ONE: 5}, {}, {ONE: records(5)}) == {}


class Thread(ChunkConsumerThread):
    """The thread's part without a thread, over aiokafka's own states of partitions."""

    def __init__(self, *fetches: Any) -> None:
        self.subscriptions = SubscriptionState()
        self.subscriptions.subscribe({ONE.topic})
        self.subscriptions.assign_from_subscribed([TopicPartition(*ONE), TopicPartition(*OTHER)])
        self.fetches = list(fetches)
        fetcher = SimpleNamespace(_closed=False, _subscriptions=self.subscriptions, fetched_records=self._fetched)
        self._consumer = SimpleNamespace(
            _closed=False, _fetcher=fetcher, _subscription=self.subscriptions, seek=self.subscriptions.seek
        )
        self.consumer = SimpleNamespace(flow_active=True)

    def _ensure_consumer(self) -> Any:
        return self._consumer

    async def _fetched(self, _wanted: Any, *, timeout: float) -> dict[TP, list[Any]]:
        found = self.fetches.pop(0)()
        return await found if isawaitable(found) else found

    def at(self, tp: TP, position: int) -> Any:
        state = self._state(TopicPartition(*tp))
        state.reset_to(position) if state.awaiting_reset else state.seek(position)
        return state

    async def fetch(self) -> Mapping[TP, Chunk]:
        return await self._fetch_chunks((), 1.0)


class TestSeeks:
    """A partition goes back, or begins, while the fetch waits for records of any."""

    @pytest.mark.parametrize("before", [106, None])
    async def test_the_chunk_starts_where_it_was_sought_to_whatever_is_there(self, before):
        found = records(21, 22)

        async def comes():
            await thread._seek_to({ONE: 0})
            thread.at(ONE, 106)  # From 0 to 20 all is aborted.
            return {ONE: found}

        thread = Thread(comes)
        if before is not None:
            thread.at(ONE, before)
        assert await thread.fetch() == {ONE: Chunk(0, 106, found)}

    async def test_it_is_so_with_aborted_records_alone(self):
        async def comes():
            await thread._seek_to({ONE: 0})
            thread.at(ONE, 21)
            return {}

        thread = Thread(comes)
        thread.at(ONE, 106)
        assert await thread.fetch() == {ONE: Chunk(0, 21, [])}

    async def test_a_seek_counts_for_the_fetch_that_waits_and_not_for_the_next(self):
        async def comes():
            await thread._seek_to({ONE: 0})
            thread.at(ONE, 5)
            return {ONE: records(0)}

        async def comes_next():
            thread.at(ONE, 8)
            return {ONE: records(7)}

        thread = Thread(comes, comes_next)
        thread.at(ONE, 106)
        await thread.fetch()
        assert await thread.fetch() == {ONE: Chunk(5, 8, records(7))}

    async def test_a_seek_of_a_partition_that_is_gone_is_none(self):
        thread = Thread(dict)

        def refuse(*_):
            raise IllegalStateError

        thread._consumer.seek = refuse
        await thread._seek_to({TP("events", 7): 3})
        assert await thread.fetch() == {}


class TestExpired:
    """The record that is due is not there any more, when it is fetched."""

    async def test_it_is_gone_on_at_the_oldest_so_that_the_next_chunk_shows_the_hole(self):
        found = records(70, 71)

        def expires():
            raise OffsetOutOfRangeError({TopicPartition(*ONE): 5})

        def comes():
            thread.at(ONE, 72)
            return {ONE: found}

        thread = Thread(expires, comes)
        thread.at(ONE, 5)
        assert await thread.fetch() == {}
        assert thread.position(ONE) is None, "the oldest is asked for"
        thread.at(ONE, 70)
        assert await thread.fetch() == {ONE: Chunk(70, 72, found)}

    async def test_where_the_oldest_was_found_while_the_next_fetch_waited_the_hole_shows_too(self):
        found = records(70, 71)

        def expires():
            raise OffsetOutOfRangeError({TopicPartition(*ONE): 5})

        def comes():
            thread.at(ONE, 70)
            thread.at(ONE, 72)
            return {ONE: found}

        thread = Thread(expires, comes)
        thread.at(ONE, 5)
        await thread.fetch()
        assert await thread.fetch() == {ONE: Chunk(70, 72, found)}

    async def test_other_partitions_go_on(self):
        def expires():
            thread.at(OTHER, 3)  # Over a marker.
            raise OffsetOutOfRangeError({TopicPartition(*ONE): 5})

        thread = Thread(expires)
        thread.at(ONE, 5)
        thread.at(OTHER, 2)
        assert await thread.fetch() == {OTHER: Chunk(2, 3, [])}

    async def test_a_partition_that_nobody_has_opened_yet_is_left_alone(self):
        def has_none():
            raise NoOffsetForPartitionError(TopicPartition(*ONE))

        thread = Thread(has_none)
        assert await thread.fetch() == {}
        assert not thread._state(TopicPartition(*ONE)).awaiting_reset

    async def test_one_that_is_not_ours_any_more_is_left_alone(self):
        def expires():
            raise OffsetOutOfRangeError({TopicPartition("events", 7): 5})

        assert await Thread(expires).fetch() == {}


class Consumer:
    """Faust's consumer, as far as `getmany` looks at it."""

    _message = ChunkConsumer._message
    monotonic = ChunkConsumer.monotonic

    def __init__(self) -> None:
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.transport = SimpleNamespace(wanted=())
        self.flow_active, self.should_stop = True, False
        self.can_resume_flow = "resumed"
        self._read_offset = {ONE: 99, OTHER: 99}
        self._thread = self
        self.during_the_fetch = lambda: None

    async def fetch_chunks(self, _wanted: Any, _timeout: float) -> dict[TP, Chunk]:
        self.during_the_fetch()
        return {ONE: Chunk(5, 6, records(5)), OTHER: Chunk(0, 2, records(0, 1))}

    async def wait(self, event: str) -> None:
        assert event == "resumed"
        self.flow_active = True

    async def delivered(self, after_each: Any = lambda: None) -> list[tuple[TP, Any]]:
        found = []
        async for tp, message in ChunkConsumer.getmany(self, 1.0):
            found.append((tp, message))
            after_each()
        return found


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


class TestDelivery:
    async def test_each_partition_gets_one_message_whose_value_is_its_chunk(self, consumer):
        (one, first), (other, second) = await consumer.delivered()
        assert (one, other) == (ONE, OTHER)
        assert (first.value.end, second.value.end) == (first.offset, second.offset) == (6, 2)
        assert (first.tp, first.generation_id) == (ONE, 1)

    async def test_faust_does_not_compare_it_with_what_it_read_before(self, consumer):
        await consumer.delivered()
        assert consumer._read_offset == {ONE: None, OTHER: None}

    async def test_it_waits_while_the_flow_is_stopped(self, consumer):
        consumer.flow_active = False
        assert len(await consumer.delivered()) == 2

    async def test_what_was_fetched_over_a_rebalance_is_delivered_in_the_new_generation(self, consumer):
        """Nothing else would show that it is missing, where no more records come."""
        consumer.during_the_fetch = lambda: setattr(consumer.app, "consumer_generation_id", 2)
        assert [message.generation_id for _, message in await consumer.delivered()] == [2, 2]

    @pytest.mark.parametrize(
        ("owner", "name", "value"),
        [("app", "consumer_generation_id", 2), (None, "flow_active", False), (None, "should_stop", True)],
    )
    async def test_the_rest_is_left_when_partitions_change_hands_in_between(self, consumer, owner, name, value):
        target = consumer if owner is None else getattr(consumer, owner)
        assert [tp for tp, _ in await consumer.delivered(lambda: setattr(target, name, value))] == [ONE]


class TestFetcher:
    """Faust's task that fetches, cancelled in the middle of a rebalance."""

    @staticmethod
    async def cancelled(*, app_stops: bool) -> ChunkFetcher:
        async def drain(_fetcher):
            raise asyncio.CancelledError

        app = SimpleNamespace(rebalancing=True, should_stop=app_stops, consumer=SimpleNamespace(_drain_messages=drain))
        fetcher = ChunkFetcher(app, loop=asyncio.get_running_loop())
        with pytest.raises(asyncio.CancelledError):
            await fetcher._fetcher.fun(fetcher)
        return fetcher

    async def test_ends_without_a_crash_when_the_worker_stops(self):
        assert not (await self.cancelled(app_stops=True)).crashed

    async def test_crashes_faust_when_nobody_stops_it(self):
        fetcher = await self.cancelled(app_stops=False)
        assert fetcher.crashed
        assert "nobody stops it" in str(fetcher.crash_reason)


async def test_fausts_look_for_stalls_asks_for_no_position():
    """Theirs crashes the worker where a partition has none, as while the oldest offset is asked for."""
    await ChunkConsumer.verify_all_partitions_active(SimpleNamespace())
