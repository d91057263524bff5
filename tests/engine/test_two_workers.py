"""Two workers share the partitions; one that leaves hands its own over, in good order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest

from processor.demo.simulate import canonical_events

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: Topics that are read: two of raw records, the control of deliveries, and the events.
INPUTS = 6


def endless_events(seed: int) -> Iterator[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=10)
    return canonical_events(seed, 400_000, start, out_of_order=0.1, duplicates=0.05)


@asynccontextmanager
async def load(trial, events: Iterator[bytes]) -> AsyncIterator[None]:
    """Publish events, some hundred a second, for as long as the block lasts."""
    finished = asyncio.Event()

    async def publish() -> None:
        while not finished.is_set():
            await trial.publish_events(list(islice(events, 100)))
            # A rate; nothing waits for it.
            await asyncio.sleep(0.2)

    publishing = asyncio.ensure_future(publish())
    try:
        yield
    finally:
        finished.set()
        await publishing


async def have_all_partitions(trial, *workers) -> list[int]:
    """Wait until every partition runs and each of the workers has some; give how many each has."""
    wanted = INPUTS * trial.settings.partitions

    async def shared() -> list[int]:
        running = [(await worker.states()).get("running", 0) for worker in workers]
        return running if sum(running) == wanted and all(running) else []

    return await trial.eventually(shared, f"{len(workers)} workers have all {wanted} partitions")


async def goes_on(trial) -> None:
    """Wait until more has been committed than what was in hand."""
    committed = await trial.committed_total()

    async def has_gone_on() -> bool:
        return await trial.committed_total() > committed + 500

    await trial.eventually(has_gone_on, "the work goes on")


async def test_two_workers_share_and_the_one_that_is_stopped_hands_over_in_good_order(trial):
    events = endless_events(seed=3)
    async with load(trial, events):
        stays, leaves = await trial.start_workers(2)
        one, other = await have_all_partitions(trial, stays, leaves)
        assert abs(one - other) <= INPUTS
        await goes_on(trial)
    await trial.settled()
    await trial.assert_gauges_say_what_the_rows_say()

    async with load(trial, events):
        await goes_on(trial)
        assert await leaves.stop() == 0
        assert await trial.members() == 1, "it told the group that it leaves"
        await have_all_partitions(trial, stays)
        await goes_on(trial)
    await trial.settled()
    await trial.assert_gauges_say_what_the_rows_say()
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
    assert await trial.dead_letters() == []
    assert await stays.metric("delivery_conservation_error") == 0
    assert await stays.stop() == 0
