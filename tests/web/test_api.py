"""The API: what it answers, whom, and what it says when it cannot."""

import asyncio
import json
from urllib.parse import quote

import pytest

from processor.domain.delivery import Action
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.settings import Settings
from processor.web import openapi
from processor.web.problems import CONTENT_TYPE
from processor.web.routes import ROUTES
from processor.wire.control import decode_control
from processor.wire.deadletters import DeadReason, Origin
from processor.wire.events import decode_event
from tests.web.workers import (
    HOP_TOKEN,
    ODD_ID,
    PARTITIONS,
    READ_TOKEN,
    WRITE_TOKEN,
    TheGroup,
    unreachable,
    workers,
)

BULLET = "\N{BULLET}"
PROBLEM = "urn:delivery-status:problem:"


@pytest.fixture
async def worker():
    async with workers() as [one]:
        yield one


async def problem_of(worker, path, status, kind, **options):
    """Ask, see to it that the answer is this problem, and give it."""
    found, body, headers = await worker.ask(path, **options)
    assert (found, body["status"], body["type"]) == (status, status, PROBLEM + kind), body
    assert headers["Content-Type"] == CONTENT_TYPE
    assert headers["Cache-Control"] == "no-store"
    assert body["title"]
    assert body["detail"]
    assert ("Retry-After" in headers) is (status == 503)
    return body


def bury(worker, records):
    """Let the worker put records aside."""
    origin = Origin("delivery.mta.v1", 2, 17)
    worker.board.see_dead(
        DeadReason.INVALID_JSON, records, origin, 1_795_507_200_000, "malformed at 'user@example.com'"
    )


class TestMessages:
    async def test_a_message_says_where_it_stands_and_why(self, worker):
        status, body, headers = await worker.ask("/api/v1/messages/m-1")
        assert status == 200
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (body["status"], body["permanence"], body["delivery_id"]) == ("failed", "permanent", "DM1")
        assert body["reason"]["adobe_code"] == 1
        assert [seen["node"] for seen in body["history"]] == ["pending", "taken_into_account", "failed"]

    async def test_recipients_are_masked_also_where_a_provider_quotes_them(self, worker):
        _, body, _ = await worker.ask("/api/v1/messages/m-1")
        assert body["recipient"] == "u***@example.com"
        assert "ulla.b" not in json.dumps(body).lower()
        _, body, _ = await worker.ask("/api/v1/messages/s-1")
        assert body["recipient"] == f"+467{BULLET * 6}12"

    async def test_who_may_write_sees_them(self, worker):
        _, body, _ = await worker.ask("/api/v1/messages/m-1", WRITE_TOKEN)
        assert body["recipient"] == "ulla.b@example.com"
        assert "<Ulla.B@example.com>" in body["reason"]["text"]

    async def test_an_id_may_hold_anything(self, worker):
        status, body, _ = await worker.ask(f"/api/v1/messages/{quote(ODD_ID, safe='')}", WRITE_TOKEN)
        assert (status, body["message_id"]) == (200, ODD_ID)
        # Slashes may be left as they are.
        status, body, _ = await worker.ask(f"/api/v1/messages/{quote(ODD_ID, safe='/')}", WRITE_TOKEN)
        assert (status, body["message_id"]) == (200, ODD_ID)

    async def test_what_was_rejected_and_what_it_waits_for(self, worker):
        _, body, _ = await worker.ask("/api/v1/messages/m-2")
        rule = "on email, sent may neither follow nor precede ignored"
        assert body["rejected"] == [{"node": "sent", "standing": "ignored", "rule": rule}]
        _, body, _ = await worker.ask("/api/v1/messages/m-held")
        assert body["waits_for_code"] == "scheduled"
        assert body["stuck"] is False

    async def test_stuck_and_cancelled_too_late(self, worker):
        _, body, _ = await worker.ask("/api/v1/messages/s-1")
        assert (body["stuck"], body["cancel_too_late"], body["waits_for_code"]) == (True, True, "receipt")

    async def test_one_that_is_not_known(self, worker):
        body = await problem_of(worker, "/api/v1/messages/nobody", 404, "message-not-known")
        assert "'nobody'" in body["detail"]

    @pytest.mark.parametrize("path", ["x" * 1_001, quote("å" * 1_001)])
    async def test_no_event_has_a_longer_id(self, worker, path):
        await problem_of(worker, f"/api/v1/messages/{path}", 400, "invalid-request")

    async def test_the_longest_id_is_taken(self, worker):
        for letter in "aå\N{UNICORN FACE}":
            await problem_of(worker, f"/api/v1/messages/{quote(letter * 1_000)}", 404, "message-not-known")
        event = {"message_id": "å" * 1_000, "channel": "sms", "status": "sent", "time": "2026-11-23T08:00:00Z"}
        assert decode_event(json.dumps(event).encode(), None)

    async def test_an_id_that_is_no_text_is_no_fault_of_ours(self, worker):
        status, body, _ = await worker.ask("/api/v1/messages/%FF%FE%ED%A0%80")
        assert (status, body["type"]) in {(404, PROBLEM + "message-not-known"), (400, PROBLEM + "invalid-request")}

    async def test_a_parameter_is_refused(self, worker):
        body = await problem_of(worker, "/api/v1/messages/m-1?reveal=true", 400, "invalid-request")
        assert "it takes none" in body["detail"]


