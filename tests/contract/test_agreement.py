"""Code and schemas agree: on every event that can be made up, and on everything that the code writes."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from processor.domain.counts import Counts, DeliveryCounts, place_of
from processor.domain.event import Event, node_of
from processor.domain.fold import Verdict, fold
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category, Reason
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from processor.wire.counts import CountsRecord, decode_counts, encode_counts, to_counts
from processor.wire.deadletters import DeadReason, Origin, UnusableError, headers_of
from processor.wire.events import decode_event, encode_event
from processor.wire.rejected import encode_rejected
from processor.wire.rows import RowRecord, decode_row, encode_folded, encode_row, pack_row, unpack_row
from tests.examples import examples

CONTRACT = settings.get_profile("contract")
MINIMAL = {"time": "2026-11-23T08:00:00Z", "message_id": "m-000001", "channel": "email", "status": "sent"}
START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)

# Events as the code sees them

texts = st.text(st.characters(codec="utf-8"), max_size=12)
optional_texts = st.none() | texts
times = st.one_of(
    # Few moments, so that they coincide; and any from the year 3 to 9999, which no offset leads out of.
    st.integers(0, 6).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.timedeltas(timedelta(days=-739_000), timedelta(days=2_912_000)).map(lambda since: START + since),
)
reasons = st.builds(
    Reason,
    permanence=st.none() | st.sampled_from(Permanence),
    category=st.none() | st.sampled_from(Category),
    code=optional_texts,
    provider_code=optional_texts,
    text=optional_texts,
)
events = st.builds(
    Event,
    time=times,
    message_id=texts.filter(bool),
    channel=st.sampled_from(Channel),
    status=st.sampled_from(Status),
    id=optional_texts,
    delivery_id=optional_texts,
    provider=optional_texts,
    provider_message_id=optional_texts,
    recipient=optional_texts,
    attempt=st.integers(1, 3) | st.integers(1, 99),
    reason=st.none() | reasons,
).filter(lambda event: node_of(event) is not None)

# Events as strangers send them

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


def digits(low: int, high: int, width: int = 2) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda number: f"{number:0{width}}")


#: Near enough to RFC 3339 that about half of them are.
written_times = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["2026", "2024", "1900", "2000", "2100", "0004", "0000", "0001", "9999"]) | digits(0, 9999, 4),
    st.just("-"),
    digits(0, 13) | digits(1, 12),
    st.just("-"),
    digits(27, 32) | digits(1, 28) | digits(0, 28),
    st.sampled_from("TTTTTt _"),
    digits(0, 23) | digits(0, 24),
    st.just(":"),
    digits(0, 59) | digits(0, 60),
    st.just(":"),
    digits(0, 59) | digits(0, 61),
    st.sampled_from(["", "", ".", ",5"]) | st.from_regex(r"\.[0-9]{1,12}", fullmatch=True),
    st.sampled_from(["Z", "Z", "z", "", "+01", "-00:00", "+24:00", " Z", "Z\n"])
    | st.builds(lambda *p: "".join(p), st.sampled_from("+-"), digits(0, 24), st.sampled_from([":", ""]), digits(0, 60)),
)
wire_names = st.sampled_from([*(s.value for s in Status), *(c.value for c in Channel), "delivered", "failed_gave_up"])
slightly_wrong = {
    "time": written_times,
    "message_id": optional_texts,
    "channel": wire_names,
    "status": wire_names,
    "id": json_values,
    "delivery_id": json_values,
    "provider": json_values,
    "provider_message_id": json_values,
    "recipient": json_values,
    "attempt": st.integers(-1, 101) | json_values,
    "reason": st.fixed_dictionaries(
        {},
        optional={
            "permanence": st.sampled_from([*(p.value for p in Permanence), "hard", None]),
            "category": st.sampled_from([*(c.value for c in Category), "spam", None]),
            "code": json_values,
            "provider_code": json_values,
            "text": json_values,
            "unknown": json_values,
        },
    )
    | json_values,
    "unknown": json_values,
}


@st.composite
def sent_events(draw: Callable[[Any], Any]) -> dict[str, Any]:
    """A valid event of which up to three fields are replaced, added or missing."""
    sent = json.loads(encode_event(draw(events)))
    for name in draw(st.lists(st.sampled_from(sorted(slightly_wrong)), max_size=3)):
        if draw(st.integers(0, 4)) == 0:
            sent.pop(name, None)
        else:
            sent[name] = draw(slightly_wrong[name])
    return sent


def refusal(value: bytes) -> UnusableError | None:
    try:
        decode_event(value, None)
    except UnusableError as refused:
        return refused
    return None


class TestEvents:
    @given(event=events)
    @settings(CONTRACT, max_examples=examples(300))
    def test_what_the_code_writes_is_valid_and_comes_back(self, contracts, event):
        value = encode_event(event)
        assert contracts["event"].accepts(json.loads(value)), contracts["event"].errors(json.loads(value))
        assert decode_event(value, None) == (event, node_of(event), to_microseconds(event.time))

    @given(sent=sent_events())
    @settings(CONTRACT, max_examples=examples(1_500))
    def test_code_and_schema_judge_every_event_alike(self, contracts, sent):
        attempt = sent.get("attempt")
        assume(not (isinstance(attempt, float) and attempt.is_integer()))
        refused = refusal(json.dumps(sent).encode())
        assume(refused is None or "in UTC" not in refused.detail)
        assert contracts["event"].accepts(sent) is (refused is None), refused

    @given(time=written_times)
    @settings(CONTRACT, max_examples=examples(1_500))
    @example(time="9999-12-31T23:59:59.999999Z")
    @example(time="0001-01-01T00:00:00-23:59")
    def test_code_and_schema_judge_every_time_alike(self, contracts, time):
        sent = {**MINIMAL, "time": time}
        refused = refusal(json.dumps(sent).encode())
        assume(refused is None or "in UTC" not in refused.detail)
        assert contracts["event"].accepts(sent) is (refused is None), refused

    @pytest.mark.parametrize("year", [1900, 2000, 2023, 2024])
    def test_code_and_schema_know_the_same_calendar(self, contracts, year):
        for month in range(14):
            for day in range(33):
                sent = {**MINIMAL, "time": f"{year}-{month:02}-{day:02}T08:00:00Z"}
                assert contracts["event"].accepts(sent) is (refusal(json.dumps(sent).encode()) is None)

    def test_code_and_schema_know_the_same_leap_years(self, contracts):
        for year in range(10_000):
            sent = {**MINIMAL, "time": f"{year:04}-02-29T08:00:00Z"}
            assert contracts["event"].draft_07.is_valid(sent) is (refusal(json.dumps(sent).encode()) is None)


class TestWhatTheSchemaCannotSay:
    """Where code and schema differ, on purpose; event.json names each in its description."""

    def differ(self, contracts, value: bytes) -> UnusableError:
        assert contracts["event"].accepts(json.loads(value))
        refused = refusal(value)
        assert refused is not None
        return refused

    @pytest.mark.parametrize("attempt", ["1.0", "1e0", "10E-1"])
    def test_an_attempt_with_fraction_or_exponent_is_refused(self, contracts, attempt):
        value = f'{json.dumps(MINIMAL)[:-1]}, "attempt": {attempt}}}'.encode()
        assert self.differ(contracts, value).reason is DeadReason.INVALID_EVENT

    def test_a_name_that_occurs_twice_is_checked_each_time(self, contracts):
        value = f'{json.dumps(MINIMAL)[:-1]}, "attempt": 100, "attempt": 2}}'.encode()
        assert self.differ(contracts, value).reason is DeadReason.INVALID_EVENT

    def test_of_a_name_that_occurs_twice_the_last_one_counts(self):
        value = f'{json.dumps(MINIMAL)[:-1]}, "attempt": 3, "attempt": 2}}'.encode()
        assert decode_event(value, None)[0].attempt == json.loads(value)["attempt"] == 2

    @pytest.mark.parametrize("time", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
    def test_a_time_outside_the_calendar_in_utc_is_refused(self, contracts, time):
        refused = self.differ(contracts, json.dumps({**MINIMAL, "time": time}).encode())
        assert refused.reason is DeadReason.INVALID_EVENT

    def test_a_time_that_rounds_up_to_the_year_10000_is_refused(self, contracts):
        value = json.dumps({**MINIMAL, "time": "9999-12-31T23:59:59.9999999Z"}).encode()
        assert self.differ(contracts, value).reason is DeadReason.INVALID_EVENT


# What the code writes


@st.composite
def histories(draw: Callable[[Any], Any]) -> list[Event]:
    """Reports about one message, often about the same moments and attempts."""
    return draw(st.lists(events, min_size=1, max_size=6))


def folded(history: list[Event]) -> list[tuple[Row | None, Event, Row, Verdict]]:
    steps, row = [], None
    for event in history:
        node = node_of(event)
        assert node is not None
        after, verdict = fold(row, event, node)
        steps.append((row, event, after, verdict))
        row = after
    return steps


class TestRows:
    def test_every_field_is_in_the_schema(self, contracts):
        assert list(RowRecord.__struct_fields__) == list(contracts["row"].schema["properties"])

    @given(history=histories())
    @settings(CONTRACT, max_examples=examples(400))
    def test_every_row_is_valid(self, contracts, history):
        for before, event, row, _ in folded(history):
            record = json.loads(encode_row(event.message_id, row, before))
            assert contracts["row"].accepts(record), contracts["row"].errors(record)

    @given(history=histories())
    @settings(CONTRACT, max_examples=examples(400))
    def test_a_published_row_gives_the_row_again(self, history):
        for before, event, row, _ in folded(history):
            assert decode_row(encode_row(event.message_id, row, before)) == row
            assert unpack_row(pack_row(row)) == row

    @given(history=histories())
    @settings(CONTRACT, max_examples=examples(200))
    def test_a_published_row_says_what_fold_prints(self, history):
        for before, event, row, _ in folded(history):
            record = json.loads(encode_row(event.message_id, row, before))
            printed = json.loads(encode_folded(event.message_id, row))
            assert printed["rejected"] == sorted(record["rejected"])
            assert {**printed, "rejected": None} == {
                **{name: record[name] for name in printed}, "rejected": None
            }  # fmt: skip

    @given(history=histories())
    @settings(CONTRACT, max_examples=examples(200))
    def test_previous_is_there_exactly_when_the_status_moved(self, history):
        for before, event, row, _ in folded(history):
            record = json.loads(encode_row(event.message_id, row, before))
            if before is None:
                assert record["previous"] is None
            else:
                assert ("previous" in record) is (before.node is not row.node)


def counted(histories: list[list[Event]]) -> Counts:
    """Count messages of one history each, as a partition does."""
    counts = Counts()
    for history in histories:
        for before, _, row, _ in folded(history):
            here, there = (
                None if before is None else place_of(before, before.names.provider),
                place_of(row, row.names.provider),
            )
            counts.move({(here, there): 1})
            counts.delivery(row.delivery).see(row.since, row.since)
    return counts


def parts_of(counts: DeliveryCounts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in DeliveryCounts.__slots__}


class TestCounts:
    @given(
        histories=st.lists(histories(), min_size=1, max_size=4),
        partition=st.integers(0, 99),
        cancel=st.none() | times.map(to_microseconds),
        is_cancel_done=st.booleans(),
    )
    @settings(CONTRACT, max_examples=examples(200))
    def test_every_count_is_valid_adds_up_and_comes_back(self, contracts, histories, partition, cancel, is_cancel_done):
        for delivery_id, counts in counted(histories).deliveries.items():
            counts.canceled_at, counts.is_cancel_done = cancel, is_cancel_done
            key, value = encode_counts(delivery_id, partition, counts)
            record = json.loads(value)
            assert contracts["counts"].accepts(record), contracts["counts"].errors(record)
            assert key.decode() == f"{delivery_id}|{partition}"
            assert record["messages"] == sum(record["statuses"].values()) == sum(record["channels"].values())
            assert parts_of(to_counts(decode_counts(value))) == parts_of(counts)

    @given(histories=st.lists(histories(), min_size=1, max_size=4), data=st.data())
    @settings(CONTRACT, max_examples=examples(200))
    def test_messages_that_retention_has_removed_stay_counted_and_come_back(self, contracts, histories, data):
        counts = counted(histories)
        gone = data.draw(st.lists(st.sampled_from([folded(history)[-1][2] for history in histories]), unique_by=id))
        for row in gone:
            counts.expire(place_of(row, row.names.provider))
        for delivery_id, numbers in counts.deliveries.items():
            record = json.loads(value := encode_counts(delivery_id, 0, numbers)[1])
            assert contracts["counts"].accepts(record), contracts["counts"].errors(record)
            assert record["expired"] == [row.delivery for row in gone].count(delivery_id)
            live = sum(sum(statuses.values()) for statuses in record["live"].values())
            assert record["messages"] == live + record["expired"]
            assert parts_of(to_counts(decode_counts(value))) == parts_of(numbers)

    def test_a_record_of_an_earlier_version_can_be_read(self, schemas_folder):
        record = decode_counts((schemas_folder / "examples" / "valid" / "counts.statuses-only.json").read_bytes())
        counts = to_counts(record)
        assert (counts.messages, counts.first, counts.canceled_at, counts.is_cancel_done) == (12, None, None, True)

    def test_every_field_is_in_the_schema(self, contracts):
        assert list(CountsRecord.__struct_fields__) == list(contracts["counts"].schema["properties"])


class TestRejected:
    @given(history=histories())
    @settings(CONTRACT, max_examples=examples(300))
    @example(
        history=[
            Event(START, "m", Channel.EMAIL, Status.SENT),
            Event(START + timedelta(seconds=1), "m", Channel.EMAIL, Status.IGNORED),
        ]
    )
    def test_everything_withheld_is_valid_and_holds_the_event_as_it_came(self, contracts, history):
        for _, event, row, verdict in folded(history):
            if verdict is Verdict.REJECTED:
                value = encode_event(event)
                record = json.loads(encode_rejected(value, row, node_of(event)))
                assert contracts["rejected"].accepts(record), contracts["rejected"].errors(record)
                assert contracts["event"].accepts(record["event"])
                assert record["event"] == json.loads(value)

    @given(unknown=json_values)
    @settings(CONTRACT, max_examples=examples(100))
    def test_fields_that_we_do_not_know_go_with_it(self, unknown):
        value = json.dumps({**MINIMAL, "status": "ignored", "unknown": unknown}, ensure_ascii=False).encode()
        event, node, _ = decode_event(value, None)
        row = folded([Event(START - timedelta(seconds=1), "m", Channel.EMAIL, Status.SENT), event])[-1][2]
        assert json.loads(encode_rejected(value, row, node))["event"]["unknown"] == unknown


class TestDeadLetters:
    @given(
        own=st.dictionaries(texts, texts, max_size=3),
        reason=st.sampled_from(DeadReason),
        detail=st.text(max_size=20),
        partition=st.integers(0, 9_999),
        offset=st.integers(0, 2**63 - 1),
        error=st.none() | st.builds(ValueError, st.text(max_size=20)),
    )
    @settings(CONTRACT, max_examples=examples(200))
    def test_headers_are_valid(self, contracts, own, reason, detail, partition, offset, error):
        headers = tuple((name, text.encode()) for name, text in own.items())
        origin = Origin("delivery.events.v1", partition, offset)
        written = {name: value.decode() for name, value in (*headers, *headers_of(origin, 0, reason, detail, error))}
        assert contracts["dead"].accepts(written), contracts["dead"].errors(written)

    def test_every_header_is_described(self, contracts):
        headers = headers_of(Origin("t", 0, 0), 0, DeadReason.NULL_VALUE, "")
        assert sorted(name for name, _ in headers) == sorted(contracts["dead"].schema["required"])
