"""Bytes on the wire: what is refused, and why. That code and schemas agree is specified in tests/contract."""

import json
from datetime import datetime, timezone

import pytest

from processor.domain.event import Event
from processor.domain.fold import fold
from processor.domain.moment import to_microseconds
from processor.domain.status import Channel, Status
from processor.domain.transitions import Node
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event, encode_event
from processor.wire.rows import decode_row, encode_row

TIME = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
TIME_MS = 1_795_420_800_000
DAY_MS = 24 * 60 * 60 * 1000
MINIMAL = b'{"time":"2026-11-23T08:00:00Z","message_id":"m","channel":"email","status":"sent"}'


def with_field(field: bytes) -> bytes:
    return MINIMAL[:-1] + b"," + field + b"}"


def at(time: str) -> bytes:
    return MINIMAL.replace(b"2026-11-23T08:00:00Z", time.encode())


def refused(value: bytes | None, record_ms: int | None = None) -> UnusableError:
    with pytest.raises(UnusableError) as caught:
        decode_event(value, record_ms)
    return caught.value


class TestAccepted:
    def test_what_is_not_said_has_its_default(self):
        event = Event(TIME, "m", Channel.EMAIL, Status.SENT)
        assert decode_event(MINIMAL, TIME_MS) == (event, Node.SENT, to_microseconds(TIME))
        assert decode_event(MINIMAL, TIME_MS)[0].attempt == 1

    def test_unknown_fields_have_no_effect(self):
        assert decode_event(with_field(b'"trace":[1,{"a":null}]'), None) == decode_event(MINIMAL, None)

    @pytest.mark.parametrize(
        ("permanence", "node"),
        [(None, Node.FAILED), ("permanent", Node.FAILED), ("gave_up", Node.FAILED_GAVE_UP)],
    )
    def test_a_failure_is_one_of_two_nodes(self, permanence, node):
        value = with_field(b'"reason":' + json.dumps({"permanence": permanence}).encode())
        assert decode_event(value.replace(b'"sent"', b'"failed"'), None)[1] is node

    @pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "9999-12-31T23:59:59Z"])
    def test_a_time_at_the_ends_of_the_calendar_can_be_folded_and_published(self, time):
        event, node, _ = decode_event(at(time), None)
        row, _ = fold(None, event, node)
        assert decode_row(encode_row("m", row, None)) == row

    def test_whitespace_around_the_event_is_allowed(self):
        assert decode_event(b"\r\n " + MINIMAL + b"\n", None)[1] is Node.SENT