class TestDeliveries:
    async def ids(self, worker, query):
        status, body, _ = await worker.ask(f"/api/v1/deliveries?{query}")
        assert status == 200, body
        return [item["delivery_id"] for item in body["items"]]

    async def test_one_delivery(self, worker):
        status, body, _ = await worker.ask("/api/v1/deliveries/DM1")
        assert status == 200
        assert (body["label"], body["messages"], body["statuses"]["failed"]) == ("Autumn sale", 2, 1)
        assert body["indicators"]["hard"] == 1
        assert isinstance(body["series"], list)

    async def test_its_stuck_messages_are_counted(self, worker):
        _, body, _ = await worker.ask("/api/v1/deliveries/DM2")
        assert (body["stuck"], body["state"]) == (1, "canceled")

    async def test_an_id_may_hold_slashes(self, worker):
        for safe in ("", "/"):
            _, body, _ = await worker.ask(f"/api/v1/deliveries/{quote('DM/3 ü', safe=safe)}")
            assert body["delivery_id"] == "DM/3 ü"

    async def test_one_that_is_not_known(self, worker):
        found = await problem_of(worker, "/api/v1/deliveries/nope", 404, "delivery-not-known")
        assert "/api/v1/deliveries/{delivery_id}/control" in found["detail"], "how one becomes known"

    async def test_the_list_and_its_total(self, worker):
        status, body, _ = await worker.ask("/api/v1/deliveries?sort=delivery_id")
        assert status == 200
        assert [item["delivery_id"] for item in body["items"]] == ["DM/3 ü", "DM1", "DM2", "DM3"]
        assert (body["total"], body["next"]) == (4, None)

    async def test_pages_follow_one_another_by_cursor(self, worker):
        found, query = [], "sort=-messages&limit=1"
        cursor = ""
        while cursor is not None:
            _, body, _ = await worker.ask(f"/api/v1/deliveries?{query}{cursor and '&cursor=' + quote(cursor)}")
            found += [item["delivery_id"] for item in body["items"]]
            assert body["total"] == 4
            cursor = body["next"]
        assert sorted(found) == ["DM/3 ü", "DM1", "DM2", "DM3"]
        assert found[0] == "DM1"

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("channel=sms", ["DM2"]),
            ("status=ignored", ["DM1"]),
            ("provider=twilio", ["DM2"]),
            ("state=scheduled", ["DM3"]),
            ("stuck=true", ["DM/3 ü", "DM2"]),
            ("stuck=false", ["DM1", "DM3"]),
            ("pending=scheduled", ["DM3"]),
            ("pending=any", ["DM/3 ü", "DM3"]),
            ("q=autumn", ["DM1"]),
            ("q=AUTUMN&channel=sms", []),
            ("since=2999-01-01T00:00:00Z", []),
            ("since=2001-01-01T00:00:00%2B02:00", ["DM/3 ü", "DM1", "DM2", "DM3"]),
            ("since=2001-01-01T00:00:00+02:00", ["DM/3 ü", "DM1", "DM2", "DM3"]),
        ],
    )
    async def test_filters(self, worker, query, expected):
        assert await self.ids(worker, f"{query}&sort=delivery_id") == expected

    @pytest.mark.parametrize(
        ("query", "told", "allowed"),
        [
            ("chanel=sms", "there is no parameter 'chanel' here; it takes channel, ", "channel"),
            ("channel=fax", "channel must be one of email, sms", "sms"),
            ("status=gone", "status must be one of pending, ", "sent"),
            ("state=gone", "state must be one of planned, ", "running"),
            ("pending=yes", "pending must be one of any, scheduled, ", "mta_resources"),
            ("stuck=1", "stuck must be true or false", "true"),
            ("sort=size", "sort must be one of ", "-stuck"),
            ("limit=0", "limit must be a whole number from 1 to 500", None),
            ("limit=501", "limit must be a whole number from 1 to 500", None),
            ("limit=1e2", "limit must be a whole number", None),
            ("limit=%C2%B2", "limit must be a whole number", None),
            ("limit=", "limit must be a whole number", None),
            ("since=yesterday", "since must be a time with an offset", None),
            ("since=2026-11-23T08:00:00", "since must be a time with an offset", None),
            ("q=", "q must have 1 to 200 characters", None),
            (f"q={'x' * 201}", "q must have 1 to 200 characters", None),
            ("limit=1&limit=2", "limit may be given once", None),
            ("cursor=abc", "cursor", None),
            ("cursor=%F0%9F%A6%84", "cursor", None),
        ],
    )
    async def test_a_wrong_parameter_is_named_with_what_is_allowed(self, worker, query, told, allowed):
        body = await problem_of(worker, f"/api/v1/deliveries?{query}", 400, "invalid-request")
        assert told in body["detail"]
        assert (allowed in body["allowed"]) if allowed else "allowed" not in body

    async def test_a_cursor_belongs_to_its_sort(self, worker):
        _, body, _ = await worker.ask("/api/v1/deliveries?limit=1&sort=messages")
        wrong = f"/api/v1/deliveries?limit=1&sort=label&cursor={quote(body['next'])}"
        await problem_of(worker, wrong, 400, "invalid-request")

    async def test_a_worker_that_has_not_read_all_says_so(self, worker):
        worker.following.is_caught_up = False
        for path in ("/api/v1/deliveries", "/api/v1/deliveries/DM1", "/api/v1/deliveries/nope", "/api/v1/overview"):
            await problem_of(worker, path, 503, "starting")

    async def test_while_kafka_is_away_nothing_is_called_unknown(self):
        group = TheGroup()
        async with workers(group=group) as [worker]:
            group.error = unreachable()
            await problem_of(worker, "/api/v1/deliveries/nope", 503, "broker-away")
            assert (await worker.ask("/api/v1/deliveries/DM1"))[0] == 200


