"""What a worker asks its brokers, without any."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError
from structlog.testing import capture_logs

from processor.engine.brokers import Brokers
from processor.settings import Settings
from tests.engine.fakes import EVENTS


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


@pytest.mark.parametrize(("offset", "found"), [(7, True), (-1, False)])
async def test_an_offset_that_was_never_committed_is_none(offset, found):
    async def offsets(_group: str, partitions: list[Any]) -> dict[Any, Any]:
        return {tp: SimpleNamespace(offset=offset) for tp in partitions}

    brokers = Brokers(Settings())
    brokers._admin = SimpleNamespace(list_consumer_group_offsets=offsets)
    assert (await brokers.committed_offset(EVENTS) is not None) is found
