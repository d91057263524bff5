"""Control records on a real broker: what is told outlives workers, and a cancel reaches every partition once."""

import json
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.control import decode_delivery, decode_marker, is_marker
from processor.domain.delivery import Delivery, State
from processor.engine.streams import Outgoing
from processor.topics import CONTROL, DELIVERIES, EVENTS
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


async def markers(trial: Trial) -> Counter[tuple[int, tuple[str, int]]]:
    """Count the cancel markers by partition, delivery and time."""
    records = [record for record in await trial.records(EVENTS) if is_marker(record.headers)]
    return Counter((record.partition, decode_marker(record.value)) for record in records)


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


async def test_a_cancel_puts_one_marker_into_every_partition_whatever_is_repeated(trial):
    expected = Counter(
        (number, ("DM1", int(NOW.timestamp()) * 1_000_000)) for number in range(trial.settings.partitions)
    )
    worker = await trial.start_worker()
    await tell(trial, "DM1", "start", "cancel", "cancel")
    assert await markers(trial) == expected
    await tell(trial, "DM1", "cancel", "finish")
    assert await markers(trial) == expected
    await worker.kill()
    await trial.start_worker()
    await tell(trial, "DM1", "cancel")
    assert await markers(trial) == expected
    assert (await deliveries(trial))["DM1"].state is State.CANCELED


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