class TestWhatIsWrong:
    async def test_the_overview(self, worker):
        status, body, _ = await worker.ask("/api/v1/overview")
        assert status == 200
        assert body["messages"]["email"]["failed"] == 1
        assert body["messages"]["sms"]["sent"] == 1
        assert "received_on_mobile" not in body["messages"]["email"]
        assert sum(sum(statuses.values()) for statuses in body["messages"].values()) == 5
        assert body["pending_deliveries"] == {"scheduled": 1, "concurrency_limit": 0, "mta_resources": 1}
        assert [at["delivery_id"] for at in body["wrong"]["stuck"]] == ["DM2", "DM/3 ü"]
        assert [(at["from"], at["to"]) for at in body["wrong"]["contradictions"]] == [("ignored", "sent")]
        assert body["wrong"]["silent"] == []
        assert body["incomplete"] == []
        assert [(at["owner"], at["state"], at["lag"]) for at in body["partitions"]] == [
            (worker.url, "running", 7)
        ] * PARTITIONS

    async def test_ids_that_are_made_of_recipients_are_masked_in_lists(self, worker):
        for path in ("/api/v1/overview", "/api/v1/stuck"):
            _, masked, _ = await worker.ask(path)
            assert "ulla@" not in json.dumps(masked)
            assert "u***@example.com" in json.dumps(masked)
            _, whole, _ = await worker.ask(path, WRITE_TOKEN)
            assert ODD_ID in json.dumps(whole, ensure_ascii=False)

    async def test_the_lists_behind_it(self, worker):
        _, stuck, _ = await worker.ask("/api/v1/stuck")
        assert [(at["status"], at["messages"]) for at in stuck["items"]] == [("sent", 1), ("pending", 1)]
        assert {(at["channel"], at["status"]): at["stuck"] for at in stuck["waiting"]}["sms", "sent"] == 1
        _, contradictions, _ = await worker.ask("/api/v1/contradictions")
        assert [found["message_id"] for found in contradictions["items"][0]["sample"]] == ["m-2"]
        _, providers, _ = await worker.ask("/api/v1/providers")
        assert [at["provider"] for at in providers["items"]] == ["kumomta", "twilio"]

    async def test_dead_letters_are_counted_by_reason(self, worker):
        bury(worker, 3)
        bury(worker, 1)
        _, body, _ = await worker.ask("/api/v1/overview")
        assert body["wrong"]["dead_letters"] == {"invalid_json": 4}
        _, body, _ = await worker.ask("/api/v1/dead-letters")
        [told] = body["items"]
        assert (told["reason"], told["records"], told["topic"], told["partition"]) == (
            "invalid_json",
            4,
            "delivery.mta.v1",
            2,
        )
        assert told["detail"] == "malformed at 'u***@example.com'"
        _, body, _ = await worker.ask("/api/v1/dead-letters", WRITE_TOKEN)
        assert body["items"][0]["detail"] == "malformed at 'user@example.com'"

    async def test_the_definitions(self, worker):
        _, body, _ = await worker.ask("/api/v1/statuses")
        assert [item["status"] for item in body["items"]] == [status.value for status in Status]
        by_name = {item["status"]: item for item in body["items"]}
        assert by_name["sent"]["swedish"] == DEFINITIONS[Status.SENT].swedish
        assert by_name["sent"]["may_follow"]["email"] == {"sent": ["failed_gave_up", "failed"]}
        assert set(by_name["failed"]["may_follow"]["sms"]) == {"failed", "failed_gave_up"}


