"""Who owns which partition: read from what the broker tells of the group."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaConnectionError
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from processor.engine import bounds
from processor.engine.membership import members
from processor.engine.membership.assignor import Assignor
from processor.engine.membership.members import Members, UnreachableError, UnsettledError, is_member, proof
from processor.settings import Settings

TOKEN = "a-token-among-workers"


def joined(url: str, worker: str = "app-worker-1", **settings: Any) -> bytes:
    """Give what a worker joins with."""
    conf = SimpleNamespace(canonical_url=url)
    app: Any = SimpleNamespace(
        conf=conf,
        tables=None,
        terms={},
        worker=worker,
        settings=Settings(**{"internal_token": TOKEN, **settings}),
    )
    told: bytes = Assignor(app).metadata({"events"}).encode()
    return told


def member(
    url: str, *partitions: int, topic: str = "events", metadata: bytes | None = None, assignment: bytes | None = None
) -> tuple[Any, ...]:
    if assignment is None:
        assignment = ConsumerProtocolMemberAssignment(4, [(topic, list(partitions))], b"").encode()
    return (f"member-{url}", "client", "/127.0.0.1", joined(url) if metadata is None else metadata, assignment)


def urls(group: Any) -> dict[Any, Any]:
    """Give the URL of each partition's owner."""
    return {partition: owner.url for partition, owner in group.owners.items()}


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
    def make(*answers: Any, monotonic: Callable[[], float] = time.monotonic) -> tuple[Members, Admin]:
        admin = Admin(*answers)
        monkeypatch.setattr(members.clients, "admin", lambda _: admin)
        return Members(Settings(internal_token=TOKEN), monotonic), admin

    return make


def test_a_worker_joins_with_its_url_which_faust_still_reads():
    told = ConsumerProtocolMemberMetadata.decode(joined("http://10.0.0.5:8080"))
    assert told.subscription == ["events"]
    assert ClientMetadata.loads(told.user_data).url == "http://10.0.0.5:8080"
    assert ClientMetadata.loads(told.user_data).assignment == ClientAssignment(actives={}, standbys={})


async def test_a_url_is_proven_by_the_workers_token(made):
    one, other = "http://a:1", "http://b:2"
    asked, _ = made(
        response(
            member(one),
            member(other, metadata=joined(other, internal_token="", write_token=TOKEN)),
            member(one, metadata=joined(one, internal_token="another-token-than-theirs")),
            member(one, metadata=joined(one, internal_token="")),
            member(one, metadata=joined(one, app_id="another-group")),
            # Somebody's proof with a URL of one's own.
            member(other, metadata=joined(one).replace(b"http://a:1", b"http://c:3")),
        )
    )
    found = (await asked.group()).members
    assert [each.is_proven for each in found] == [True, True, False, False, False, False]
    assert found[0] == ("member-http://a:1", one, "/127.0.0.1", True)
    assert found[5].url == "http://c:3"


async def test_without_a_token_nothing_is_proven(made, monkeypatch):
    asked, _ = made(response(member("http://a:1", metadata=joined("http://a:1", internal_token=""))))
    monkeypatch.setattr(asked, "_settings", Settings())
    assert [each.is_proven for each in (await asked.group()).members] == [False]
    assert proof(Settings(), "http://a:1") == ""


@pytest.mark.parametrize(
    "url",
    [
        *["", "a", "http://", "http://[::1", "http://[x]:80", "http://a:0", "http://a:65536", "http://a:1:1"],
        *["http://a:1/path", "http://a:1?b", "http://a:1#b", "http://u:p@a:1", "ftp://a:1", "file:///etc", "//a:1"],
        *["http://a b:1", "http://a:1\n", "http://å:1", "HTTP://a:1", "http://a:\N{SUPERSCRIPT TWO}"],
    ],
)
async def test_what_is_no_url_of_a_worker_is_none(made, url):
    asked, _ = made(response(member(url, 0), member("http://b:2", 1)))
    group = await asked.group()
    assert urls(group) == {("events", 0): None, ("events", 1): "http://b:2"}


