"""A text finds messages and deliveries, whatever of them it is, on any worker."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.web.workers import ODD_ID, READ_TOKEN, WRITE_TOKEN, ago, event, workers

DM1 = ("delivery", "DM1")


@pytest.fixture
async def asked():
    async with workers(2, read_token=READ_TOKEN) as made:
        yield made


async def find(worker: Any, text: str, token: str = WRITE_TOKEN) -> dict[str, Any]:
    status, body, _ = await worker.ask(f"/api/v1/find?q={quote(text, safe='')}", token)
    assert status == 200, body
    return body


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m-1", [("message", "m-1", "message_id")]),
        (" m-1 ", [("message", "m-1", "message_id")]),
        (ODD_ID, [("message", ODD_ID, "message_id")]),
        ("1d98", [("message", "m-1", "provider_message_id")]),
        ("twilio:SM01", [("message", "s-1", "provider_message_id")]),
        ("twilio:SM03", []),
        ("Ulla.B@Example.com", [("message", "m-1", "recipient")]),
        ("0046 70-123 45 12", [("message", "s-1", "recipient")]),
        ("DM1", [("delivery", "DM1", "delivery_id")]),
        ("autumn", [("delivery", "DM1", "label")]),
        ("N SAL", [("delivery", "DM1", "label")]),
        ("ulla.b", []),
        ("nothing", []),
    ],
)
async def test_finds(asked, text, found):
    for worker in asked:
        body = await find(worker, text)
        assert [(item["kind"], item["id"], item["matched"]) for item in body["items"]] == found
        assert [item["reference"] for item in body["items"]] == [identity for _, identity, _ in found]
        assert body["incomplete"] == []


async def test_one_text_may_be_several_things_and_each_is_told_once():
    same = event("DM1", "sent", ago(minutes=3), recipient="DM1", provider_message_id="dm1", provider="smpp")
    other = event("m-2", "sent", ago(minutes=2), recipient="dm1")
    async with workers(2, events=[same, other]) as [one, _]:
        found = [(item["id"], item["matched"]) for item in (await find(one, "DM1"))["items"]]
        assert found == [("DM1", "message_id"), ("m-2", "recipient"), ("DM1", "delivery_id")]


async def test_readers_find_by_the_whole_address_and_see_masks(asked):
    one, other = asked
    [item] = (await find(one, ODD_ID, READ_TOKEN))["items"]
    assert "ulla" not in item["id"] + item["reference"]
    assert (await other.ask(f"/api/v1/messages/{item['reference']}", WRITE_TOKEN))[1]["message_id"] == ODD_ID
    assert [each["id"] for each in (await find(other, item["reference"]))["items"]] == [ODD_ID]
    assert [each["id"] for each in (await find(one, "ulla.b@example.com", READ_TOKEN))["items"]] == ["m-1"]


async def test_partitions_that_recover_are_named(asked):
    one, other = asked
    other.owned.recovering = {1, 3, 5}
    found = await find(one, "m-1")
    assert found["incomplete"] == [1, 3, 5]
    assert [item["id"] for item in (await find(one, "Autumn"))["items"]] == ["DM1"]


async def test_what_is_not_indexed_finds_nothing():
    async with workers(1, index=("delivery",)) as [one]:
        assert (await find(one, "ulla.b@example.com"))["items"] == []
        assert [item["id"] for item in (await find(one, "m-1"))["items"]] == ["m-1"]


@pytest.mark.parametrize("query", ["", "?q=", "?x=1"])
async def test_a_text_must_be_given(asked, query):
    status, body, _ = await asked[0].ask(f"/api/v1/find{query}", READ_TOKEN)
    assert (status, body["type"]) == (400, "urn:delivery-status:problem:invalid-request")
