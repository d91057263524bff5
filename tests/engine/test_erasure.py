"""A person who is erased on a real broker: what each key says last has nothing of the address, and nothing returns."""

import base64
import sys
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import orjson
import pytest

from processor.engine.replaying import letters, read_outcomes
from processor.engine.streams import Outgoing
from processor.web.erasing_topics import _write_anew
from processor.wire.letters import obstacle
from processor.wire.settled import Outcome, Settled, encode_settled, key_of
from processor.wire.topics import CONTROL, CORRELATIONS, DEAD, ERASURES, EVENTS, LINKS, MESSAGES, MTA, SETTLED, SMS
from tests.engine.harness import Trial, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ADDRESS, NUMBER = "ulla.ek@example.com", "+46701234567"
#: What would betray one of them, in any case.
TRACES = (b"ulla.ek", b"701234567")
START = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=2)


def event(message_id: str, status: str, minute: int, **fields: Any) -> bytes:
    time = (START + timedelta(minutes=minute)).isoformat()
    return orjson.dumps({"time": time, "message_id": message_id, "channel": "email", "status": status, **fields})


def failed(message_id: str, minute: int, **fields: Any) -> bytes:
    reason = {"permanence": "permanent", "category": "user_unknown", "text": f"<{ADDRESS}> is unknown"}
    return event(message_id, "failed", minute, reason=reason, **fields)


def receipt(trial: Trial, native_id: str, status: str) -> Outgoing:
    form = urlencode({"MessageSid": native_id, "MessageStatus": status, "To": NUMBER}).encode()
    return Outgoing(trial.topic(SMS), form, None, (("provider", b"twilio"),))


def several(trial: Trial, kind: str) -> Outgoing:
    """Give a report of a provider whose id covers several recipients, without an id of ours."""
    mail = {"messageId": "0100-7", "destination": [ADDRESS, "other@example.com"], "timestamp": START.isoformat()}
    payload = {"eventType": kind, "mail": mail, kind.lower(): {"recipients": [ADDRESS], "timestamp": START.isoformat()}}
    return Outgoing(trial.topic(MTA), orjson.dumps(payload), None, (("provider", b"ses"),))


def link(trial: Trial) -> Outgoing:
    told = {
        "time": START.isoformat(),
        "provider": "ses",
        "provider_message_id": "0100-9",
        "message_id": "linked",
        "recipient": ADDRESS,
    }
    return Outgoing(trial.topic(LINKS), orjson.dumps(told), b"0100-9")


async def newest(trial: Trial, topic: Any) -> dict[bytes, bytes]:
    """Give what each key of a topic says last, whatever was compacted."""
    latest = {record.key: record.value for record in await trial.records(topic)}
    return {key: value for key, value in latest.items() if value is not None}


