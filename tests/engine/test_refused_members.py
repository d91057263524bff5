"""A worker whose group's coordinator gives an answer that aiokafka does not know how to take: it joins anew."""

import struct
from datetime import datetime, timedelta, timezone

import pytest

from processor.demo.simulate import canonical_events
from tests.engine.proxy import PASSES, Answered, Api, Fate, Proxy, Request

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

UNKNOWN_SERVER_ERROR = -1
REBALANCE_IN_PROGRESS = 27


def refusal(request: Request, error: int) -> bytes:
    """Give the body of an answer with an error, to the versions that aiokafka sends: it begins with a wait of none."""
    begins = struct.pack(">ih", 0, error)
    if request.api == Api.HEARTBEAT:
        assert request.version == 1
        return begins
    if request.api == Api.SYNC_GROUP:
        assert request.version == 3
        return begins + struct.pack(">i", 0)
    assert request.version == 5
    no_generation, empty, nobody = struct.pack(">i", -1), struct.pack(">h", 0), struct.pack(">i", 0)
    return begins + no_generation + 3 * empty + nobody


@pytest.mark.parametrize("refused", [Api.HEARTBEAT, Api.JOIN_GROUP, Api.SYNC_GROUP], ids=lambda api: api.name)
async def test_joins_anew(make_trial, kafka_broker, refused):
    trial = await make_trial(partitions=2)
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    events = list(canonical_events(3, 200, start))
    # Two heartbeats at most: one that makes it join, and what is refused.
    to_refuse = {Api.HEARTBEAT: REBALANCE_IN_PROGRESS, refused: UNKNOWN_SERVER_ERROR}

    def fate_of(request: Request) -> Fate:
        error = to_refuse.pop(request.api, None)
        return PASSES if error is None else Answered(refusal(request, error))

    async with Proxy(kafka_broker) as proxy:
        worker = await trial.start_worker(DELIVERY_BROKERS=proxy.address)
        await worker.ready()
        await trial.publish_events(events[:100])
        await trial.settled()
        assigned = len(worker.log("partitions_assigned"))
        proxy.fate_of = fate_of

        async def is_back() -> bool:
            assert worker.exit_code is None, worker.log_text()[-4_000:]
            return bool(worker.log("membership_failed")) and len(worker.log("partitions_assigned")) > assigned

        await trial.eventually(is_back, "it has its partitions again")
        await trial.publish_events(events[100:])
        await trial.settled()
        assert await worker.stop() == 0
    await trial.assert_every_event_had_its_effect_once()
