"""Any worker answers any question, and none says that it does not know what another one does."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from aiohttp import web

from processor.partitioner import partition_of
from processor.web import forwarding
from processor.web.access import Access
from tests.web.workers import (
    EVENTS_TOPIC,
    ODD_ID,
    PARTITIONS,
    SETTINGS,
    WRITE_TOKEN,
    TheGroup,
    rows,
    unreachable,
    unsettled,
    workers,
)

IDS = [key.decode() for key in rows()]
PROBLEM = "urn:delivery-status:problem:"


def path_of(message_id: str) -> str:
    return f"/api/v1/messages/{quote(message_id, safe='')}"


def number_of(message_id: str) -> int:
    return partition_of(message_id.encode(), PARTITIONS)


async def ask(worker, message_id, token=None):
    """Give status, what kind of problem it is (or the message's id), and when to ask again."""
    status, body, headers = await worker.ask(path_of(message_id), token)
    kind = body["type"].removeprefix(PROBLEM) if "type" in body else body["message_id"]
    return status, kind, headers.get("Retry-After")


@pytest.fixture
def group():
    return TheGroup()


@pytest.fixture
async def three(group):
    async with workers(3, group) as made:
        yield made


def owner_and_others(made, message_id):
    owner = next(worker for worker in made if number_of(message_id) in worker.host.works)
    return owner, [worker for worker in made if worker is not owner]


async def test_any_worker_tells_of_any_message_the_same(three):
    for message_id in IDS:
        for token in (None, WRITE_TOKEN):
            answers = [await worker.ask(path_of(message_id), token) for worker in three]
            assert [answer[0] for answer in answers] == [200] * 3
            assert answers[0][1] == answers[1][1] == answers[2][1]


async def test_recipients_are_revealed_across_a_hop_to_who_may_see_them(three):
    _, others = owner_and_others(three, "m-1")
    assert (await others[0].ask(path_of("m-1")))[1]["recipient"] == "u***@example.com"
    assert (await others[0].ask(path_of("m-1"), WRITE_TOKEN))[1]["recipient"] == "ulla.b@example.com"


async def test_all_agree_that_a_message_is_not_known(three):
    for number in range(20):
        for worker in three:
            assert await ask(worker, f"nobody-{number}") == (404, "message-not-known", None)


async def test_the_overview_is_of_all_workers(three):
    one, two, other = [json.dumps((await worker.ask("/api/v1/overview"))[1]) for worker in three]
    assert one == two == other
    overview = json.loads(one)
    assert overview["incomplete"] == []
    owners = {at["partition"]: at["owner"] for at in overview["partitions"]}
    assert owners == {number: three[number % 3].url for number in range(PARTITIONS)}


class TestWhileItMoves:
    async def test_the_group_is_unsettled(self, three, group):
        group.error = unsettled()
        owner, others = owner_and_others(three, "m-1")
        assert await ask(owner, "m-1") == (200, "m-1", None)
        assert await ask(others[0], "m-1") == (503, "rebalancing", "2")
        for worker in three:
            assert await ask(worker, "nobody") == (503, "rebalancing", "2")

    async def test_kafka_does_not_tell(self, three, group):
        group.error = unreachable()
        owner, others = owner_and_others(three, "m-1")
        assert await ask(owner, "m-1") == (200, "m-1", None)
        assert await ask(others[0], "m-1") == (503, "broker-away", "5")
        assert await ask(owner, "nobody") == (503, "broker-away", "5")

    async def test_the_owner_is_recovering_the_partition(self, three):
        owner, others = owner_and_others(three, "m-1")
        owner.host.recovering.add(number_of("m-1"))
        for worker in three:
            assert await ask(worker, "m-1") == (503, "recovering", "5")
        assert (await others[0].ask("/api/v1/overview"))[1]["incomplete"] == [number_of("m-1")]

    async def test_the_owner_has_ended(self, three):
        owner, others = owner_and_others(three, "m-1")
        await owner.server.stop()
        for worker in others:
            assert await ask(worker, "m-1") == (503, "owner-away", "5")
        status, overview, _ = await others[0].ask("/api/v1/overview")
        assert status == 200
        assert overview["incomplete"] == sorted(owner.host.works)
        states = {at["partition"]: at["state"] for at in overview["partitions"]}
        assert [number for number, state in states.items() if state == "unknown"] == sorted(owner.host.works)
        # What every worker knows by itself does not suffer.
        assert (await others[0].ask("/api/v1/deliveries/DM1"))[1]["messages"] == 2

    async def test_the_partition_has_gone_to_another_who_is_asked_then(self, three, group):
        number = number_of("m-1")
        owner, (to, other) = owner_and_others(three, "m-1")
        to.host.works[number] = owner.host.works.pop(number)
        group.newer = {(EVENTS_TOPIC, number): to.url}
        assert await ask(other, "m-1") == (200, "m-1", None)
        assert group.asked.count(True) == 1

    async def test_the_partition_has_come_here_meanwhile(self, three, group, monkeypatch):
        number = number_of("m-1")
        owner, (here, _) = owner_and_others(three, "m-1")

        async def move(*_):
            here.host.works[number] = owner.host.works.pop(number)
            raise forwarding.ProblemError(forwarding.OWNER_AWAY, "gone")

        monkeypatch.setattr(forwarding.Forwarding, "_get", move)
        group.newer = {(EVENTS_TOPIC, number): here.url}
        assert await ask(here, "m-1") == (200, "m-1", None)

    async def test_nobody_owns_the_partition(self, three, group):
        number = number_of("m-1")
        owner, _ = owner_and_others(three, "m-1")
        owner.host.works.pop(number)
        del group.owners[EVENTS_TOPIC, number]
        for worker in three:
            assert await ask(worker, "m-1") == (503, "owner-away", "5")

    async def test_a_worker_that_has_only_just_started(self, three):
        three[0].host.partition_counts = {}
        assert await ask(three[0], "m-1") == (503, "starting", "2")
        assert (await three[0].ask("/api/v1/overview"))[0] == 503


async def test_a_worker_that_was_paused_does_not_call_unknown_what_it_missed(three, group):
    """It still believes in its partition; the group has given that to another, who has gone on."""
    number = number_of("m-1")
    zombie, (to, other) = owner_and_others(three, "m-1")
    to.host.works[number] = replace(zombie.host.works[number])
    zombie.host.works[number].rows = {}
    group.owners[EVENTS_TOPIC, number] = to.url
    assert await ask(zombie, "m-1") == (200, "m-1", None)
    # Who asks it over the hop is told that it cannot say.
    group.owners[EVENTS_TOPIC, number] = zombie.url
    asked = Access(SETTINGS)
    path = "/internal/v1/messages/m-1?reveal=false"
    group.owners[EVENTS_TOPIC, number] = to.url
    status, body, _ = await zombie.ask(path, headers=asked.sign(path))
    assert (status, body["type"]) == (503, PROBLEM + "recovering")
    assert await ask(other, "m-1") == (200, "m-1", None)


async def test_a_question_is_handed_on_once_and_never_round(three, group):
    """Each believes that the next one is the owner: the second says that it is not, and that is that."""
    number = number_of("m-1")
    for worker in three:
        worker.host.works.pop(number, None)
    asked = []
    for index, worker in enumerate(three):
        original = worker.answers.message_here

        async def note(message_id, *, reveal, original=original, index=index):
            asked.append(index)
            return await original(message_id, reveal=reveal)

        worker.answers.message_here = note
    group.owners[EVENTS_TOPIC, number] = three[1].url
    assert await ask(three[0], "m-1") == (503, "recovering", "5")
    assert set(asked) == {1}
    assert len(asked) <= 2


class TestTheHop:
    async def test_it_is_refused_to_who_cannot_sign(self, three):
        path = f"/internal/v1/messages/{quote(ODD_ID, safe='')}?reveal=true"
        for headers in (
            {},
            {"Delivery-Hop": "unsigned"},
            Access(replace(SETTINGS, internal_token="x" * 16)).sign(path),
        ):
            for worker in three:
                status, body, _ = await worker.ask(path, headers=headers)
                assert (status, body["type"]) == (403, PROBLEM + "forbidden")
        status, _, _ = await three[0].ask("/internal/v1/report")
        assert status == 403

    async def test_workers_with_different_tokens_say_so(self, group):
        async with workers(2, group) as [one, two]:
            two.api._access = Access(replace(SETTINGS, internal_token="another-token-than-theirs"))
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.host.works)
            status, body, _ = await one.ask(path_of(theirs))
            assert (status, body["type"]) == (502, PROBLEM + "hop-refused")
            assert "DELIVERY_INTERNAL_TOKEN" in body["detail"]

    async def test_without_tokens_workers_on_this_machine_talk_and_mask(self, group):
        async with workers(2, group, write_token="", internal_token="") as made:
            for message_id in IDS:
                for worker in made:
                    assert (await worker.ask(path_of(message_id)))[0] == 200
            path = "/internal/v1/messages/m-1?reveal=true"
            owner, _ = owner_and_others(made, "m-1")
            _, body, _ = await owner.ask(path, headers={"Delivery-Hop": "unsigned"})
            assert body["recipient"] == "u***@example.com"

    async def test_without_tokens_nothing_leaves_this_machine(self, group):
        async with workers(2, group, write_token="", internal_token="") as [one, two]:
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.host.works)
            group.owners = dict.fromkeys(group.owners, "http://10.0.0.9:8080")
            status, body, _ = await one.ask(path_of(theirs))
            assert (status, body["type"]) == (502, PROBLEM + "hop-refused")
            assert "DELIVERY_INTERNAL_TOKEN" in body["detail"]

    async def test_two_workers_with_one_url_are_told_apart_by_nobody(self, three, group):
        group.urls = [three[0].url] * 3
        _, others = owner_and_others(three, "m-1")
        assert await ask(others[0], "m-1") == (502, "hop-refused", None)


