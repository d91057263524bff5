"""Who did what: each write and each sight of whole recipients, on a real broker."""

import asyncio
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import orjson
import pytest

from processor.wire.audit import decode_entry
from processor.wire.topics import AUDIT
from tests.engine.harness import Trial, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

READ, WRITE = "a-token-to-read-with", "a-token-to-write-with"
ADDRESS = "ulla.ek@example.com"
NOW = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=5)


async def command(trial: Trial, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "processor", *arguments),
        env={**os.environ, **trial.environment},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, arguments
    return told


async def deeds(trial: Trial) -> list[tuple[str, str, str | None]]:
    """Give what was done: by which way, what, and of what; in the order of time."""
    entries = sorted(
        [decode_entry(record.value) for record in await trial.records(AUDIT)], key=lambda entry: entry.time
    )
    return [(entry.via.value, entry.deed.value, entry.subject) for entry in entries]


@pytest.fixture
async def trial(make_trial):
    return await make_trial(read_token=READ, write_token=WRITE)


async def serving(trial: Trial) -> str:
    worker = await trial.start_worker()
    about = {"time": NOW.isoformat(), "channel": "email", "status": "pending", "delivery_id": "DM1"}
    told = {**about, "message_id": "m1", "recipient": ADDRESS}
    await trial.publish_events([orjson.dumps(told)])
    await trial.settled()
    await worker.ready()
    return await worker.address()


async def test_writes_and_sights_are_written_down_with_who_did_them(trial):
    url = await serving(trial)
    async with aiohttp.ClientSession() as session:

        async def get(path: str, token: str, **parameters: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(url + path, headers=headers, params=parameters) as answer:
                return answer.status

        async def post(path: str, body: Any = None, token: str = WRITE) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(url + path, headers=headers, json=body) as answer:
                return answer.status

        # What shows masks only, or is refused, is not written down.
        assert await get("/api/v1/messages/m1", READ) == 200
        assert await get("/api/v1/messages/none", WRITE) == 404
        assert await post("/api/v1/deliveries/DM1/cancel", token=READ) == 401

        expected: list[tuple[str, str, str | None]] = []
        for given, expects in (
            (get("/api/v1/messages/m1", WRITE), ("api", "unmask", "m1")),
            (get("/api/v1/messages", WRITE, delivery="DM1", recipient=ADDRESS), ("api", "unmask", "DM1")),
            (get("/api/v1/find", WRITE, q=ADDRESS), ("api", "unmask", None)),
            (get("/messages/m1", WRITE), ("page", "unmask", "m1")),
            (post("/api/v1/deliveries/DM1/control", {"action": "pause"}), ("api", "control", "DM1")),
            (post("/api/v1/deliveries/DM1/finish"), ("api", "control", "DM1")),
            (post("/api/v1/deliveries/DM1/cancel"), ("api", "cancel", "DM1")),
        ):
            assert await given < 300
            expected.append(expects)

            async def is_told(number: int = len(expected)) -> bool:
                return len(await deeds(trial)) >= number

            await eventually(is_told, "it is written down")
        assert await deeds(trial) == expected
        # The API reads the topic from its end, page by page.
        listed: list[tuple[str, str, str | None]] = []
        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": "4", **({"cursor": cursor} if cursor else {})}
            headers = {"Authorization": f"Bearer {WRITE}"}
            async with session.get(url + "/api/v1/audit", headers=headers, params=asked) as answer:
                assert answer.status == 200
                page = await answer.json()
            listed += [(item["via"], item["deed"], item["subject"]) for item in page["items"]]
            cursor = page["next"]
        assert sorted(listed, key=str) == sorted(expected, key=str)
        async with session.get(
            url + "/api/v1/audit", headers=headers, params={"subject": "DM1", "deed": "cancel"}
        ) as answer:
            assert [item["who"] for item in (await answer.json())["items"]] == ["write token"]
        assert await get("/api/v1/audit", READ) == 401
    entries = [decode_entry(record.value) for record in await trial.records(AUDIT)]
    assert {(entry.who, entry.address) for entry in entries} == {("write token", "127.0.0.1")}
    told = sorted(entries, key=lambda entry: entry.time)
    assert [entry.detail for entry in told if entry.deed.value == "control"] == ["pause", "finish"]


async def test_what_commands_do_is_written_down_and_listed(trial):
    await trial.start_worker()
    await command(trial, "control", "DM1", "start")
    await command(trial, "cancel", "DM1", "--yes", "--force")
    await command(trial, "link", "--provider", "twilio", "--provider-message-id", "SM1", "--message", "m1")
    report = json.loads(await command(trial, "erase", "--recipient", ADDRESS, "--yes", "--json", "--wait", "120"))
    await command(trial, "dead", "replay", "--all")
    expected = [
        ("command", "control", "DM1"),
        ("command", "cancel", "DM1"),
        ("command", "link", "twilio SM1"),
        ("command", "erase", report["erasure_id"]),
        ("command", "replay", "all"),
    ]
    assert await deeds(trial) == expected
    listed = [json.loads(line) for line in (await command(trial, "audit", "--json")).splitlines()]
    assert [(each["via"], each["deed"], each["subject"]) for each in reversed(listed)] == expected
    assert all("@" in each["who"] for each in listed)
    assert not any(ADDRESS.encode() in record.value for record in await trial.records(AUDIT))
    assert b"replay" in await command(trial, "audit", "--limit", "1")
