"""Messages with a final status leave after a while; their delivery goes on counting them, and they do not come back."""

from tests.stages.conftest import cancel, event, ids, non_zero

DAY = 24 * 60


def look(d):
    """Look through all rows, as is done now and then, and remove what may be."""
    d.look_through()
    d.settle()


def test_a_final_message_leaves_after_its_time_and_its_delivery_goes_on_counting_it(desk):
    d = desk(retention=30 * 86_400.0)
    d.chunk(event("old", "failed", delivery_id="DM1"), event("waits", "pending", delivery_id="DM1"))
    d.chunk(event("new", "failed", 30 * DAY, delivery_id="DM1"))
    look(d)
    assert d.statuses() == {"waits": "pending", "new": "failed"}
    assert non_zero(d.counts("DM1")["statuses"]) == {"failed": 2, "pending": 1}
    assert d.counts("DM1")["expired"] == 1
    assert (d.gauge("failed"), d.gauge("pending")) == (1, 1)


def test_time_is_the_events_and_not_the_clocks(desk):
    d = desk(retention=60.0)
    d.chunk(event("m", "failed", delivery_id="DM1"), event("n", "failed", 0.9, delivery_id="DM1"))
    look(d)
    assert set(d.statuses()) == {"m", "n"}


def test_an_event_of_a_time_that_has_been_removed_is_a_dead_letter(desk):
    d = desk(retention=60.0)
    d.chunk(event("old", "failed", delivery_id="DM1"), event("new", "failed", 10, delivery_id="DM1"))
    look(d)
    d.chunk(event("old", "failed", delivery_id="DM1"), event("back-fill", "sent", 8.9), event("in-time", "sent", 9.1))
    assert d.dead() == ["too_old", "too_old"]
    assert set(d.statuses()) == {"new", "in-time"}


def test_while_nothing_has_been_removed_history_of_any_age_is_taken(desk):
    d = desk(retention=60.0)
    d.chunk(event("new", "pending", 1000), event("history", "sent", -1000))
    assert d.dead() == []


def test_all_of_it_outlives_a_restart(desk):
    d = desk(retention=60.0)
    d.chunk(*(event(name, "failed", delivery_id="DM1") for name in ids(50)), event("new", "failed", 10))
    look(d)
    d.restart()
    assert set(d.statuses()) == {"new"}
    assert (d.gauge("failed"), d.counts("DM1")["expired"]) == (1, 50)
    d.chunk(event("m-1", "failed", delivery_id="DM1"))
    assert d.dead() == ["too_old"]


def test_with_no_retention_nothing_leaves(desk):
    d = desk(retention=0.0)
    d.chunk(event("old", "failed"), event("new", "failed", 1000 * DAY))
    look(d)
    assert set(d.statuses()) == {"old", "new"}


def test_what_changed_since_it_was_found_stays(desk):
    d = desk(retention=60.0)
    d.chunk(event("m", "failed"), event("new", "failed", 10))
    d.look_through()
    d.chunk(event("m", "sent", 10))
    d.settle()
    assert set(d.statuses()) == {"m", "new"}


def test_cancelled_messages_leave_too(desk):
    d = desk(retention=60.0)
    d.chunk(event("m", "pending", delivery_id="DM1"), cancel("DM1", 1))
    d.settle()
    d.chunk(event("new", "failed", 10))
    look(d)
    assert set(d.statuses()) == {"new"}
    assert d.counts("DM1")["expired"] == 1
