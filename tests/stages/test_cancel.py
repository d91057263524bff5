"""A delivery that was cancelled: its messages that may still be, are; those that turn up later too; none is undone."""

import pytest

from processor.stages import fold
from tests.stages.conftest import cancel, event, ids, non_zero


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
    d.chunk(cancel("DM1", 5))
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
    d.chunk(cancel("DM1", 5))
    d.settle()
    d.chunk(event("late", "pending", 6, delivery_id="DM1"), event("early", "pending", 1, delivery_id="DM1"))
    assert d.statuses() == {"late": "canceled", "early": "canceled"}


def test_a_message_is_cancelled_when_an_event_names_its_delivery(desk):
    d = desk()
    d.chunk(event("m", "pending"), cancel("DM1", 5))
    d.settle()
    assert d.statuses() == {"m": "pending"}
    d.chunk(event("m", "pending", 7, delivery_id="DM1"))
    assert d.statuses() == {"m": "canceled"}


def test_that_it_was_sent_all_the_same_is_believed(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.chunk(cancel("DM1", 5))
    d.settle()
    d.chunk(event("m", "sent", 6))
    assert d.statuses() == {"m": "sent"}


@pytest.mark.parametrize("cancel_first", [True, False])
def test_marker_and_events_of_one_chunk_may_come_in_either_order(desk, cancel_first):
    d = desk()
    chunk = [cancel("DM1", 5), event("m", "pending", delivery_id="DM1")]
    d.chunk(*(chunk if cancel_first else reversed(chunk)))
    d.settle()
    assert d.statuses() == {"m": "canceled"}


def test_a_marker_that_comes_again_changes_nothing(desk):
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"), cancel("DM1", 5))
    d.settle()
    before = len(d.written["t.messages.v1"]), len(d.written["t.counts.v1"])
    d.chunk(cancel("DM1", 5))
    d.settle()
    assert (len(d.written["t.messages.v1"]), len(d.written["t.counts.v1"])) == before


def test_what_cannot_be_read_as_a_marker_is_a_dead_letter(desk):
    d = desk()
    d.chunk(cancel("DM1", 5)._replace(value=b"{}"), cancel("DM1", 5)._replace(value=None))
    assert d.dead() == ["invalid_control", "null_value"]
    assert not d.work.is_due


def test_a_cancel_of_many_messages_goes_on_where_it_was_interrupted(desk, monkeypatch):
    monkeypatch.setattr(fold, "_ROWS_AT_A_TIME", 10)
    d = desk()
    d.chunk(*(event(name, "pending", delivery_id="DM1") for name in ids(35)))
    d.chunk(cancel("DM1", 5))
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
