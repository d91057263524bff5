"""Hundreds of batches of random faults, among good records, under one worker: it lives, and the good ones count."""

import os
from random import Random

import pytest
from aiokafka.errors import KafkaError

from processor.engine.streams import Outgoing
from processor.wire.topics import CONTROL, EVENTS, MTA
from tests.engine.raw_batches import COMPRESS, Batch, produce, record
from tests.engine.test_bad_input import KUMOMTA, NOW, delivered_by_mail, event

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = int(os.environ.get("DELIVERY_TEST_SEED", "11"))
BATCHES = 450
NOW_MS = int(NOW.timestamp() * 1000)
#: None, the epoch, the present, next century, the last moment that can be written, and beyond it.
TIMESTAMPS = (-1, 0, 1, NOW_MS, NOW_MS, NOW_MS, 4_102_444_800_000, 253_402_300_799_999, 2**62)
#: Of attributes: the broker's time of append, a marker, and bits that mean nothing yet. A transaction that nobody ends
#: holds up every reader of what is committed, whatever is in it: none is begun.
ATTRIBUTES = (0, 0, 0, 0, 0x08, 0x20, 0x40, 0x80, 0x100)


def some_bytes(rng: Random, longest: int = 40) -> bytes:
    return rng.randbytes(rng.randrange(longest))


def some_header(rng: Random) -> tuple[bytes | None, bytes | None]:
    name = rng.choice(
        [b"provider", b"account", b"query", b"received", b"traceparent", b"delivery.control", b"\xff\xfe"]
    )
    return rng.choice([name, some_bytes(rng)]), rng.choice([b"kumomta", b"twilio", b"cancel", None, some_bytes(rng)])


def some_value(rng: Random) -> bytes | None:
    good = rng.choice([delivered_by_mail("mutated"), event("mutated"), b'{"delivery_id":"X","action":"start"}'])
    cut = rng.randrange(len(good))
    return rng.choice([None, b"", good[:cut], good[:cut] + some_bytes(rng) + good[cut:], some_bytes(rng, 400)])


def some_batch(rng: Random) -> Batch:
    records = [
        record(
            some_value(rng),
            rng.choice([None, b"X", some_bytes(rng)]),
            [some_header(rng) for _ in range(rng.randrange(4))],
            delta=rng.choice([number, number, number, rng.randrange(-9, 99)]),
            time_delta=rng.choice([0, 0, rng.randrange(-(10**6), 10**6)]),
            length=rng.choice([None] * 9 + [rng.randrange(-5, 500)]),
        )
        for number in range(rng.randrange(1, 5))
    ]
    codec = rng.choice([0, 0, *COMPRESS])
    payload = COMPRESS[codec](b"".join(records))
    if rng.random() < 0.3:
        at = rng.randrange(len(payload))
        payload = payload[:at] + rng.randbytes(1) + payload[at + 1 :]
    return Batch(
        records,
        codec,
        count=rng.choice([None] * 9 + [rng.randrange(9)]),
        last_delta=rng.choice([None] * 9 + [rng.randrange(9)]),
        attributes=rng.choice(ATTRIBUTES),
        timestamp=rng.choice(TIMESTAMPS),
        payload=payload,
        is_crc_wrong=rng.random() < 0.05,
    )


async def test_a_worker_lives_through_batches_of_random_faults_and_loses_nothing_good(trial):
    rng = Random(SEED)
    worker = await trial.start_worker()
    await worker.ready()
    taken = 0
    for number in range(BATCHES):
        topic = trial.topic(rng.choice([MTA, EVENTS, CONTROL]))
        try:
            await produce(trial.settings, topic, rng.randrange(trial.settings.partitions), some_batch(rng).written())
            taken += 1
        except KafkaError:
            pass  # The broker refuses it: nobody has to read it.
        if number % 3 == 0:
            raw = Outgoing(trial.topic(MTA), delivered_by_mail(f"raw-{number}"), None, KUMOMTA, partition=0)
            await trial.publish([raw, Outgoing(trial.topic(EVENTS), event(f"event-{number}"))])
    await trial.settled()
    # The broker refuses most.
    assert taken > 50
    good = {f"{kind}-{number}" for kind in ("raw", "event") for number in range(0, BATCHES, 3)}
    assert good <= set(await trial.rows())
    reasons = [dict(letter.headers)["delivery.dead.reason"] for letter in await trial.dead_letters()]
    assert len(reasons) > taken // 2
    assert b"internal_error" not in reasons
    assert await worker.stop() == 0
