"""Receipts that know only the provider's id, on a real broker: each has its effect once, whatever comes or dies."""

import asyncio
from datetime import datetime, timedelta, timezone
from random import Random
from urllib.parse import urlencode

import orjson
import pytest

from processor.engine.streams import Outgoing
from processor.wire.topics import CORRELATIONS, EVENTS, LINKS, SMS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MESSAGES = 300


def records(trial, chance: Random) -> list[Outgoing]:
    """Every message: what was sent, a link by one of two ways (or none), two receipts, some twice, in any order."""
    start = datetime.now(timezone.utc) - timedelta(hours=2)
    given = []
    for number in range(MESSAGES):
        message_id, native_id = f"m{number}", f"SM{number:04}"
        sent_at = (start + timedelta(seconds=number)).isoformat()
        sent = {"time": sent_at, "message_id": message_id, "channel": "sms", "status": "sent_to_provider"}
        ids = {"provider": "twilio", "provider_message_id": native_id}
        if number % 3 == 0:
            sent |= ids
        elif number % 3 == 1:
            link = {"time": sent_at, "message_id": message_id, "delivery_id": "D", **ids}
            given.append(Outgoing(trial.topic(LINKS), orjson.dumps(link), native_id.encode()))
        given.append(Outgoing(trial.topic(EVENTS), orjson.dumps(sent), message_id.encode()))
        for status in ("sent", "delivered"):
            form = urlencode({"MessageSid": native_id, "MessageStatus": status, "To": "+46701234567"})
            given.append(Outgoing(trial.topic(SMS), form.encode(), None, (("provider", b"twilio"),)))
    given += chance.choices(given, k=MESSAGES // 2)
    chance.shuffle(given)
    return given


async def publish_with_kills(trial, given: list[Outgoing], kills: int) -> None:
    worker = await trial.start_worker()
    for part in range(kills + 1):
        share = given[part * len(given) // (kills + 1) : (part + 1) * len(given) // (kills + 1)]
        await trial.publish(share)
        if part < kills:
            before = await trial.committed_total()

            async def goes_on(before=before) -> bool:
                return await trial.committed_total() > before

            await trial.eventually(goes_on, "the worker commits")
            await worker.kill()
            worker = await trial.start_worker()
    await trial.settled()


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_every_receipt_has_its_effect_once_whatever_comes_first_and_dies(make_trial, tmp_path, store):
    trial = await make_trial(store=store, store_path=str(tmp_path / "store"))
    await publish_with_kills(trial, records(trial, Random(store)), kills=2)
    expected = {
        f"m{number}": "sent_to_provider" if number % 3 == 2 else "received_on_mobile" for number in range(MESSAGES)
    }
    expected |= {f"twilio:SM{number:04}": "received_on_mobile" for number in range(2, MESSAGES, 3)}
    assert {name: row.status.value for name, row in (await trial.row_records()).items()} == expected
    assert set((await trial.moved()).items()) <= {
        (f"twilio:SM{number:04}", f"m{number}") for number in range(MESSAGES) if number % 3 != 2
    }
    await trial.assert_counts_are_a_recount_of_the_rows()
    await trial.assert_gauges_say_what_the_rows_say()
    assert not await trial.dead_letters()
    [worker] = [each for each in trial.workers if each.exit_code is None]
    assert await worker.metric("delivery_conservation_error") == 0


async def test_what_waits_is_held_back_until_its_link_comes(make_trial):
    trial = await make_trial(unlinked="hold")
    await trial.start_worker()
    form = urlencode({"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+46701234567"}).encode()
    await trial.publish([Outgoing(trial.topic(SMS), form, None, (("provider", b"twilio"),))])
    await trial.settled()
    assert (await trial.row_records(), len(await trial.records(CORRELATIONS))) == ({}, 1)
    link = {
        "time": (datetime.now(timezone.utc) - timedelta(minutes=1)).isoformat(),
        "message_id": "m",
        "provider": "twilio",
        "provider_message_id": "SM1",
    }
    await trial.publish([Outgoing(trial.topic(LINKS), orjson.dumps(link), b"SM1")])
    await trial.settled()
    await asyncio.sleep(0)
    assert {name: row.status.value for name, row in (await trial.row_records()).items()} == {"m": "received_on_mobile"}


def used_again(trial, chance: Random) -> list[Outgoing]:
    """Every provider's id is of two messages, a day apart: links, what was sent, and receipts, in any order."""
    start = datetime.now(timezone.utc) - timedelta(days=2)
    given = []
    for number in range(100):
        native_id = f"SM{number:04}"
        for message_id, day in ((f"old{number}", 0), (f"new{number}", 1)):
            sent_at = start + timedelta(days=day, seconds=number)
            ids = {"provider": "twilio", "provider_message_id": native_id, "message_id": message_id}
            sent = {
                "time": sent_at.isoformat(),
                "message_id": message_id,
                "channel": "sms",
                "status": "sent_to_provider",
            }
            given += [
                Outgoing(trial.topic(LINKS), orjson.dumps({"time": sent_at.isoformat(), **ids}), native_id.encode()),
                Outgoing(trial.topic(EVENTS), orjson.dumps(sent), message_id.encode()),
            ]
        # Both are of the newer message, and late enough to be doubted where the older link alone is known.
        for status, hours in (("sent", 25), ("delivered", 26)):
            received = (start + timedelta(hours=hours, seconds=number)).isoformat()
            form = urlencode({"MessageSid": native_id, "MessageStatus": status, "To": "+46701234567"}).encode()
            headers = (("provider", b"twilio"), ("received", received.encode()))
            given.append(Outgoing(trial.topic(SMS), form, None, headers))
    given += chance.choices(given, k=100)
    chance.shuffle(given)
    return given


async def test_a_receipt_is_with_the_newest_link_of_an_id_that_was_used_again_whatever_dies(make_trial):
    trial = await make_trial()
    await publish_with_kills(trial, used_again(trial, Random(7)), kills=2)
    expected = {f"old{number}": "sent_to_provider" for number in range(100)}
    expected |= {f"new{number}": "received_on_mobile" for number in range(100)}
    assert {name: row.status.value for name, row in (await trial.row_records()).items()} == expected
    await trial.assert_counts_are_a_recount_of_the_rows()
    await trial.assert_gauges_say_what_the_rows_say()
    assert not await trial.dead_letters()
