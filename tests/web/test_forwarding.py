"""Any worker answers any question, and none says that it does not know what another one does."""

import asyncio
import gzip
import json
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import pytest
from aiohttp import web

from processor.engine.membership.members import Member
from processor.web import forwarding
from processor.web.hops import Hops
from processor.web.masking import mask_id
from processor.wire.partitioner import partition_of
from tests.web.workers import (
    EVENTS_TOPIC,
    ODD_ID,
    PARTITIONS,
    READ_TOKEN,
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
    """Give status, what kind of problem it is (or the id, where it is the message's), and when to ask again."""
    status, body, headers = await worker.ask(path_of(message_id), token)
    if "type" in body:
        return status, body["type"].removeprefix(PROBLEM), headers.get("Retry-After")
    kind = message_id if body["message_id"] in {message_id, mask_id(message_id)} else body["message_id"]
    return status, kind, headers.get("Retry-After")


@pytest.fixture
def group():
    return TheGroup()


@pytest.fixture
async def three(group):
    async with workers(3, group) as made:
        yield made


def owner_and_others(made, message_id):
    owner = next(worker for worker in made if number_of(message_id) in worker.owned.works)
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
        owner.owned.recovering.add(number_of("m-1"))
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
        assert overview["incomplete"] == sorted(owner.owned.works)
        states = {at["partition"]: at["state"] for at in overview["partitions"]}
        assert [number for number, state in states.items() if state == "unknown"] == sorted(owner.owned.works)
        # What every worker knows by itself does not suffer.
        assert (await others[0].ask("/api/v1/deliveries/DM1"))[1]["messages"] == 2

    async def test_the_partition_has_gone_to_another_who_is_asked_then(self, three, group):
        number = number_of("m-1")
        owner, (to, other) = owner_and_others(three, "m-1")
        to.owned.works[number] = owner.owned.works.pop(number)
        group.newer = {(EVENTS_TOPIC, number): to.url}
        assert await ask(other, "m-1") == (200, "m-1", None)
        assert group.asked.count(True) == 1

    async def test_the_partition_has_come_here_meanwhile(self, three, group, monkeypatch):
        number = number_of("m-1")
        owner, (here, _) = owner_and_others(three, "m-1")

        async def move(*_):
            here.owned.works[number] = owner.owned.works.pop(number)
            raise forwarding.ProblemError(forwarding.OWNER_AWAY, "gone")

        monkeypatch.setattr(forwarding.Forwarding, "_ask", move)
        group.newer = {(EVENTS_TOPIC, number): here.url}
        assert await ask(here, "m-1") == (200, "m-1", None)

    async def test_nobody_owns_the_partition(self, three, group):
        number = number_of("m-1")
        owner, _ = owner_and_others(three, "m-1")
        owner.owned.works.pop(number)
        del group.owners[EVENTS_TOPIC, number]
        for worker in three:
            assert await ask(worker, "m-1") == (503, "owner-away", "5")

    async def test_a_worker_that_has_only_just_started(self, three):
        three[0].owned.partition_counts = {}
        assert await ask(three[0], "m-1") == (503, "starting", "2")
        assert (await three[0].ask("/api/v1/overview"))[0] == 503


async def test_a_worker_that_was_paused_does_not_call_unknown_what_it_missed(three, group):
    """It still believes in its partition; the group has given that to another, who has gone on."""
    number = number_of("m-1")
    zombie, (to, other) = owner_and_others(three, "m-1")
    to.owned.works[number] = replace(zombie.owned.works[number])
    zombie.owned.works[number].rows = {}
    group.owners[EVENTS_TOPIC, number] = to.url
    assert await ask(zombie, "m-1") == (200, "m-1", None)
    # Who asks it over the hop is told that it cannot say.
    group.owners[EVENTS_TOPIC, number] = zombie.url
    asked = Hops(SETTINGS, lambda: "")
    path = "/internal/v1/messages/m-1?reveal=false"
    group.owners[EVENTS_TOPIC, number] = to.url
    status, body, _ = await zombie.ask(path, headers=asked.sign(zombie.url, path))
    assert (status, body["type"]) == (503, PROBLEM + "recovering")
    assert await ask(other, "m-1") == (200, "m-1", None)


async def test_a_question_is_handed_on_once_and_never_round(three, group):
    """Each believes that the next one is the owner: the second says that it is not, and that is that."""
    number = number_of("m-1")
    for worker in three:
        worker.owned.works.pop(number, None)
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
        stranger = Hops(replace(SETTINGS, internal_token="x" * 16), lambda: "")
        for worker in three:
            for headers in ({}, {"Delivery-Hop": "unsigned"}, stranger.sign(worker.url, path)):
                status, body, _ = await worker.ask(path, headers=headers)
                assert (status, body["type"]) == (403, PROBLEM + "forbidden")
        status, _, _ = await three[0].ask("/internal/v1/report")
        assert status == 403

    async def test_workers_with_different_tokens_say_so(self, group):
        async with workers(2, group) as [one, two]:
            two.api._hops = Hops(replace(SETTINGS, internal_token="another-token-than-theirs"), lambda: two.url)
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.owned.works)
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
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.owned.works)
            group.owners = dict.fromkeys(group.owners, "http://10.0.0.9:8080")
            status, body, _ = await one.ask(path_of(theirs))
            assert (status, body["type"]) == (502, PROBLEM + "hop-refused")
            assert "DELIVERY_INTERNAL_TOKEN" in body["detail"]

    async def test_with_a_read_token_alone_nobody_is_believed(self, group):
        """Whoever may read knows that token: it cannot tell workers from readers."""
        async with workers(2, group, write_token="", internal_token="", read_token=READ_TOKEN) as [one, two]:
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.owned.works)
            for path in ("/internal/v1/report", f"/internal/v1/messages/{quote(theirs, safe='')}?reveal=true"):
                for token in (None, READ_TOKEN):
                    assert (await two.ask(path, token, headers={"Delivery-Hop": "unsigned"}))[0] == 403
            status, body, _ = await one.ask(path_of(theirs), READ_TOKEN)
            assert (status, body["type"]) == (502, PROBLEM + "hop-refused")
            assert "DELIVERY_INTERNAL_TOKEN" in body["detail"]

    @pytest.mark.parametrize("host", ["evil.example.com", "localhost.example.com", "10.0.0.7:8080"])
    async def test_without_tokens_another_name_for_this_machine_is_not_answered(self, group, host):
        async with workers(1, group, write_token="", internal_token="") as [one]:
            headers = {"Delivery-Hop": "unsigned", "Host": host}
            assert (await one.ask("/internal/v1/report", headers=headers))[0] == 403

    @pytest.mark.parametrize("mark", ["X-Forwarded-For", "Forwarded", "Via"])
    async def test_without_tokens_what_comes_through_a_proxy_is_not_answered(self, group, mark):
        async with workers(1, group, write_token="", internal_token="") as [one]:
            headers = {"Delivery-Hop": "unsigned", mark: "127.0.0.1"}
            assert (await one.ask("/internal/v1/report", headers=headers))[0] == 403

    async def test_a_signature_is_for_one_worker(self, three):
        path = "/internal/v1/report"
        signed = Hops(SETTINGS, lambda: "").sign(three[0].url, path)
        assert (await three[1].ask(path, headers=signed))[0] == 403
        assert (await three[0].ask(path, headers=signed))[0] == 200

    async def test_a_signature_is_taken_once(self, three):
        path = "/internal/v1/report"
        signed = Hops(SETTINGS, lambda: "").sign(three[0].url, path)
        assert [(await three[0].ask(path, headers=signed))[0] for _ in range(2)] == [200, 403]

    async def test_a_signature_is_for_one_method_path_and_body(self, three):
        hops, url = Hops(SETTINGS, lambda: ""), three[0].url
        for signed, asked in (
            (("/internal/v1/report", "GET", b""), ("/internal/v1/report", "HEAD", b"")),
            (("/internal/v1/report", "GET", b""), ("/internal/v1/report?a=b", "GET", b"")),
            (("/internal/v1/report", "GET", b""), ("/internal/v1/report", "GET", b"{}")),
            (("/internal/v1/ended-sessions", "POST", b"{}"), ("/internal/v1/ended-sessions", "POST", b"{ }")),
        ):
            headers = hops.sign(url, *signed)
            assert (await three[0].ask(asked[0], method=asked[1], data=asked[2] or None, headers=headers))[0] == 403


