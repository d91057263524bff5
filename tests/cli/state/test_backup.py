"""A cluster is lost, and what a backup and the events hold is enough to have it again."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from processor.cli.backup import STATE
from processor.demo.simulate import canonical_events
from processor.engine.streams import Outgoing
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, EVENTS, MESSAGES, TOPICS
from tests.cli.state.commands import run
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def control(action: str, **facts: object) -> bytes:
    return json.dumps({"delivery_id": "DM1", "action": action, "time": "2026-11-23T08:00:00Z", **facts}).encode()


async def test_a_restore_in_another_cluster_ends_where_the_lost_one_stood(make_trial, tmp_path):
    """The backup is taken in the middle of the work; the events since come again from their topic."""
    file = tmp_path / "state.jsonl"
    start = datetime.now(timezone.utc) - timedelta(minutes=30)
    events = list(canonical_events(1, 400, start, out_of_order=0.1, duplicates=0.05))
    half = len(events) // 2
    lost = await make_trial(partitions=3)
    await lost.publish([Outgoing(lost.topic(CONTROL), control("start", label="Autumn sale"), b"DM1")])
    await lost.publish_events(events[:half])
    await lost.start_worker()
    await eventually(lost.committed_total, "some of it is committed")
    written = await run(lost, "backup", file)
    assert written.exit_code == 0, written.told
    await lost.publish_events(events[half:])
    await lost.settled()
    [worker] = lost.workers
    await worker.kill()

    made = await make_trial(partitions=3)
    restored = await run(made, "restore", file)
    assert restored.exit_code == 0, restored.told
    # The events are kept elsewhere, or their publishers send them again. Those before the backup do no harm.
    await made.publish_events(events)
    await made.start_worker()
    await made.settled()
    await made.assert_rows_are_those_of_the_offline_fold()
    assert await made.rows() == await lost.rows()
    await made.assert_counts_are_a_recount_of_the_rows()
    [delivery] = {record.value for record in await made.records(DELIVERIES)}
    assert json.loads(delivery)["label"] == "Autumn sale"


async def test_without_its_events_a_restore_is_the_state_of_the_backup(make_trial, tmp_path):
    file = tmp_path / "state.jsonl"
    lost = await make_trial(partitions=3)
    await lost.publish_events(canonical_events(2, 100, datetime.now(timezone.utc) - timedelta(minutes=30)))
    await lost.start_worker()
    await lost.settled()
    assert (await run(lost, "backup", file)).exit_code == 0
    made = await make_trial(partitions=3)
    assert (await run(made, "restore", file)).exit_code == 0
    worker = await made.start_worker()
    await worker.ready()
    assert await made.rows() == await lost.rows()
    # It is the state of workers, not only a copy: what comes next goes on from there.
    message_id = min(await made.rows())
    row = (await made.row_records())[message_id]
    await made.publish_events(
        [
            json.dumps(
                {"message_id": message_id, "channel": row.channel, "status": "failed", "time": "2031-01-01T00:00:00Z"}
            ).encode()
        ]
    )
    await made.settled()
    await made.assert_counts_are_a_recount_of_the_rows()


class TestRefusals:
    @pytest.fixture
    async def taken(self, trial, tmp_path):
        file = tmp_path / "state.jsonl"
        await trial.publish([Outgoing(trial.topic(MESSAGES), b"{}", b"m-1")])
        assert (await run(trial, "backup", file)).exit_code == 0
        return trial, file

    async def test_topics_that_hold_something(self, taken):
        trial, file = taken
        outcome = await run(trial, "restore", file)
        assert outcome.exit_code == 1
        assert "is not empty: restore into new topics" in outcome.told

    async def test_another_number_of_partitions(self, taken, make_trial):
        _, file = taken
        other = await make_trial(partitions=5)
        outcome = await run(other, "restore", file)
        assert "create the topics with DELIVERY_PARTITIONS=" in outcome.told
        assert await other.records(MESSAGES) == []

    async def test_what_is_no_backup(self, trial, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"message_id": "m-1"}\n')
        assert "this is no backup" in (await run(trial, "restore", tmp_path / "rows.jsonl")).told

    async def test_one_that_was_stopped(self, taken, make_trial):
        trial, file = taken
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
        other = await make_trial(partitions=trial.settings.partitions)
        assert "the backup has no end" in (await run(other, "restore", file)).told
        assert await other.records(MESSAGES) == []


def test_a_backup_has_every_topic_that_is_kept_for_ever_and_counts_before_rows():
    assert sorted(topic.name for topic in STATE) == sorted(topic.name for topic in TOPICS if topic.is_compacted)
    assert (STATE[0], STATE[-1]) == (COUNTS, MESSAGES)
    assert EVENTS not in STATE