class TestRefused:
    def test_null(self):
        assert refused(None).reason is DeadReason.NULL_VALUE

    def test_no_bytes(self):
        assert refused(b"").reason is DeadReason.EMPTY_VALUE

    @pytest.mark.parametrize(
        "value",
        [b" ", b"{", MINIMAL[:-1], MINIMAL + b"}", b"sent", b"{'time': 1}", b"\x00", with_field(b'"x":NaN'),
         with_field(b'"x":[1,]'), with_field(b'"x":"\t"'), b"\xef\xbb\xbf" + MINIMAL],
        ids=["blank", "brace", "truncated", "more after it", "word", "Python", "zero", "NaN", "trailing comma",
             "raw control character", "byte order mark"],
    )  # fmt: skip
    def test_what_is_not_json(self, value):
        assert refused(value).reason is DeadReason.INVALID_JSON

    @pytest.mark.parametrize("value", [b"[]", b"null", b"1", b'"text"', b"[" + MINIMAL + b"]"])
    def test_json_that_is_no_object(self, value):
        assert refused(value).reason is DeadReason.INVALID_EVENT

    @pytest.mark.parametrize("value", [b"\x1f\x8b\x08\x00", b"\x80\x04\x95", b"\xff\xfe{\x00", bytes(range(256))],
                             ids=["gzip", "pickle", "UTF-16", "every byte"])  # fmt: skip
    def test_binary_garbage(self, value):
        assert refused(value).reason is DeadReason.INVALID_ENCODING

    @pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe5"],
                             ids=["no such byte", "overlong", "surrogate", "beyond Unicode", "cut"])  # fmt: skip
    @pytest.mark.parametrize("field", [b'"provider":"%b"', b'"unknown":"%b"', b'"%b":1', b'"reason":{"x":["%b"]}'])
    def test_bytes_that_are_not_utf_8_wherever_they_stand(self, bad, field):
        # Also in what the fold does not read: the rejected topic holds the event as it came.
        assert refused(with_field(field % bad)).reason is DeadReason.INVALID_ENCODING

    @pytest.mark.parametrize("bad", [rb"\ud800", rb"\udc00", rb"\ud800\ud800", rb"\ud800A", rb"\uDFFF\uD800"])
    @pytest.mark.parametrize("field", [b'"provider":"%b"', b'"unknown":"%b"', b'"%b":1', b'"reason":{"text":"%b"}'])
    def test_lone_surrogates_wherever_they_stand(self, bad, field):
        # They are no characters: no row that holds one could be written.
        assert refused(with_field(field % bad)).reason is DeadReason.INVALID_JSON

    def test_a_pair_of_surrogates_is_a_character(self):
        assert decode_event(with_field(rb'"provider":"\ud83d\udce6"'), None)[0].provider == "📦"

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
    @pytest.mark.parametrize("closed", [True, False])
    def test_deep_nesting(self, opening, closing, closed):
        depth = 100_000
        value = with_field(b'"x":' + opening * depth + b"1" + closing * (depth if closed else 0))
        assert refused(value).reason is DeadReason.INVALID_JSON

    @pytest.mark.parametrize(
        ("value", "detail"),
        [
            (MINIMAL.replace(b'"time"', b'"at"'), "`time`"),
            (MINIMAL.replace(b'"message_id"', b'"id"'), "`message_id`"),
            (MINIMAL.replace(b'"m"', b'""'), "$.message_id"),
            (MINIMAL.replace(b'"email"', b'"push"'), "'push'"),
            (MINIMAL.replace(b'"sent"', b'"delivered"'), "'delivered'"),
            (at("2026-11-23T08:00:00"), "timezone"),
            (at("yesterday"), "$.time"),
            (with_field(b'"attempt":0'), "$.attempt"),
            (with_field(b'"attempt":100'), "$.attempt"),
            (with_field(b'"attempt":1.0'), "$.attempt"),
            (with_field(b'"reason":"550"'), "$.reason"),
            (with_field(b'"reason":{"category":"spam"}'), "$.reason.category"),
            (with_field(b'"reason":{"code":511}'), "$.reason.code"),
        ],
    )
    def test_what_breaks_the_contract_with_the_place_where(self, value, detail):
        error = refused(value)
        assert error.reason is DeadReason.INVALID_EVENT
        assert detail in error.detail

    @pytest.mark.parametrize("status", ["prepared", "sent_to_provider", "received_on_mobile"])
    def test_a_status_that_the_channel_does_not_have(self, status):
        error = refused(MINIMAL.replace(b"sent", status.encode()))
        assert error.reason is DeadReason.INVALID_STATUS
        assert error.detail == f"status '{status}' does not exist on channel 'email'"

    @pytest.mark.parametrize("channel", [b"email", b"sms"])
    def test_a_failure_that_is_transient(self, channel):
        value = with_field(b'"reason":{"permanence":"transient"}')
        error = refused(value.replace(b'"sent"', b'"failed"').replace(b"email", channel))
        assert error.reason is DeadReason.INVALID_STATUS
        assert "transient" in error.detail

    @pytest.mark.parametrize("time", ["0001-01-01T00:59:59.999999+01:00", "9999-12-31T23:00:00-01:00"])
    def test_a_time_that_utc_has_no_year_for(self, time):
        error = refused(at(time))
        assert error.reason is DeadReason.INVALID_EVENT
        assert "years 1 to 9999" in error.detail


class TestTimeAhead:
    def test_24_hours_ahead_of_the_record_is_allowed(self):
        assert decode_event(MINIMAL, TIME_MS - DAY_MS)[1] is Node.SENT

    def test_a_millisecond_more_is_refused(self):
        error = refused(MINIMAL, TIME_MS - DAY_MS - 1)
        assert error.reason is DeadReason.TIME_AHEAD
        assert "2026-11-23T08:00:00+00:00" in error.detail

    def test_a_microsecond_more_is_refused(self):
        assert refused(at("2026-11-23T08:00:00.000001Z"), TIME_MS - DAY_MS).reason is DeadReason.TIME_AHEAD

    def test_the_boundary_is_exact_at_every_millisecond(self):
        for ms in range(1000):
            value = at(f"2026-11-23T08:00:00.{ms:03}Z")
            assert decode_event(value, TIME_MS + ms - DAY_MS)[1] is Node.SENT
            assert refused(value, TIME_MS + ms - DAY_MS - 1).reason is DeadReason.TIME_AHEAD

    def test_the_offset_is_reckoned_in(self):
        assert decode_event(at("2026-11-23T09:00:00+01:00"), TIME_MS - DAY_MS)[1] is Node.SENT
        assert refused(at("2026-11-23T09:00:00.001+01:00"), TIME_MS - DAY_MS).reason is DeadReason.TIME_AHEAD

    def test_a_time_long_past_is_allowed(self):
        assert decode_event(at("0001-01-01T00:00:00Z"), TIME_MS)[1] is Node.SENT

    def test_a_record_at_the_epoch_counts(self):
        assert refused(MINIMAL, 0).reason is DeadReason.TIME_AHEAD

    @pytest.mark.parametrize("record_ms", [None, -1])
    def test_a_record_without_a_timestamp_leaves_the_rule_aside(self, record_ms):
        assert decode_event(at("9999-12-31T23:59:59Z"), record_ms)[1] is Node.SENT

    def test_a_breach_of_the_contract_comes_first(self):
        assert refused(MINIMAL.replace(b"sent", b"prepared"), 0).reason is DeadReason.INVALID_STATUS


class TestWritten:
    def test_an_event_says_only_what_is_known(self):
        assert json.loads(encode_event(decode_event(MINIMAL, None)[0])) == json.loads(MINIMAL)
