"""The schemas say what they should, in the part of JSON Schema that draft-07 and 2020-12 have in common."""

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from processor.domain.addresses import State as AddressState
from processor.domain.addresses import condition_of
from processor.domain.delivery import PLANNED_MAX, Action, State
from processor.domain.fold import Walk, resolve
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES
from processor.wire.addresses import decode_address, record_of
from processor.wire.control import decode_control
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.deliveries import decode_delivery, encode_delivery
from processor.wire.events import decode_event
from processor.wire.releases import decode_release
from processor.wire.rows import decode_row, encode_row
from tests.cases import every_case

SCHEMAS = Path(__file__).parents[2] / "schemas"
NAMES = [
    "address",
    "audit",
    "control",
    "counts",
    "dead",
    "delivery",
    "erased",
    "erasure",
    "event",
    "history",
    "link",
    "moved",
    "rejected",
    "rejected_link",
    "release",
    "releases",
    "row",
    "settled",
]
EXAMPLES = sorted((SCHEMAS / "examples").glob("*/*.json"))

#: Keywords that mean the same in both dialects. `items` only with one schema, `$ref` only to our own `definitions`
#: and with nothing beside it: draft-07 ignores what stands there.
COMMON = {
    "$schema", "$id", "$ref", "definitions", "title", "description", "examples", "default",
    "type", "enum", "const", "required", "properties", "additionalProperties", "items",
    "pattern", "format", "maxLength",
    "minLength", "minimum", "maximum", "minItems", "maxItems",
    "allOf", "anyOf", "not", "if", "then", "else",
}  # fmt: skip


def subschemas(schema: object) -> Iterator[dict[str, Any]]:
    """Give a schema and all schemas within it."""
    assert isinstance(schema, dict)
    yield schema
    for keyword, value in schema.items():
        if keyword in {"properties", "definitions"}:
            for inner in value.values():
                yield from subschemas(inner)
        elif keyword in {"allOf", "anyOf"}:
            for inner in value:
                yield from subschemas(inner)
        elif keyword in {"items", "not", "if", "then", "else", "additionalProperties"}:
            yield from subschemas(value)