@pytest.fixture
async def stranger(three, group):
    """Something else that answers where the owner of m-1 should; the test says how."""
    answer = {}

    async def handle(request: web.Request) -> web.Response:
        await asyncio.sleep(answer.get("after", 0))
        if "location" in answer:
            raise web.HTTPFound(answer["location"])
        return web.Response(status=answer["status"], body=answer.get("body", b""), content_type="application/json")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    group.owners[EVENTS_TOPIC, number_of("m-1")] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answer
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (404, b"404: Not Found"),
        (404, b'{"type":"about:blank","title":"","status":404,"detail":""}'),
        (404, json.dumps({"type": PROBLEM + "no-route", "title": "", "status": 404, "detail": "x"}).encode()),
        (500, b"Traceback"),
        (204, b""),
        (503, b"busy"),
        (401, json.dumps({"type": PROBLEM + "unauthorized", "title": "", "status": 401, "detail": "x"}).encode()),
    ],
)
async def test_what_is_no_worker_of_ours_cannot_say_that_a_message_is_not_known(three, stranger, status, body):
    stranger.update(status=status, body=body)
    _, others = owner_and_others(three, "m-1")
    found, kind, _ = await ask(others[0], "m-1")
    assert (found, kind) == (502, "hop-refused")


async def test_a_report_that_cannot_be_read_is_one_that_is_missing(three, stranger, group):
    stranger.update(status=200, body=b'{"from":"another version"}')
    group.urls = [three[0].url, group.owners[EVENTS_TOPIC, number_of("m-1")]]
    status, overview, _ = await three[0].ask("/api/v1/overview")
    assert (status, overview["incomplete"]) == (200, [1, 2, 4, 5])


async def test_a_hop_does_not_follow_where_it_is_sent(three, stranger):
    stranger.update(location="http://169.254.169.254/")
    _, others = owner_and_others(three, "m-1")
    assert (await ask(others[0], "m-1"))[:2] == (502, "hop-refused")


async def test_an_owner_that_does_not_answer_in_time(three, stranger, monkeypatch):
    monkeypatch.setattr(forwarding, "_PATIENCE_SECONDS", 0.2)
    stranger.update(status=200, after=5)
    _, others = owner_and_others(three, "m-1")
    assert await asyncio.wait_for(ask(others[0], "m-1"), 2) == (503, "owner-away", "5")
