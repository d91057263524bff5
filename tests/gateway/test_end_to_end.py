"""From a provider's call to the status of a message, on a real broker."""

import json
import time

import pytest

from processor.domain.status import Status
from processor.wire.topics import SMS
from tests.gateway.conftest import SIGNED
from tests.gateway.serving import PUBLIC_URL, Caller, GatewayProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROUTES = """
[[routes]]
provider = "twilio"
account = "main"
secrets = ["value:first-0123456789"]
"""


async def test_a_signed_call_becomes_a_row(trial, tmp_path):
    gateway = GatewayProcess(trial, tmp_path, ROUTES)
    await gateway.ready()
    url = f"{PUBLIC_URL}/hooks/twilio/main?message_id=m-1&delivery_id=DM7"
    body = b"MessageSid=SM01&MessageStatus=delivered&To=%2B46701234567"
    begun = time.time()
    async with Caller(await gateway.public_address()) as caller:
        call = SIGNED["twilio"].make("first-0123456789", 0, url=url, body=body)
        status, text, _ = await caller.call(call)
        assert (status, text) == (204, b"")
        refused, _, _ = await caller.call(call._replace(body=body + b"&more=1"))
        assert refused == 403
    [record] = await trial.records(SMS)
    assert record.value == b"message_id=m-1&delivery_id=DM7&" + body
    headers = dict(record.headers)
    assert (headers["provider"], headers["account"]) == (b"twilio", b"main")
    assert begun - 1 <= record.timestamp / 1000 <= time.time()

    worker = await trial.start_worker()
    await trial.settled()
    row = (await trial.rows())["m-1"]
    assert row.status is Status.RECEIVED_ON_MOBILE
    assert await worker.stop() == 0

    assert await gateway.metric("delivery_webhooks_total", provider="twilio", outcome="taken") == 1
    assert await gateway.metric("delivery_webhooks_total", provider="twilio", outcome="refused") == 1
    assert await gateway.stop() == 0


async def test_a_worker_shows_what_became_of_the_calls(trial, tmp_path):
    gateway = GatewayProcess(trial, tmp_path, ROUTES)
    await gateway.ready()
    url = f"{PUBLIC_URL}/hooks/twilio/main?message_id=m-1"
    async with Caller(await gateway.public_address()) as caller:
        call = SIGNED["twilio"].make(
            "first-0123456789", 0, url=url, body=b"MessageSid=SM01&MessageStatus=sent&To=%2B46"
        )
        assert (await caller.call(call))[0] == 204
        assert (await caller.call(call._replace(body=b"MessageStatus=failed")))[0] == 403
    admin = await gateway.address()
    worker = await trial.start_worker(DELIVERY_GATEWAYS=admin)
    await trial.settled()
    found = json.loads((await worker.get("/api/v1/gateways"))[1])
    assert found["gateways"] == [{"url": admin, "answers": True, "waiting": 0, "oldest": None}]
    [route] = found["routes"]
    assert (route["path"], route["taken"], route["spooled"], route["refused"]) == ("/hooks/twilio/main", 1, 0, 1)
    assert "signature is wrong" in route["refusal"]
    assert route["last_call"] <= route["last_refused"]
    assert await gateway.stop() == 0

    async def is_named_as_away() -> bool:
        return '"answers":false' in (await worker.get("/api/v1/gateways"))[1]

    await trial.eventually(is_named_as_away, "the gateway that has stopped is named")
