"""Retention on a real broker: what an absurd time in a record, with or without a timestamp, may not remove."""

import json
import signal
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from processor.engine.streams import Outgoing
from processor.wire.topics import COUNTS, EVENTS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ABSURD = "9998-01-01T00:00:00Z"
NO_TIMESTAMP = -1


def report(message_id: str, time: str) -> bytes:
    return json.dumps(
        {"time": time, "message_id": message_id, "channel": "email", "status": "failed", "delivery_id": "DM1"}
    ).encode()


async def tell(trial: Any, *events: tuple[str, str, int | None]) -> None:
    """Publish reports: of which message, of which time, in a record with which timestamp."""
    topic = trial.topic(EVENTS)
    await trial.publish(Outgoing(topic, report(name, time), name.encode(), (), at) for name, time, at in events)
    await trial.settled()


def ago(**span: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(**span)).isoformat()


async def rows(trial: Any) -> set[str]:
    latest = {record.key: record.value for record in await trial.records_of_messages()}
    return {key.decode() for key, value in latest.items() if value is not None}


async def test_an_absurd_time_removes_nothing_and_makes_nothing_too_old(make_trial):
    trial = await make_trial(partitions=1)
    worker = await trial.start_worker(DELIVERY_RETENTION="20s")
    kept = [f"m-{number}" for number in range(40)]
    day_ahead = (datetime.now(timezone.utc) + timedelta(hours=23)).isoformat()
    # Half an hour ahead: they have their time for as long as the test may take on a slow machine.
    soon = (datetime.now(timezone.utc) + timedelta(minutes=30)).isoformat()
    await tell(trial, ("had-its-time", ago(minutes=5), None), *((name, soon, None) for name in kept))
    await tell(
        trial, ("poison", ABSURD, NO_TIMESTAMP), ("ahead", day_ahead, None), ("ahead-2", day_ahead, NO_TIMESTAMP)
    )

    async def is_removed() -> bool:
        return "had-its-time" not in await rows(trial)

    # That one goes, so the others could have gone.
    await trial.eventually(is_removed, "what has had its time is removed")
    assert await rows(trial) == {*kept, "ahead", "ahead-2"}
    assert await worker.stop() == 0

    # What earlier versions wrote of such an event.
    [newest] = [record for record in await trial.records(COUNTS) if record.key == b"DM1|0"][-1:]
    poisoned = json.dumps({**json.loads(newest.value), "last": ABSURD}).encode()
    await trial.publish([Outgoing(trial.topic(COUNTS), poisoned, b"DM1|0", partition=0)])
    worker = await trial.start_worker(DELIVERY_RETENTION="20s")
    await tell(trial, ("fresh", ago(seconds=0), None), ("fresh-2", ago(seconds=0), NO_TIMESTAMP))
    assert {*kept, "fresh", "fresh-2"} <= await rows(trial)
    reasons = [dict(record.headers)["delivery.dead.reason"] for record in await trial.dead_letters()]
    assert reasons == [b"time_ahead"]

    async def is_healed() -> bool:
        latest = {record.key: json.loads(record.value) for record in await trial.records(COUNTS)}
        return latest[b"DM1|0"]["last"] < "9998"

    await trial.eventually(is_healed, "the ledger has healed")
    assert await worker.stop() == 0


async def test_records_that_expire_before_a_worker_reads_them_are_told(make_trial):
    """The worker is suspended while it fetches. What it had asked for may still come; then the record due is gone."""
    trial = await make_trial(partitions=1)
    worker = await trial.start_worker()
    await worker.ready()
    place = TopicPartition(trial.topic(EVENTS), 0)
    await tell(trial, ("first", ago(minutes=5), None))

    async def publish(*names: str) -> None:
        await trial.publish(Outgoing(place.topic, report(name, ago(minutes=5)), name.encode()) for name in names)

    worker.signal(signal.SIGSTOP)
    try:
        await publish("asked-for")
        await publish(*(f"expired-{number}" for number in range(20)))
        oldest = (await trial.end_offsets([place]))[place]
        await trial._admin.delete_records({place: RecordsToDelete(oldest)})
        await publish("last")
    finally:
        worker.signal(signal.SIGCONT)
    await trial.settled()
    told = sum(line["records"] for line in worker.log("records_expired_unread"))
    found = await rows(trial)
    assert {"first", "last"} <= found <= {"first", "asked-for", "last"}
    assert len(found) + told == oldest + 1, "each record became a row, or was told"
    assert await worker.metric("delivery_warnings_total", event="records_expired_unread") >= 1
    assert await worker.stop() == 0
