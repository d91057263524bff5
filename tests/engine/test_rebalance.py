"""Every rebalance takes all partitions away and hands them out anew: what comes back must be cheap, and right."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest

from processor.demo.simulate import canonical_events
from processor.engine.partition import Partition, PartitionState
from processor.engine.worker import Worker
from processor.metrics import Metrics
from processor.metrics.labels import ByStage
from processor.stages import STAGE_NAMES, stages
from processor.wire.topics import EVENTS, MESSAGES

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: Topics that are read: two of raw records, and the events.
INPUTS = 6


class WatchedWorker(Worker):
    """A worker in this process, that remembers every partition which it was ever given."""

    def __init__(self, settings) -> None:
        metrics = Metrics(STAGE_NAMES)
        super().__init__(settings, stages(settings, metrics), metrics)
        self.opened: list[Partition] = []
        self._open, self.assignment._open = self.assignment._open, self._open_and_remember

    def _open_and_remember(self, tp, pin) -> None:
        self._open(tp, pin)
        self.opened.append(self.assignment.partitions[tp])

    def runs(self, partitions: int) -> bool:
        running = [each for each in self.assignment.partitions.values() if each.state is PartitionState.RUNNING]
        return self.is_ready and len(running) == partitions

    def shown(self) -> float:
        """Give the messages that its gauge counts."""
        return sum(sample.value for sample in next(iter(self.metrics.messages.collect())).samples)


@asynccontextmanager
async def watched(settings) -> AsyncIterator[WatchedWorker]:
    stop, worker = asyncio.Event(), WatchedWorker(settings)
    working = asyncio.ensure_future(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await working


def endless_events() -> Iterator[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    return canonical_events(11, 100_000, start, out_of_order=0.1, duplicates=0.05)


async def test_what_a_worker_keeps_over_a_rebalance_it_reads_the_tail_of_and_what_comes_new_the_whole(trial):
    events, everything = endless_events(), INPUTS * trial.settings.partitions
    async with watched(trial.settings) as stays:

        async def has_everything() -> bool:
            return stays.runs(everything)

        async def fold(count: int) -> None:
            await trial.publish_events(list(islice(events, count)))
            await trial.settled()

        await trial.eventually(has_everything, "it has all partitions")
        await fold(3_000)

        # Another comes, and takes some.
        before = len(stays.opened)
        joins = await trial.start_worker()

        async def is_shared() -> bool:
            theirs = (await joins.states()).get("running", 0)
            return theirs > 0 and stays.runs(everything - theirs)

        await trial.eventually(is_shared, "they share the partitions")
        kept = {each.tp for each in stays.assignment.partitions.values() if each.tp.topic == trial.topic(EVENTS)}
        assert 0 < len(kept) < trial.settings.partitions
        assert [each.to_recover for each in stays.opened[before:] if each.tp in kept and each.to_recover > TAIL] == []
        await fold(2_000)

        # It leaves, and all comes back.
        before = len(stays.opened)
        assert await joins.stop() == 0
        await trial.eventually(has_everything, "it has all partitions again")
        ends = {}
        for record in await trial.records(MESSAGES):
            ends[record.partition] = record.offset
        for each in stays.opened[before:]:
            if each.tp in kept:
                assert each.to_recover <= TAIL, "it knows all but the marker of its own last transaction"
            elif each.tp.topic == trial.topic(EVENTS):
                assert each.to_recover > ends[each.tp.partition], "others have written here: nothing old is trusted"
        await fold(1_000)

        assert stays.shown() == len(await trial.rows())
        assert stays.metrics.reopened.labels(ByStage("fold"))._value.get() == 0
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
    assert stays.shown() == 0, "what it has no longer, it does not count"


#: What a partition of one's own has after what one has written: the marker that ends the last transaction.
TAIL = 1


async def test_workers_that_come_and_go_while_events_come_leave_the_right_rows(trial):
    events, finished = endless_events(), asyncio.Event()

    async def publish() -> None:
        while not finished.is_set():
            await trial.publish_events(list(islice(events, 100)))
            await asyncio.sleep(0.1)  # A rate; nothing waits for it.

    async with watched(trial.settings) as stays:
        publishing = asyncio.ensure_future(publish())
        try:
            for _ in range(2):
                joins = await trial.start_worker()
                await joins.ready()
                committed = await trial.committed_total()

                async def goes_on(committed: int = committed) -> bool:
                    return await trial.committed_total() > committed + 300

                await trial.eventually(goes_on, "events are folded")
                assert await joins.stop() == 0
        finally:
            finished.set()
            await publishing
        await trial.settled()

        async def has_everything() -> bool:
            return stays.runs(INPUTS * trial.settings.partitions)

        await trial.eventually(has_everything, "it has all partitions again")
        assert stays.metrics.reopened.labels(ByStage("fold"))._value.get() == 0
        assert stays.shown() == len(await trial.rows())
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