class TestMembersThatAreNoWorkersOfOurs:
    """Whoever may join the group tells any URL; only that member cannot be reached."""

    async def all_else_is_told(self, three, group, intruder, *, asked):
        """Let an intruder be given the partition of m-1, and ask for everything."""
        group.named["intruder"] = intruder
        group.urls.append("intruder")
        number = number_of("m-1")
        for worker in three:
            worker.owned.works.pop(number, None)
        group.owners[EVENTS_TOPIC, number] = "intruder"
        for worker in three:
            for message_id in IDS:
                expected = (200, message_id, None) if number_of(message_id) != number else asked
                assert await ask(worker, message_id) == expected
            status, overview, _ = await worker.ask("/api/v1/overview")
            assert (status, overview["incomplete"]) == (200, [number])

    async def test_what_is_no_url(self, three, group):
        intruder = Member("intruder", None, "/10.0.0.66", is_proven=False)
        await self.all_else_is_told(three, group, intruder, asked=(502, "hop-refused", None))

    async def test_a_url_that_is_not_proven_is_not_asked(self, three, stranger, group):
        stranger["status"] = 200
        url = group.owners[EVENTS_TOPIC, number_of("m-1")]
        intruder = Member("intruder", url, "/127.0.0.1", is_proven=False)
        await self.all_else_is_told(three, group, intruder, asked=(502, "hop-refused", None))
        assert "asked" not in stranger

    async def test_the_refusal_says_the_mend(self, three, group):
        intruder = Member("intruder", "http://worker-9:8080", "/10.0.0.66", is_proven=False)
        await self.all_else_is_told(three, group, intruder, asked=(502, "hop-refused", None))
        _, body, _ = await three[0].ask(path_of("m-1"))
        assert "http://worker-9:8080" in body["detail"]
        assert "DELIVERY_INTERNAL_TOKEN" in body["detail"]

    @pytest.mark.parametrize("url", ["http://nowhere.invalid:80", "http://" + "a" * 300, "http://a..b:80"])
    async def test_a_url_that_leads_nowhere(self, three, group, url):
        intruder = Member("intruder", url, "/10.0.0.66", is_proven=True)
        await self.all_else_is_told(three, group, intruder, asked=(503, "owner-away", "5"))

    async def test_anothers_url(self, three, group):
        """The one that it is asked instead; and who is asked for its own URL knows that it is not the owner."""
        group.named["intruder"] = Member("intruder", three[0].url, "/10.0.0.66", is_proven=False)
        group.urls.append("intruder")
        number = number_of("m-1")
        for worker in three:
            worker.owned.works.pop(number, None)
        group.owners[EVENTS_TOPIC, number] = "intruder"
        for worker in three:
            assert await ask(worker, "m-1") == (502, "hop-refused", None)
            assert (await worker.ask("/api/v1/overview"))[1]["incomplete"] == [number]
        assert "DELIVERY_ADVERTISED_URL" in (await three[0].ask(path_of("m-1")))[1]["detail"]
        # Two of ours by mistake: neither says of the other's messages that they are not known.
        group.named["intruder"] = Member("intruder", three[0].url, "/127.0.0.1", is_proven=True)
        assert await ask(three[0], "m-1") == (502, "hop-refused", None)
        assert await ask(three[1], "m-1") == (503, "recovering", "5")

    async def test_without_tokens_one_that_connects_from_elsewhere_is_not_asked(self, group):
        async with workers(2, group, write_token="", internal_token="") as [one, two]:
            theirs = next(message_id for message_id in IDS if number_of(message_id) in two.owned.works)
            assert (await one.ask(path_of(theirs)))[0] == 200
            group.named[two.url] = Member(two.url, two.url, "/10.0.0.66", is_proven=False)
            status, body, _ = await one.ask(path_of(theirs))
            assert (status, body["type"]) == (502, PROBLEM + "hop-refused")
            assert "10.0.0.66" in body["detail"]


