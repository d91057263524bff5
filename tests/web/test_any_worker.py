"""Three workers on a real broker: each answers for every message and delivery, also while one of them is killed."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from click.testing import CliRunner

from processor.cli import cli
from processor.demo.simulate import canonical_events
from tests.engine.harness import eventually, samples_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKEN = "a-token-among-the-three"


@pytest.fixture
async def trial(make_trial):
    return await make_trial(partitions=6, internal_token=TOKEN)


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as made:
        yield made


def events() -> list[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=30)
    return list(canonical_events(11, 400, start, out_of_order=0.1, duplicates=0.05))


class Asking:
    """Asks workers, and remembers every answer that should not be."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.wrong: list[Any] = []
        self.statuses: Counter[int] = Counter()

    async def get(self, worker: Any, path: str) -> tuple[int, Any]:
        async with self._session.get(await worker.address() + path) as response:
            body = await response.read()
            self.statuses[response.status] += 1
            is_problem = response.status == 503 and "Retry-After" in response.headers
            if response.status != 200 and not is_problem:
                self.wrong.append((response.status, path, body))
            return response.status, json.loads(body)

    async def message(self, worker: Any, message_id: str) -> tuple[int, Any]:
        return await self.get(worker, f"/api/v1/messages/{quote(message_id, safe='')}")


async def all_run(*workers: Any) -> None:
    """Wait until these workers share all partitions, as one of them tells it."""

    async def running() -> bool:
        for worker in workers:
            status, body = await worker.get("/api/v1/overview")
            overview = json.loads(body)
            if status != 200 or overview["incomplete"]:
                return False
            if {at["state"] for at in overview["partitions"]} != {"running"}:
                return False
            if len({at["owner"] for at in overview["partitions"]}) != len(workers):
                return False
        return True

    await eventually(running, f"{len(workers)} workers run all partitions")


async def test_any_of_three_answers_and_goes_on_answering_while_one_is_killed(trial, session):
    told = events()
    await trial.publish_events(told)
    workers = await trial.start_workers(3)
    await trial.settled()
    await all_run(*workers)
    asking = Asking(session)

    rows = await trial.row_records()
    for message_id in random.Random(1).sample(sorted(rows), 40):
        answers = [await asking.message(worker, message_id) for worker in workers]
        assert [status for status, _ in answers] == [200] * 3
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][1]["status"] == rows[message_id].status.value
    for worker in workers:
        assert (await worker.get("/api/v1/messages/nobody"))[0] == 404
        assert (await worker.get("/api/v1/deliveries/nothing"))[0] == 404
    assert asking.wrong == []

    await assert_totals_agree(trial, asking, workers)
    await assert_history_agrees(asking, workers, rows)

    killed, *others = workers
    deliveries = sorted({row.delivery_id for row in rows.values() if row.delivery_id})
    choice = random.Random(2)
    await killed.kill()
    ids = sorted(rows)
    settled_again = asyncio.ensure_future(all_run(*others))
    while not settled_again.done():
        for worker in others:
            message_id = choice.choice(ids)
            status, body = await asking.message(worker, message_id)
            if status == 200:
                assert body["status"] == rows[message_id].status.value
            status, body = await asking.get(worker, f"/api/v1/deliveries/{choice.choice(deliveries)}")
            assert status == 200
        await asyncio.sleep(0.02)
    await settled_again
    assert asking.wrong == []
    assert asking.statuses[503], "nobody was asked for what the killed worker had"

    for worker in others:
        for message_id in choice.sample(ids, 40):
            status, body = await asking.message(worker, message_id)
            assert (status, body["status"]) == (200, rows[message_id].status.value)
    await assert_totals_agree(trial, asking, others)
    late = await trial.start_worker()
    await all_run(*others, late)
    await assert_history_agrees(asking, [*others, late], rows)
    assert asking.wrong == []
    for worker in (*others, late):
        assert await worker.stop() == 0


async def assert_totals_agree(trial: Any, asking: Asking, workers: Any) -> None:
    """Compare what the API, the metrics and `export` count."""
    exported = await asyncio.to_thread(CliRunner().invoke, cli, ["export"], env=trial.environment)
    assert exported.exit_code == 0, exported.output
    rows = [orjson.loads(line) for line in exported.stdout_bytes.splitlines()]
    by_status = Counter((row["channel"], row["status"]) for row in rows)
    by_delivery = Counter((row["delivery_id"] or "", row["status"]) for row in rows)

    async def agree() -> bool:
        shown: Counter[tuple[str, str]] = Counter()
        for worker in workers:
            _, page = await worker.get("/metrics")
            for sample in samples_of(page, "delivery_messages"):
                shown[sample.labels["channel"], sample.labels["status"]] += int(sample.value)
        return +shown == by_status

    await eventually(agree, "the gauges say what is exported")
    for worker in workers:

        async def overview_agrees(worker: Any = worker) -> bool:
            _, overview = await asking.get(worker, "/api/v1/overview")
            messages = overview["messages"]
            told = Counter({(c, s): number for c, statuses in messages.items() for s, number in statuses.items()})
            return +told == by_status

        await eventually(overview_agrees, "the overview says what is exported")
        told: Counter[tuple[str, str]] = Counter()
        cursor = ""
        while cursor is not None:
            _, page = await asking.get(worker, f"/api/v1/deliveries?limit=7{cursor and '&cursor=' + quote(cursor)}")
            for item in page["items"]:
                for status, number in item["statuses"].items():
                    told[item["delivery_id"], status] += number
            cursor = page["next"]
        assert +told == by_delivery


async def assert_history_agrees(asking: Asking, workers: Any, rows: Mapping[str, Any]) -> None:
    """Compare what the workers tell of the past with the rows: all of these came about in the last hours."""
    by_status = Counter(row.status.value for row in rows.values())
    by_delivery = Counter(row.delivery_id for row in rows.values() if row.delivery_id)
    [(busiest, number)] = by_delivery.most_common(1)
    for worker in workers:
        for span in ("3h", "24h", "30d"):

            async def agrees(worker: Any = worker, span: str = span) -> bool:
                status, told = await asking.get(worker, f"/api/v1/history?span={span}")
                changes = Counter()
                for point in told["points"] if status == 200 else ():
                    changes.update(point["statuses"])
                return changes == by_status

            await eventually(agrees, f"the history of {span} has every message once")
        _, told = await asking.get(worker, f"/api/v1/history?delivery={quote(busiest, safe='')}")
        assert sum(sum(point["statuses"].values()) for point in told["points"]) == number


async def test_a_worker_that_stops_does_not_wait_for_those_who_listen(trial, session):
    worker = await trial.start_worker()
    await worker.ready()
    async with session.get(await worker.address() + "/api/v1/events") as response:
        while not (await response.content.readline()).startswith(b"event: "):
            pass
        assert (await response.content.readline()).startswith(b"data: {")
        started = asyncio.get_running_loop().time()
        assert await worker.stop() == 0
        assert asyncio.get_running_loop().time() - started < 15
