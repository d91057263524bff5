"""Dead letters by the API of a real worker on a real broker: from a fault to the rows of its records."""

import json
from typing import Any

import aiohttp
import pytest

from processor.engine.streams import Outgoing
from processor.wire.topics import EVENTS, MTA
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKEN = "a-token-to-write-with"
KEPT = "/api/v1/dead-letters/kept"


async def test_what_no_worker_could_use_is_listed_shown_and_replayed_when_it_can(make_trial):
    trial = await make_trial(partitions=2, write_token=TOKEN)
    payload = {
        "type": "Delivery",
        "id": "id-1",
        "recipient": "anna.berg@example.com",
        "event_time": 1_795_420_800,
        "timestamp": 1_795_420_800,
        "response": {"code": 250, "content": "ok", "enhanced_code": None},
        "meta": {"message_id": "m-1"},
    }
    worker = await trial.start_worker()
    await trial.publish([Outgoing(trial.topic(MTA), json.dumps(payload).encode())])
    await trial.publish([Outgoing(trial.topic(EVENTS), b"{", b"m-2")])
    await trial.settled()
    await worker.stop()
    worker = await trial.start_worker(DELIVERY_PROVIDER_BY_TOPIC=f"{trial.topic(MTA)}=kumomta")
    await worker.ready()
    async with aiohttp.ClientSession(await worker.address(), headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def get(path: str) -> Any:
            async with session.get(path) as response:
                assert response.status == 200, await response.text()
                return json.loads(await response.read())

        first = await get(f"{KEPT}?limit=1")
        rest = await get(f"{KEPT}?limit=1&cursor={first['next']}")
        assert {page["items"][0]["reason"] for page in (first, rest)} == {"no_provider", "invalid_json"}
        [letter] = (await get(f"{KEPT}?reason=no_provider"))["items"]
        view = await get(f"{KEPT}/{letter['id']}")
        assert json.loads(view["text"]) == payload
        body = {"ids": [letter["id"]]}
        async with session.post("/api/v1/dead-letters/replay", json=body) as response:
            assert response.status == 200, await response.text()
            assert json.loads(await response.read())["settled"] == [letter["id"]]

        async def has_a_row() -> bool:
            return "m-1" in await trial.rows()

        await eventually(has_a_row, "the replayed record has its row")
        assert [each["state"] for each in (await get(f"{KEPT}?reason=no_provider"))["items"]] == ["replayed"]
        async with session.post("/api/v1/dead-letters/replay", json=body) as response:
            assert json.loads(await response.read())["settled"] == []
        assert len(await trial.records(MTA)) == 2
