"""What a worker asks its brokers, without any."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    UnknownMemberIdError,
)
from aiokafka.protocol.group import HeartbeatRequest_v1
from structlog.testing import capture_logs

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
    """A broker that coordinates some transactional ids."""

    def __init__(self, *names: str) -> None:
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)]))
        self._names = names

    async def _send_request(self, _request: Any, _node: int) -> Any:
        return SimpleNamespace(error_code=0, transactions=[(name, 7, "Ongoing", {}) for name in self._names])


async def test_nobody_is_ended_by_name_but_workers_of_the_group():
    """A slow transaction of another partition is no hanging one: its worker would end."""
    group, brokers = Settings().app_id, Brokers(Settings())
    ours = f"{group}-worker-1"
    brokers._admin = Transactions(ours, f"{group}-delivery.events.v1-3", "another-worker-1")
    assert await brokers.transactional_ids({7}) == [ours]
    assert await brokers.transactional_ids(()) == []


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
