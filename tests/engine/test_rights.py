"""The rights that docs/security.md gives each kind of client, on a broker that asks for them: enough, and no more."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest

from processor.demo.broker import EmbeddedKafka, Listener
from processor.demo.simulate import canonical_events
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.settings import Settings
from processor.wire.topics import CONTROL, MESSAGES
from tests.engine.harness import Trial, environment_of, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
PASSWORD = "a-password-of-theirs"
USERS = ("worker", "publisher", "reader")

#: Numbers of Kafka's protocol.
RESOURCES = {"topic": 2, "group": 3, "transactional-id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
LITERAL, PREFIXED, ALLOW = 3, 4, 3


def rights(settings: Settings) -> Iterator[CreateAclsRequest]:
    """Read the page's commands, for the topics and the group of a trial."""
    for line in re.findall(r"^    (kafka-acls .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line)
        options = list(zip(words[2::2], words[3::2], strict=True))
        [principal] = [value for name, value in options if name == "--allow-principal"]
        [(kind, name)] = [(name[2:], value) for name, value in options if name[2:] in RESOURCES]
        pattern = PREFIXED if ("--resource-pattern-type", "prefixed") in options else LITERAL
        if kind == "topic":
            name = settings.topic_prefix + name.removeprefix("delivery.")
        else:
            name = name.replace("delivery-status", settings.app_id)
        for operation in (value for option, value in options if option == "--operation"):
            yield CreateAclsRequest(RESOURCES[kind], name, pattern, principal, "*", OPERATIONS[operation], ALLOW)


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedKafka]:
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Who comes by the listener that asks nobody; the broker itself is one of them.
        "super.users": "User:ANONYMOUS",
    }
    listeners = [Listener("LOGIN", "SASL_PLAINTEXT")]
    with EmbeddedKafka(listeners=listeners, users=dict.fromkeys(USERS, PASSWORD), properties=properties) as running:
        yield running


@pytest.fixture
async def trial(broker, tmp_path):
    settings = settings_for_a_trial(broker.bootstrap_servers, partitions=2)
    async with Trial(settings, tmp_path) as made:
        for right in rights(settings):
            response = await made._admin._send_request(right)
            assert [code for code, *_ in response.creation_responses] == [0]
        yield made


@pytest.fixture
def login(broker, trial):
    """Give the settings of one of the users."""

    def of(user: str) -> Settings:
        return replace(
            trial.settings,
            brokers=broker.address("LOGIN"),
            security_protocol="SASL_PLAINTEXT",
            sasl_username=user,
            sasl_password=PASSWORD,
        )

    return of


def some_events() -> list[bytes]:
    return list(canonical_events(7, 100, datetime.now(timezone.utc) - timedelta(minutes=5)))


async def write(settings: Settings, topic: Any) -> None:
    async with Writer(settings) as writer:
        await writer.write(Outgoing(settings.topic(topic), b"{}", b"key"))


async def read(settings: Settings, topic: Any) -> list[Any]:
    return [record async for record in read_to_end(settings, settings.topic(topic), [0, 1])]


async def test_a_worker_does_its_work_with_its_rights(trial, login):
    worker = await trial.start_worker(**environment_of(login("worker")), DELIVERY_WRITE_TOKEN="a-token-to-write-with")
    await worker.ready()
    publisher = Trial(login("publisher"), trial.folder)
    await publisher.publish_events(some_events())
    await trial.settled()
    await trial.assert_rows_are_those_of_the_offline_fold()
    status, _ = await worker.get("/api/v1/deliveries")
    assert status == 200
    assert (await worker.get("/api/v1/messages/nobody"))[0] == 404
    # The page's cancel writes to the control topic.
    await write(login("worker"), CONTROL)
    assert await worker.stop() == 0
    assert len(await read(login("reader"), MESSAGES)) == len(await trial.records_of_messages())


@pytest.mark.parametrize("topic", [CONTROL, MESSAGES], ids=lambda topic: topic.name)
async def test_a_publisher_tells_of_messages_and_nothing_else(login, topic):
    with pytest.raises(TopicAuthorizationFailedError):
        await write(login("publisher"), topic)
