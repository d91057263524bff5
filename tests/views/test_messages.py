"""One message as people ask for it."""

import json
from typing import Any

import pytest

from processor.domain.delivery import Cause, Pending, State
from processor.domain.fold import fold
from processor.domain.status import Channel, Status
from processor.views.messages import MessageView, Rejected, Seen, Wait, message_view
from processor.wire.events import decode_event


def view(*reports: tuple[Any, ...], channel: str = "email", **more: Any) -> MessageView:
    """Fold reports of (minute, status, further fields) and look at the row."""
    row = None
    for minute, status, *fields in reports:
        event = {"message_id": "m-1", "channel": channel, "status": status, "time": f"2026-11-23T08:{minute:02}:00Z"}
        decoded, node, _ = decode_event(json.dumps({**event, **(fields[0] if fields else {})}).encode(), None)
        row, _ = fold(row, decoded, node)
    assert row is not None
    return message_view("m-1", row, **more)


def at(minute: int) -> str:
    return f"2026-11-23T08:{minute:02}:00Z"


GAVE_UP = {"reason": {"permanence": "gave_up"}}
TRANSIENT = {"reason": {"permanence": "transient", "category": "mailbox_full", "text": "452 full"}}


def test_what_is_known_is_told_and_what_is_not_is_null():
    names = {"delivery_id": "DM1", "recipient": "a@example.com", "provider": "ses", "provider_message_id": "x-1"}
    full = view((1, "pending"), (2, "sent", names))
    assert (full.delivery_id, full.recipient, full.provider, full.provider_message_id) == tuple(names.values())
    assert (full.channel, full.status, full.permanence, full.since, full.attempt) == (
        Channel.EMAIL,
        Status.SENT,
        None,
        at(2),
        1,
    )
    bare = view((1, "pending"))
    assert (bare.delivery_id, bare.recipient, bare.provider, bare.provider_message_id) == (None, None, None, None)
    assert (bare.reason, bare.rejected, bare.stuck, bare.cancel_too_late) == (None, (), False, False)


def test_the_reason_is_as_it_was_said_with_adobes_code():
    reason = {
        "permanence": "permanent",
        "category": "user_unknown",
        "code": "5.1.1",
        "provider_code": "550",
        "text": "no",
    }
    told = view((1, "failed", {"reason": reason})).reason
    assert told is not None
    assert (told.permanence, told.category, told.adobe_code) == ("permanent", "user_unknown", 1)
    assert (told.code, told.provider_code, told.text) == ("5.1.1", "550", "no")


@pytest.mark.parametrize(("category", "code"), [("personalization", None), (None, None), ("undefined", 0)])
def test_some_categories_have_no_code_of_adobes(category, code):
    told = view((1, "failed", {"reason": {"category": category, "code": "x"}})).reason
    assert told is not None
    assert told.adobe_code == code


def test_the_history_is_by_time_whatever_the_order_of_arrival():
    told = view((5, "sent"), (1, "pending"), (3, "taken_into_account"), (4, "taken_into_account"))
    assert told.history == (
        Seen("pending", 1, at(1), at(1)),
        Seen("taken_into_account", 1, at(3), at(4)),
        Seen("sent", 1, at(5), at(5)),
    )


def test_a_new_attempt_shows_after_the_failure_that_it_reopened():
    told = view((1, "sent"), (2, "failed", GAVE_UP), (3, "sent", {"attempt": 2}))
    assert [(seen.node, seen.attempt) for seen in told.history] == [("sent", 1), ("failed_gave_up", 1), ("sent", 2)]
    assert (told.status, told.attempt, told.rejected) == (Status.SENT, 2, ())


class TestRefused:
    def test_it_names_the_rule(self):
        told = view((1, "ignored"), (2, "sent"))
        assert told.rejected == (Rejected("sent", "ignored", "on email, sent may neither follow nor precede ignored"),)

    def test_the_rule_is_about_where_the_message_stood_then(self):
        told = view((1, "pending"), (2, "failed", GAVE_UP), (3, "ignored"), (4, "failed"))
        assert told.status is Status.FAILED
        assert told.rejected == (
            Rejected("ignored", "failed_gave_up", "on email, ignored may neither follow nor precede failed_gave_up"),
        )

    def test_a_status_that_the_channel_does_not_have(self):
        told = view((1, "pending"), (2, "received_on_mobile", {"channel": "sms"}))
        assert told.rejected == (Rejected("received_on_mobile", None, "email has no received_on_mobile"),)


