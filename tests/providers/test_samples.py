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
from itertools import chain
from pathlib import Path

import msgspec
import pytest

from processor.domain.event import Event, node_of
from processor.providers import ADAPTERS, PROVIDERS, outcome, read
from tests.cases import every_case

SAMPLES = Path(__file__).parent / "samples"
OUTCOMES = ("no_status", "unknown", "dead")
EVENT_FIELDS = ("message_id", "delivery_id", "recipient", "provider_message_id", "part", "parts")
REASON_FIELDS = ("permanence", "category", "code", "provider_code", "text")


#: The samples by provider, in the order of their files.
ALL = {
    path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for path in sorted(SAMPLES.glob("*.jsonl"))
}


# Samples are many, and so these tests are one a provider.


@pytest.mark.parametrize("provider", ALL)
def test_every_sample_leads_to_what_it_must(provider, context):
    with every_case() as case:
        for number, sample in enumerate(ALL[provider], 1):
            with case(f"{provider}:{number}:{sample.get('row', sample['expected'])}"):
                check(provider, sample, context)


def check(provider, sample, context):
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


@pytest.mark.parametrize("provider", ADAPTERS)
def test_what_an_adapter_yields_keeps_the_contract(provider, context):
    for sample in ALL[provider]:
        for event in read(provider, sample["raw"], context):
            if isinstance(event, Event):
                assert node_of(event) is not None, sample
                assert event.provider == provider, sample
                assert event.channel == sample.get("channel", ADAPTERS[provider].channel), sample
                assert event.provider_message_id, sample
                assert event.attempt == 1, sample
                # What is written can be read again: types, ranges and the zone of the time.
                assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event, sample


@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_row_of_the_mapping_table_has_a_sample(provider):
    assert set(ADAPTERS[provider].table) - {sample.get("row") for sample in ALL[provider]} == set()


@pytest.mark.parametrize("provider", ADAPTERS)
def test_a_sample_agrees_with_its_row(provider):
    for sample in ALL[provider]:
        if "row" in sample:
            expected = sample["expected"] if isinstance(sample["expected"], list) else [sample["expected"]]
            assert {one.partition("+")[0] for one in expected} == allowed_by_its_row(provider, sample), sample


def allowed_by_its_row(provider, sample):
    """Give the one status that the table tells; a code may take a failure back to "never sent", and no more."""
    if provider == "twilio" and sample.get("provider_code") == "21610":
        return {"ignored"}
    means = ADAPTERS[provider].table[sample["row"]]
    return {"no_status"} if means is None else {means.status.value}


def test_every_adapter_has_samples_and_every_sample_file_an_adapter():
    assert set(ALL) == set(ADAPTERS)


def test_an_adapter_is_called_like_its_file():
    assert [adapter.name for adapter in ADAPTERS.values()] == list(PROVIDERS) == sorted(PROVIDERS)


def test_every_sample_names_its_source_and_licence():
    for sample in chain.from_iterable(ALL.values()):
        assert sample["source"]
        assert sample["license"]


def described(event):
    transient = event.reason is not None and event.reason.permanence == "transient"
    return event.status.value + ("+transient" if transient else "")


def value_of(event, field):
    if field in REASON_FIELDS:
        return getattr(event.reason, field) if event.reason is not None else None
    return getattr(event, field)


def plain(field, value):
    return msgspec.convert(value, datetime) if field == "time" else value