class TestControl:
    CANCEL = "/api/v1/deliveries/DM1/cancel"
    CONTROL = "/api/v1/deliveries/DM9/control"

    async def post(self, worker, path, body=None, token=WRITE_TOKEN):
        return await worker.ask(path, token, "POST", json=body) if body else await worker.ask(path, token, "POST")

    def record(self, worker):
        [published] = worker.published
        assert published.topic == "delivery.control.v1"
        control = decode_control(published.value, None)
        assert published.key == control.delivery_id.encode()
        return control

    async def test_cancel(self, worker):
        status, body, _ = await self.post(worker, self.CANCEL)
        assert (status, body["delivery_id"], body["action"]) == (202, "DM1", "cancel")
        assert self.record(worker).action is Action.CANCEL

    @pytest.mark.parametrize("action", ["pause", "finish"])
    async def test_pause_and_finish(self, worker, action):
        status, body, _ = await self.post(worker, f"/api/v1/deliveries/DM1/{action}")
        assert (status, body["delivery_id"], body["action"]) == (202, "DM1", action)
        assert self.record(worker).action is Action(action)

    async def test_what_would_have_no_effect_says_why(self, worker):
        options = {"method": "POST", "token": WRITE_TOKEN}
        found = await problem_of(worker, "/api/v1/deliveries/DM1/resume", 409, "no-effect", **options)
        assert found["detail"] == "it cannot be resumed: it is not paused"
        found = await problem_of(worker, "/api/v1/deliveries/DM2/pause", 409, "no-effect", **options)
        assert "it was cancelled at 20" in found["detail"]
        assert worker.published == []

    async def test_a_delivery_whose_id_has_slashes(self, worker):
        for safe in ("", "/"):
            status, _, _ = await self.post(worker, f"/api/v1/deliveries/{quote('DM/3 ü', safe=safe)}/cancel")
            assert status == 202
        assert {record.key.decode() for record in worker.published} == {"DM/3 ü"}

    async def test_cancel_of_one_that_is_not_known(self, worker):
        options = {"method": "POST", "token": WRITE_TOKEN}
        await problem_of(worker, "/api/v1/deliveries/nope/cancel", 404, "delivery-not-known", **options)
        assert worker.published == []

    async def test_facts_of_one_that_is_not_known_yet(self, worker):
        facts = {"action": "register", "time": "2026-11-23T08:00:00+01:00", "label": "Spring", "planned": 7}
        status, body, _ = await self.post(worker, self.CONTROL, facts)
        assert status == 202
        assert body == {**facts, "time": body["time"], "delivery_id": "DM9"}
        control = self.record(worker)
        assert (control.label, control.planned, control.time.isoformat()) == ("Spring", 7, "2026-11-23T08:00:00+01:00")

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"action": "explode"}, "Invalid enum value 'explode'"),
            ({"label": "x"}, "missing required field `action`"),
            ({"action": "schedule"}, "to schedule is to say when"),
            ({"action": "start", "time": "2999-01-01T00:00:00Z"}, "more than 24 h ahead"),
            ({"action": "start", "time": "2026-01-01T00:00:00"}, "timezone"),
            ({"action": "register", "planned": -1}, ">= 0"),
            ({"action": "register", "label": "x" * 1_001}, "1000"),
            ({"action": "register", "delivery_id": "DM1"}, "unknown field `delivery_id`"),
            (["register"], "Expected `object`"),
        ],
    )
    async def test_what_breaks_the_contract(self, worker, body, told):
        found = await problem_of(
            worker, self.CONTROL, 400, "invalid-request", method="POST", token=WRITE_TOKEN, json=body
        )
        assert told in found["detail"]
        assert worker.published == []

    @pytest.mark.parametrize(
        ("body", "kind"), [({"action": "explode"}, Action), ({"action": "start", "channel": "tv"}, Channel)]
    )
    async def test_a_word_that_is_not_known_is_answered_with_those_that_are(self, worker, body, kind):
        found = await problem_of(
            worker, self.CONTROL, 400, "invalid-request", method="POST", token=WRITE_TOKEN, json=body
        )
        assert found["allowed"] == [member.value for member in kind]
        assert found["detail"].endswith(f"allowed: {', '.join(found['allowed'])}")

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 10_000, b"null"])
    async def test_what_is_no_json(self, worker, body):
        options = {"method": "POST", "token": WRITE_TOKEN, "headers": {"Content-Type": "application/json"}}
        await problem_of(worker, self.CONTROL, 400, "invalid-request", data=body, **options)

    async def test_a_form_is_not_taken(self, worker):
        options = {"method": "POST", "token": WRITE_TOKEN, "data": {"action": "cancel"}}
        await problem_of(worker, self.CONTROL, 400, "invalid-request", **options)

    async def test_a_body_has_its_limit(self, worker):
        options = {"method": "POST", "token": WRITE_TOKEN, "headers": {"Content-Type": "application/json"}}
        await problem_of(worker, self.CONTROL, 413, "too-large", data=b" " * 70_000, **options)

    async def test_writing_needs_its_token(self, worker):
        for token in (None, READ_TOKEN, "wrong"):
            await problem_of(worker, self.CANCEL, 401, "unauthorized", method="POST", token=token)
        assert worker.published == []

    async def test_writing_is_off_without_one(self):
        async with workers(write_token="") as [worker]:
            await problem_of(worker, self.CANCEL, 403, "forbidden", method="POST", token=WRITE_TOKEN)

    async def test_kafka_is_away(self, worker):
        worker.failure.append(OSError("no route to host"))
        await problem_of(worker, self.CANCEL, 503, "broker-away", method="POST", token=WRITE_TOKEN)


