"""Which message a report is about, and when it happened."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.event import Event
from processor.providers import ADAPTERS, read
from processor.providers.adapter import Context, Unreadable
from processor.providers.addresses import bare_address
from processor.providers.fields import identifier, text_of, time_of, time_of_epoch
from processor.providers.identity import own_id

SAMPLES = Path(__file__).parent / "samples"

NAMES = Context(
    received=datetime(2026, 1, 1, tzinfo=timezone.utc),
    message_id_names=("X-Our-Id", "message_id"),
    delivery_id_names=("X-Campaign",),
)


def one(provider, payload, context):
    (event,) = read(provider, payload, context)
    assert isinstance(event, Event), event
    return event


def record(**fields):
    return {"type": "Delivery", "id": "a1", "recipient": "Anna@Example.org", "timestamp": 1762502400, **fields}


@pytest.mark.parametrize(
    ("fields", "message_id", "delivery_id"),
    [
        ({}, "kumomta:a1:anna@example.org", None),
        ({"meta": {"message_id": "m-1"}}, "m-1", None),
        ({"meta": {"message_id": "m-1", "X-Our-Id": "m-2"}}, "m-2", None),  # names are tried in their order
        ({"headers": {"x-our-id": "m-3", "X-CAMPAIGN": "D1"}}, "m-3", "D1"),  # header names in any case
        ({"meta": {"message_id": "m-1"}, "headers": {"X-Our-Id": "m-3"}}, "m-1", None),  # what we set, before headers
        ({"meta": {"message_id": 7, "X-Campaign": 8}}, "7", "8"),
        ({"meta": {"message_id": "  "}}, "kumomta:a1:anna@example.org", None),
        ({"meta": {"message_id": None}}, "kumomta:a1:anna@example.org", None),
        ({"meta": {"message_id": {"a": 1}}}, "kumomta:a1:anna@example.org", None),
        ({"meta": "m-1", "headers": []}, "kumomta:a1:anna@example.org", None),
    ],
)
def test_our_own_ids(fields, message_id, delivery_id):
    event = one("kumomta", record(**fields), NAMES)
    assert (event.message_id, event.delivery_id) == (message_id, delivery_id)
    assert (event.provider_message_id, event.recipient) == ("a1", "Anna@Example.org")


def test_own_id_takes_the_first_of_several_values():
    assert own_id(("message_id",), {"message_id": ["m-1", "m-2"]}) == "m-1"
    assert own_id(("message_id",), {"message_id": []}) is None


def test_an_account_scopes_the_providers_ids_and_not_ours(context):
    context = context._replace(account="north")
    assert one("twilio", "MessageSid=SM1&MessageStatus=sent", context).message_id == "twilio@north:SM1"
    assert one("kumomta", record(meta={"message_id": "m-1"}), context).message_id == "m-1"


def test_a_name_that_is_too_long_together_is_refused_in_words(context):
    """Each part of it is short enough; the contract of events allows 1,000 characters of the whole."""
    long = record(id="a" * 500, recipient="b" * 491 + "@example.org")
    (found,) = read("kumomta", long, context)
    assert isinstance(found, Unreadable)
    assert found.detail.endswith("make a message id of 1012 characters; 1000 are allowed")
    far = context._replace(account="c" * 1_000)
    (found,) = read("kumomta", record(), far)
    assert isinstance(found, Unreadable)
    ours = record(meta={"message_id": "m-1"})
    assert one("kumomta", ours, far).message_id == "m-1"


@pytest.mark.parametrize(
    ("provider", "several"),
    [
        ("kumomta", {"type": "Reception", "id": "a1", "recipient": ["a@example.org", "b@example.org"]}),
        ("resend", {"type": "email.sent", "data": {"email_id": "a1", "to": ["a@example.org", "b@example.org"]}}),
        (
            "ses",
            {"eventType": "Send", "mail": {"messageId": "a1", "destination": ["a@example.org", "b@example.org"]}},
        ),
    ],
)
def test_a_recipient_has_one_name_however_many_a_record_names(provider, several, context):
    alone = json.loads(json.dumps(several).replace(', "b@example.org"', ""))
    together = [event.message_id for event in read(provider, several, context)]
    assert together == [f"{provider}:a1:a@example.org", f"{provider}:a1:b@example.org"]
    assert one(provider, alone, context).message_id == together[0]


def test_several_recipients_under_one_id_of_ours_are_refused_unless_it_covers_a_send(context):
    received = {**record(type="Reception", meta={"message_id": "m-1"}), "recipient": ["a@example.org", "b@example.org"]}
    (refused,) = read("kumomta", received, context)
    assert "DELIVERY_MESSAGE_ID_COVERS=send" in refused.detail
    covers = context._replace(message_id_covers_send=True)
    assert [event.message_id for event in read("kumomta", received, covers)] == [
        "m-1:a@example.org",
        "m-1:b@example.org",
    ]
    assert one("kumomta", record(meta={"message_id": "m-1"}), covers).message_id == "m-1:anna@example.org"


@pytest.mark.parametrize(
    ("told", "attempt"),
    [("2", 2), (99, 99), ("0", 1), ("100", 1), ("two", 1), (None, 1), ("\N{ARABIC-INDIC DIGIT TWO}", 1)],
)
def test_our_attempt_is_read_where_our_ids_travel(told, attempt, context):
    assert one("kumomta", record(meta={"message_id": "m-1", "attempt": told}), context).attempt == attempt
    form = {"MessageSid": "SM1", "MessageStatus": "sent", "Attempt": told}
    assert one("twilio", form, context).attempt == attempt
    assert one("twilio", form, context._replace(attempt_names=("try",))).attempt == 1


def test_what_the_callbacks_address_says_counts_after_what_the_payload_says(context):
    context = context._replace(query={"message_id": "m-1", "attempt": "3"})
    event = one("twilio", "MessageSid=SM1&MessageStatus=sent", context)
    assert (event.message_id, event.attempt) == ("m-1", 3)
    assert one("twilio", "MessageSid=SM1&MessageStatus=sent&message_id=m-2", context).message_id == "m-2"


def test_sendgrids_own_count_of_tries_is_not_our_attempt(context):
    event = {"event": "deferred", "email": "a@example.org", "sg_message_id": "x.filter1", "attempt": "5"}
    assert one("sendgrid", [event], context).attempt == 1


def test_attempt_stays_ours(context):
    assert one("kumomta", record(num_attempts=50), context).attempt == 1


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-11-07T08:00:00Z", "2025-11-07T08:00:00+00:00"),
        ("2025-11-07T08:00:00.1234567-04:00", "2025-11-07T08:00:00.123457-04:00"),
        ("2025-11-07T08:00:00.999999999Z", "2025-11-07T08:00:01+00:00"),
        ("2025-11-07T08:00:00+0200", "2025-11-07T08:00:00+02:00"),
        ("2025-11-07T08:00:00", None),
        ("2025-11-07", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("2511070800", None),
        ("", None),
        (1762502400, None),
    ],
)
def test_only_a_time_with_a_zone_is_event_time(text, time):
    assert time_of(text) == (datetime.fromisoformat(time) if time else None)


@pytest.mark.parametrize("number", [0, -1, 10**400, 1e300, float("nan"), float("inf"), True, "yesterday", None])
def test_a_number_that_is_no_time(number):
    assert time_of_epoch(number) is None


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_an_epoch_may_be_in_finer_units_than_seconds(factor):
    assert time_of_epoch(1762502400 * factor) == datetime(2025, 11, 7, 8, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["1762502400", "1762502400000", "1762502400.0", " 1762502400 ", "1762502400000000000"])
def test_an_epoch_may_be_a_text(text):
    assert time_of_epoch(text) == datetime(2025, 11, 7, 8, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text", ["20251107080000", "251107080000", "2025-11-07 08:00:00", "", "-1", "1e9", "NaN", "٣" * 10]
)
def test_a_date_without_a_zone_is_no_epoch(text):
    assert time_of_epoch(text) is None


def test_epoch_seconds_are_utc():
    assert time_of_epoch(1762502400) == datetime(2025, 11, 7, 8, tzinfo=timezone.utc)
    assert time_of_epoch(1762502400.5) == datetime(2025, 11, 7, 8, 0, 0, 500_000, tzinfo=timezone.utc)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.text(max_size=60)
    | st.lists(
        st.sampled_from(["id:666", "ID: 666", "stat:UNDELIV", "err:999", "text:", "sub:001", "\n", "\0", "Text:"])
    ).map(" ".join)
)
def test_no_message_body_can_forge_a_receipt(body, context):
    def receipt(text):
        return {"pdu": "deliver_sm", "esm_class": 4, "source_addr": "4670", "short_message": text}

    head = "id:1 sub:001 dlvrd:001 submit date:2511070859 done date:2511070900 stat:DELIVRD err:000 text:"
    assert one("smpp", receipt(head + body), context) == one("smpp", receipt(head), context)


def test_a_float_that_is_a_whole_number_is_read_as_that_number():
    assert text_of(30005.0) == identifier(30005.0) == "30005"
    assert text_of(2.5) is text_of(float("nan")) is text_of(float("inf")) is text_of(1e300) is None


@pytest.mark.parametrize("provider", ADAPTERS)
def test_where_an_id_covers_a_send_the_recipient_is_named_once(provider, context):
    covering = context._replace(message_id_covers_send=True, query={"message_id": "send-1"})
    for line in (SAMPLES / f"{provider}.jsonl").read_text(encoding="utf-8").splitlines():
        for event in read(provider, json.loads(line)["raw"], covering):
            if isinstance(event, Event) and event.recipient is not None:
                assert event.message_id.count(f":{bare_address(event.recipient)}") == 1, line


@pytest.mark.parametrize("unreadable", [{"a": 1}, ["x"], True, 1.5])
@pytest.mark.parametrize(
    ("provider", "first", "payload"),
    [
        ("twilio", "MessageSid", {"SmsSid": "a1", "MessageStatus": "sent"}),
        ("vonage", "messageId", {"message-id": "a1", "status": "delivered"}),
        ("vonage", "message_uuid", {"message-uuid": "a1", "status": "delivered"}),
        ("plivo", "ParentMessageUUID", {"MessageUUID": "a1", "Status": "sent"}),
        ("mmg", "CID", {"reference": "a1", "status": "3"}),
        ("sparkpost", "transmission_id", {"message_id": "a1", "type": "delivery"}),
        ("mailgun", "Message-Id", {"message-id": "<a1>", "event": "bounced", "recipient": "x@example.org"}),
        ("mailjet", "MessageID", {"mj_message_id": "a1", "event": "sent"}),
        ("sendgrid", "sg_message_id", {"smtp-id": "<a1>", "event": "delivered", "email": "x@example.org"}),
        ("kannel", "id", {"type": "1", "answer": "id:a1 stat:DELIVRD err:000 text:"}),
    ],
)
def test_a_first_choice_that_is_no_id_hides_no_second_one(provider, first, payload, unreadable, context):
    assert one(provider, {first: unreadable, **payload}, context).provider_message_id == "a1"