def said(key: bytes | None, value: bytes | None) -> bytes:
    """Give all bytes of a record, the packed ones of a row among them."""
    data = (key or b"") + (value or b"")
    try:
        memory = orjson.loads(value or b"null")["memory"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return data.lower()
    return (data + base64.b64decode(memory)).lower()


async def traces(trial: Trial) -> list[tuple[str, bytes]]:
    """Give the records that betray a person, of those that each key says last, and of all dead letters."""
    kept = [
        (topic.name, key, value)
        for topic in (MESSAGES, CORRELATIONS, LINKS)
        for key, value in (await newest(trial, topic)).items()
    ]
    kept += [(DEAD.name, each.key, each.value) for each in await trial.records(DEAD)]
    return [(name, said(key, value)) for name, key, value in kept if any(each in said(key, value) for each in TRACES)]


async def erase(trial: Trial, recipient: str) -> dict[str, Any]:
    """Run the command; it waits until all workers have confirmed."""
    import asyncio
    import os

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "processor", "erase", "--recipient", recipient, "--yes", "--json", "--wait", "120",
        env={**os.environ, **trial.environment}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(told)


async def first(trial: Trial) -> None:
    """Have everything happen that leaves traces, and see that it does."""
    events = [event("m1", "sent", 1, recipient=ADDRESS, delivery_id="DM1"), failed("m1", 2, delivery_id="DM1")]
    events += [event(f"o{number}", "sent", 1, recipient=f"o{number}@example.com") for number in range(50)]
    records = [Outgoing(trial.topic(EVENTS), each, orjson.loads(each)["message_id"].encode()) for each in events]
    records += [receipt(trial, "SM1", "sent"), several(trial, "Send"), several(trial, "Delivery"), link(trial)]
    records += [Outgoing(trial.topic(EVENTS), b'{"recipient": "%s"' % ADDRESS.upper().encode(), b"torn")]
    records += [Outgoing(trial.topic(EVENTS), b"not of her", b"other")]
    await trial.publish(records)
    await trial.settled()

    async def is_told() -> bool:
        return {name for name, _ in await traces(trial)} == {
            each.name for each in (MESSAGES, CORRELATIONS, LINKS, DEAD)
        }

    await eventually(is_told, "each topic has traces")


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_what_is_erased_is_gone_everywhere_and_stays_so(make_trial, tmp_path, store):
    trial = await make_trial(store=store, store_path=str(tmp_path / "store"))
    worker, *_ = await trial.start_workers(2)
    await first(trial)
    statuses = {name: row.status.value for name, row in (await trial.row_records()).items()}
    report = await erase(trial, "Ulla.Ek@Example.COM")
    assert report["is_done"]
    assert report["messages"] >= 2
    assert report["dead_letters"] == 1
    await erase(trial, "0046 70-123 45 67")
    await trial.settled()

    async def is_gone() -> bool:
        return not await traces(trial)

    await eventually(is_gone, "no topic has traces")
    after = {name: row.status.value for name, row in (await trial.row_records()).items()}
    assert sorted(after.values()) == sorted(statuses.values())
    assert after["m1"] == "failed"
    assert b"not of her" in {each.value for each in await trial.records(DEAD)}
    for topic in (CONTROL, ERASURES):
        assert not [
            each for each in await trial.records(topic) if any(part in said(each.key, each.value) for part in TRACES)
        ]

    await worker.kill()
    await trial.start_worker()
    late = [failed("m1", 5, recipient=ADDRESS), event("m9", "sent", 5, recipient=ADDRESS)]
    records = [Outgoing(trial.topic(EVENTS), each, orjson.loads(each)["message_id"].encode()) for each in late]
    await trial.publish(
        [*records, receipt(trial, "SM1", "delivered"), receipt(trial, "SM2", "sent"), several(trial, "Delivery")]
    )
    await trial.settled()
    await eventually(is_gone, "no later event brings it back")
    rows = await trial.row_records()
    assert rows["m9"].status.value == "sent"
    assert rows["m9"].recipient is None
    assert rows["twilio:SM1"].status.value == "received_on_mobile"


async def test_the_api_erases_with_the_write_token_only(make_trial):
    trial = await make_trial(write_token="a-token-to-write-with")
    worker = await trial.start_worker()
    await trial.publish_events([event("m1", "sent", 1, recipient=ADDRESS)])
    await trial.settled()
    url = await worker.address() + "/api/v1/erasures"
    token = {"Authorization": "Bearer a-token-to-write-with"}
    async with aiohttp.ClientSession() as session:

        async def ask(headers: dict[str, str], **body: str) -> tuple[int, Any]:
            async with session.post(url, json=body, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)

        assert (await ask({}, recipient=ADDRESS))[0] == 401
        assert (await ask(token, recipient="ulla"))[0] == 400
        status, report = await ask(token, recipient=ADDRESS)
        assert status == 202

        async def is_done() -> bool:
            return (await ask(token, recipient=ADDRESS))[1]["is_done"]

        await eventually(is_done, "the workers have confirmed it")
    assert (await trial.row_records())["m1"].recipient is None
    assert trial.topic(EVENTS) in {each["topic"] for each in report["topics"]}


async def test_a_dead_letter_that_is_kept_is_not_replayed_twice_nor_one_that_was_erased(make_trial):
    trial = await make_trial(partitions=1)
    await trial.start_worker()
    torn = [Outgoing(trial.topic(EVENTS), value, b"m") for value in (b"done", b"waits", ADDRESS.encode())]
    await trial.publish(torn)
    await trial.settled()
    read = [letter async for letter in letters(trial.settings)]
    done = Settled(0, read[0].id.offset, read[0].written, Outcome.DISCARDED, START)
    await trial.publish([Outgoing(trial.topic(SETTLED), encode_settled(done), key_of(read[0].id))])
    assert (await erase(trial, ADDRESS))["dead_letters"] == 1
    left = [letter async for letter in letters(trial.settings)]
    assert [letter.value for letter in left] == [b"waits", b""]
    outcomes = await read_outcomes(trial.settings)
    assert [outcomes.of(letter) for letter in left] == [None, None]
    assert [obstacle(letter, [trial.topic(EVENTS)], 1_000_000) is None for letter in left] == [True, False]


async def test_stopped_before_it_deletes_no_letter_waits_twice_nor_is_written_anew_again(make_trial):
    trial = await make_trial(partitions=1)
    await trial.start_worker()
    await trial.publish([Outgoing(trial.topic(EVENTS), value, b"m") for value in (b"waits", ADDRESS.encode(), b"last")])
    await trial.settled()
    read = [letter async for letter in letters(trial.settings)]
    for _ in range(2):
        await _write_anew(trial.settings, {0: {read[1].id.offset}}, ADDRESS)
        outcomes = await read_outcomes(trial.settings)
        left = [letter async for letter in letters(trial.settings)]
        assert [letter.value for letter in left if outcomes.of(letter) is None] == [b"last", b"waits", b""]


async def test_the_report_has_dates_by_the_topics_own_options(make_trial):
    trial = await make_trial()
    await trial.start_worker()
    report = await erase(trial, ADDRESS)
    dates = {each["topic"]: each["gone_by"] for each in report["topics"]}
    day = timedelta(days=1)
    now = datetime.now(timezone.utc)
    # A segment takes records for a week, and is kept for a week after that.
    for topic, least in ((EVENTS, 14 * day), (MESSAGES, 14 * day), (CORRELATIONS, 14 * day), (DEAD, 37 * day)):
        gone_by = datetime.fromisoformat(dates[trial.topic(topic)].replace("Z", "+00:00"))
        assert least <= gone_by - now <= least + day / 2
    assert datetime.fromisoformat(report["remembered_until"].replace("Z", "+00:00")) - now >= 29 * day