class TestErrors:
    async def test_no_such_path(self, worker):
        for path in ("/api/v1/nothing", "/api/", "/api/v1/messages/", "/internal/v1/nothing"):
            await problem_of(worker, path, 404, "no-route")

    @pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
    async def test_no_such_method(self, worker, method):
        status, body, headers = await worker.ask("/api/v1/messages/m-1", method=method)
        assert (status, headers["Allow"], body["allowed"]) == (405, "GET, HEAD", ["GET", "HEAD"])

    async def test_a_fault_of_ours_is_told_as_one_and_no_more(self, worker, monkeypatch):
        def fail(*_):
            raise RuntimeError("the secret")

        monkeypatch.setattr(worker.answers, "providers", fail)
        body = await problem_of(worker, "/api/v1/providers", 500, "internal-error")
        assert "secret" not in json.dumps(body)

    async def test_head_is_get_without_its_body(self, worker):
        for path in ("/api/v1/messages/m-1", "/api/v1/overview", "/api/openapi.json", "/api/v1/events"):
            status, body, headers = await worker.ask(path, method="HEAD")
            assert (status, body) == (200, None)
            assert headers["Content-Type"].startswith(("application/json", "text/event-stream"))

    async def test_reading_needs_a_token_beyond_this_machine(self):
        tokens = {"read_token": READ_TOKEN, "write_token": WRITE_TOKEN}
        async with workers(**tokens, addresses_key="a secret of senders") as [worker]:
            for route in ROUTES:
                if not route.writes:
                    token = WRITE_TOKEN if route.is_for_operators else READ_TOKEN
                    asked: dict = {"method": route.method}
                    if route.body is not None:
                        asked["json"] = {"recipient": "ulla@example.com"}
                    path = route.path.replace("{message_id}", "m-1").replace("{delivery_id}", "DM1")
                    path = path.replace("{letter_id}", "0-1").replace("{address}", "email%7C" + "0" * 32)
                    path += "".join(f"?{parameter.name}=x" for parameter in route.query if parameter.is_required)
                    await problem_of(worker, path, 401, "unauthorized", **asked)
                    if route.media_type == openapi.JSON:
                        assert (await worker.ask(path, token, **asked))[0] == 200
            for path in ("/livez", "/readyz"):
                assert (await worker.ask(path))[0] == 200
            async with worker.session.get(worker.url + "/metrics") as response:
                assert response.status == 200


