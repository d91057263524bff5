"""The judges of the trial are judged themselves: one that finds nothing wrong must be able to."""

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition

from processor.demo.simulate import canonical_events
from processor.engine.streams import Outgoing
from processor.wire.topics import COUNTS, MESSAGES
from tests.chaos.observer import Difference, Life, judge, report_of
from tests.chaos.pulse import Progress, Pulse, Standstill
from tests.engine.harness import Trial, settings_for_a_trial

TP = TopicPartition("events", 0)


def event(time: str, status: str, **more: object) -> bytes:
    told = {"time": f"2026-11-23T{time}Z", "message_id": "m-1", "channel": "email", "status": status, **more}
    return orjson.dumps(told)


def heard(*values: bytes) -> list[tuple[dict | None, bool]]:
    life = Life()
    return [life.hear(found[1]) for value in values if (found := report_of(value))]


def test_every_move_is_due_with_where_the_message_came_from():
    (first, _), (moved, _) = heard(event("10:00:00", "pending"), event("10:00:01.5", "sent", provider="ses"))
    assert (first["status"], first["previous"]) == ("pending", None)
    assert (moved["status"], moved["previous"]["status"], moved["provider"]) == ("sent", "pending", "ses")
    assert moved["since"] - moved["previous"]["since"] == 1_500_000


def test_what_is_told_twice_is_due_once():
    assert heard(*[event("10:00:00", "pending")] * 2)[1] == (None, False)


def test_late_history_is_due_without_a_move():
    late = heard(event("10:00:02", "sent"), event("10:00:01", "taken_into_account"))[1]
    assert "previous" not in late[0]
    assert late[1] is False


def test_a_contradiction_is_due_and_withheld():
    row, is_withheld = heard(event("10:00:00", "ignored"), event("10:00:01", "sent"))[1]
    assert (row["status"], row["rejected"], is_withheld) == ("ignored", ["sent"], True)


def test_what_is_no_json_says_nothing():
    assert report_of(event("10:00:00", "pending")[:-1]) is None


def pulse_of(*looks: tuple[float, int, int]) -> Pulse:
    async def nobody_looks() -> dict:
        raise AssertionError

    pulse = Pulse(nobody_looks)
    for at, committed, end in looks:
        pulse.note(at, {TP: Progress(committed, end)})
    return pulse


def test_a_partition_that_commits_nothing_new_stands_still():
    pulse = pulse_of((10, 5, 100), (10.5, 6, 100), (12, 6, 100), (14, 6, 100), (14.5, 7, 100), (15, 8, 100))
    assert pulse.standstills(TP, since=10, until=15) == [Standstill(10.5, 14.5)]
    assert not pulse.is_steady(since=10, now=15)


def test_a_standstill_that_lasts_is_one():
    pulse = pulse_of((10, 5, 100), (12, 5, 100))
    assert pulse.standstills(TP, since=10, until=12.5) == [Standstill(10, 12.5)]


def test_who_has_nothing_to_read_does_not_stand_still():
    pulse = pulse_of(*((10 + 0.5 * look, 100, 100) for look in range(10)))
    assert pulse.standstills(TP, since=10, until=14.5) == []
    assert pulse.is_steady(since=10, now=14.5)


def test_without_an_answer_of_the_broker_everything_stands_still():
    pulse = pulse_of((10, 5, 100), (14, 9, 100))
    assert pulse.standstills(TP, since=11, until=14) == [Standstill(10, 14)]


def test_the_wrong_clock_is_wrong():
    shifted = "import time; from tests.chaos.skewed import shift; t = time.time(); shift(-600); print(t - time.time())"
    found = subprocess.run([sys.executable, "-c", shifted], check=True, capture_output=True, text=True)
    assert float(found.stdout) == pytest.approx(600, abs=1)


@pytest.mark.kafka
@pytest.mark.slow
async def test_the_observer_finds_what_is_missing_doubled_or_changed(brokers: str, tmp_path: Path):
    async with Trial(settings_for_a_trial(brokers, partitions=1), tmp_path) as trial:
        start = datetime.now(timezone.utc) - timedelta(minutes=5)
        await trial.publish_events(canonical_events(7, 300, start, out_of_order=0.1, duplicates=0.05))
        worker = await trial.start_worker()
        await trial.settled()
        await worker.stop()
        assert sum((await judge(trial.settings, 0, tmp_path)).values()) == 300
        # Each of these forgeries stays on its topic, so the one that is found first comes last.
        [*_, counts] = await trial.records(COUNTS)
        forged = {**orjson.loads(counts.value), "messages": 0}
        await trial.publish([Outgoing(trial.topic(COUNTS), orjson.dumps(forged), counts.key)])
        with pytest.raises(Difference, match="counts"):
            await judge(trial.settings, 0, tmp_path)
        [row, *_] = await trial.records(MESSAGES)
        await trial.publish([Outgoing(trial.topic(MESSAGES), row.value, row.key)])
        with pytest.raises(Difference, match="one more than it should"):
            await judge(trial.settings, 0, tmp_path)
        # An event that nobody folded.
        await trial.publish_events([event("10:00:00", "pending")])
        with pytest.raises(Difference, match="key"):
            await judge(trial.settings, 0, tmp_path)
