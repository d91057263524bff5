"""Topics that change under a running worker: it says that it is not well, and what has changed."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from aiokafka.admin import NewPartitions

from processor.demo.simulate import canonical_events
from processor.engine.admin import create_topics
from processor.wire.topics import EVENTS, MESSAGES, MTA

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def canonical(messages: int) -> list[bytes]:
    return list(canonical_events(5, messages, datetime.now(timezone.utc) - timedelta(minutes=5)))


async def told(trial, worker, what: str) -> list[str]:
    """Wait until the worker is not ready and says why; what it says of a moment in between is not waited for."""

    async def is_told() -> list[str]:
        status, body = await worker.get("/readyz")
        problems = json.loads(body)["problems"]
        assert (status == 503) or not problems
        return [] if any(what not in problem for problem in problems) else problems

    problems = await trial.eventually(is_told, "it says what is wrong")
    assert (await worker.get("/livez"))[0] == 200, "a restart would not help by itself"
    assert await worker.metric("delivery_topic_problems") == len(problems)
    assert {problem.partition(" ends at ")[0] for problem in problems} <= {
        line["problem"].partition(" ends at ")[0] for line in worker.log("topics_changed")
    }
    return problems


async def make_anew(trial, topic) -> None:
    name = trial.topic(topic)
    await trial._admin.delete_topics([name])

    async def is_there() -> bool:
        await create_topics(trial.settings)
        [described] = await trial._admin.describe_topics([name])
        return len(described["partitions"]) == trial.settings.partitions

    await trial.eventually(is_there, "the topic is made anew")


async def test_a_topic_that_is_deleted(trial):
    worker = await trial.start_worker()
    await worker.ready()
    await trial._admin.delete_topics([trial.topic(MESSAGES)])
    [problem] = await told(trial, worker, "has gone")
    assert problem.startswith(f"topic {trial.topic(MESSAGES)} has gone")
    assert "docs/runbooks/DeliveryTopicsChanged.md" in problem


async def test_a_topic_that_gets_more_partitions(trial):
    worker = await trial.start_worker()
    await worker.ready()
    await trial._admin.create_partitions({trial.topic(MTA): NewPartitions(6)})
    [problem] = await told(trial, worker, "partitions")
    assert problem.startswith(f"topic {trial.topic(MTA)} has 6 partitions, and had 4 when this worker started")


async def test_a_changelog_that_is_made_anew_holds_less_than_the_worker_wrote(trial):
    worker = await trial.start_worker()
    await worker.ready()
    await trial.publish_events(canonical(200))
    await trial.settled()
    await make_anew(trial, MESSAGES)
    problems = await told(trial, worker, " ends at ")
    assert all(f"topic {trial.topic(MESSAGES)} ends at offset 0 in partition " in problem for problem in problems)
    assert all("made anew" in problem for problem in problems)


async def test_input_that_is_made_anew_is_read_from_its_beginning(trial):
    worker = await trial.start_worker()
    await worker.ready()
    events = canonical(200)
    half = len(events) // 2
    await trial.publish_events(events[:half])
    await trial.settled()
    await make_anew(trial, EVENTS)
    assert await worker.stop() == 0
    await trial.start_worker()
    await trial.publish_events(events[half:])
    await trial.settled()
    assert set(await trial.rows()) == {json.loads(event)["message_id"] for event in events}
