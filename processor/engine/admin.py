"""Create the topics from their declaration, and compare them with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from processor.engine import clients
from processor.engine.bounds import closed, within
from processor.engine.stage import Stage
from processor.logs import get_logger
from processor.settings import Settings
from processor.wire.topics import EVENTS, PUBLISHED, TOPICS, Topic

log = get_logger(__name__)

#: Seconds between attempts to reach a broker that is away.
_RETRY_SECONDS = 1.0


#: Where people read what to do when topics have changed under a running worker.
TOPICS_RUNBOOK = "docs/runbooks/DeliveryTopicsChanged.md"


class MissingTopicError(Exception):
    """A topic that is to be read does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"topic {name} does not exist: run `delivery-status topics create`")


class TopicsError(Exception):
    """Topics are not as declared. `problems` names each with its remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that do not exist yet; return their names."""
    admin = clients.admin(settings)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if settings.topic(topic) not in existing]
        if missing:
            await _create(admin, [_new_topic(settings, topic) for topic in missing])
            await _wait_for_leaders(admin, [settings.topic(topic) for topic in missing])
        return [settings.topic(topic) for topic in missing]
    finally:
        await admin.close()


async def _create(admin: Any, new_topics: Sequence[NewTopic]) -> None:
    response = await admin.create_topics(new_topics)
    for name, code, *rest in response.topic_errors:
        if code not in {0, TopicAlreadyExistsError.errno}:
            raise TopicsError(
                [f"{name} cannot be created: {for_code(code).__name__} {rest[0] if rest else ''}".strip()]
            )


async def _wait_for_leaders(admin: Any, names: Sequence[str]) -> None:
    """Wait until every partition can be written to; until then brokers refuse a producer's first batches."""
    while True:
        described = await admin.describe_topics(list(names))
        partitions = [partition for topic in described for partition in topic["partitions"]]
        led = [partition for partition in partitions if partition["leader"] >= 0]
        if len({topic["topic"] for topic in described}) == len(names) and partitions and len(led) == len(partitions):
            return
        await asyncio.sleep(0.1)


def _new_topic(settings: Settings, topic: Topic) -> NewTopic:
    replicas = settings.replication_factor
    return NewTopic(
        settings.topic(topic),
        settings.partitions,
        replicas,
        # aiokafka wants an (empty) assignment beside "the broker's default".
        replica_assignments={} if replicas == -1 else None,
        topic_configs=dict(topic.config),
    )


async def check_topics(settings: Settings) -> list[str]:
    """Compare the topics on the broker with their declaration; return the problems, each with its remedy."""
    admin = clients.admin(settings)
    await admin.start()
    try:
        counts = await _counts(admin)
        live = [topic.of_live() for topic in PUBLISHED] if settings.shadow_of else []
        problems = _shape_problems(settings, [*TOPICS, *live], counts)
        present = [topic for topic in TOPICS if settings.topic(topic) in counts]
        for topic in present:
            problems.extend(await _config_problems(admin, settings, topic))
        return problems
    finally:
        await admin.close()


async def _counts(admin: Any) -> dict[str, int]:
    described = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def count_partitions(settings: Settings, topic: str) -> int:
    """Return the number of partitions of a topic.

    Raises:
        MissingTopicError: the topic does not exist.
    """
    admin = clients.admin(settings)
    await admin.start()
    try:
        counts = await _counts(admin)
    finally:
        await admin.close()
    if topic not in counts:
        raise MissingTopicError(topic)
    return counts[topic]


def _shape_problems(settings: Settings, topics: Iterable[Topic], counts: dict[str, int]) -> list[str]:
    problems = []
    events = counts.get(settings.topic(EVENTS))
    for topic in topics:
        name = settings.topic(topic)
        if topic.is_live:
            if name not in counts:
                problems.append(
                    f"topic {name} does not exist: DELIVERY_SHADOW_OF must be the prefix of the live topics"
                )
        elif name not in counts:
            problems.append(f"topic {name} does not exist: run `delivery-status topics create`")
        elif events is not None and counts[name] != events:
            problems.append(
                f"topic {name} has {counts[name]} partitions, and {settings.topic(EVENTS)} has {events}: they "
                "must have the same number, which is for life; create it anew under another DELIVERY_TOPIC_PREFIX "
                "(docs/moving.md)"
            )
    return problems


