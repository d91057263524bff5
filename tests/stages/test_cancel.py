"""A delivery that was cancelled: its messages that may still be, are; those that turn up later too; none is undone."""

from datetime import timedelta

import pytest

from processor.stages import fold
from tests.stages.conftest import START, Read, canceled, event, ids, non_zero


def test_what_may_still_be_cancelled_is_and_what_was_sent_stays_sent(desk):
    d = desk()
    d.chunk(
        event("waits", "pending", delivery_id="DM1"),
        event("taken", "taken_into_account", delivery_id="DM1"),
        event("sent", "sent", delivery_id="DM1"),
        event("failed", "failed", delivery_id="DM1"),
        event("other", "pending", delivery_id="DM2"),
        event("unnamed", "pending"),
    )
    d.cancel("DM1", 5)
    d.settle()
    assert d.statuses() == {
        "waits": "canceled",
        "taken": "canceled",
        "sent": "sent",
        "failed": "failed",
        "other": "pending",
        "unnamed": "pending",
    }
    counts = d.counts("DM1")
    assert non_zero(counts["statuses"]) == {"canceled": 2, "sent": 1, "failed": 1}
    assert (counts["canceled_at"], counts["is_cancel_done"]) == ("2026-11-23T08:05:00Z", True)
    assert d.gauge("canceled") == 2


def test_a_message_that_turns_up_later_is_cancelled_when_it_does(desk):
    d = desk()
    d.cancel("DM1", 5)
    d.settle()
    d.chunk(event("late", "pending", 6, delivery_id="DM1"), event("early", "pending", 1, delivery_id="DM1"))
    assert d.statuses() == {"late": "canceled", "early": "canceled"}


def test_a_message_is_cancelled_when_an_event_names_its_delivery(desk):
    d = desk()
    d.chunk(event("m", "pending"))
    d.cancel("DM1", 5)
    d.settle()
    assert d.statuses() == {"m": "pending"}
    d.chunk(event("m", "pending", 7, delivery_id="DM1"))
    assert d.statuses() == {"m": "canceled"}


def test_that_it_was_sent_all_the_same_is_believed(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.cancel("DM1", 5)
    d.settle()
    d.chunk(event("m", "sent", 6))
    assert d.statuses() == {"m": "sent"}


def test_one_that_is_heard_of_before_the_first_message_works_the_same(desk):
    d = desk()
    d.cancel("DM1", 5)
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.settle()
    assert d.statuses() == {"m": "canceled"}


def test_one_that_is_heard_of_again_changes_nothing(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.cancel("DM1", 5)
    d.settle()
    before = len(d.written["t.messages.v1"]), len(d.written["t.counts.v1"])
    d.cancel("DM1", 5)
    assert not d.work.is_due
    d.restart()
    assert not d.work.is_due
    assert (len(d.written["t.messages.v1"]), len(d.written["t.counts.v1"])) == before


def test_an_earlier_cancel_that_comes_late_moves_the_time(desk):
    d = desk()
    for minute in (5, 3, 4):
        d.cancel("DM1", minute)
        d.settle()
    assert d.counts("DM1")["canceled_at"] == "2026-11-23T08:03:00Z"


def test_one_that_is_told_only_after_a_restart_reaches_the_messages_of_then(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.deliveries.append(canceled("DM1", 5))
    d.restart()
    d.settle()
    assert d.statuses() == {"m": "canceled"}


def test_one_whose_transaction_was_lost_is_learned_again(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    there = {topic: list(written) for topic, written in d.written.items()}
    d.cancel("DM1", 5)
    d.settle()
    d.written = there
    d.work.forget()
    d.recover()
    d.work.punctuate(is_behind=False)
    d.settle()
    assert d.statuses() == {"m": "canceled"}


def test_a_delivery_that_is_forgotten_stays_cancelled(desk):
    d = desk()
    d.cancel("DM1", 5)
    d.tell(Read(0, 0, b"DM1", None))
    d.chunk(event("m", "pending", delivery_id="DM1"))
    assert d.statuses() == {"m": "canceled"}


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff", b"[]", b"[" * 100_000, b'{"delivery_id": "DM1"}'],
    ids=["empty", "no text", "a list", "deep", "no memory"],
)
def test_what_is_no_delivery_cancels_nothing_and_the_next_one_does(desk, value):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"), event("n", "pending", delivery_id="DM2"))
    d.tell(Read(0, 0, b"DM1", value), canceled("DM2", 5))
    d.settle()
    assert d.statuses() == {"m": "pending", "n": "canceled"}


@pytest.mark.parametrize(
    "moment", [-(10**17), 10**18, 10**25], ids=["before the year 1", "after the year 9999", "huge"]
)
def test_a_moment_outside_the_calendar_cancels_nothing(desk, moment):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    told = canceled("DM1", 5)
    at = str(int((START + timedelta(minutes=5)).timestamp()) * 1_000_000).encode()
    assert at in told.value
    d.tell(told._replace(value=told.value.replace(at, str(moment).encode())))
    d.settle()
    assert d.statuses() == {"m": "pending"}


@pytest.mark.parametrize(
    "value",
    [
        b'{"delivery_id":"DM1","time":"2026-11-23T08:05:00Z"}',
        b'{"delivery_id":"DM1","time":"0001-01-01T00:00:00+14:00"}',
        b"{}",
        None,
        event("m", "sent").value,
    ],
)
def test_whoever_may_publish_events_can_cancel_nothing(desk, value):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.chunk(Read(0, 0, b"DM1", value, (("delivery.control", b"cancel"),)), event("n", "pending", delivery_id="DM1"))
    d.settle()
    assert d.dead() == ["cancel_marker"]
    assert d.statuses() == {"m": "pending", "n": "pending"}
    assert d.counts("DM1")["canceled_at"] is None


def test_a_cancel_of_many_messages_goes_on_where_it_was_interrupted(desk, monkeypatch):
    monkeypatch.setattr(fold, "_ROWS_AT_A_TIME", 10)
    d = desk()
    d.chunk(*(event(name, "pending", delivery_id="DM1") for name in ids(35)))
    d.cancel("DM1", 5)
    d.chunk()
    d.chunk()
    assert non_zero(d.counts("DM1")["statuses"]) == {"pending": 15, "canceled": 20}
    assert d.counts("DM1")["is_cancel_done"] is False
    d.restart()
    assert d.work.is_due
    d.settle()
    assert non_zero(d.counts("DM1")["statuses"]) == {"canceled": 35}
    d.restart()
    assert not d.work.is_due
    d.chunk(event("m-new", "pending", 9, delivery_id="DM1"))
    assert d.statuses()["m-new"] == "canceled"


def test_a_cancel_that_comes_while_another_is_carried_out_waits_for_its_turn(desk, monkeypatch):
    monkeypatch.setattr(fold, "_ROWS_AT_A_TIME", 10)
    d = desk()
    d.chunk(*(event(f"DM{n % 3}-{n}", "pending", delivery_id=f"DM{n % 3}") for n in range(60)))
    for number in range(3):
        d.cancel(f"DM{number}", 5)
        d.chunk()
        d.chunk()
    d.settle()
    for number in range(3):
        assert non_zero(d.counts(f"DM{number}")["statuses"]) == {"canceled": 20}
        assert d.counts(f"DM{number}")["is_cancel_done"] is True
    told = [key for key, value, _ in d.written["t.messages.v1"] if b'"status":"canceled"' in value]
    assert len(told) == len(set(told)) == 60