@pytest.fixture
async def stranger(three, group):
    """Something else that answers where the owner of m-1 should; the test says how."""
    answer = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        answer["asked"] = request
        if "endless" in answer:
            return await endless(request)
        await asyncio.sleep(answer.get("after", 0))
        if "location" in answer:
            raise web.HTTPFound(answer["location"])
        headers = {"Content-Type": "application/json", **answer.get("headers", {})}
        return web.Response(status=answer["status"], body=answer.get("body", b""), headers=headers)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", **answer["endless"]})
        await response.prepare(request)
        answer["sent"] = 0
        with suppress(ConnectionError):
            while True:
                await response.write(b" " * 65_536)
                answer["sent"] += 65_536
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
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


async def test_an_answer_has_an_end(three, stranger, monkeypatch):
    monkeypatch.setattr(forwarding, "_ANSWER_MAX_BYTES", 1_000_000)
    stranger["endless"] = {}
    _, others = owner_and_others(three, "m-1")
    assert await ask(others[0], "m-1") == (502, "hop-refused", None)
    # What the kernel holds between the two comes on top.
    assert stranger["sent"] < 40_000_000


async def test_an_answer_is_not_larger_than_it_is_sent(three, stranger):
    body = gzip.compress(b" " * 50_000_000)
    stranger.update(status=200, body=body, headers={"Content-Encoding": "gzip"})
    _, others = owner_and_others(three, "m-1")
    assert await ask(others[0], "m-1") == (502, "hop-refused", None)
    assert stranger["asked"].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("body", [b"", b"no json", b"[" * 10_000, b'{"message_id":1}', b"\xff"])
async def test_an_answer_that_is_no_message_is_the_fault_of_who_gave_it(three, stranger, body):
    stranger.update(status=200, body=body)
    _, others = owner_and_others(three, "m-1")
    async with others[0].session.get(others[0].url + "/messages/m-1") as response:
        assert response.status == 502


async def test_an_answer_that_is_not_json_is_none_of_ours(three, stranger):
    stranger.update(status=200, body=b"<html>", headers={"Content-Type": "text/html"})
    _, others = owner_and_others(three, "m-1")
    assert await ask(others[0], "m-1") == (502, "hop-refused", None)


async def test_an_owner_that_does_not_answer_in_time(three, stranger, monkeypatch):
    monkeypatch.setattr(forwarding, "_PATIENCE_SECONDS", 0.2)
    stranger.update(status=200, after=5)
    _, others = owner_and_others(three, "m-1")
    assert await asyncio.wait_for(ask(others[0], "m-1"), 60) == (503, "owner-away", "5")