async def _config_problems(admin: Any, settings: Settings, topic: Topic) -> list[str]:
    name = settings.topic(topic)
    try:
        found = await _options(admin, name)
    except TopicAuthorizationFailedError:
        return [f"the options of topic {name} may not be seen: allow DescribeConfigs, as docs/security.md says"]
    problems = []
    for option, wanted in topic.config.items():
        if _differs(option, wanted, found.get(option)):
            mend = f"kafka-configs.sh --alter --topic {name} --add-config {option}={wanted}"
            problems.append(f"topic {name} has {option}={found.get(option)}, and needs {wanted}: {mend}")
    return problems


#: When a topic is compacted: the declared values are defaults that operators may change.
_A_CHOICE = frozenset({"segment.bytes", "segment.ms", "min.cleanable.dirty.ratio", "max.compaction.lag.ms"})


def _differs(option: str, wanted: str, found: str | None) -> bool:
    """Return whether a topic's option is a problem: its policy must be equal, its limits may be wider."""
    if option in _A_CHOICE:
        return False
    if found is None or option in {"cleanup.policy", "message.timestamp.type"}:
        return found != wanted
    if option == "retention.ms":
        return int(found) != -1 and int(found) < int(wanted)
    return int(found) < int(wanted)


class Cluster(NamedTuple):
    """The facts about the cluster that a worker needs before it starts."""

    id: str
    #: Partitions of each topic that the stages need, by its full name.
    partitions: dict[str, int]


async def look_at_cluster(settings: Settings, stages: Iterable[Stage]) -> Cluster:
    """Ask for the cluster's id and topics; wait while the brokers cannot be reached.

    Raises:
        TopicsError: a topic that the stages need does not exist or has another number of partitions.
    """
    while True:
        admin = clients.admin(settings)
        try:
            await within(admin.start(), settings.commit_timeout)
            counts = await within(_counts(admin), settings.commit_timeout)
            described = await within(admin.describe_cluster(), settings.commit_timeout)
            break
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            log.warning("broker_away", brokers=settings.brokers, error=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await closed("client", admin.close())
    needed = _needed(stages)
    problems = _shape_problems(settings, needed, counts)
    if problems:
        raise TopicsError(problems)
    names = {settings.topic(topic) for topic in needed}
    return Cluster(described["cluster_id"], {name: counts[name] for name in names})


def _needed(stages: Iterable[Stage]) -> Collection[Topic]:
    topics = (topic for stage in stages for topic in (*stage.inputs, *stage.outputs))
    return {(topic.name, topic.is_live): topic for topic in topics}.values()


async def changed_topics(admin: Any, known: Mapping[str, int]) -> dict[str, str]:
    """Compare topics with their former partitions; return the changes by topic, each with its remedy.

    A topic that the broker does not report on now counts as unchanged.
    """
    # Asked for by name, a topic that has gone would be created by brokers that do so, and be empty.
    response = await admin._send_request(MetadataRequest(list(known), allow_auto_topic_creation=False))
    problems = {}
    for topic in response.to_object()["topics"]:
        name, before, now = topic["topic"], known[topic["topic"]], len(topic["partitions"])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            problems[name] = (
                f"topic {name} has gone, and what it held with it: stop all workers, run `delivery-status topics "
                f"create`, and start them again; see {TOPICS_RUNBOOK}"
            )
        elif topic["error_code"] == 0 and now != before:
            problems[name] = (
                f"topic {name} has {now} partitions, and had {before} when this worker started: the number is for "
                f"life, since it decides where a message is kept; see {TOPICS_RUNBOOK}"
            )
    return problems


async def describe_topics(settings: Settings, topics: Iterable[Topic]) -> dict[str, dict[str, str]]:
    """Return the options of topics as the brokers have them, by the topic's full name.

    Raises:
        MissingTopicError: one of them does not exist.
        KafkaError: we may not see them.
    """
    admin = clients.admin(settings)
    await admin.start()
    try:
        existing, found = set(await admin.list_topics()), {}
        for topic in topics:
            name = settings.topic(topic)
            if name not in existing:
                raise MissingTopicError(name)
            found[name] = await _options(admin, name)
        return found
    finally:
        await admin.close()


async def _options(admin: Any, name: str) -> dict[str, str]:
    """Return the options of a topic.

    Raises:
        KafkaError: we may not see them.
    """
    [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    [(code, _, _, _, entries)] = response.resources
    if code:
        raise for_code(code)(f"the options of {name}")
    return {entry[0]: entry[1] for entry in entries}


async def delete_before(settings: Settings, topic: str, offsets: Mapping[int, int]) -> None:
    """Delete the records of a topic that lie before an offset, by partition."""
    admin = clients.admin(settings)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topic, partition): RecordsToDelete(offset) for partition, offset in offsets.items()}
        )
    finally:
        await admin.close()
