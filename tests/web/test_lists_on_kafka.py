"""Lists of real workers on a real broker: whole and in order, also while a worker is killed, and by what it left."""

import asyncio
import json
from datetime import datetime, timedelta, timezone
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from processor.demo.simulate import canonical_events
from processor.domain.moment import to_microseconds
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKENS = {"internal_token": "a-token-among-the-workers", "write_token": "a-token-to-write-with"}
HEADERS = {"Authorization": f"Bearer {TOKENS['write_token']}"}


def events(seed: int, messages: int) -> list[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=30)
    lives = canonical_events(seed, messages, start, out_of_order=0.1, duplicates=0.05)
    return [event.replace(b'"m-', b'"m%d-' % seed) for event in lives]


async def ask(session: Any, worker: Any, path: str, **query: Any) -> tuple[int, Any]:
    """Ask a worker; status 0 when it does not answer."""
    try:
        async with session.get(f"{await worker.address()}{path}?{urlencode(query)}", headers=HEADERS) as response:
            return response.status, json.loads(await response.read())
    except (aiohttp.ClientError, asyncio.TimeoutError):
        return 0, None


async def whole_page(session: Any, asked: Any, **query: Any) -> dict[str, Any]:
    """Ask workers in turn, with the same cursor, until all partitions have answered."""

    async def page() -> Any:
        status, body = await ask(session, next(asked), "/api/v1/messages", **query)
        assert status in {0, 200, 503}, body
        return body if status == 200 and not body["incomplete"] else None

    found: dict[str, Any] = await eventually(page, "all partitions answer")
    return found


async def listed(session: Any, workers: Any, **query: Any) -> list[dict[str, Any]]:
    """Give the items of all pages, from workers in turn."""
    asked, found = cycle(workers), []
    page = await whole_page(session, asked, **query)
    while page["next"] is not None:
        found += page["items"]
        page = await whole_page(session, asked, **query, cursor=page["next"])
    return [*found, *page["items"]]


def in_order(rows: dict[str, Any]) -> list[str]:
    """Give the ids of rows as a list of all has them."""

    def place(message_id: str) -> tuple[int, bytes]:
        return to_microseconds(
            datetime.fromisoformat(rows[message_id].since.replace("Z", "+00:00"))
        ), message_id.encode()

    return sorted(rows, key=place, reverse=True)


async def assert_lists_are_the_rows(trial: Any, session: Any, workers: Any) -> None:
    rows = await trial.row_records()
    order = in_order(rows)
    assert [item["message_id"] for item in await listed(session, workers, limit=500)] == order
    for status in {row.status for row in rows.values()}:
        found = await listed(session, workers, status=status.value, limit=150)
        assert [item["message_id"] for item in found] == [each for each in order if rows[each].status is status]
    for delivery in {row.delivery_id for row in rows.values() if row.delivery_id}:
        found = await listed(session, workers, delivery=delivery, limit=150)
        assert [item["message_id"] for item in found] == [each for each in order if rows[each].delivery_id == delivery]
    for message_id in order[:20]:
        row = rows[message_id]
        for name, value in (("recipient", row.recipient), ("provider_message_id", row.provider_message_id)):
            if value is not None:
                found = await listed(session, workers, **{name: value})
                assert message_id in [item["message_id"] for item in found]


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


async def test_a_list_is_whole_although_a_worker_is_killed_in_the_middle(make_trial, session):
    trial = await make_trial(partitions=6, **TOKENS)
    await trial.publish_events(events(1, 300))
    workers = await trial.start_workers(3)
    await trial.settled()
    for worker in workers:
        await worker.ready()
    order = in_order(await trial.row_records())
    killed, *others = workers
    asked, found = cycle(workers), []
    page = await whole_page(session, asked, limit=20)
    while True:
        found += [item["message_id"] for item in page["items"]]
        if page["next"] is None:
            break
        if len(found) == 100:
            await killed.kill()
            asked = cycle(others)
        page = await whole_page(session, asked, limit=20, cursor=page["next"])
    assert found == order
    await assert_lists_are_the_rows(trial, session, others)
    status, found_things = await ask(session, others[0], "/api/v1/find", q=order[0])
    assert (status, found_things["items"][0]["id"]) == (200, order[0])


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_what_a_killed_worker_left_is_listed_by_the_next_one(make_trial, session, tmp_path: Path, store):
    given = {"store": store, "store_path": str(tmp_path / "store"), "store_cache_mib": 16, "chunk_records": 100}
    trial = await make_trial(partitions=3, **TOKENS, **given)
    await trial.publish_events(events(1, 300))
    worker = await trial.start_worker()
    await trial.settled()
    before = await trial.committed_total()
    await trial.publish_events([*events(2, 300), *events(1, 300)[::-1]])

    async def is_in_mid_stream() -> bool:
        return bool(await trial.committed_total() > before)

    await eventually(is_in_mid_stream, "it has committed more")
    await worker.kill()
    again = await trial.start_worker()
    await trial.settled()
    await assert_lists_are_the_rows(trial, session, [again])