async def test_owners_by_topic_and_partition(made):
    asked, _ = made(response(member("http://a:1", 0, 2), member("http://b:2", 1), member("http://c:3", 0, topic="mta")))
    group = await asked.group()
    assert urls(group) == {
        ("events", 0): "http://a:1",
        ("events", 2): "http://a:1",
        ("events", 1): "http://b:2",
        ("mta", 0): "http://c:3",
    }
    assert [each.url for each in group.members] == ["http://a:1", "http://b:2", "http://c:3"]


@pytest.mark.parametrize(
    "user_data",
    [
        *[None, b"", b"no json", b"null", b"[]", b"{}", b'{"url":1}', b'{"url":null}', b"\xff", b'{"url":"\xff"}'],
        *[b'{"url":"\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000, b'{"url":"http://a:1","proof":1}'],
    ],
)
async def test_a_member_that_is_none_of_ours_is_reached_nowhere(made, user_data):
    metadata = ConsumerProtocolMemberMetadata(4, ["x"], user_data).encode()
    asked, _ = made(response(member("", 0, metadata=metadata), member("http://b:2", 1)))
    assert urls(await asked.group()) == {("events", 0): None, ("events", 1): "http://b:2"}


async def test_whatever_a_member_tells_the_others_are_reached(made):
    """Its metadata and what it was assigned are bytes that any member, or the group's leader, may have written."""
    whole = joined("http://a:1")
    assigned = ConsumerProtocolMemberAssignment(4, [("events", [0])], b"").encode()
    choice = random.Random(1)
    mutated = [(whole[:length], assigned[:length]) for length in range(len(assigned) + 3)]
    mutated += [(_mutate(choice, whole), _mutate(choice, assigned)) for _ in range(2_000)]
    for metadata, assignment in mutated:
        asked, _ = made(response(member("", metadata=metadata, assignment=assignment), member("http://b:2", 1)))
        assert urls(await asked.group())["events", 1] == "http://b:2"


def _mutate(choice: random.Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(choice.randint(1, 4)):
        changed[choice.randrange(len(changed))] = choice.choice([0, 1, 0x7F, 0x80, 0xFF, choice.randrange(256)])
    return bytes(changed)


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
    assert urls(await asked.group()) == {("events", 0): "http://a:1"}
    await asked.close()
    assert admin.closed >= 1


@pytest.mark.parametrize("lost", [0, 1], ids=["hears a cancellation", "loses the first cancellation"])
async def test_a_broker_that_takes_too_long(made, monkeypatch, lost):
    monkeypatch.setattr(members, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(bounds, "_AGAIN_SECONDS", 0.01)
    asked, admin = made(response())

    async def hang(_groups: list[str]) -> list[Any]:
        for _ in range(lost):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(admin, "describe_consumer_groups", hang)
    with pytest.raises(UnreachableError):
        await asked.group()


async def test_an_answer_will_do_for_a_moment_unless_it_is_wanted_anew(made):
    now = 0.0
    asked, admin = made(response(member("http://a:1", 0)), response(member("http://b:2", 0)), monotonic=lambda: now)
    first = await asked.group()
    assert await asked.group() is first
    assert urls(await asked.group(anew=True)) == {("events", 0): "http://b:2"}
    assert admin.asked == 2
    now = 60.0
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


def of_worker(name: str) -> tuple[Any, ...]:
    return member("", metadata=joined("", name))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (response(of_worker("app-worker-2"), of_worker("app-worker-1")), True),
        (response(of_worker("app-worker-2")), False),
        (response(state="Empty"), False),
        (response(state="Dead", error=69), False),
        (response(of_worker("app-worker-2"), state="PreparingRebalance"), None),
        (response(error=16), None),
    ],
    ids=["there", "others only", "nobody", "no group", "it rebalances", "a broker that refuses"],
)
def test_whether_a_worker_is_in_the_group(told, expected):
    assert is_member(told, "app-worker-1") is expected
