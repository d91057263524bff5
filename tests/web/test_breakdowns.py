"""Breakdowns over several workers: each partition counts once, by its owner."""

import asyncio
from urllib.parse import quote

from processor.views.breakdown import Breakdown, BreakdownQuery, By
from processor.views.message_query import MessageQuery
from processor.web.breakdowns import Breakdowns
from tests.web.workers import EVENTS_TOPIC, PARTITIONS, WRITE_TOKEN, TheGroup, ago, event, unsettled, workers

BY_PLACE = BreakdownQuery(MessageQuery(delivery="DM1"), By.PLACE)


def many(number: int) -> list[dict]:
    return [
        event(f"n-{each}", "sent", ago(minutes=each), delivery_id="DM1", recipient=f"a@d{each % 3}.example")
        for each in range(number)
    ]


def numbers(found: Breakdown) -> dict[str, int]:
    return {group.name[0]: group.messages for group in found.groups}


async def test_every_worker_gives_the_same():
    async with workers(3, events=many(30)) as several:
        for worker in several:
            found = await worker.answers.breakdown(BY_PLACE)
            assert numbers(found) == {"d0.example": 10, "d1.example": 10, "d2.example": 10}
            assert (found.messages, found.is_whole, found.incomplete) == (30, True, ())


async def test_without_the_group_a_worker_tells_of_its_own():
    group = TheGroup()
    async with workers(2, group, events=many(30)) as [one, _]:
        group.error = unsettled()
        found = await one.answers.breakdown(BY_PLACE)
        assert found.incomplete == (1, 3, 5)
        assert found.messages < 30


async def test_what_a_worker_still_believes_in_counts_once():
    group = TheGroup()
    async with workers(2, group, events=many(30)) as [one, other]:
        stale = dict(one.owned.works)
        for number in stale:
            group.owners[EVENTS_TOPIC, number] = other.url
        other.owned.works |= stale
        assert (await one.answers.breakdown(BY_PLACE)).messages == 30


async def test_the_api_gives_it_too_by_the_filters_of_lists():
    async with workers(2, events=many(30)) as [one, _]:
        status, body, _ = await one.ask("/api/v1/breakdown?by=place&delivery=DM1&domain=d1.example", WRITE_TOKEN)
        assert status == 200
        assert body["groups"] == [{"name": ["d1.example"], "messages": 10, "success": 10, "failed": 0}]
        assert (body["messages"], body["is_whole"], body["incomplete"]) == (10, True, [])
        assert (await one.ask("/api/v1/breakdown?by=age", WRITE_TOKEN))[0] == 400


async def test_the_history_of_a_domain_is_read_from_the_rows_of_all_workers():
    async with workers(2, events=many(30)) as [one, other]:
        path = "/api/v1/history?domain=d1.example&span=1h"
        status, body, _ = await one.ask(path, WRITE_TOKEN)
        assert status == 200
        assert (len(body["points"]), body["known_since"], body["incomplete"]) == (60, None, [])
        found = [point["statuses"] for point in body["points"] if point["statuses"]]
        assert found == [{"sent": 1}] * 10
        assert sum(point["success"] for point in body["points"]) == 10
        assert (await other.ask(path, WRITE_TOKEN))[1]["points"] == body["points"]
        assert (await one.ask(path + "&delivery=DM2", WRITE_TOKEN))[1]["points"][0]["processed"] == 0
        for campaign, number in (("autumn", 10), ("none of ours", 0)):
            _, body, _ = await one.ask(f"{path}&campaign={quote(campaign)}", WRITE_TOKEN)
            assert sum(point["success"] for point in body["points"]) == number


async def test_a_history_of_a_domain_that_stops_early_says_since_when_it_is_whole(monkeypatch):
    monkeypatch.setattr("processor.web.breakdowns.LOOKED_AT_MAX", PARTITIONS * 2)
    async with workers(1, events=many(90)) as [one]:
        _, body, _ = await one.ask("/api/v1/history?domain=d1.example&span=3h", WRITE_TOKEN)
        assert body["known_since"] == body["points"][0]["time"]
        assert 0 < len(body["points"]) < 90


async def test_only_a_worker_may_ask_for_a_share():
    async with workers(1) as [one]:
        body = {"messages": {}, "by": "place"}
        status, _, _ = await one.ask("/internal/v1/message-breakdown", WRITE_TOKEN, "POST", json=body)
        assert status == 403


async def test_few_are_at_it_at_once_since_messages_are_folded_in_the_same_loop(monkeypatch):
    running: list[BreakdownQuery] = []
    most = 0

    async def look_through(_: Breakdowns, query: BreakdownQuery) -> dict:
        nonlocal most
        running.append(query)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.pop()
        return {}

    monkeypatch.setattr(Breakdowns, "_look_through", look_through)
    async with workers(1) as [one]:
        await asyncio.gather(*[one.answers.breakdown(BY_PLACE) for _ in range(9)])
    assert most == 2
