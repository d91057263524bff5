"""The canonical event: what can be decoded, and how an event breaks the contract."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from processor.domain.event import MAX_AHEAD, Event, breach_of, node_of
from processor.domain.reason import Category, Reason
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.transitions import NODE_STATUS, Node

NOW = datetime(2026, 11, 23, 8, 0, 0, 125_000, tzinfo=timezone.utc)

#: The least that an event must say.
LEAST = {"time": "2026-11-23T08:00:00.125Z", "message_id": "m-000001", "channel": "email", "status": "sent"}


def decode(*without, **fields):
    told = {name: value for name, value in (LEAST | fields).items() if name not in without}
    return msgspec.json.decode(msgspec.json.encode(told), type=Event)


def test_an_event_needs_a_time_a_message_a_channel_and_a_status():
    assert decode() == Event(NOW, "m-000001", Channel.EMAIL, Status.SENT)


@pytest.mark.parametrize("field", LEAST)
def test_each_of_these_is_required(field):
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{field}`"):
        decode(field)


def test_a_full_event():
    event = decode(
        id="01J",
        delivery_id="DM1042",
        status="failed",
        provider="kumomta",
        provider_message_id="1d98076a",
        recipient="user@example.com",
        attempt=2,
        reason={
            "permanence": "permanent",
            "category": "user_unknown",
            "code": "5.1.1",
            "provider_code": "550",
            "text": "no such user",
        },
    )
    assert (event.delivery_id, event.recipient, event.attempt) == ("DM1042", "user@example.com", 2)
    assert event.reason == Reason(Permanence.PERMANENT, Category.USER_UNKNOWN, "5.1.1", "550", "no such user")


def test_unknown_fields_are_allowed_and_left_out():
    assert decode(campaign="spring", reason={"category": "refused", "smtp": 550}) == decode(
        reason={"category": "refused"}
    )


@pytest.mark.parametrize("attempt", [1, 2, 99])
def test_attempts_go_from_1_to_99(attempt):
    assert decode(attempt=attempt).attempt == attempt


def test_the_attempt_is_the_first_where_nothing_is_said():
    assert decode().attempt == 1


@pytest.mark.parametrize("time", ["2026-11-23T09:00:00.125+01:00", "2026-11-23T03:30:00.125-04:30"])
def test_a_time_may_have_any_offset(time):
    assert decode(time=time).time == NOW


@pytest.mark.parametrize(
    "fields",
    [
        {"time": "2026-11-23T08:00:00"},
        {"time": "2026-11-23"},
        {"time": 1795420800},
        {"message_id": ""},
        {"message_id": 17},
        {"message_id": None},
        {"channel": "fax"},
        {"status": "delivered"},
        {"status": "failed_gave_up"},
        {"attempt": 0},
        {"attempt": 100},
        {"attempt": -1},
        {"attempt": 1.5},
        {"attempt": "1"},
        {"attempt": None},
        {"recipient": ["user@example.com"]},
        {"reason": "mailbox full"},
        {"reason": {"permanence": "soft"}},
        {"reason": {"category": "bounced"}},
    ],
    ids=str,
)
def test_what_cannot_be_decoded(fields):
    with pytest.raises(msgspec.ValidationError):
        decode(**fields)


def test_an_event_comes_back_as_it_was_written_without_what_it_does_not_say():
    event = decode(reason={"category": "refused"})
    written = msgspec.json.encode(event)
    assert set(msgspec.json.decode(written)) == {*LEAST, "reason"}
    assert msgspec.json.decode(written, type=Event) == event


# What the contract adds


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED])
def test_a_status_is_reported_only_on_a_channel_that_has_it(channel, status):
    event = Event(NOW, "m-1", channel, status)
    node = node_of(event)
    if channel in DEFINITIONS[status].channels:
        assert NODE_STATUS[node] is status
    else:
        assert node is None
        assert breach_of(event) == f"status '{status.value}' does not exist on channel '{channel.value}'"


@pytest.mark.parametrize(
    ("reason", "node"),
    [
        (None, Node.FAILED),
        (Reason(), Node.FAILED),
        (Reason(category=Category.MAILBOX_FULL), Node.FAILED),
        (Reason(Permanence.PERMANENT), Node.FAILED),
        (Reason(Permanence.GAVE_UP), Node.FAILED_GAVE_UP),
    ],
)
@pytest.mark.parametrize("channel", list(Channel))
def test_a_failure_is_permanent_unless_it_was_given_up(channel, reason, node):
    assert node_of(Event(NOW, "m-1", channel, Status.FAILED, reason=reason)) is node


@pytest.mark.parametrize("channel", list(Channel))
def test_a_failure_cannot_be_transient(channel):
    event = Event(NOW, "m-1", channel, Status.FAILED, reason=Reason(Permanence.TRANSIENT))
    assert node_of(event) is None
    assert "'failed' with permanence 'transient'" in breach_of(event)


@pytest.mark.parametrize("status", [Status.PENDING, Status.TAKEN_INTO_ACCOUNT])
def test_a_transient_reason_rides_on_a_status_that_still_waits(status):
    event = Event(NOW, "m-1", Channel.EMAIL, status, reason=Reason(Permanence.TRANSIENT))
    assert NODE_STATUS[node_of(event)] is status


def test_a_clock_is_believed_up_to_a_day_ahead():
    assert timedelta(hours=24) == MAX_AHEAD
