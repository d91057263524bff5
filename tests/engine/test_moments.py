"""What we write has the brokers' time of now, whatever the clocks of publishers and workers say."""

import asyncio
import json
import os
import re
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidTimestampError

from processor.engine.streams import Outgoing
from processor.wire.topics import CONTROL, COUNTS, DEAD, DELIVERIES, EVENTS, MESSAGES, MTA, REJECTED
from tests.engine.harness import WORKER
from tests.engine.raw_batches import Batch, produce, record
from tests.engine.test_bad_input import KUMOMTA, delivered_by_mail, event

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HOUR_MS = 3_600_000
OURS = (COUNTS, DELIVERIES, REJECTED, DEAD)


def with_clock(seconds: float) -> tuple[str, ...]:
    """Give the command of a worker whose clock is off by so many seconds."""
    program = (
        f"import time, sys; true = time.time; time.time = lambda: true() + {seconds};"
        f"sys.argv = ['delivery-status', 'worker']; from processor.cli import main; main()"
    )
    return WORKER[0], "-c", program


async def keep_times_of_publishers(trial) -> None:
    """Let the topics be as `topics create` made them before: they keep the times that records are written with."""
    for topic in (*OURS, CONTROL):
        change = {"message.timestamp.type": "CreateTime"}
        resource = ConfigResource(ConfigResourceType.TOPIC, trial.topic(topic), change)
        await trial._admin.alter_configs([resource])


async def publish_some(trial) -> None:
    """Publish what makes a record on every topic."""
    now = datetime.now(timezone.utc)
    await trial.publish_events(
        [
            event("m-1", status="sent", time=now.isoformat()),
            event("m-1", status="ignored", time=(now + timedelta(seconds=1)).isoformat()),
            b'{"message_id":"no event"}',
        ]
    )
    await trial.publish(
        [
            Outgoing(trial.topic(MTA), delivered_by_mail("m-2"), None, KUMOMTA),
            Outgoing(
                trial.topic(CONTROL),
                json.dumps({"delivery_id": "D", "action": "start", "time": now.isoformat()}).encode(),
                b"D",
            ),
        ]
    )


@pytest.mark.parametrize("ahead", [3 * 3_600, -3 * 3_600], ids=["3 h ahead", "3 h behind"])
@pytest.mark.parametrize("is_new", [True, False], ids=["topics of now", "topics as they were made before"])
async def test_a_worker_whose_clock_is_wrong_works_and_says_so(trial, ahead, is_new):
    if not is_new:
        await keep_times_of_publishers(trial)
    begin = int(time.time() * 1000)
    worker = await trial.start_worker(with_clock(ahead))
    await publish_some(trial)
    await trial.settled()
    assert set(await trial.rows()) == {"m-1", "m-2"}
    assert len(await trial.dead_letters()) == 1
    if is_new:
        for topic in OURS:
            for each in await trial.records(topic):
                assert begin - 1_000 <= each.timestamp <= time.time() * 1000 + 1_000, topic.name
        assert abs(await worker.metric("delivery_worker_clock_skew_seconds") - ahead) < 30
        [line, *_] = [each for each in worker.log("clock_skewed") if "seconds_ahead" in each]
        assert abs(line["seconds_ahead"] - ahead) < 30
        assert "NTP" in line["mend"]
    elif ahead > 0:
        assert worker.log("clock_skewed")
    assert await worker.stop() == 0


async def test_what_old_records_become_is_kept_as_long_as_what_is_new(trial):
    """A back-fill of last year's payloads and events, with their own times as the timestamps of their records."""
    begin = int(time.time() * 1000)
    then = datetime.now(timezone.utc) - timedelta(days=365)
    then_ms = int(then.timestamp() * 1000)
    worker = await trial.start_worker()
    bad = Outgoing(trial.topic(EVENTS), b"{}", None, (), then_ms)
    raw = Outgoing(trial.topic(MTA), delivered_by_mail("old", then), None, KUMOMTA, then_ms)
    stated = [
        event("m", status=status, time=(then + timedelta(seconds=number)).isoformat())
        for number, status in enumerate(("sent", "ignored"))
    ]
    await trial.publish([bad, raw, *(Outgoing(trial.topic(EVENTS), each, b"m", (), then_ms) for each in stated)])
    await trial.settled()
    for topic in (MESSAGES, COUNTS, REJECTED, DEAD):
        found = await trial.records(topic)
        assert found, topic.name
        assert all(each.timestamp >= begin - HOUR_MS for each in found), topic.name
    [normalized] = [each for each in await trial.records(EVENTS) if b'"old"' in each.value]
    assert normalized.timestamp >= begin - 1_000
    assert normalized.headers == (("delivery.received", str(then_ms).encode()),)
    [letter] = await trial.dead_letters()
    assert dict(letter.headers)["delivery.dead.timestamp"] == str(then_ms).encode()
    # Nothing of last year's reports looks as if a provider's clock were a year behind.
    assert abs(await worker.metric("delivery_clock_skew_seconds", provider="kumomta")) < 3_600
    assert await worker.stop() == 0


async def _let_in(trial, topic, batch):
    """Publish a batch once the change of its topic has reached the leader, which is a moment after it was accepted."""
    while True:
        try:
            return await produce(trial.settings, trial.topic(topic), 0, batch.written())
        except InvalidTimestampError:
            await asyncio.sleep(0.1)


async def test_a_timestamp_years_ahead_is_not_taken_over(trial):
    """Topics can be told to let such records in; the rule about times ahead still holds."""
    for topic in (MTA, EVENTS):
        change = {"message.timestamp.after.max.ms": str(1 << 62)}
        await trial._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, trial.topic(topic), change)])
    ahead = datetime.now(timezone.utc) + timedelta(days=3_650)
    ahead_ms = int(ahead.timestamp() * 1000)
    worker = await trial.start_worker()
    for timestamp in (ahead_ms, 1 << 60):
        headers = [(b"provider", b"kumomta")]
        good = record(delivered_by_mail(f"now-{timestamp}"), None, headers)
        await _let_in(trial, MTA, Batch([good], timestamp=timestamp))
    late = record(delivered_by_mail("ahead", ahead), None, [(b"provider", b"kumomta")])
    await _let_in(trial, MTA, Batch([late], timestamp=ahead_ms))
    await _let_in(trial, EVENTS, Batch([record(b"{}")], timestamp=1 << 60))
    await trial.publish_events([event("last")])
    await trial.settled()
    assert set(await trial.rows()) == {f"now-{ahead_ms}", f"now-{1 << 60}", "last"}
    reasons = sorted(dict(each.headers)["delivery.dead.reason"] for each in await trial.dead_letters())
    assert reasons == [b"invalid_event", b"time_ahead"]
    for topic in (MESSAGES, COUNTS, DEAD):
        for each in await trial.records(topic):
            assert each.timestamp <= time.time() * 1000 + HOUR_MS
    assert await worker.stop() == 0


@pytest.mark.parametrize("ahead", [3 * 3_600, -3 * 3_600, 0])
async def test_check_tells_of_this_machines_clock(trial, ahead):
    program = with_clock(ahead)[-1].replace("'worker'", "'check', '--json'")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, **trial.environment}, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    notes = [note for note in json.loads(told)["notes"] if "clock" in note]
    if ahead:
        [note] = notes
        assert ("ahead of" if ahead > 0 else "behind") in note
        assert re.search(r"10(79|80)\d s", note)
    else:
        assert notes == []
    assert await trial.dead_letters() == [], "what was asked with is not there"


def test_the_worker_of_these_trials_is_the_one_that_is_shipped():
    assert with_clock(0)[0] == sys.executable