def example(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def examples_of(name: str) -> list[Path]:
    return [path for path in EXAMPLES if path.stem.split(".")[0] == name]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


class TestDialect:
    def test_these_are_all_schemas(self, contracts):
        assert sorted(contracts) == NAMES

    @pytest.mark.parametrize("name", NAMES)
    def test_is_a_schema_in_both_dialects(self, contracts, name):
        schema = contracts[name].schema
        assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
        for dialect in (schema["$schema"], "https://json-schema.org/draft/2020-12/schema"):
            jsonschema_rs.meta.validate({**schema, "$schema": dialect})

    @pytest.mark.parametrize("name", NAMES)
    def test_has_only_keywords_that_both_dialects_read_alike(self, contracts, name):
        for schema in subschemas(contracts[name].schema):
            assert set(schema) <= COMMON
            if "$ref" in schema:
                assert set(schema) == {"$ref"}
                assert schema["$ref"].removeprefix("#/definitions/") in contracts[name].schema["definitions"]

    @pytest.mark.parametrize("name", NAMES)
    def test_every_definition_is_used(self, contracts, name):
        schema = contracts[name].schema
        used = {inner["$ref"].removeprefix("#/definitions/") for inner in subschemas(schema) if "$ref" in inner}
        assert used == set(schema.get("definitions", {}))

    @pytest.mark.parametrize("name", NAMES)
    def test_is_open_for_fields_to_come(self, contracts, name):
        assert all(schema.get("additionalProperties", True) for schema in subschemas(contracts[name].schema))

    @pytest.mark.parametrize("name", NAMES)
    def test_has_a_name_that_is_no_address(self, contracts, name):
        assert contracts[name].schema["$id"] == f"urn:delivery-status:{name}:v1"

    @pytest.mark.parametrize("name", NAMES)
    def test_tells_a_stranger_what_each_thing_is(self, contracts, name):
        schema = contracts[name].schema
        statuses = schema["properties"].get("statuses", {}).get("properties", {})
        for part in (schema, *schema.get("definitions", {}).values()):
            assert part["title"]
            assert part["description"]
            for inner in part.get("properties", {}).values():
                assert "$ref" in inner or inner["description"]
        assert set(statuses) == {status.value for status in Status if name == "counts"}

    def test_the_same_name_means_the_same_in_every_file(self, contracts):
        for definition in ("channel", "status", "node", "reason", "standing"):
            found = [c.schema["definitions"][definition] for c in contracts.values()
                     if definition in c.schema.get("definitions", {})]  # fmt: skip
            assert len(found) > 1 or definition == "action"
            assert all(other == found[0] for other in found)
        assert (
            contracts["event"].schema["definitions"]["moment"] == contracts["control"].schema["definitions"]["moment"]
        )


class TestVocabulary:
    def test_channels(self, contracts):
        assert contracts["event"].schema["definitions"]["channel"]["enum"] == [channel.value for channel in Channel]

    def test_statuses(self, contracts):
        assert contracts["event"].schema["definitions"]["status"]["enum"] == [status.value for status in Status]

    @pytest.mark.parametrize("name", ["event", "row"])
    def test_statuses_that_email_has(self, contracts, name):
        (rule,) = [r for r in contracts[name].schema["allOf"] if "channel" in r["if"]["properties"]]
        have = [status.value for status in Status if Channel.EMAIL in DEFINITIONS[status].channels]
        assert rule["then"]["properties"]["status"]["enum"] == have

    def test_sms_has_all_statuses(self):
        assert all(Channel.SMS in definition.channels for definition in DEFINITIONS.values())

    def test_nodes(self, contracts):
        assert contracts["row"].schema["definitions"]["node"]["enum"] == list(NODE_NAMES)

    def test_permanence(self, contracts):
        permanence = contracts["event"].schema["definitions"]["reason"]["properties"]["permanence"]
        assert permanence["enum"] == [*(permanence.value for permanence in Permanence), None]

    def test_categories(self, contracts):
        category = contracts["event"].schema["definitions"]["reason"]["properties"]["category"]
        assert category["enum"] == [*(category.value for category in Category), None]

    def test_actions(self, contracts):
        assert contracts["control"].schema["definitions"]["action"]["enum"] == [action.value for action in Action]

    def test_states(self, contracts):
        assert contracts["delivery"].schema["definitions"]["state"]["enum"] == [state.value for state in State]

    def test_conditions_of_addresses(self, contracts):
        assert contracts["address"].schema["properties"]["state"]["enum"] == [state.value for state in AddressState]

    @pytest.mark.parametrize("name", ["control", "delivery"])
    def test_the_greatest_plan(self, contracts, name):
        assert contracts[name].schema["properties"]["planned"]["maximum"] == PLANNED_MAX

    def test_counted_statuses(self, contracts):
        statuses = contracts["counts"].schema["properties"]["statuses"]
        assert statuses["required"] == list(statuses["properties"]) == [status.value for status in Status]

    def test_reasons_of_dead_letters(self, contracts):
        reason = contracts["dead"].schema["properties"]["delivery.dead.reason"]
        assert reason["enum"] == [reason.value for reason in DeadReason]


class TestExamples:
    @pytest.mark.parametrize("name", NAMES)
    def test_every_schema_has_both_kinds(self, name):
        kinds = [path.parent.name for path in examples_of(name)]
        assert kinds.count("valid") > 1
        assert kinds.count("invalid") > 1

    @pytest.mark.parametrize("name", NAMES)
    def test_each_is_as_its_folder_says(self, contracts, name):
        with every_case() as case:
            for path in examples_of(name):
                with case(named(path)):
                    instance = example(path)
                    is_valid = path.parent.name == "valid"
                    assert contracts[name].accepts(instance) is is_valid, contracts[name].errors(instance)

    def test_each_is_of_a_schema(self):
        assert sorted(path for name in NAMES for path in examples_of(name)) == EXAMPLES

    def test_the_code_judges_events_likewise(self):
        with every_case() as case:
            for path in examples_of("event"):
                with case(named(path)):
                    if path.parent.name == "valid":
                        decode_event(path.read_bytes(), None)
                    else:
                        with pytest.raises(UnusableError) as refused:
                            decode_event(path.read_bytes(), None)
                        assert refused.value.reason in {DeadReason.INVALID_EVENT, DeadReason.INVALID_STATUS}

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem.startswith("control.")], ids=named)
    def test_the_code_judges_control_records_likewise(self, path):
        if path.parent.name == "valid":
            decode_control(path.read_bytes(), None)
        else:
            with pytest.raises(UnusableError) as refused:
                decode_control(path.read_bytes(), None)
            assert refused.value.reason is DeadReason.INVALID_CONTROL

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem.startswith("release.")], ids=named)
    def test_the_code_judges_releases_likewise(self, path):
        if path.parent.name == "valid":
            decode_release(path.read_bytes(), None)
        else:
            with pytest.raises(UnusableError):
                decode_release(path.read_bytes(), None)

    @pytest.mark.parametrize(
        "path", [path for path in EXAMPLES if named(path).startswith("valid/delivery.")], ids=named
    )
    def test_the_code_reads_deliveries_back(self, path):
        delivery_id, delivery = decode_delivery(path.read_bytes())
        written = json.loads(encode_delivery(delivery_id, delivery))
        assert {name: value for name, value in example(path).items() if name in written and name != "memory"} == {
            name: value for name, value in written.items() if name != "memory"
        }

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if named(path).startswith("valid/address.")], ids=named)
    def test_an_address_says_what_its_memory_comes_to(self, path):
        record, now = decode_address(path.read_bytes()), to_microseconds(datetime(2027, 1, 2, tzinfo=timezone.utc))
        key = f"{record.channel.value}|{record.hash}"
        assert record == record_of(key, record.memory, condition_of(record.memory, now))

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if named(path).startswith("valid/row.")], ids=named)
    def test_a_row_says_what_its_memory_holds(self, path):
        record = example(path)
        written = json.loads(encode_row(record["message_id"], decode_row(path.read_bytes()), None))
        assert {**record, "previous": None, "trace": None} == {**written, "trace": None}

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem.startswith("row.memory-")], ids=named)
    def test_the_code_reads_no_memory_that_is_invalid(self, path):
        with pytest.raises(msgspec.DecodeError):
            decode_row(path.read_bytes())

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if named(path).startswith("valid/row.")], ids=named)
    def test_a_memory_is_what_its_observations_lead_to(self, path):
        row = decode_row(path.read_bytes())
        walk = resolve(row.channel, row.observations)
        assert walk == Walk(row.node, row.since, row.attempt, row.rejected)

    @pytest.mark.parametrize(
        "path", [path for path in EXAMPLES if named(path).startswith("valid/rejected.")], ids=named
    )
    def test_what_was_withheld_is_a_valid_event(self, contracts, path):
        assert contracts["event"].accepts(example(path)["event"])

    @pytest.mark.parametrize("path", [path for path in EXAMPLES if named(path).startswith("valid/counts.")], ids=named)
    def test_counts_add_up(self, path):
        counts = example(path)
        statuses = counts["statuses"]
        assert counts["messages"] == sum(statuses.values())
        if "live" in counts:
            assert counts["messages"] == sum(counts["channels"].values())
            assert counts["messages"] - counts["expired"] == sum(sum(live.values()) for live in counts["live"].values())
            assert (statuses["failed"], statuses["ignored"]) == (
                sum(counts["failed"].values()),
                sum(counts["ignored"].values()),
            )
            assert sum(counts["providers"].values()) <= counts["messages"]
