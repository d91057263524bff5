"""A whole worker whose requests are lost, late and repeated: its rows are those of a worker on a good network."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from processor.demo.simulate import canonical_events
from tests.engine.proxy import Api, Proxy, at_random

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: All that a worker writes with.
WRITING = {
    Api.PRODUCE,
    Api.INIT_PRODUCER_ID,
    Api.ADD_PARTITIONS_TO_TXN,
    Api.ADD_OFFSETS_TO_TXN,
    Api.TXN_OFFSET_COMMIT,
    Api.END_TXN,
}


def canonical(messages: int, seed: int) -> list[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    return list(canonical_events(seed, messages, start, out_of_order=0.1, duplicates=0.05))


async def publish_slowly(trial, events: list[bytes]) -> None:
    for start in range(0, len(events), 50):
        await trial.publish_events(events[start : start + 50])
        await asyncio.sleep(0.1)  # A rate; nothing waits for it.


async def assert_exactly_once(make_trial, broker, seed, *, newest=None, repeats=True):
    trial = await make_trial(partitions=2)
    async with Proxy(broker, newest) as proxy:
        proxy.fate_of = at_random(seed, WRITING, 0.06, repeats=repeats)
        worker = await trial.start_worker(DELIVERY_BROKERS=proxy.address)
        await publish_slowly(trial, canonical(1_000, seed))
        await trial.settled()
        assert proxy.count(Api.END_TXN) > 20
        assert {request.version for request in proxy.seen if request.api == Api.END_TXN} == {0 if newest else 5}
        assert await worker.stop() == 0
    books = await trial.assert_every_event_had_its_effect_once()
    assert books.messages
    await trial.assert_every_status_change_is_told_once()


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_event_has_its_effect_once(make_trial, kafka_broker, seed):
    await assert_exactly_once(make_trial, kafka_broker, seed)


@pytest.mark.parametrize("seed", [3, 4])
async def test_every_event_has_its_effect_once_with_a_broker_before_kafka_4(make_trial, kafka_broker, seed):
    await assert_exactly_once(make_trial, kafka_broker, seed, newest={Api.END_TXN: 4}, repeats=False)
