"""Control records on a real broker: what is told outlives workers, and a cancel reaches every partition once."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.domain.delivery import Delivery, State
from processor.domain.status import Status
from processor.engine.streams import Outgoing
from processor.wire.deliveries import decode_delivery
from processor.wire.rows import decode_row_record
from processor.wire.topics import CONTROL, DELIVERIES, EVENTS
from tests.engine.harness import Trial, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

NOW = datetime.now(timezone.utc).replace(microsecond=0)


async def tell(trial: Trial, delivery_id: str, *actions: str, **facts: Any) -> None:
    """Publish control records keyed as they should be, and wait until they are committed."""
    told = [{"time": NOW.isoformat(), "delivery_id": delivery_id, "action": action, **facts} for action in actions]
    topic = trial.topic(CONTROL)
    await trial.publish(Outgoing(topic, json.dumps(each).encode(), delivery_id.encode()) for each in told)
    await committed(trial)


async def committed(trial: Trial) -> None:
    """Wait until all that is on the control topic has been committed."""
    tps = [TopicPartition(trial.topic(CONTROL), number) for number in range(trial.settings.partitions)]

    async def is_committed() -> bool:
        try:
            return await trial.committed_offsets(tps) == await trial.end_offsets(tps)
        except KafkaError:  # The group is only being made.
            return False

    await eventually(is_committed, "all control records are committed")


async def deliveries(trial: Trial) -> dict[str, Delivery]:
    return dict(decode_delivery(record.value) for record in await trial.records(DELIVERIES))


async def test_what_is_told_becomes_a_delivery_that_outlives_its_worker(trial):
    first = await trial.start_worker()
    await tell(trial, "DM1", "register", "start", label="Autumn sale", planned=10)
    await tell(trial, "DM2", "start")
    assert await first.stop() == 0
    await trial.start_worker()
    await tell(trial, "DM1", "pause")
    known = await deliveries(trial)
    assert known["DM1"].state is State.PAUSED
    assert known["DM1"].label is not None
    assert known["DM1"].label.value == "Autumn sale"
    assert known["DM2"].state is State.RUNNING
    [partition] = {record.partition for record in await trial.records(DELIVERIES) if record.key == b"DM1"}
    assert {record.partition for record in await trial.records(CONTROL) if record.key == b"DM1"} == {partition}


def report(number: int, status: str = "pending", delivery_id: str = "DM1") -> bytes:
    about = {"time": NOW.isoformat(), "message_id": f"m-{number}", "channel": "email", "status": status}
    return json.dumps({**about, "delivery_id": delivery_id}).encode()


async def told_canceled(trial: Trial) -> Counter[str]:
    """Count, for each message, the records that moved it to `canceled`."""
    rows = [decode_row_record(record.value) for record in await trial.records_of_messages()]
    return Counter(
        row.message_id for row in rows if row.status is Status.CANCELED and row.previous is not msgspec.UNSET
    )


async def canceled_are(trial: Trial, numbers: Iterable[int]) -> None:
    expected = {f"m-{number}" for number in numbers}

    async def is_told() -> bool:
        return expected <= set(await told_canceled(trial))

    await eventually(is_told, "all messages have been told")
    await trial.settled()
    assert await told_canceled(trial) == dict.fromkeys(expected, 1)


async def test_a_cancel_reaches_every_partition_once_whatever_is_repeated(trial):
    worker = await trial.start_worker()
    await trial.publish_events(report(number) for number in range(40))
    await tell(trial, "DM1", "start", "cancel", "cancel")
    await canceled_are(trial, range(40))
    await tell(trial, "DM1", "cancel", "finish")
    await worker.kill()
    await trial.start_worker()
    await tell(trial, "DM1", "cancel")
    await trial.publish_events(report(number) for number in range(30, 60))
    await canceled_are(trial, range(60))
    assert (await deliveries(trial))["DM1"].state is State.CANCELED


async def test_a_cancel_that_was_told_while_no_worker_ran_reaches_what_was_there_and_what_comes(trial):
    first = await trial.start_worker()
    await trial.publish_events(report(number) for number in range(20))
    await trial.settled()
    assert await first.stop() == 0
    topic = trial.topic(CONTROL)
    told = {"time": NOW.isoformat(), "delivery_id": "DM1", "action": "cancel"}
    await trial.publish([Outgoing(topic, json.dumps(told).encode(), b"DM1")])
    await trial.publish_events(report(number) for number in range(20, 40))
    await trial.start_worker()
    await canceled_are(trial, range(40))


async def test_whoever_may_publish_events_cancels_nothing_and_stops_nobody(trial):
    worker = await trial.start_worker()
    await trial.publish_events(report(number) for number in range(10))
    headers = (("delivery.control", b"cancel"),)
    times = (NOW.isoformat(), "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9998-01-01T00:00:00Z")
    forged = [json.dumps({"delivery_id": "DM1", "time": time}).encode() for time in times]
    topic, partitions = trial.topic(EVENTS), range(trial.settings.partitions)
    await trial.publish(Outgoing(topic, value, b"DM1", headers, partition=n) for value in forged for n in partitions)
    await trial.publish_events(report(number) for number in range(10, 20))
    await trial.settled()
    letters = [dict(record.headers) for record in await trial.dead_letters()]
    assert [each["delivery.dead.reason"] for each in letters] == [b"cancel_marker"] * len(forged) * len(partitions)
    assert all(b"control record" in each["__streams.errors.message"] for each in letters)
    assert {row.status for row in (await trial.rows()).values()} == {Status.PENDING}
    assert len(await trial.rows()) == 20
    assert await worker.stop() == 0


async def test_a_record_in_the_wrong_partition_is_told_to_its_own(trial):
    await trial.start_worker()
    told = json.dumps({"time": NOW.isoformat(), "delivery_id": "DM1", "action": "start"}).encode()
    topic = trial.topic(CONTROL)
    await trial.publish(Outgoing(topic, told, b"DM1", partition=n) for n in range(trial.settings.partitions))
    await committed(trial)
    await tell(trial, "DM1", "pause")
    written = await trial.records(DELIVERIES)
    assert len({record.partition for record in written}) == 1
    assert (await deliveries(trial))["DM1"].state is State.PAUSED


async def test_a_bad_record_is_a_dead_letter_and_the_others_live(trial):
    await trial.start_worker()
    topic = trial.topic(CONTROL)
    await trial.publish([Outgoing(topic, b'{"action": "explode"}', b"DM1")])
    await tell(trial, "DM1", "start")
    reasons = [
        dict(record.headers)["delivery.dead.reason"]
        for record in await trial.dead_letters()
        if dict(record.headers)["__streams.errors.topic"] == topic.encode()
    ]
    assert reasons == [b"invalid_control"]
    assert (await deliveries(trial))["DM1"].state is State.RUNNING
