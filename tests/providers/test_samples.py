"""Every sample leads to the status that it must lead to, and every row of every mapping table has a sample.

A line of samples/<provider>.jsonl holds a payload (`raw`), what must come of it, its source and its licence:

* `expected`: a status, a list of statuses (one an event), or "no_status", "unknown", "dead";
  "taken_into_account+transient" is the status with a reason that is transient;
* `row`: the row of the mapping table that decides;
* `channel`: where it is not the provider's usual one;
* any field of an event or of its reason (`time` included) that must have that very value; a list goes by event.
"""

import json
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from processor.domain.event import Event, node_of
from processor.providers import ADAPTERS, PROVIDERS, outcome, read

SAMPLES = Path(__file__).parent / "samples"
OUTCOMES = ("no_status", "unknown", "dead")
EVENT_FIELDS = ("message_id", "delivery_id", "recipient", "provider_message_id", "part", "parts")
REASON_FIELDS = ("permanence", "category", "code", "provider_code", "text")


def _samples():
    for path in sorted(SAMPLES.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            sample = json.loads(line)
            yield pytest.param(path.stem, sample, id=f"{path.stem}:{number}:{sample.get('row', sample['expected'])}")


ALL = list(_samples())


@pytest.mark.parametrize(("provider", "sample"), ALL)
def test_sample(provider, sample, context):
    findings = read(provider, sample["raw"], context)
    events = [finding for finding in findings if isinstance(finding, Event)]
    word, detail = outcome(findings)
    if sample["expected"] in OUTCOMES:
        assert (word, events) == (sample["expected"], []), detail
        assert detail
        return
    expected = sample["expected"] if isinstance(sample["expected"], list) else [sample["expected"]]
    assert word == "events", detail
    assert [described(event) for event in events] == expected
    for field in (*EVENT_FIELDS, *REASON_FIELDS, "time"):
        if field in sample:
            values = sample[field] if isinstance(sample[field], list) else [sample[field]] * len(events)
            assert [value_of(event, field) for event in events] == [plain(field, value) for value in values]


@pytest.mark.parametrize(("provider", "sample"), ALL)
def test_what_an_adapter_yields_keeps_the_contract(provider, sample, context):
    for event in read(provider, sample["raw"], context):
        if isinstance(event, Event):
            assert node_of(event) is not None
            assert event.provider == provider
            assert event.channel == sample.get("channel", ADAPTERS[provider].channel)
            assert event.provider_message_id
            assert event.attempt == 1
            # What is written can be read again: types, ranges and the zone of the time.
            assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_row_of_the_mapping_table_has_a_sample(provider):
    rows = {sample.values[1].get("row") for sample in ALL if sample.values[0] == provider}
    assert set(ADAPTERS[provider].table) - rows == set()


@pytest.mark.parametrize(("provider", "sample"), ALL)
def test_a_sample_agrees_with_its_row(provider, sample):
    if "row" not in sample:
        return
    means = ADAPTERS[provider].table[sample["row"]]
    expected = sample["expected"] if isinstance(sample["expected"], list) else [sample["expected"]]
    statuses = {one.partition("+")[0] for one in expected}
    # A code may take a failure back to "never sent"; nothing else may differ from the table.
    allowed = {"no_status"} if means is None else {means.status.value}
    if provider == "twilio" and sample.get("provider_code") == "21610":
        allowed = {"ignored"}
    assert statuses == allowed


def test_every_adapter_has_samples_and_every_sample_file_an_adapter():
    assert {path.stem for path in SAMPLES.glob("*.jsonl")} == set(ADAPTERS)


def test_an_adapter_is_called_like_its_file():
    assert [adapter.name for adapter in ADAPTERS.values()] == list(PROVIDERS) == sorted(PROVIDERS)


def test_every_sample_names_its_source_and_licence():
    for sample in ALL:
        assert sample.values[1]["source"]
        assert sample.values[1]["license"]


def described(event):
    transient = event.reason is not None and event.reason.permanence == "transient"
    return event.status.value + ("+transient" if transient else "")


def value_of(event, field):
    if field in REASON_FIELDS:
        return getattr(event.reason, field) if event.reason is not None else None
    return getattr(event, field)


def plain(field, value):
    return msgspec.convert(value, datetime) if field == "time" else value
