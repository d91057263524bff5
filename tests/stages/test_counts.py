"""Counts come back from their topic; where they do not fit the rows, they are made anew of them."""

from processor.wire.counts import RESTORED_HEADER
from tests.stages.conftest import event, non_zero


def fill(d):
    d.chunk(
        event("a", "pending", delivery_id="DM1", provider="kumomta"),
        event("b", "failed", 1, delivery_id="DM1", reason={"category": "user_unknown"}),
        event("c", "ignored", 2, delivery_id="DM2", reason={"category": "denylisted"}),
    )


def test_they_tell_what_a_delivery_is_judged_by(desk):
    d = desk()
    fill(d)
    counts = d.counts("DM1")
    assert (counts["messages"], non_zero(counts["statuses"])) == (2, {"pending": 1, "failed": 1})
    assert (counts["channels"], counts["failed"], counts["providers"]) == (
        {"email": 2},
        {"user_unknown": 1},
        {"kumomta": 1},
    )
    assert (counts["first"], counts["last"]) == ("2026-11-23T08:00:00Z", "2026-11-23T08:01:00Z")
    assert d.counts("DM2")["ignored"] == {"denylisted": 1}


def test_a_provider_without_an_adapter_is_counted_as_other(desk):
    d = desk()
    d.chunk(*(event(f"m-{number}", "sent", delivery_id="DM1", provider=f"own-{number}") for number in range(9)))
    assert d.counts("DM1")["providers"] == {"other": 9}


def test_one_record_a_delivery_and_chunk_is_published_and_none_when_nothing_moved(desk):
    d = desk()
    fill(d)
    assert len(d.written["t.counts.v1"]) == 2
    d.chunk(event("a", "pending", delivery_id="DM1"))
    assert len(d.written["t.counts.v1"]) == 2


def test_a_restart_finds_them_again(desk):
    d = desk()
    fill(d)
    d.restart()
    assert not d.work.is_due
    d.chunk(event("a", "sent", 3))
    assert non_zero(d.counts("DM1")["statuses"]) == {"sent": 1, "failed": 1}
    assert (d.gauge("sent"), d.gauge("failed"), d.gauge("pending")) == (1, 1, 0)


def test_where_they_are_missing_they_are_counted_anew_and_published(desk):
    d = desk()
    fill(d)
    expected = {delivery: d.counts(delivery)["statuses"] for delivery in ("DM1", "DM2")}
    d.written["t.counts.v1"].clear()
    d.restart()
    d.settle()
    assert {delivery: d.counts(delivery)["statuses"] for delivery in ("DM1", "DM2")} == expected


def test_counted_anew_a_cancel_is_not_forgotten(desk):
    d = desk()
    fill(d)
    d.cancel("DM2", 5)
    d.settle()
    del d.written["t.counts.v1"][:2]
    d.restart()
    d.settle()
    d.chunk(event("late", "pending", 6, delivery_id="DM2"))
    assert d.statuses()["late"] == "canceled"


def test_restored_from_a_backup_they_are_counted_anew_for_rows_may_be_newer(desk):
    d = desk()
    fill(d)
    restored = [(key, value, ((RESTORED_HEADER, b"true"),)) for key, value, _ in d.written["t.counts.v1"]]
    d.chunk(event("a", "sent", 3))
    d.written["t.counts.v1"] = restored
    d.restart()
    assert d.gauge("sent") == 1
    d.settle()
    # What the backup missed comes again, and changes no row.
    d.chunk(event("a", "sent", 3))
    assert non_zero(d.counts("DM1")["statuses"]) == {"sent": 1, "failed": 1}
    d.restart()
    assert not d.work.is_due
