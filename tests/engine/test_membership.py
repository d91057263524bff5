"""What a worker sees of Faust: partitions and chunks are given to their owner, and nothing else comes through."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from processor.engine.chunks import Chunk
from processor.engine.membership.app import Introduction
from processor.engine.membership.membership import Membership
from processor.engine.pin import NO_MEMBER, Pin
from processor.settings import Settings


class Owner:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    async def assigned(self, tps, pin) -> None:
        self.told.append(("assigned", tps, pin))

    async def revoked(self, tps) -> None:
        self.told.append(("revoked", tps))

    async def take(self, tp, chunk) -> None:
        self.told.append((tp, chunk))

    def wants(self, tp) -> bool:
        return tp.partition == 1


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def membership(owner) -> Membership:
    introduction = Introduction("http://a:1", {"x": "1"}, "app-worker-1")
    inputs = {"fold": ["events"], "normalize": ["mta", "sms"]}
    return Membership(Settings(), introduction, inputs, owner, lambda *_: None)


async def test_an_agent_of_faust_stands_for_each_stage_and_hands_its_chunks_over(membership, owner):
    agents = membership._app.agents
    assert {name: set(agent.channel.topics) for name, agent in agents.items()} == {
        "processor.fold": {"events"},
        "processor.normalize": {"mta", "sms"},
    }
    chunk = Chunk(0, 2, [])

    async def events():
        yield SimpleNamespace(message=SimpleNamespace(tp=TP("events", 1)), value=chunk)

    await agents["processor.fold"].fun(SimpleNamespace(events=events))
    assert owner.told == [(TopicPartition("events", 1), chunk)]


async def test_its_owner_is_told_what_the_group_decides(membership, owner):
    decided = {TP("events", 1), TP("events", 0)}
    both = [TopicPartition("events", 0), TopicPartition("events", 1)]
    membership._consumer._thread.pin = Pin(3, "member")
    await membership._app.on_partitions_assigned.send(decided)
    await membership._app.on_partitions_revoked.send(decided)
    assert owner.told == [("assigned", both, Pin(3, "member")), ("revoked", both)]


async def test_an_assignment_whose_membership_is_lost_already_gives_its_owner_nothing(membership, owner):
    """Another one follows; what is done in between could not be committed."""
    await membership._app.on_partitions_assigned.send({TP("events", 0)})
    assert owner.told == [("assigned", [], NO_MEMBER)]


async def test_a_fetch_asks_the_owner_what_it_may_fetch_and_never_takes_that_for_nothing(membership):
    wanted = membership._app._wanted
    assert TopicPartition("events", 1) in wanted
    assert TopicPartition("events", 0) not in wanted
    assert wanted, "an empty container would mean all partitions"


async def test_it_is_in_no_group_before_it_starts(membership):
    assert membership.member_id == ""
    assert membership.position(TopicPartition("events", 0)) is None
    assert membership.stands_still_for == 0.0
