"""Dead letters by the API and on the page: who sees what of them, and what is done with the write token only."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.engine.clients import KafkaConnectionError
from processor.engine.letters import LetterCounter, LetterPage
from processor.engine.replaying import TakenOverError
from processor.web import topic_reading
from processor.web.api import Api
from processor.web.dead_letters import IDS_MAX, DeadLetters
from processor.web.problems import BROKER_AWAY, ProblemError
from tests.engine.harness import eventually
from tests.web.letters import LettersInMemory
from tests.web.page_reader import Reader
from tests.web.page_server import OPEN, Stream, application
from tests.web.workers import WRITE_TOKEN, workers
from tests.web.world import WRITE_TOKEN as PAGE_TOKEN
from tests.web.world import World

KEPT = "/api/v1/dead-letters/kept"
PROBLEM = "urn:delivery-status:problem:"
WRITER = {"Authorization": f"Bearer {WRITE_TOKEN}"}


@pytest.fixture
async def worker():
    async with workers() as [one]:
        yield one


@pytest.fixture
def letters(worker):
    """What stands in for the topics."""
    api: Api = worker.api
    return api._letters._source


async def settle(worker, what, body, headers=WRITER):
    return await worker.ask(f"/api/v1/dead-letters/{what}", method="POST", json=body, headers=headers)


class Hanging(LettersInMemory):
    """Topics that never answer."""

    async def page(self, *_: Any, **__: Any) -> LetterPage:
        return await asyncio.Event().wait()

    async def count(self, most: int | None = None) -> LetterCounter:
        return await asyncio.Event().wait()


async def test_who_waits_for_others_that_hang_waits_no_longer_than_told(monkeypatch):
    """Each reader has connections and buffers, so that few are at it; the others wait for them."""
    monkeypatch.setattr(topic_reading, "PATIENCE_SECONDS", 0.05)
    asked = DeadLetters(Hanging())
    for given in await asyncio.gather(*[asked.list({}, reveal=False) for _ in range(9)], return_exceptions=True):
        assert isinstance(given, ProblemError)
        assert given.kind is BROKER_AWAY


async def test_so_do_those_that_wait_for_another_count(monkeypatch):
    asked = DeadLetters(Hanging())
    first = asyncio.ensure_future(asked.counts())
    await asyncio.sleep(0)
    with pytest.raises(ProblemError):
        await asked.counts(0.05)
    first.cancel()


class TestApi:
    async def test_they_are_listed_newest_first_page_by_page(self, worker):
        _, first, _ = await worker.ask(f"{KEPT}?limit=2")
        assert [item["id"] for item in first["items"]] == ["0-3", "0-2"]
        _, rest, _ = await worker.ask(f"{KEPT}?limit=2&cursor={first['next']}")
        assert [item["id"] for item in rest["items"]] == ["0-1"]
        assert rest["next"] is None
        _, found, _ = await worker.ask(f"{KEPT}?reason=invalid_encoding")
        assert [item["id"] for item in found["items"]] == ["0-2"]
        _, found, _ = await worker.ask(f"{KEPT}?provider=twilio")
        assert found["items"] == []

    async def test_recipients_are_masked_in_every_part(self, worker):
        _, found, _ = await worker.ask(KEPT)
        _, view, _ = await worker.ask(f"{KEPT}/0-1")
        for told in (str(found), str(view)):
            assert "anna.berg" not in told
            assert "ulrika.holm" not in told
        assert view["text"].startswith('{"to":"u***@example.com"')
        _, view, _ = await worker.ask(f"{KEPT}/0-2")
        assert (view["text"], view["base64"], view["is_withheld"]) == (None, None, True)

    async def test_who_may_write_sees_the_bytes(self, worker):
        _, view, _ = await worker.ask(f"{KEPT}/0-1", headers=WRITER)
        assert "ulrika.holm@example.com" in view["text"]
        assert (view["key"], view["provider"], view["runbook"]) == (
            "anna.berg@example.com",
            "ses",
            "docs/runbooks/DeliveryDeadLetters.md",
        )
        _, view, _ = await worker.ask(f"{KEPT}/0-2", headers=WRITER)
        assert view["base64"] is not None

    async def test_a_cut_one_says_that_it_cannot_be_replayed(self, worker):
        _, view, _ = await worker.ask(f"{KEPT}/0-3")
        assert view["is_cut"]
        assert view["size"] == 9_000
        assert "only the beginning is left" in view["obstacle"]

    @pytest.mark.parametrize("name", ["0-9", "x", "9-9", "0-1-1"])
    async def test_one_that_is_not_kept(self, worker, name):
        status, body, _ = await worker.ask(f"{KEPT}/{name}")
        assert (status, body["type"]) == (404, f"{PROBLEM}dead-letter-not-known")

    @pytest.mark.parametrize("query", ["reason=bad", "state=gone", "cursor=x", "limit=0", "more=1"])
    async def test_a_wrong_parameter(self, worker, query):
        assert (await worker.ask(f"{KEPT}?{query}"))[0] == 400

    async def test_a_replay_says_what_it_did_and_what_it_left(self, worker, letters):
        status, body, _ = await settle(worker, "replay", {"ids": ["0-1", "0-3", "0-9"]})
        assert status == 200, body
        assert body["settled"] == ["0-1"]
        assert [each["id"] for each in body["refused"]] == ["0-3", "0-9"]
        assert [str(each) for each in letters.replayed] == ["0-1"]
        _, again, _ = await settle(worker, "replay", {"ids": ["0-1"]})
        assert again["settled"] == []
        _, forced, _ = await settle(worker, "replay", {"ids": ["0-1"], "force": True})
        assert forced["settled"] == ["0-1"]
        _, waiting, _ = await worker.ask(f"{KEPT}?state=waiting")
        assert [item["id"] for item in waiting["items"]] == ["0-3", "0-2"]

    async def test_a_discard_hides_it_and_a_dry_run_does_nothing(self, worker):
        assert (await settle(worker, "discard", {"ids": ["0-3"], "dry_run": True}))[1]["settled"] == ["0-3"]
        assert (await worker.ask(f"{KEPT}/0-3"))[1]["state"] == "waiting"
        assert (await settle(worker, "discard", {"ids": ["0-3"]}))[1]["settled"] == ["0-3"]
        assert (await worker.ask(f"{KEPT}/0-3"))[1]["state"] == "discarded"

    async def test_those_that_wait_are_known_at_once_once_they_were_counted(self, letters):
        now = [0.0]
        asked = DeadLetters(letters, lambda: now[0])
        assert await asked.waiting() == dict.fromkeys((each.reason for each in letters.kept), 1)
        letters.kept = letters.kept[:1]
        assert len(await asked.waiting() or {}) == 3, "they are good for a while"
        now[0] += 3_600
        assert len(await asked.waiting() or {}) == 3, "they are made anew meanwhile"

        async def are_new() -> bool:
            return await asked.waiting() == {letters.kept[0].reason: 1}

        await eventually(are_new, "the new ones")
        letters.failure = OSError("no route to host")
        now[0] += 3_600
        assert await asked.waiting() == {letters.kept[0].reason: 1}
        await asked.stop()

    async def test_they_are_counted_by_reason_and_by_what_became_of_them(self, worker):
        _, before, _ = await worker.ask("/api/v1/dead-letters/counts")
        assert before["is_whole"]
        assert {each["reason"]: each["waiting"] for each in before["items"]} == {
            "invalid_encoding": 1,
            "invalid_json": 1,
            "record_too_large": 1,
        }
        await settle(worker, "discard", {"ids": ["0-3"]})
        _, after, _ = await worker.ask("/api/v1/dead-letters/counts")
        # What is settled here is seen at once.
        assert after["items"][-1] == {"reason": "record_too_large", "waiting": 0, "replayed": 0, "discarded": 1}

    @pytest.mark.parametrize(
        "body", [{}, {"ids": []}, {"ids": ["x"]}, {"ids": ["0-1"], "all": True}, {"ids": ["0-1"] * (IDS_MAX + 1)}]
    )
    async def test_what_names_none_is_refused(self, worker, letters, body):
        assert (await settle(worker, "replay", body))[0] == 400
        assert letters.replayed == []

    @pytest.mark.parametrize("what", ["replay", "discard"])
    async def test_without_the_write_token_nothing_is_done(self, worker, letters, what):
        assert (await settle(worker, what, {"ids": ["0-1"]}, headers={}))[0] in {401, 403}
        assert letters.replayed == []

    async def test_another_that_has_taken_over_and_an_absent_kafka_are_told(self, worker, letters):
        letters.failure = TakenOverError()
        status, body, _ = await settle(worker, "replay", {"ids": ["0-1"]})
        assert (status, body["type"]) == (409, f"{PROBLEM}taken-over")
        letters.failure = KafkaConnectionError()
        status, body, _ = await worker.ask(KEPT)
        assert (status, body["type"]) == (503, f"{PROBLEM}broker-away")


class TestPage:
    @pytest.fixture
    def world(self) -> World:
        return World()

    @pytest.fixture
    async def reader(self, world) -> AsyncIterator[Reader]:
        async with TestClient(TestServer(application(world, Stream(), OPEN))) as client:
            yield Reader(client)

    async def test_from_the_overview_to_the_bytes(self, reader):
        overview = await reader.get("/")
        assert "/dead-letters?reason=invalid_json&state=waiting" in {link["href"] for link in overview.all("a")}
        listed = await reader.get("/dead-letters?reason=invalid_json&state=waiting")
        assert "/dead-letters/0-1" in {link["href"] for link in listed.all("a")}
        assert ["Not JSON invalid_json", "1", "0", "0"] in listed.rows()
        page = await reader.get("/dead-letters/0-1")
        assert "u***@example.com" in page.text
        assert "anna.berg" not in page.text
        assert "docs/runbooks/DeliveryDeadLetters.md" in page.text

    async def test_hostile_bytes_are_text_and_nothing_else(self, reader):
        async with reader.client.get("/dead-letters/0-1") as response:
            written = await response.text()
        assert "<script>alert" not in written
        assert "\x1b" not in written
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in written

    async def test_it_is_replayed_with_the_write_token_only_and_once(self, reader, world):
        page = await reader.send("/dead-letters/0-1", 403, token="wrong", do="replay")
        assert "That is neither the write token nor an operator" in page.text
        assert world.letters.replayed == []
        led = await reader.send("/dead-letters/0-1", 303, token=PAGE_TOKEN, do="replay")
        assert led == "/dead-letters/0-1?done"
        assert "It has been published again." in (await reader.get(led)).text
        again = await reader.send("/dead-letters/0-1", 409, token=PAGE_TOKEN, do="replay")
        assert "It was replayed or discarded before" in again.text
        assert len(world.letters.replayed) == 1

    async def test_one_that_cannot_be_replayed_says_so_and_can_be_discarded(self, reader):
        page = await reader.get("/dead-letters/0-3")
        assert "It cannot be replayed." in page.text
        assert "Replay" not in {button.text for button in page.all("button")}
        assert await reader.send("/dead-letters/0-3", 303, token=PAGE_TOKEN, do="discard")
        assert "/dead-letters/0-3" not in {link["href"] for link in (await reader.get("/dead-letters")).all("a")}

    async def test_a_form_that_says_nothing_does_nothing(self, reader, world):
        assert "Choose what is to be done." in (await reader.send("/dead-letters/0-1", 400, token=PAGE_TOKEN)).text
        assert world.letters.replayed == []

    async def test_one_that_is_not_kept_is_not_found(self, reader):
        assert "No such dead letter" in (await reader.get("/dead-letters/0-77", 404)).text
