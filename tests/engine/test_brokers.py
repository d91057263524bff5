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
    UnknownMemberIdError,
)
from aiokafka.protocol.group import HeartbeatRequest_v1
from structlog.testing import capture_logs

from processor.engine.brokers import Brokers, MembershipUnknownError
from processor.engine.pin import Pin
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


class Coordinator:
    """Knows one committed offset, and answers heartbeats with a code."""

    def __init__(self, offset: int, code: int = 0) -> None:
        self._offset, self._code = offset, code
        self.asked: list[tuple[Any, int]] = []

    async def find_coordinator(self, _group: str) -> int:
        return 2

    async def _send_request(self, request: Any, node: int) -> Any:
        self.asked.append((request.build(HeartbeatRequest_v1), node))
        return SimpleNamespace(error_code=self._code)

    async def list_consumer_group_offsets(
        self, _group: str, group_coordinator_id: int, partitions: list[Any]
    ) -> dict[Any, Any]:
        self.asked.append(("offsets", group_coordinator_id))
        return {tp: SimpleNamespace(offset=self._offset) for tp in partitions}


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