class TestLive:
    @pytest.fixture(autouse=True)
    def often(self, monkeypatch):
        monkeypatch.setattr("processor.web.live.SNAPSHOT_SECONDS", 0.05)
        monkeypatch.setattr("processor.web.live.HEARTBEAT_SECONDS", 0.1)
        monkeypatch.setattr("processor.web.gathering._FRESH_SECONDS", 0.0)

    async def line(self, response):
        """Read a line; it is empty at the end of each event."""
        return (await asyncio.wait_for(response.content.readline(), 60)).decode().rstrip("\n")

    async def events(self, response, number):
        """Read so many events, comments among them."""
        found = []
        while len(found) < number:
            lines = []
            while (line := await self.line(response)) or not lines:
                lines.append(line)
            found.append("\n".join(lines))
        return found

    async def test_a_snapshot_comes_at_once_and_then_only_what_differs(self, worker):
        async with worker.session.get(worker.url + "/api/v1/events") as response:
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Accel-Buffering"] == "no"
            hello, first, second, third = await self.events(response, 4)
            assert hello == "retry: 3000"
            assert first.startswith("event: overview\ndata: {")
            overview = json.loads(first.partition("data: ")[2])
            assert overview["messages"]["email"]["failed"] == 1
            assert [second, third] == [": alive", ": alive"]
            bury(worker, 3)
            while (event := (await self.events(response, 1))[0]) == ": alive":
                pass
            assert json.loads(event.partition("data: ")[2])["wrong"]["dead_letters"] == {"invalid_json": 3}

    async def test_what_cannot_be_told_is_a_problem_of_its_own(self, worker):
        worker.following.is_caught_up = False
        async with worker.session.get(worker.url + "/api/v1/events") as response:
            _, event = await self.events(response, 2)
            assert event.startswith("event: problem\ndata: {")
            assert json.loads(event.partition("data: ")[2])["type"] == PROBLEM + "starting"

    async def test_streams_are_limited_and_those_who_leave_make_room(self, worker):
        worker.api.live._max_streams = 2
        async with worker.session.get(worker.url + "/api/v1/events") as one:
            await self.events(one, 1)
            async with worker.session.get(worker.url + "/api/v1/events") as two:
                await self.events(two, 1)
                await problem_of(worker, "/api/v1/events", 503, "too-many-streams")
        deadline = asyncio.get_running_loop().time() + 60
        while worker.api.live._streams:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
        async with worker.session.get(worker.url + "/api/v1/events") as three:
            assert three.status == 200

    async def test_nobody_listens_nothing_is_made(self, worker):
        async with worker.session.get(worker.url + "/api/v1/events") as response:
            await self.events(response, 2)
        making = worker.api.live._making
        await asyncio.wait_for(asyncio.wait({making}), 60)
        assert making.exception() is None

    async def test_a_server_that_stops_does_not_wait_for_those_who_listen(self, monkeypatch):
        monkeypatch.setattr("processor.web.server._LAST_SECONDS", 3_600.0)
        async with workers() as [worker], worker.session.get(worker.url + "/api/v1/events") as response:
            await self.events(response, 2)
            await asyncio.wait_for(worker.server.stop(), 60)
            while await asyncio.wait_for(response.content.read(1_000), 60):
                pass


def test_tokens_of_the_fixtures_are_good_ones():
    from processor.settings import load

    names = {
        "DELIVERY_READ_TOKEN": READ_TOKEN,
        "DELIVERY_WRITE_TOKEN": WRITE_TOKEN,
        "DELIVERY_INTERNAL_TOKEN": HOP_TOKEN,
    }
    assert load(names) == Settings(read_token=READ_TOKEN, write_token=WRITE_TOKEN, internal_token=HOP_TOKEN)
