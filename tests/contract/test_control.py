"""Code and schemas agree about control records, and about every delivery that the code writes."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from processor.domain.delivery import PLANNED_MAX, Action, Control, Delivery, breach_of, join
from processor.domain.status import Channel
from processor.wire.control import decode_control, encode_control
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.deliveries import decode_delivery, encode_delivery
from tests.examples import examples

CONTRACT = settings.get_profile("contract")
MINIMAL = {"time": "2026-11-23T08:00:00Z", "delivery_id": "DM1042", "action": "start"}
START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
times = st.one_of(
    st.integers(0, 6).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.timedeltas(timedelta(days=-739_000), timedelta(days=2_912_000)).map(lambda since: START + since),
)
controls = st.builds(
    Control,
    time=times,
    delivery_id=texts.filter(bool),
    action=st.sampled_from(Action),
    id=st.none() | texts,
    label=st.none() | texts,
    campaign=st.none() | texts,
    channel=st.none() | st.sampled_from(Channel),
    planned=st.none() | st.integers(0, 9) | st.integers(0, PLANNED_MAX),
    scheduled_at=st.none() | times,
).filter(lambda control: breach_of(control) is None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
written_times = st.sampled_from(
    [
        "2026-11-23T08:00:00Z",
        "2026-11-23 08:00:00+01:00",
        "2026-11-23T08:00:00",
        "2026-02-30T08:00:00Z",
        "0000-01-01T00:00Z",
    ]
)
slightly_wrong = {
    "time": written_times | json_values,
    "delivery_id": texts | json_values,
    "action": st.sampled_from([*(action.value for action in Action), "stop", "START"]) | json_values,
    "channel": st.sampled_from(["email", "sms", "fax"]) | json_values,
    "planned": st.integers(-2, 2) | st.integers(PLANNED_MAX - 1, PLANNED_MAX + 1) | json_values,
    "scheduled_at": written_times | json_values,
    **dict.fromkeys(("id", "label", "campaign", "unknown"), json_values),
}


@st.composite
def sent_controls(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """A valid control record of which up to three fields are replaced, added or missing."""
    sent = json.loads(encode_control(draw(controls)))
    for name in draw(st.lists(st.sampled_from(sorted(slightly_wrong)), max_size=3)):
        if draw(st.integers(0, 4)) == 0:
            sent.pop(name, None)
        else:
            sent[name] = draw(slightly_wrong[name])
    return sent


def refusal(value: bytes, record_ms: int | None = None) -> UnusableError | None:
    try:
        decode_control(value, record_ms)
    except UnusableError as refused:
        return refused
    return None


class TestControls:
    @given(control=controls)
    @settings(CONTRACT, max_examples=examples(300))
    def test_what_the_code_writes_is_valid_and_comes_back(self, contracts, control):
        value = encode_control(control)
        assert contracts["control"].accepts(json.loads(value)), contracts["control"].errors(json.loads(value))
        assert decode_control(value, None) == control

    @given(sent=sent_controls())
    @settings(CONTRACT, max_examples=examples(1_500))
    def test_code_and_schema_judge_every_record_alike(self, contracts, sent):
        planned = sent.get("planned")
        assume(not (isinstance(planned, float) and planned.is_integer()))
        refused = refusal(json.dumps(sent).encode())
        assume(refused is None or "in UTC" not in refused.detail)
        assert contracts["control"].accepts(sent) is (refused is None), refused

    def test_every_field_is_in_the_schema(self, contracts):
        assert sorted(Control.__struct_fields__) == sorted(contracts["control"].schema["properties"])


class TestWhatTheSchemaCannotSay:
    def differ(self, contracts, value: bytes, record_ms: int | None = None) -> UnusableError:
        assert contracts["control"].accepts(json.loads(value))
        refused = refusal(value, record_ms)
        assert refused is not None
        return refused

    def test_a_plan_with_a_fraction_is_refused(self, contracts):
        value = f'{json.dumps(MINIMAL)[:-1]}, "planned": 25000.0}}'.encode()
        assert self.differ(contracts, value).reason is DeadReason.INVALID_CONTROL

    @pytest.mark.parametrize("name", ["time", "scheduled_at"])
    def test_a_time_outside_the_calendar_in_utc_is_refused(self, contracts, name):
        value = json.dumps({**MINIMAL, name: "0001-01-01T00:00:00+00:01"}).encode()
        assert self.differ(contracts, value).detail.endswith(f"at `$.{name}`")

    def test_a_time_more_than_a_day_ahead_of_its_record_is_refused_and_a_date_is_not(self, contracts):
        day_before = int(START.timestamp() * 1000) - 24 * 3_600_000
        value = json.dumps(MINIMAL).encode()
        assert self.differ(contracts, value, day_before - 1).reason is DeadReason.TIME_AHEAD
        assert refusal(value, day_before) is None
        assert refusal(value, -1) is None
        ahead = {**MINIMAL, "action": "schedule", "scheduled_at": "2031-01-01T00:00:00Z"}
        assert refusal(json.dumps(ahead).encode(), day_before) is None


class TestDeliveries:
    @given(told=st.lists(controls, min_size=1, max_size=6))
    @settings(CONTRACT, max_examples=examples(300))
    def test_every_delivery_is_valid_and_comes_back(self, contracts, told):
        delivery: Delivery | None = None
        for control in told:
            delivery = join(delivery, control)
            value = encode_delivery("DM1042", delivery)
            record = json.loads(value)
            assert contracts["delivery"].accepts(record), contracts["delivery"].errors(record)
            assert decode_delivery(value) == ("DM1042", delivery)