class TestWaiting:
    @pytest.mark.parametrize(
        ("channel", "status", "wait"),
        [
            ("email", "pending", Wait.MTA_RESOURCES),
            ("email", "taken_into_account", Wait.MAIL_SERVER),
            ("email", "sent", None),
            ("email", "failed", None),
            ("email", "canceled", None),
            ("sms", "prepared", Wait.CONNECTOR),
            ("sms", "sent_to_provider", Wait.PROVIDER),
            ("sms", "taken_into_account", Wait.NETWORK),
            ("sms", "sent", Wait.RECEIPT),
            ("sms", "received_on_mobile", None),
        ],
    )
    def test_it_follows_from_the_place(self, channel, status, wait):
        told = view((1, status), channel=channel)
        assert told.waits_for_code is wait
        assert (told.waits_for is None) is (wait is None)

    def test_a_pending_one_waits_for_what_its_delivery_waits_for(self):
        told = view((1, "pending"), pending=Pending(Cause.CONCURRENCY_LIMIT, running=10, limit=10))
        assert (told.waits_for_code, told.waits_for) == (
            Wait.CONCURRENCY_LIMIT,
            "other campaigns to end: as many run as may at once",
        )

    def test_a_date_is_told(self):
        moment = 1_795_507_200_000_000
        told = view((1, "pending"), pending=Pending(Cause.SCHEDULED, scheduled_at=moment))
        assert told.waits_for == "the date of its delivery, 2026-11-24T08:00:00Z"

    @pytest.mark.parametrize(("channel", "status"), [("email", "pending"), ("sms", "pending"), ("sms", "prepared")])
    def test_what_nobody_took_waits_for_its_delivery_to_be_resumed(self, channel, status):
        told = view((1, status), channel=channel, delivery_state=State.PAUSED)
        assert (told.waits_for_code, told.waits_for) == (Wait.PAUSED, "its delivery to be resumed: it is paused")

    def test_what_was_handed_over_does_not_wait_for_a_pause(self):
        assert view((1, "sent_to_provider"), channel="sms", delivery_state=State.PAUSED).waits_for_code is Wait.PROVIDER

    def test_one_that_got_further_does_not_wait_for_its_delivery(self):
        assert view((1, "sent"), pending=Pending(Cause.MTA_RESOURCES)).waits_for is None

    @pytest.mark.parametrize("status", ["pending", "taken_into_account"])
    def test_after_a_failed_try_it_waits_for_the_next(self, status):
        told = view((1, status, TRANSIENT))
        assert told.waits_for_code is Wait.RETRY
        assert told.reason is not None
        assert told.reason.text == "452 full"

    def test_every_cause_of_deliveries_is_something_to_wait_for(self):
        assert {cause.value for cause in Cause} <= {wait.value for wait in Wait}


class TestCancel:
    def test_it_came_in_time(self):
        assert view((1, "pending"), (2, "canceled")).cancel_too_late is False

    def test_it_came_too_late(self):
        assert view((1, "sent"), (2, "canceled")).cancel_too_late is True
        assert view((1, "canceled"), (2, "sent")).cancel_too_late is True

    def test_it_came_too_late_and_only_the_delivery_knows(self):
        assert view((1, "sent"), delivery_state=State.CANCELED).cancel_too_late is True

    @pytest.mark.parametrize("status", ["ignored", "not_applicable", "pending"])
    def test_what_was_not_sent_was_not_too_late(self, status):
        assert view((1, status), delivery_state=State.CANCELED).cancel_too_late is False


def test_stuck_is_a_label():
    told = view((1, "pending"), is_stuck=True)
    assert (told.status, told.stuck) == (Status.PENDING, True)
