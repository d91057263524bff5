"""A worker that is killed, however often, leaves what one that was never killed leaves."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from random import Random

import pytest

from processor.demo.simulate import canonical_events, traffic
from processor.demo.simulate.disorder import Disorder
from processor.domain.event import Event
from processor.engine.streams import Outgoing
from processor.providers import decode_payload, read
from processor.providers.adapter import Context
from processor.wire.events import encode_event
from processor.wire.topics import MTA, SMS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KILLS = 3

#: Every disorder of records that can be used; of those that cannot, test_bad_input.py speaks.
DISORDER = Disorder(
    duplicate=0.05,
    late=0.05,
    swapped=0.05,
    contradictory=0.05,
    future=0,
    truncated=0,
    garbage=0,
    unknown_status=0,
    unknown_provider=0,
)


def canonical(messages: int, seed: int) -> list[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    return list(canonical_events(seed, messages, start, out_of_order=0.1, duplicates=0.05))


def raw(trial, messages: int, seed: int) -> list[Outgoing]:
    start = datetime.now(timezone.utc) - timedelta(days=2)
    topics = {"mta": trial.topic(MTA), "sms": trial.topic(SMS)}
    return [
        Outgoing(topics[record.topic], record.value, record.key, record.headers)
        for record in traffic(seed, start, messages=messages, speed=3_600, disorder=DISORDER)
    ]


def events_of(record) -> Iterator[bytes]:
    """Read a raw record as `delivery-status normalize` does."""
    received = datetime.fromtimestamp(record.timestamp / 1000, timezone.utc)
    provider = dict(record.headers)["provider"].decode()
    for finding in read(provider, decode_payload(record.value), Context(received)):
        assert isinstance(finding, Event) or type(finding).__name__ == "NoStatus"
        if isinstance(finding, Event):
            finding.from_payload = True
            yield encode_event(finding)


def moments(seed: int, total: int) -> list[int]:
    """Give the numbers of committed records at which the worker is killed: one in each part of the stream."""
    rng, part = Random(seed), total * 8 // 10 // KILLS
    return [part * number + rng.randrange(1, part) for number in range(KILLS)]


async def kill_at_each(trial, moments: list[int]) -> None:
    for moment in moments:
        worker = await trial.start_worker()
        while await trial.committed_total() < moment:
            assert worker.exit_code is None, worker.log_text()
        await worker.kill()


async def publish_slowly(trial, events: list[bytes]) -> None:
    for start in range(0, len(events), 200):
        await trial.publish_events(events[start : start + 200])
        await asyncio.sleep(0.1)  # A rate; nothing waits for it.


async def assert_nothing_is_lost_or_repeated(trial) -> None:
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
    await trial.assert_gauges_say_what_the_rows_say()
    assert await trial.dead_letters() == []


async def test_killed_again_and_again_in_mid_stream_it_folds_every_event_once(make_trial):
    trial = await make_trial(chunk_records=50)
    events = canonical(4_000, seed=1)
    # However fast the worker is, it cannot have done what comes only after the last kill.
    meanwhile, afterwards = events[: -len(events) // 10], events[-len(events) // 10 :]
    publishing = asyncio.ensure_future(publish_slowly(trial, meanwhile))
    try:
        await kill_at_each(trial, moments(1, len(events)))
    finally:
        await publishing
    await trial.publish_events(afterwards)
    worker = await trial.start_worker()
    await trial.settled()

    await assert_nothing_is_lost_or_repeated(trial)
    assert await worker.metric("delivery_conservation_error") == 0
    assert await worker.stop() == 0


async def test_killed_again_and_again_it_makes_every_raw_record_into_its_events_once(make_trial):
    # Receipts that wait for links are told of once, however often they come (test_links.py).
    trial = await make_trial(chunk_records=50, link_wait=0)
    records = raw(trial, 2_000, seed=2)
    await trial.publish(records)
    # Raw records and the events that are made of them are both input.
    await kill_at_each(trial, moments(2, len(records) * 3 // 2))
    worker = await trial.start_worker()
    await trial.settled()

    read_once: Counter[bytes] = Counter()
    for topic in (MTA, SMS):
        for record in await trial.records(topic):
            read_once.update(events_of(record))
    assert Counter(await trial.events()) == read_once
    await assert_nothing_is_lost_or_repeated(trial)
    assert await worker.stop() == 0
