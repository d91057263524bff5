"""Messages with a final status leave after a while; their delivery goes on counting them, and they do not come back."""

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from tests.stages.conftest import START, Read, event, ids, non_zero

DAY = 24 * 60


def look(d):
    """Look through all rows, as is done now and then, and remove what may be."""
    d.sweep()
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
    d.sweep()
    d.chunk(event("m", "sent", 10))
    d.settle()
    assert set(d.statuses()) == {"m", "new"}


def test_cancelled_messages_leave_too(desk):
    d = desk(retention=60.0)
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.cancel("DM1", 1)
    d.settle()
    d.chunk(event("new", "failed", 10))
    look(d)
    assert set(d.statuses()) == {"new"}
    assert d.counts("DM1")["expired"] == 1


ABSURD = datetime(9998, 1, 1, tzinfo=timezone.utc)


def stamped(record: Read, minute: float) -> Read:
    """Have a record written at another moment than its event's."""
    return record._replace(timestamp=int((START + timedelta(minutes=minute)).timestamp() * 1000))


def unstamped(record: Read) -> Read:
    return record._replace(timestamp=-1)


class TestTheClock:
    """Nothing that a record or a worker's clock says removes what has not had its time."""

    @pytest.fixture
    def d(self, desk):
        d = desk(retention=30 * 86_400.0)
        d.now = START + timedelta(hours=1)
        d.chunk(*(event(name, "failed", delivery_id="DM1") for name in ids(40)))
        return d

    def survives(self, d):
        look(d)
        d.chunk(event("next", "failed", 30, delivery_id="DM1"))
        d.restart()
        look(d)
        d.chunk(event("last", "failed", 31, delivery_id="DM1"))
        assert {*ids(40), "next", "last"} <= set(d.statuses())
        assert d.counts("DM1")["expired"] == 0
        assert "too_old" not in d.dead()

    def test_an_absurd_event_in_a_record_without_timestamp_is_a_dead_letter_and_removes_nothing(self, d):
        d.chunk(unstamped(event("m", "failed", time=ABSURD.isoformat(), delivery_id="DM1")))
        assert d.dead() == ["time_ahead"]
        self.survives(d)

    @pytest.mark.parametrize("timestamp", [-1, -5, -(2**63)])
    def test_a_record_without_timestamp_is_of_now(self, d, timestamp):
        at = [event("m", "sent", minute)._replace(timestamp=timestamp) for minute in (60, 60 + 24 * 60, 61 + 24 * 60)]
        d.chunk(*at)
        assert d.dead() == ["time_ahead"]
        self.survives(d)

    def test_an_absurd_timestamp_of_a_record_removes_nothing(self, d):
        late = event("m", "failed", time=ABSURD.isoformat(), delivery_id="DM1")
        d.chunk(late._replace(timestamp=int(ABSURD.timestamp() * 1000)), late._replace(timestamp=2**63 - 1))
        self.survives(d)

    def test_an_event_a_day_ahead_shortens_nobodys_retention(self, desk):
        d = desk(retention=86_400.0)
        d.chunk(event("m", "failed"), event("n", "failed", 1))
        d.chunk(stamped(event("ahead", "failed", DAY + 1), 2))
        look(d)
        assert set(d.statuses()) == {"m", "n", "ahead"}
        d.written_at = int((START + timedelta(minutes=2)).timestamp() * 1000)
        d.restart()
        look(d)
        assert set(d.statuses()) == {"m", "n", "ahead"}

    def test_nor_does_a_worker_whose_clock_is_ahead(self, desk):
        d = desk(retention=86_400.0)
        d.now = START + timedelta(days=400)
        d.chunk(event("m", "failed"))
        d.chunk(stamped(event("ahead", "failed", DAY + 1), 2))
        d.chunk(unstamped(event("further", "failed", 300 * DAY)))
        look(d)
        assert set(d.statuses()) == {"m", "ahead", "further"}

    def test_a_worker_whose_clock_is_behind_keeps_all(self, desk):
        d = desk(retention=60.0)
        d.now = datetime(1970, 1, 1, tzinfo=timezone.utc)
        d.chunk(event("m", "failed"), event("n", "failed", 10))
        look(d)
        assert set(d.statuses()) == {"m", "n"}

    def test_records_without_timestamps_go_by_the_workers_clock(self, desk):
        d = desk(retention=60.0)
        d.now = START + timedelta(minutes=10)
        d.chunk(unstamped(event("m", "failed")), unstamped(event("n", "failed", 10)))
        look(d)
        assert set(d.statuses()) == {"n"}

    @pytest.mark.parametrize("written", [0, 60])
    def test_a_ledger_that_an_absurd_event_has_poisoned_heals(self, d, written):
        key, value, headers = d.written["t.counts.v1"][-1]
        poisoned = {**orjson.loads(value), "last": "9998-01-01T00:00:00Z"}
        d.written["t.counts.v1"].append((key, orjson.dumps(poisoned), headers))
        d.written_at = written and int((START + timedelta(minutes=written)).timestamp() * 1000)
        self.survives(d)
        d.settle()
        assert d.counts("DM1")["last"] < "2026-11-24"

    def test_an_event_at_either_edge_of_the_calendar_is_kept_or_a_dead_letter(self, d):
        edges = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999Z")
        for time in (*edges, "9999-12-31T23:59:59-00:01"):
            d.chunk(event("edge", "sent", time=time))
            d.chunk(event("edge", "sent", time=time)._replace(timestamp=0))
            d.chunk(event("edge", "sent", time=time)._replace(timestamp=253_402_300_799_999))
        assert set(d.dead()) == {"invalid_event", "time_ahead"}
        self.survives(d)
