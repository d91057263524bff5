"""What a worker asks its brokers, without any."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
    NotLeaderForPartitionError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    UnknownMemberIdError,
)
from aiokafka.protocol.group import HeartbeatRequest, HeartbeatRequest_v1
from structlog.testing import capture_logs

from processor.engine import brokers as brokers_module
from processor.engine.brokers import Brokers, MembershipUnknownError, UnstableOffsetError
from processor.engine.pin import Pin
from processor.engine.protocol import UNSTABLE_OFFSET_COMMIT, OffsetFetchRequest
from processor.settings import Settings
from tests.engine.fakes import EVENTS

PIN = Pin(7, "member")


class Refuses:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def describe_consumer_groups(self, _groups: list[str]) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"), [(GroupCoordinatorNotAvailableError(), []), (KafkaConnectionError(), ["broker_away"])]
)
async def test_a_group_that_cannot_be_described_is_none_and_on_a_new_broker_that_is_usual(error, told):
    brokers = Brokers(Settings())
    brokers._admin = Refuses(error)
    with capture_logs() as lines:
        assert await brokers.describe_group() is None
    assert [line["event"] for line in lines] == told


class Transactions:
    """A broker that coordinates some transactional ids, each with its state; members of the group joined with some."""

    def __init__(self, states: dict[str, str], members: Sequence[str] | None = ()) -> None:
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)]))
        self._states, self._members = states, members

    async def _send_request(self, _request: Any, _node: int) -> Any:
        return SimpleNamespace(
            error_code=0, transactions=[(name, 7, state, {}) for name, state in self._states.items()]
        )

    async def describe_consumer_groups(self, _groups: Any) -> Any:
        state = "PreparingRebalance" if self._members is None else "Stable"
        told = [b'{"url": "http://a:1", "worker": "%s"}' % name.encode() for name in self._members or ()]
        members = [("m", "", "", ConsumerProtocolMemberMetadata(4, ["events"], each).encode(), b"") for each in told]
        return [SimpleNamespace(groups=[(0, "group", state, "consumer", "faust", members, -1)])]


PARTITION = TopicPartition("delivery.events.v1", 3)
GROUP = Settings().app_id


async def found(states: dict[str, str], members: Sequence[str] | None = (), *, spares_members: bool = False) -> Any:
    brokers = Brokers(Settings())
    brokers._admin = Transactions(states, members)
    return await brokers.predecessors(PARTITION, {7}, spares_members=spares_members)


class TestPredecessors:
    async def test_are_workers_of_the_group_and_the_partitions_own_id_of_earlier_versions(self):
        ours = [f"{GROUP}-worker-1", f"{GROUP}-worker-1-delivery.events.v1-0", f"{GROUP}-delivery.events.v1-3"]
        others = ["another-worker-1", f"{GROUP}-delivery.events.v1-4", f"{GROUP}-dead"]
        assert await found(dict.fromkeys([*ours, *others], "Ongoing")) == ours

    async def test_are_nobody_where_nobody_is_asked_for(self):
        assert await Brokers(Settings()).predecessors(PARTITION, (), spares_members=True) == []

    async def test_may_be_without_members_whose_rounds_are_slow(self):
        living, apart, dead = f"{GROUP}-worker-1", f"{GROUP}-worker-1-delivery.events.v1-0", f"{GROUP}-worker-12"
        states = dict.fromkeys([living, apart, dead], "Ongoing")
        assert await found(states, [living], spares_members=True) == [dead]
        assert await found(states, [living]) == [living, apart, dead]

    async def test_are_members_too_whose_transaction_has_ended_and_was_not_told_to_all(self):
        living = f"{GROUP}-worker-1"
        assert await found({living: "CompleteCommit"}, [living], spares_members=True) == [living]
        assert await found({living: "PrepareCommit"}, [living], spares_members=True) == []

    async def test_are_none_with_an_open_transaction_while_the_group_does_not_say_who_lives(self):
        states = {f"{GROUP}-worker-1": "Ongoing", f"{GROUP}-worker-2": "Empty"}
        assert await found(states, None, spares_members=True) == [f"{GROUP}-worker-2"]


class Coordinator:
    """Knows one committed offset, and answers heartbeats with a code.

    Args:
        offset: the offset.
        code: the answer to heartbeats.
        version: of OffsetFetch, the highest that it takes.
        refusal: the code that the offset comes with.
    """

    def __init__(self, offset: int, code: int = 0, *, version: int = 10, refusal: int = 0) -> None:
        self._offset, self._code, self._version, self._refusal = offset, code, version, refusal
        self.asked: list[tuple[Any, int]] = []

    async def find_coordinator(self, _group: str) -> int:
        return 2

    async def _send_request(self, request: Any, node: int) -> Any:
        if isinstance(request, OffsetFetchRequest):
            prepared = request.prepare({9: (0, self._version)})
            self.asked.append((prepared, node))
            return prepared.RESPONSE_TYPE(*self._answer(prepared))
        self.asked.append((request.build(HeartbeatRequest_v1), node))
        return SimpleNamespace(error_code=self._code)

    def _answer(self, request: Any) -> tuple[Any, ...]:
        [(topic, [number], *_)] = request.topics
        if request.API_VERSION == 3:
            return 0, [(topic, [(number, self._offset, "noted", self._refusal)])], 0
        return 0, [(topic, [(number, self._offset, -1, "noted", self._refusal, {})], {})], 0, {}


def asking(coordinator: Coordinator) -> Brokers:
    brokers = Brokers(Settings())
    brokers._admin = coordinator
    return brokers


@pytest.mark.parametrize(("offset", "found"), [(7, True), (-1, False)])
async def test_an_offset_that_was_never_committed_is_none(offset, found):
    assert (await asking(Coordinator(offset)).committed_offset(EVENTS, PIN) is not None) is found


@pytest.mark.parametrize("code", [0, RebalanceInProgressError.errno])
async def test_an_offset_is_asked_for_where_our_generation_is_known(code):
    coordinator = Coordinator(7, code)
    assert (await asking(coordinator).committed_offset(EVENTS, PIN)).offset == 7
    [(heartbeat, first), (_, second)] = coordinator.asked
    assert (heartbeat.group, heartbeat.generation_id, heartbeat.member_id) == (Settings().app_id, *PIN)
    assert first == second == 2


@pytest.mark.parametrize(("version", "is_asked_for_stable"), [(10, True), (6, False)])
async def test_an_offset_is_told_as_it_was_committed_and_only_if_it_is_stable_where_brokers_know(
    version, is_asked_for_stable
):
    """Brokers before Kafka 2.5 tell the last that is stable, whatever waits."""
    coordinator = Coordinator(7, version=version)
    assert await asking(coordinator).committed_offset(EVENTS, PIN) == (7, "noted")
    _, (request, _) = coordinator.asked
    assert getattr(request, "require_stable", False) is is_asked_for_stable


@pytest.mark.parametrize(
    ("refusal", "error"), [(UNSTABLE_OFFSET_COMMIT, UnstableOffsetError), (29, TopicAuthorizationFailedError)]
)
async def test_an_offset_that_is_refused_is_none_that_was_never_committed(refusal, error):
    with pytest.raises(error):
        await asking(Coordinator(-1, refusal=refusal)).committed_offset(EVENTS, PIN)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (IllegalGenerationError.errno, MembershipUnknownError),
        (UnknownMemberIdError.errno, MembershipUnknownError),
        (NotCoordinatorForGroupError.errno, NotCoordinatorForGroupError),
    ],
)
async def test_a_broker_that_does_not_know_it_is_asked_for_no_offset(code, error):
    coordinator = Coordinator(7, code)
    with pytest.raises(error) as refused:
        await asking(coordinator).committed_offset(EVENTS, PIN)
    assert refused.value.retriable, "the partition opens anew"
    assert len(coordinator.asked) == 1


class TestManyPartitions:
    """Partitions that are opened at the same moment ask for the same, and one request is enough for all."""

    async def test_are_one_question_for_their_offsets_and_one_for_the_membership(self):
        asked: list[str] = []

        class Coordinating(Coordinator):
            async def _send_request(self, request: Any, node: int) -> Any:
                asked.append(type(request).__name__)
                return await super()._send_request(request, node)

            def _answer(self, request: Any) -> tuple[Any, ...]:
                [(topic, numbers, *_)] = request.topics
                # Number 2 waits for the end of a transaction, and 3 has none.
                codes = {2: UNSTABLE_OFFSET_COMMIT}
                told = [(each, -1 if each > 1 else each, -1, "", codes.get(each, 0), {}) for each in numbers]
                return 0, [(topic, told, {})], 0, {}

        brokers = asking(Coordinating(0))
        tps = [TopicPartition(EVENTS.topic, number) for number in range(4)]
        told = await asyncio.gather(*(brokers.committed_offset(tp, PIN) for tp in tps), return_exceptions=True)
        assert told[:2] == [(0, ""), (1, "")]
        assert isinstance(told[2], UnstableOffsetError)
        assert told[3] is None
        assert asked == ["HeartbeatRequest", "OffsetFetchRequest"]

    async def test_are_judged_by_the_membership_of_each(self):
        class KnowsOneGeneration(Coordinator):
            async def _send_request(self, request: Any, node: int) -> Any:
                self._code = 0
                if isinstance(request, HeartbeatRequest):
                    self._code = 0 if request._generation_id == PIN.generation else IllegalGenerationError.errno
                return await super()._send_request(request, node)

        brokers = asking(KnowsOneGeneration(7))
        old = PIN._replace(generation=PIN.generation - 1)
        told = await asyncio.gather(
            brokers.committed_offset(EVENTS, PIN), brokers.committed_offset(EVENTS, old), return_exceptions=True
        )
        assert told[0].offset == 7
        assert isinstance(told[1], MembershipUnknownError)


class Leaders:
    """Brokers that lead the partitions of a topic, and tell where each ends: at a hundred times its number.

    Args:
        leaders: the broker that leads each partition, as metadata has it; -1: none.
    """

    def __init__(self, *leaders: int) -> None:
        self.leaders = list(leaders)
        #: By broker and partition: what it says instead.
        self.refusals: dict[tuple[int, int], int] = {}
        #: What metadata will have when they are asked for next.
        self.elected: list[list[int]] = []
        self.asked: list[tuple[int, Any]] = []
        cluster = SimpleNamespace(leader_for_partition=lambda tp: self.leaders[tp.partition])
        self._client = SimpleNamespace(cluster=cluster, force_metadata_update=self._update)

    async def _update(self) -> None:
        if self.elected:
            self.leaders = self.elected.pop(0)

    async def _send_request(self, request: Any, node: int) -> Any:
        prepared = request.prepare({2: (1, 10)})
        [(topic, numbers)] = prepared.topics
        self.asked.append((node, prepared))
        told = [(number, self.refusals.get((node, number), 0), -1, 100 * number) for number, _ in numbers]
        return SimpleNamespace(topics=[(topic, told)])


class TestPlacesInPartitions:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch):
        monkeypatch.setattr(brokers_module, "_LEADER_SECONDS", 0.001)

    @staticmethod
    async def ends(leaders: Leaders, *numbers: int) -> list[int]:
        brokers = asking(leaders)
        return await asyncio.gather(*(brokers.high_watermark(TopicPartition("rows", each)) for each in numbers))

    async def test_are_asked_of_each_leader_once_for_all_that_it_leads(self):
        leaders = Leaders(1, 2, 1)
        assert await self.ends(leaders, 0, 1, 2) == [0, 100, 200]
        assert [(node, request.topics) for node, request in leaders.asked] == [
            (1, [("rows", [(0, -1), (2, -1)])]),
            (2, [("rows", [(1, -1)])]),
        ]

    async def test_are_the_oldest_record_the_last_that_is_decided_and_the_last_of_all(self):
        leaders = Leaders(1)
        brokers = asking(leaders)
        assert await brokers.bounds(TopicPartition("rows", 0)) == (0, 0)
        await brokers.high_watermark(TopicPartition("rows", 0))
        asked = [(request.topics[0][1][0][1], request.isolation_level) for _, request in leaders.asked]
        assert asked == [(-2, 0), (-1, 1), (-1, 0)]

    async def test_of_one_without_a_leader_hold_up_no_other(self):
        leaders = Leaders(1, -1)
        brokers = asking(leaders)
        waits = asyncio.ensure_future(brokers.high_watermark(TopicPartition("rows", 1)))
        assert await brokers.high_watermark(TopicPartition("rows", 0)) == 0
        assert not waits.done()
        leaders.elected.append([1, 2])
        assert await waits == 100

    async def test_are_asked_of_the_next_leader_where_one_leads_no_more(self):
        leaders = Leaders(1, 1)
        leaders.refusals[1, 1] = NotLeaderForPartitionError.errno
        leaders.elected.append([1, 2])
        assert await self.ends(leaders, 0, 1) == [0, 100]
        assert [node for node, _ in leaders.asked] == [1, 2]

    async def test_that_we_may_not_see_are_an_error_and_not_asked_for_again(self):
        leaders = Leaders(1)
        leaders.refusals[1, 0] = TopicAuthorizationFailedError.errno
        with pytest.raises(TopicAuthorizationFailedError):
            await self.ends(leaders, 0)
        assert len(leaders.asked) == 1
