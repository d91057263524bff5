"""A cancel from the page to the last message: on a real broker, with a worker that dies while it is carried out."""

import json
from collections import Counter
from datetime import datetime, timedelta, timezone

import aiohttp
import orjson
import pytest

from processor.domain.status import Status
from processor.wire.rows import decode_row_record
from tests.engine.harness import eventually
from tests.web.document import parse

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKEN = "a-token-to-write-with"
BEGAN = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=10)
#: More than one transaction tells (stages/fold.py), so that a worker can die between two.
WAITING, GONE = 6_000, 500


@pytest.fixture
async def trial(make_trial):
    return await make_trial(partitions=2, write_token=TOKEN)


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as made:
        yield made


def events(start, stop, status, minutes=0):
    """Give one report for each of the delivery's messages of these numbers."""
    time = (BEGAN + timedelta(minutes=minutes)).isoformat()
    report = {"channel": "email", "status": status, "time": time, "delivery_id": "DM1", "provider": "kumomta"}
    return [orjson.dumps({"message_id": f"m-{number}", **report}) for number in range(start, stop)]


async def changes_to_canceled(trial):
    """Count, for each message, the records that moved it to `canceled`."""
    found = Counter()
    for record in await trial.records_of_messages():
        row = decode_row_record(record.value)
        is_change = row.previous is not None and row.status is Status.CANCELED
        found[row.message_id] += is_change
    return +found


async def test_a_cancel_on_the_page_reaches_every_message_once_although_its_worker_dies(trial, session):
    await trial.publish_events(events(0, WAITING, "pending") + events(WAITING, WAITING + GONE, "sent"))
    workers = await trial.start_workers(2)
    for worker in workers:
        await worker.ready()
    await trial.settled()
    dies, lives = workers
    form = {"token": TOKEN, "sure": "yes"}
    page = await dies.address() + "/deliveries/DM1/cancel"
    async with session.post(page, data=form, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
    # Whoever is not sure that it went through says it again, elsewhere.
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with session.post(await lives.address() + "/api/v1/deliveries/DM1/cancel", headers=headers) as response:
        assert response.status == 202, await response.text()
    await dies.kill()

    async def is_told():
        status, body = await lives.get("/api/v1/deliveries/DM1")
        told = json.loads(body)
        return status == 200 and told["state"] == "canceled" and told["statuses"]["canceled"] == WAITING

    await eventually(is_told, "all that could be stopped has been")
    # What turns up later is stopped too; what had been sent, or turns out to have been, stays sent and says so.
    await trial.publish_events(events(WAITING + GONE, WAITING + GONE + 50, "pending", 1) + events(0, 20, "sent", 2))
    await trial.settled()

    canceled = {f"m-{number}" for number in (*range(WAITING), *range(WAITING + GONE, WAITING + GONE + 50))}
    assert await changes_to_canceled(trial) == dict.fromkeys(canceled, 1)
    rows = await trial.rows()
    assert Counter(row.status for row in rows.values()) == {Status.CANCELED: WAITING + 30, Status.SENT: GONE + 20}
    for sent in ("m-3", f"m-{WAITING + 3}"):

        async def says(sent=sent):
            # What the dead worker had may still be on its way to the other one.
            status, body = await lives.get(f"/api/v1/messages/{sent}")
            told = json.loads(body)
            return status == 200 and (told["status"], told["cancel_too_late"]) == ("sent", True)

        await eventually(says, f"{sent} says that the cancel came too late")

    async def shows():
        _, body = await lives.get("/deliveries/DM1")
        text = parse(body).text
        return "Delivery canceled" in text and f"{WAITING + 30:,}" in text and f"{GONE + 20:,}" in text

    await eventually(shows, "the page says what became of it")
    assert await lives.stop() == 0
