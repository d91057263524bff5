"""With rows on disk a worker is the same, and reads only what it missed."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from processor.demo.simulate import canonical_events

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
async def trial(make_trial, tmp_path: Path):
    return await make_trial(store="rocksdb", store_path=str(tmp_path / "store"), store_cache_mib=16, chunk_records=200)


def events(messages: int, seed: int) -> list[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    lives = canonical_events(seed, messages, start, out_of_order=0.1, duplicates=0.05)
    return [event.replace(b'"m-', b'"m%d-' % seed) for event in lives]


def recovered(worker) -> int:
    """Give how many changelog offsets its partitions of events read before they ran."""
    return sum(line["recovered"] for line in worker.log("partition_running") if "events" in line["topic"])


async def assert_all_is_right(trial) -> None:
    await trial.settled()
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
    await trial.assert_gauges_say_what_the_rows_say()


async def test_restarted_it_reads_nothing_twice_and_goes_on_with_the_right_counts(trial):
    await trial.publish_events(events(600, seed=1))
    worker = await trial.start_worker()
    await trial.settled()
    assert await worker.stop() == 0
    again = await trial.start_worker()
    await again.ready()
    # The marker of each partition's last transaction is all that lies behind what the store reflects.
    assert recovered(again) <= trial.settings.partitions
    await trial.publish_events(events(600, seed=2))
    await assert_all_is_right(trial)
    assert await again.metric("delivery_conservation_error") == 0


async def test_killed_it_reads_the_tail_that_the_store_does_not_reflect(trial):
    await trial.publish_events(events(1_500, seed=1))
    worker = await trial.start_worker()
    await trial.settled()
    before = await trial.committed_total()
    await trial.publish_events(events(500, seed=2))

    async def is_in_mid_stream() -> bool:
        return await trial.committed_total() > before

    await trial.eventually(is_in_mid_stream, "it has committed more")
    await worker.kill()
    again = await trial.start_worker()
    await again.ready()
    assert recovered(again) < len(await trial.records_of_messages()) / 2, "only a tail was read"
    await assert_all_is_right(trial)


async def test_what_others_wrote_meanwhile_is_read_and_the_rest_is_not(trial, tmp_path):
    await trial.publish_events(events(600, seed=1))
    worker = await trial.start_worker()
    await trial.settled()
    await worker.stop()
    elsewhere = await trial.start_worker(DELIVERY_STORE_PATH=str(tmp_path / "elsewhere"))
    await trial.publish_events(events(100, seed=2))
    await trial.settled()
    await elsewhere.stop()
    back = await trial.start_worker()
    await back.ready()
    assert 0 < recovered(back) < recovered(elsewhere)
    await assert_all_is_right(trial)


async def test_a_store_of_other_topics_is_not_trusted(trial, make_trial, tmp_path):
    await trial.publish_events(events(300, seed=1))
    worker = await trial.start_worker()
    await trial.settled()
    await worker.stop()
    other = await make_trial(store="rocksdb", store_path=str(tmp_path / "other"), store_cache_mib=16)
    for partition in range(other.settings.partitions):
        source = (
            tmp_path / "store" / trial.settings.app_id / f"{trial.settings.topic_prefix}messages.v1" / str(partition)
        )
        target = (
            tmp_path / "other" / other.settings.app_id / f"{other.settings.topic_prefix}messages.v1" / str(partition)
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    await other.publish_events(events(50, seed=2))
    foreign = await other.start_worker()
    await assert_all_is_right(other)
    assert len(foreign.log("store_rebuilt")) == other.settings.partitions
