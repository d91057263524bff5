"""Lists of messages: over all workers, newest change first, page by page, whoever owns what meanwhile."""

import asyncio
import json
from collections.abc import Iterable
from itertools import count, pairwise
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from processor.domain.reason import Category
from processor.stages import index
from processor.stages.index import Index
from processor.views import message_list
from processor.web.message_query import MESSAGE_PARAMETERS
from tests.web.workers import (
    EVENTS_TOPIC,
    ODD_ID,
    PARTITIONS,
    READ_TOKEN,
    WRITE_TOKEN,
    TheGroup,
    Work,
    ago,
    event,
    unsettled,
    workers,
)

REASON = {"permanence": "permanent", "category": "user_unknown", "code": "5.1.1", "text": "<ulla@example.com> unknown"}


def many(number: int, **more: Any) -> list[dict[str, Any]]:
    """Give messages of which several changed at one moment."""
    return [event(f"n-{each}", "sent", ago(minutes=each // 3), **more) for each in range(number)]


async def page(worker: Any, token: str | None = WRITE_TOKEN, **query: Any) -> dict[str, Any]:
    status, body, _ = await worker.ask(f"/api/v1/messages?{urlencode(query)}", token)
    assert status == 200, body
    return body


async def ids(worker: Any, **query: Any) -> list[str]:
    return [item["message_id"] for item in (await page(worker, **query))["items"]]


async def all_pages(asked: Iterable[Any], **query: Any) -> list[str]:
    """Give the ids of all pages, each from the next one of some workers."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    for worker in asked:
        body = await page(worker, **query, **cursor)
        assert body["incomplete"] == []
        found += [item["message_id"] for item in body["items"]]
        if body["next"] is None:
            return found
        cursor = {"cursor": body["next"]}
    raise AssertionError("there are more pages")


@pytest.fixture
async def worker():
    async with workers() as [one]:
        yield one


async def test_lists_the_newest_change_first(worker):
    assert await ids(worker) == ["m-held", "m-2", "m-1", ODD_ID, "s-1"]


async def test_an_item_tells_what_the_message_tells(worker):
    item = (await page(worker, delivery="DM1", status="failed"))["items"]
    whole = (await worker.ask("/api/v1/messages/m-1", WRITE_TOKEN))[1]
    assert [{name: whole[name] for name in each if name != "reference"} for each in item] == [
        {name: value for name, value in each.items() if name != "reference"} for each in item
    ]
    assert [each["reference"] for each in item] == ["m-1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"delivery": "DM1"}, ["m-2", "m-1"]),
        ({"delivery": "DM"}, []),
        ({"delivery": "DM1", "status": "failed"}, ["m-1"]),
        ({"delivery": "DM/3 ü"}, [ODD_ID]),
        ({"status": "pending"}, ["m-held", ODD_ID]),
        ({"channel": "sms"}, ["s-1"]),
        ({"category": "user_unknown"}, ["m-1"]),
        ({"category": "undefined", "status": "ignored"}, ["m-2"]),
        ({"permanence": "permanent"}, ["m-1"]),
        ({"permanence": "gave_up"}, []),
        ({"provider": "twilio"}, ["s-1"]),
        ({"domain": "Example.com"}, ["m-held", "m-1"]),
        ({"domain": "ample.com"}, []),
        ({"recipient": "ulla.b@example.com"}, ["m-1"]),
        ({"recipient": "Ulla <ULLA.B@Example.com>"}, ["m-1"]),
        ({"recipient": "ulla.b"}, []),
        ({"recipient": "0046 70-123 45 12"}, ["s-1"]),
        ({"recipient": "0046 70-123 45 12", "status": "pending"}, []),
        ({"provider_message_id": "1d98"}, ["m-1"]),
        ({"provider_message_id": "1D98"}, []),
        ({"provider_message_id": "1d98", "recipient": "x@example.com"}, []),
        ({"since": ago(minutes=27), "until": ago(minutes=27)}, ["m-2"]),
        ({"since": ago(minutes=27)}, ["m-held", "m-2"]),
        ({"until": ago(minutes=100)}, [ODD_ID, "s-1"]),
        ({"recipient": "ulla.b@example.com", "until": ago(minutes=29)}, []),
        ({"stuck": "true"}, [ODD_ID, "s-1"]),
        ({"stuck": "false", "status": "pending"}, ["m-held"]),
        ({"rejected": "sent"}, ["m-2"]),
        ({"rejected": "failed"}, []),
    ],
    ids=lambda given: "+".join(given) if isinstance(given, dict) else "",
)
async def test_lists_what_is_asked_for(worker, query, found):
    assert await ids(worker, **query) == found


async def test_a_message_is_unanswered_from_its_hand_over_to_its_providers_answer():
    waits = [event("handed-over", "sent_to_provider", ago(minutes=3), channel="sms", provider="twilio")]
    answered = [event("answered", "sent", ago(minutes=2), channel="sms", provider="twilio")]
    with_the_sender = [event("pending", "pending", ago(minutes=1), channel="sms", provider="twilio")]
    async with workers(events=[*waits, *answered, *with_the_sender]) as [one]:
        assert await ids(one, unanswered="true") == ["handed-over"]
        assert await ids(one, unanswered="false") == ["pending", "answered"]


async def test_a_message_waits_for_the_start_of_its_delivery_and_is_not_stuck():
    waits = event("waits", "pending", ago(hours=5), delivery_id="DM3")
    async with workers(events=[waits]) as [one]:
        assert await ids(one, stuck="true") == []
        assert await ids(one, stuck="false") == ["waits"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 29, 30, 31])
async def test_pages_hold_every_message_once_in_order_from_any_worker(limit):
    async with workers(3, events=many(30)) as asked:
        whole = await ids(asked[0], limit=100)
        assert sorted(whole) == sorted(f"n-{each}" for each in range(30))
        assert await all_pages([*asked * 30], limit=limit) == whole
        assert (await page(asked[1], limit=30))["next"] is None


async def test_a_cursor_is_good_after_a_rebalance():
    group = TheGroup()
    async with workers(2, group, events=many(30)) as [one, other]:
        whole = await ids(one, limit=100)
        first = await page(one, limit=10)
        for number in range(PARTITIONS):
            works = one.owned.works | other.owned.works
            group.owners[EVENTS_TOPIC, number] = other.url
            other.owned.works[number] = works[number]
        one.owned.works.clear()
        second = await page(one, limit=10, cursor=first["next"])
        third = await page(other, limit=10, cursor=second["next"])
        rest = [item["message_id"] for item in (*second["items"], *third["items"])]
        assert [item["message_id"] for item in first["items"]] + rest == whole


async def test_any_message_of_a_page_is_a_place_to_go_on(worker):
    items = (await page(worker))["items"]
    for place, item in enumerate(items):
        assert await ids(worker, cursor=f"{item['since']}/{item['reference']}") == [
            each["message_id"] for each in items[place + 1 :]
        ]


async def test_a_page_stops_after_some_work_and_goes_on_behind_it(monkeypatch):
    monkeypatch.setattr(message_list, "_LOOKED_AT_MAX", 4)
    monkeypatch.setattr(message_list, "_AT_A_TIME", 3)
    wanted = event("wanted", "sent", ago(days=2), provider="twilio")
    async with workers(2, events=[*many(30), wanted]) as [one, other]:
        first = await page(one, provider="twilio")
        assert first["items"] == []
        assert first["next"]
        assert await all_pages([one, other] * 30, provider="twilio") == ["wanted"]


async def test_a_name_that_many_messages_have_is_listed_by_time(monkeypatch):
    monkeypatch.setattr(message_list, "_NAMED_MAX", 3)
    for recipient in ("trial@example.com", "+46701234512"):
        async with workers(2, events=[*many(9, recipient=recipient), event("m-1", "sent", ago(days=2))]) as asked:
            found = await all_pages(asked * 30, recipient=recipient, limit=4)
            assert sorted(found) == [f"n-{each}" for each in range(9)]
            assert found == await ids(asked[0], recipient=recipient)


class TestWhatCannotBeAsked:
    async def test_a_partition_that_recovers_is_missing(self):
        async with workers(2) as [one, other]:
            other.owned.recovering = {1, 3}
            assert (await page(one))["incomplete"] == [1, 3]

    async def test_without_the_group_a_worker_lists_its_own(self):
        group = TheGroup()
        async with workers(2, group) as [one, _]:
            group.error = unsettled()
            assert (await page(one))["incomplete"] == [1, 3, 5]

    async def test_what_a_worker_still_believes_in_counts_for_nothing(self):
        group = TheGroup()
        async with workers(2, group, events=many(30)) as [one, other]:
            stale = dict(one.owned.works)
            for number in stale:
                group.owners[EVENTS_TOPIC, number] = other.url
            assert (await page(one, limit=100))["incomplete"] == sorted(stale)
            other.owned.works |= stale
            body = await page(one, limit=100)
            assert (len(body["items"]), body["incomplete"]) == (30, [])

    async def test_what_is_not_indexed_is_a_problem_that_names_the_setting(self, worker):
        for work in worker.owned.works.values():
            work.indexed = ("recipient",)
        assert await ids(worker, recipient="ulla.b@example.com") == ["m-1"]
        status, body, _ = await worker.ask("/api/v1/messages?status=failed")
        assert (status, body["type"]) == (501, "urn:delivery-status:problem:not-indexed")
        assert "DELIVERY_INDEX" in body["detail"]

    async def test_a_recipient_that_is_not_indexed_is_looked_for_by_time(self, worker):
        for work in worker.owned.works.values():
            work.indexed = ("delivery",)
        assert await ids(worker, recipient="ulla.b@example.com") == ["m-1"]

    @pytest.mark.parametrize(
        "cursor",
        ["x", "/", "2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z/", "never/m-1", "2026-11-23T08:00:00Z/sealed.1.AAAA"],
    )
    async def test_a_cursor_that_is_none_is_refused(self, worker, cursor):
        status, body, _ = await worker.ask(f"/api/v1/messages?cursor={quote(cursor)}")
        assert (status, body["type"]) == (400, "urn:delivery-status:problem:invalid-request")
        assert "cursor" in body["detail"]

    @pytest.mark.parametrize("name", [each.name for each in MESSAGE_PARAMETERS])
    async def test_no_parameter_takes_what_is_no_text(self, worker, name):
        status, _, _ = await worker.ask(f"/api/v1/messages?{name}=%ed%a0%80")
        assert status in {200, 400}


class TestMasks:
    async def test_readers_see_masks_and_find_by_the_whole_address(self):
        async with workers(2, read_token=READ_TOKEN) as [one, other]:
            for worker in (one, other):
                body = await page(worker, READ_TOKEN)
                text = json.dumps(body).lower()
                assert [told for told in ("ulla.b", "ulla@", "x@example", "1234512") if told in text] == []
                found = (await page(worker, READ_TOKEN, recipient="ulla.b@example.com"))["items"]
                assert [item["recipient"] for item in found] == ["u***@example.com"]

    async def test_references_and_cursors_lead_on_without_the_address(self):
        async with workers(2, read_token=READ_TOKEN) as [one, other]:
            [odd] = (await page(one, READ_TOKEN, delivery="DM/3 ü"))["items"]
            assert odd["message_id"] != ODD_ID
            status, body, _ = await other.ask(f"/api/v1/messages/{quote(odd['reference'])}", WRITE_TOKEN)
            assert (status, body["message_id"]) == (200, ODD_ID)
            # The page ends at the message whose id is masked.
            four = await page(one, READ_TOKEN, limit=4)
            assert "ulla" not in four["next"]
            assert [item["message_id"] for item in (await page(other, READ_TOKEN, cursor=four["next"]))["items"]] == [
                "s-1"
            ]

    async def test_workers_without_a_token_tell_each_other_masks_only(self):
        async with workers(2, write_token="", internal_token="") as [one, other]:
            for worker in (one, other):
                hop = {"Delivery-Hop": "unsigned"}
                status, share, _ = await worker.ask("/internal/v1/message-list", method="POST", json={}, headers=hop)
                assert status == 200
                assert "ulla.b" not in json.dumps(share).lower()
            assert "u***@example.com" in json.dumps(await page(one, None))

    async def test_only_a_worker_may_ask_for_a_share(self, worker):
        status, _, _ = await worker.ask("/internal/v1/message-list", WRITE_TOKEN, "POST", json={})
        assert status == 403


def test_every_category_can_be_asked_for():
    [category] = [each for each in MESSAGE_PARAMETERS if each.name == "category"]
    assert set(category.allowed) == {each.value for each in Category}


class TestSoonAfterAStart:
    """Rows that were restored into memory are indexed later, or when the first list is asked for."""

    @pytest.fixture
    async def restored(self, monkeypatch):
        monkeypatch.setattr(index, "_ROWS_AT_A_TIME", 1)
        async with workers(events=many(300)) as [one]:
            one.owned.works = {number: Work(work.rows, is_new=True) for number, work in one.owned.works.items()}
            yield one

    async def test_the_first_list_is_whole(self, restored):
        async with workers(events=many(300)) as [settled]:
            assert await ids(restored, limit=300) == await ids(settled, limit=300)

    async def test_other_work_goes_on_between_two_shares_of_the_rows(self, restored, monkeypatch):
        turns, told = count(), []

        async def fold() -> None:
            while True:
                next(turns)
                await asyncio.sleep(0)

        def advance(self: Index) -> bool:
            told.append((self._store.index_some(1), next(turns)))
            return told[-1][0]

        monkeypatch.setattr(Index, "advance", advance)
        folding = asyncio.ensure_future(fold())
        assert len(await ids(restored, limit=300)) == 300
        folding.cancel()
        unfinished = [turn for is_whole, turn in told if not is_whole]
        assert len(unfinished) > 100
        assert all(later - earlier > 1 for earlier, later in pairwise(unfinished))

    async def test_a_breakdown_waits_for_them_too(self, restored):
        status, body, _ = await restored.ask("/api/v1/breakdown?by=place", WRITE_TOKEN)
        assert status == 200, body
        assert (body["messages"], body["is_whole"]) == (300, True)
