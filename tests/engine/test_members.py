"""Who owns which partition: read from what the broker tells of the group."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaConnectionError
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from processor.engine import members
from processor.engine.members import Members, UnreachableError, UnsettledError
from processor.settings import Settings


def user_data(url: str) -> bytes:
    """Give what Faust joins with."""
    return ClientMetadata(
        assignment=ClientAssignment(actives={}, standbys={}), url=url, changelog_distribution={}
    ).dumps()


def member(url: str, *partitions: int, topic: str = "events", metadata: bytes | None = None) -> tuple[Any, ...]:
    told = ConsumerProtocolMemberMetadata(4, [topic], user_data(url)).encode() if metadata is None else metadata
    assignment = ConsumerProtocolMemberAssignment(4, [(topic, list(partitions))], b"").encode()
    return ("member-1", "client", "/127.0.0.1", told, assignment)


def response(*its_members: tuple[Any, ...], state: str = "Stable", error: int = 0) -> Any:
    return SimpleNamespace(groups=[(error, "group", state, "consumer", "faust", list(its_members), -1)])


class Admin:
    """A broker that answers what the test says."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.closed = 0

    async def start(self) -> None:
        """Connect to nothing."""

    async def close(self) -> None:
        self.closed += 1

    async def describe_consumer_groups(self, _groups: list[str]) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return [answer]


@pytest.fixture
def made(monkeypatch):
    def make(*answers: Any) -> tuple[Members, Admin]:
        admin = Admin(*answers)
        monkeypatch.setattr(members.clients, "admin", lambda _: admin)
        return Members(Settings()), admin

    return make


def test_faust_joins_with_its_canonical_url():
    app: Any = SimpleNamespace(conf=SimpleNamespace(canonical_url="http://10.0.0.5:8080"), tables=None)
    told = PartitionAssignor(app).metadata({"events"})
    assert members._url_of(told.encode()) == "http://10.0.0.5:8080"


async def test_owners_by_topic_and_partition(made):
    asked, _ = made(response(member("http://a:1", 0, 2), member("http://b:2", 1), member("http://c:3", 0, topic="mta")))
    group = await asked.group()
    assert group.owners == {
        ("events", 0): "http://a:1",
        ("events", 2): "http://a:1",
        ("events", 1): "http://b:2",
        ("mta", 0): "http://c:3",
    }
    assert group.urls == ("http://a:1", "http://b:2", "http://c:3")


@pytest.mark.parametrize("metadata", [b"", b"\x00\x04", ConsumerProtocolMemberMetadata(4, ["x"], b"no json").encode()])
async def test_a_member_that_is_none_of_ours_owns_nothing_that_can_be_asked(made, metadata):
    asked, _ = made(response(member("", 0, metadata=metadata), member("http://b:2", 1)))
    assert (await asked.group()).owners == {("events", 1): "http://b:2"}


@pytest.mark.parametrize("state", ["PreparingRebalance", "CompletingRebalance", "Empty", "Dead", ""])
async def test_while_it_is_not_stable_nobody_owns_anything(made, state):
    asked, _ = made(response(member("", 0, metadata=b""), state=state))
    with pytest.raises(UnsettledError):
        await asked.group()


@pytest.mark.parametrize("answer", [KafkaConnectionError(), OSError(), response(error=16)])
async def test_a_broker_that_does_not_tell(made, answer):
    asked, admin = made(answer, response(member("http://a:1", 0)))
    with pytest.raises(UnreachableError):
        await asked.group()
    assert (await asked.group()).owners == {("events", 0): "http://a:1"}
    await asked.close()
    assert admin.closed >= 1


async def test_a_broker_that_takes_too_long(made, monkeypatch):
    monkeypatch.setattr(members, "_PATIENCE_SECONDS", 0.05)
    asked, admin = made(response())

    async def hang(_groups: list[str]) -> list[Any]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(admin, "describe_consumer_groups", hang)
    with pytest.raises(UnreachableError):
        await asked.group()


async def test_an_answer_will_do_for_a_moment_unless_it_is_wanted_anew(made, monkeypatch):
    asked, admin = made(response(member("http://a:1", 0)), response(member("http://b:2", 0)))
    first = await asked.group()
    assert await asked.group() is first
    assert (await asked.group(anew=True)).owners == {("events", 0): "http://b:2"}
    assert admin.asked == 2
    monkeypatch.setattr(members, "_FRESH_SECONDS", 0.0)
    await asked.group()
    assert admin.asked == 3


async def test_an_error_is_not_remembered_as_an_answer(made):
    asked, _ = made(response(member("http://a:1", 0)), response(state="PreparingRebalance"))
    await asked.group()
    with pytest.raises(UnsettledError):
        await asked.group(anew=True)


async def test_many_wait_for_one_answer_and_one_who_leaves_does_not_end_it(made):
    asked, admin = made(response(member("http://a:1", 0)))
    waiting = [asyncio.ensure_future(asked.group()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    groups = await asyncio.gather(*waiting[1:])
    assert admin.asked == 1
    assert all(group is groups[0] for group in groups)
