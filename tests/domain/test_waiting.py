"""Which messages wait for too long, and which ones retention may remove."""

from datetime import timedelta

import pytest

from processor.domain.delivery import ENDLESS
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import EPOCH
from processor.domain.row import Row
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.traits import STUCK_AFTER
from processor.domain.waiting import is_stuck, may_expire, stuck_before

SECOND = 1_000_000
HOUR, DAY = 3_600, 86_400
NOW_SECONDS = 1_800_000_000
NOW = NOW_SECONDS * SECOND

#: Every status of every channel in which nobody waits.
SETTLED = [
    (channel, status)
    for channel in Channel
    for status, definition in DEFINITIONS.items()
    if channel in definition.channels and (channel, status) not in STUCK_AFTER
]


def ago(seconds: float) -> int:
    return NOW - int(seconds * SECOND)


def row(*reports: tuple[float, Status], channel: Channel = Channel.EMAIL) -> Row:
    """Fold reports of one message of DM1, each so many seconds ago."""
    known = None
    for seconds, status in reports:
        time = EPOCH + timedelta(seconds=NOW_SECONDS - seconds)
        event = Event(time, "m", channel, status, delivery_id="DM1")
        known, _ = fold(known, event, node_of(event))
    return known


def stuck(message: Row, stuck_after=STUCK_AFTER, **holds: int) -> bool:
    return is_stuck(message, stuck_before(stuck_after, NOW).get((message.channel, message.status)), holds)


class TestStuck:
    @pytest.mark.parametrize(("place", "seconds"), STUCK_AFTER.items())
    def test_from_its_threshold_on(self, place, seconds):
        channel, status = place
        waits = [row((seconds + more, status), channel=channel) for more in (-1e-6, 0, 1)]
        assert [stuck(each) for each in waits] == [False, True, True]

    @pytest.mark.parametrize(("channel", "status"), SETTLED)
    def test_never_where_nobody_waits(self, channel, status):
        assert not stuck(row((99 * DAY, status), channel=channel))

    def test_never_where_a_setting_switched_it_off(self):
        assert not stuck(row((99 * DAY, Status.PENDING)), stuck_after={})

    def test_a_pending_message_waits_for_nobody_before_its_deliverys_date(self):
        pending = row((2 * HOUR, Status.PENDING))
        dates = [ago(-DAY), ago(0.5 * HOUR), ago(HOUR), ago(3 * HOUR)]
        assert [stuck(pending, DM1=date) for date in dates] == [False, False, True, True]
        assert stuck(pending, DM2=ago(-DAY))

    def test_while_its_delivery_is_paused_a_message_that_nobody_took_waits_for_nobody(self):
        held = [row((2 * HOUR, Status.PENDING)), row((2 * HOUR, Status.PREPARED), channel=Channel.SMS)]
        assert not any(stuck(each, DM1=ENDLESS) for each in held)
        assert all(stuck(each, DM2=ENDLESS) for each in held)

    def test_a_hold_excuses_no_message_that_was_handed_over(self):
        assert stuck(row((9 * DAY, Status.TAKEN_INTO_ACCOUNT)), DM1=ago(-DAY))
        assert stuck(row((9 * DAY, Status.SENT_TO_PROVIDER), channel=Channel.SMS), DM1=ENDLESS)
        assert stuck(row((9 * DAY, Status.SENT), channel=Channel.SMS), DM1=ENDLESS)


class TestExpiry:
    @pytest.mark.parametrize("place", STUCK_AFTER)
    def test_nobody_removes_what_somebody_waits_for(self, place):
        channel, status = place
        assert not may_expire(row((99 * DAY, status), channel=channel), NOW)

    @pytest.mark.parametrize(("channel", "status"), SETTLED)
    def test_what_is_settled_goes_when_its_time_is_up(self, channel, status):
        settled = row((9 * DAY, status), channel=channel)
        assert [may_expire(settled, ago(days * DAY)) for days in (10, 9, 8)] == [False, True, True]

    def test_a_late_report_counts_although_it_changed_nothing(self):
        message = row((9 * DAY, Status.FAILED), (2 * DAY, Status.FAILED))
        assert not may_expire(message, ago(8 * DAY))
