"""schemas/asyncapi.yaml says of the topics what topics.py says, and every reference of it leads somewhere."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.settings import Settings
from processor.stages.normalize import ACCOUNT_HEADER, PROVIDER_HEADER, QUERY_HEADER, RECEIVED_HEADER
from processor.wire.topics import (
    ADDRESSES,
    AUDIT,
    CONTROL,
    COUNTS,
    DEAD,
    DELIVERIES,
    ERASURES,
    EVENTS,
    HISTORY,
    LINKS,
    MESSAGES,
    MTA,
    REJECTED,
    SETTLED,
    SMS,
    TOPICS,
)
from tests.tools import require_npm

PARSER = Path(__file__).parent / "asyncapi"
DRAFT_07 = "application/schema+json;version=draft-07"
VALUES = [
    (LINKS, "link"),
    (EVENTS, "event"),
    (CONTROL, "control"),
    (DELIVERIES, "delivery"),
    (ERASURES, "erasure"),
    (MESSAGES, "row"),
    (COUNTS, "counts"),
    (HISTORY, "history"),
    (ADDRESSES, "address"),
    (REJECTED, "rejected"),
    (SETTLED, "settled"),
    (AUDIT, "audit"),
]


@pytest.fixture(scope="module")
def document(schemas_folder) -> dict[str, Any]:
    return yaml.safe_load((schemas_folder / "asyncapi.yaml").read_text(encoding="utf-8"))


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def resolve(document: dict[str, Any], reference: str) -> Any:
    part: Any = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def channel_of(document, topic):
    (channel,) = [c for c in document["channels"].values() if c["address"] == Settings().topic_prefix + topic.name]
    return channel


def message_of(document, topic):
    """Give what a topic is for: the first kind; others may stand beside it."""
    message, *_ = channel_of(document, topic)["messages"].values()
    return resolve(document, message["$ref"])


@pytest.fixture(scope="module")
def diagnose():
    """Give what AsyncAPI's own parser says of a file."""
    node = require_npm(PARSER)

    def run(path: Path) -> list[str]:
        command = [node, PARSER / "check.mjs", path]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    return run


def test_its_own_parser_has_nothing_to_say(diagnose, schemas_folder):
    assert diagnose(schemas_folder / "asyncapi.yaml") == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("  title: delivery-status\n", "", 'must have required property "title"'),
        ("./row.json", "./missing.json", "missing.json"),
    ],
    ids=["field", "reference"],
)
def test_its_own_parser_finds_a_fault(diagnose, schemas_folder, tmp_path, right, wrong, said):
    shutil.copytree(schemas_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "asyncapi.yaml"
    text = path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    assert said in "\n".join(diagnose(path))


def test_is_asyncapi_3(document):
    assert document["asyncapi"].startswith("3.")
    assert document["info"]["title"] == "delivery-status"
    assert set(document) <= {"asyncapi", "id", "info", "defaultContentType", "channels", "operations", "components"}


def test_lists_exactly_our_topics_in_order(document):
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert addresses == [Settings().topic_prefix + topic.name for topic in TOPICS]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
class TestTopic:
    def test_has_the_settings_that_topics_create_gives_it(self, document, topic):
        binding = channel_of(document, topic)["bindings"]["kafka"]
        configuration = {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in binding["topicConfiguration"].items()
        }
        assert configuration == topic.config
        assert binding["topic"] == Settings().topic_prefix + topic.name
        assert binding["partitions"] == Settings().partitions
        assert binding["bindingVersion"] == "0.5.0"

    def test_has_its_key(self, document, topic):
        binding = message_of(document, topic)["bindings"]["kafka"]
        assert binding["key"]["description"] == topic.key
        assert binding["bindingVersion"] == "0.5.0"

    def test_has_a_title_and_a_description(self, document, topic):
        channel = channel_of(document, topic)
        assert channel["title"]
        assert channel["description"]


@pytest.mark.parametrize(("topic", "schema"), VALUES, ids=[schema for _, schema in VALUES])
def test_a_value_of_ours_has_its_schema_in_a_dialect_that_every_tool_knows(document, topic, schema):
    payload = message_of(document, topic)["payload"]
    assert payload == {"schemaFormat": DRAFT_07, "schema": {"$ref": f"./{schema}.json"}}


@pytest.mark.parametrize("topic", [MTA, SMS], ids=lambda topic: topic.name)
def test_the_headers_of_a_raw_record_are_those_that_are_heard_or_for_people(document, topic):
    heard = [PROVIDER_HEADER, ACCOUNT_HEADER, RECEIVED_HEADER, QUERY_HEADER, "content-type", "trace"]
    assert list(message_of(document, topic)["headers"]["properties"]) == heard


def test_a_dead_letter_has_its_headers_described(document):
    assert message_of(document, DEAD)["headers"] == {"schemaFormat": DRAFT_07, "schema": {"$ref": "./dead.json"}}


def test_every_reference_leads_somewhere(document, schemas_folder):
    for reference in references(document):
        if reference.startswith("#/"):
            assert resolve(document, reference)
        else:
            assert (schemas_folder / reference).is_file()


def test_every_message_and_every_schema_is_used(document, schemas_folder):
    used = set(references(document))
    assert {f"#/components/messages/{name}" for name in document["components"]["messages"]} <= used
    assert {f"./{path.name}" for path in schemas_folder.glob("*.json")} <= used


def test_operations_are_what_this_application_reads_and_writes(document):
    operations = {"receive": [], "send": []}
    for operation in document["operations"].values():
        operations[operation["action"]].append(operation["channel"]["$ref"].removeprefix("#/channels/"))
    assert operations == {
        "receive": ["mta", "sms", "links", "receipts", "events", "control", "recipients"],
        "send": [
            "receipts",
            "links",
            "correlations",
            "events",
            "control",
            "deliveries",
            "erasures",
            "messages",
            "counts",
            "history",
            "recipients",
            "addresses",
            "rejected",
            "dead",
            "settled",
            "audit",
        ],
    }
