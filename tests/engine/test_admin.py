"""What brokers say of topics, and what they do not let us see."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from processor.engine import admin, clients
from processor.settings import Settings
from processor.wire.topics import DEAD

SETTINGS = Settings(topic_prefix="t.")


class Brokers:
    """An administration client, as much of it as is asked."""

    def __init__(self, code: int, *options: tuple[str, str]) -> None:
        self._answer = SimpleNamespace(resources=[(code, None, 2, "t.dead.v1", [(*each, False) for each in options])])
        self.is_closed = False

    async def start(self) -> None: ...

    async def close(self) -> None:
        self.is_closed = True

    async def list_topics(self) -> list[str]:
        return ["t.dead.v1"]

    async def describe_topics(self) -> list[Any]:
        return [{"topic": "t.dead.v1", "partitions": [0]}]

    async def describe_configs(self, _: Any) -> list[Any]:
        return [self._answer]


async def test_the_options_of_a_topic_are_told_by_name(monkeypatch):
    brokers = Brokers(0, ("retention.ms", "7"), ("segment.ms", "5"))
    monkeypatch.setattr(clients, "admin", lambda _: brokers)
    assert await admin.describe_topics(SETTINGS, [DEAD]) == {"t.dead.v1": {"retention.ms": "7", "segment.ms": "5"}}
    assert brokers.is_closed


async def test_who_may_not_see_them_is_told_so(monkeypatch):
    brokers = Brokers(TopicAuthorizationFailedError.errno)
    monkeypatch.setattr(clients, "admin", lambda _: brokers)
    with pytest.raises(TopicAuthorizationFailedError, match="the options of t"):
        await admin.describe_topics(SETTINGS, [DEAD])
    assert brokers.is_closed
    problems = await admin.check_topics(SETTINGS)
    assert "the options of topic t.dead.v1 may not be seen: allow DescribeConfigs, as docs/security.md says" in problems
