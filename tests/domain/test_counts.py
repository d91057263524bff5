"""Counts: derived from rows, and what they sum to is the number of known messages, always."""

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.counts import STATUS_INDEX, Counts, DeliveryCounts, place_of
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import Node
from tests.examples import examples

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(200), suppress_health_check=list(HealthCheck)
)

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
DELIVERIES = ("", "DM1", "DM2")


def place(row):
    return None if row is None else place_of(row, row.names.provider)


class Messages:
    """Rows by message, and the counts that are kept of them, as a partition does."""

    def __init__(self):
        self.rows = {}
        #: By delivery: the places of messages that retention has removed.
        self.expired = {}
        self.counts = Counts()

    def fold(self, event):
        """Fold an event, and give the move that it makes."""
        before = self.rows.get(event.message_id)
        row, _ = fold(before, event, node_of(event))
        self.rows[event.message_id] = row
        return place(before), place(row)

    def absorb(self, event):
        return self.counts.move({self.fold(event): 1})

    def forget(self, message_id):
        """Forget a message whose row was removed by its tombstone."""
        self.counts.move({(place(self.rows.pop(message_id)), None): 1})

    def expire(self, message_id):
        here = place(self.rows.pop(message_id))
        self.counts.expire(here)
        self.expired.setdefault(here[0], []).append(here)


def sent(message_id, status, minute=0, channel=Channel.EMAIL, **fields):
    return Event(START + timedelta(minutes=minute), message_id, channel, Status(status), **fields)


def named(counts, delivery_id):
    """Give the counts of a delivery that are not zero, by name."""
    return {status.value: number for status, number in counts.by_status(delivery_id).items() if number}


def parts(counts):
    """Give all that is counted of a delivery."""
    return {name: getattr(counts, name) for name in DeliveryCounts.__slots__}


def everything(counts):
    """Give all that is counted; deliveries of which nothing is left are as good as none."""
    known = {delivery_id: parts(each) for delivery_id, each in counts.deliveries.items()}
    return counts.live, {delivery_id: each for delivery_id, each in known.items() if each != parts(DeliveryCounts())}


def categories(messages, delivery_id, *nodes):
    """Count the messages at some nodes by the category of their reason."""
    at = [row for row in messages.rows.values() if row.delivery == delivery_id and row.node in nodes]
    return dict(Counter((row.reason.category if row.reason else None) or "undefined" for row in at))


events = st.builds(
    Event,
    time=st.integers(0, 5).map(lambda minute: START + timedelta(minutes=minute)),
    message_id=st.sampled_from(["m-1", "m-2", "m-3", "m-4"]),
    channel=st.sampled_from(Channel),
    status=st.sampled_from(Status),
    delivery_id=st.sampled_from([None, None, "", "DM1", "DM2"]),
    provider=st.sampled_from([None, None, "kumomta", "infobip"]),
    reason=st.sampled_from(
        [None, Reason(Permanence.GAVE_UP), Reason(category=Category.USER_UNKNOWN), Reason(code="5.0.0")]
    ),
).filter(lambda event: node_of(event) is not None)
histories = st.lists(events, max_size=40)


class TestTheLaw:
    @property_of
    @given(histories)
    def test_counts_sum_to_the_known_messages_after_every_event(self, history):
        messages = Messages()
        for event in history:
            messages.absorb(event)
            assert messages.counts.conservation_error(len(messages.rows)) == 0

    @property_of
    @given(histories, st.sets(st.sampled_from(["m-1", "m-2", "m-3", "m-4"])))
    def test_it_holds_when_retention_removes_messages_and_they_turn_up_again(self, history, removed):
        messages = Messages()
        for number, event in enumerate(history):
            messages.absorb(event)
            if number % 5 == 4:
                for message_id in sorted(removed & messages.rows.keys()):
                    messages.expire(message_id)
            assert messages.counts.conservation_error(len(messages.rows)) == 0
        for delivery_id, counts in messages.counts.deliveries.items():
            live = sum(row.delivery == delivery_id for row in messages.rows.values())
            assert counts.expired == len(messages.expired.get(delivery_id, ()))
            assert counts.messages == live + counts.expired

    @property_of
    @given(histories)
    def test_nothing_is_left_when_every_message_is_forgotten(self, history):
        messages = Messages()
        for event in history:
            messages.absorb(event)
        for message_id in list(messages.rows):
            messages.forget(message_id)
        assert messages.counts.conservation_error(0) == 0
        assert everything(messages.counts) == everything(Counts())

    def test_it_says_by_how_many_messages_it_is_broken(self):
        messages = Messages()
        messages.absorb(sent("m-1", "sent"))
        messages.absorb(sent("m-2", "sent"))
        assert messages.counts.conservation_error(2) == 0
        # Both sums are off by one.
        assert messages.counts.conservation_error(1) == 2
        assert messages.counts.conservation_error(3) == 2


class TestMoves:
    @property_of
    @given(histories)
    def test_counts_are_what_counting_the_rows_gives(self, history):
        messages = Messages()
        for event in history:
            messages.absorb(event)
        rows, counts = messages.rows.values(), messages.counts
        by_channel = Counter((row.channel, row.status) for row in rows)
        for channel in Channel:
            assert counts.by_channel(channel) == {status: by_channel[channel, status] for status in Status}
        for delivery_id in DELIVERIES:
            of_delivery = [row for row in rows if row.delivery == delivery_id]
            statuses = Counter(row.status for row in of_delivery)
            assert counts.by_status(delivery_id) == {status: statuses[status] for status in Status}
            found = counts.delivery(delivery_id)
            assert found.messages == len(of_delivery)
            assert found.channels == {each: sum(row.channel is each for row in of_delivery) for each in Channel}
            assert found.failed == categories(messages, delivery_id, Node.FAILED, Node.FAILED_GAVE_UP)
            assert found.ignored == categories(messages, delivery_id, Node.IGNORED)
            providers = Counter(row.provider_name for row in of_delivery if row.provider_name is not None)
            assert found.providers == dict(providers)

    @property_of
    @given(histories)
    def test_maps_never_hold_zeroes(self, history):
        messages = Messages()
        for event in history:
            messages.absorb(event)
            for counts in messages.counts.deliveries.values():
                for numbers in (counts.failed, counts.ignored, counts.providers):
                    assert all(number > 0 for number in numbers.values())

    @property_of
    @given(histories, st.integers(1, 15))
    def test_moves_summed_over_a_chunk_count_as_moves_one_by_one(self, history, size):
        """A chunk knows of each row how it was before and how it is after, and nothing of what lies between."""
        one_by_one, at_once = Messages(), Messages()
        for start in range(0, len(history), size):
            chunk = history[start : start + size]
            touched = {event.message_id for event in chunk}
            before = {message_id: place(at_once.rows.get(message_id)) for message_id in touched}
            for event in chunk:
                one_by_one.absorb(event)
                at_once.fold(event)
            moves = Counter((before[message_id], place(at_once.rows[message_id])) for message_id in sorted(touched))
            at_once.counts.move(moves)
            assert everything(at_once.counts) == everything(one_by_one.counts)

    def test_many_messages_make_one_move(self):
        counts = Counts()
        here = ("DM1", Channel.EMAIL, Node.PENDING, None, None)
        there = ("DM1", Channel.EMAIL, Node.FAILED, "kumomta", Category.USER_UNKNOWN)
        assert counts.move({(None, here): 9}) == {"DM1"}
        assert counts.move({(here, there): 4}) == {"DM1"}
        assert named(counts, "DM1") == {"pending": 5, "failed": 4}
        assert (counts.delivery("DM1").failed, counts.delivery("DM1").providers) == (
            {"user_unknown": 4},
            {"kumomta": 4},
        )

    def test_a_move_says_whose_counts_changed(self):
        messages = Messages()
        assert messages.absorb(sent("m-1", "sent", 1, delivery_id="DM2")) == {"DM2"}
        assert messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1")) == {"DM1", "DM2"}
        assert messages.counts.move({}) == set()

    def test_a_message_is_counted_at_its_present_status(self):
        messages = Messages()
        messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
        messages.absorb(sent("m-2", "pending", 0, delivery_id="DM1"))
        messages.absorb(sent("m-1", "sent", 1))
        assert named(messages.counts, "DM1") == {"pending": 1, "sent": 1}

    def test_a_message_of_no_known_delivery_is_counted_under_the_empty_one_until_an_event_names_it(self):
        messages = Messages()
        messages.absorb(sent("m-1", "sent", 1))
        assert named(messages.counts, "") == {"sent": 1}
        messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
        assert named(messages.counts, "") == {}
        assert named(messages.counts, "DM1") == {"sent": 1}

    def test_a_message_moves_to_the_delivery_that_was_named_before(self):
        messages = Messages()
        messages.absorb(sent("m-1", "sent", 1, delivery_id="DM2"))
        messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
        assert named(messages.counts, "DM2") == {}
        assert named(messages.counts, "DM1") == {"sent": 1}

    def test_a_delivery_whose_last_message_has_left_stays_with_zeroes(self):
        """What was published must be corrected, not forgotten."""
        messages = Messages()
        messages.absorb(sent("m-1", "sent", 1, delivery_id="DM2"))
        messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
        assert "DM2" in messages.counts.deliveries
        assert messages.counts.by_status("DM2") == dict.fromkeys(Status, 0)

    def test_a_delivery_that_nobody_named_has_zeroes(self):
        counts = Counts()
        assert counts.by_status("DM9") == dict.fromkeys(Status, 0)
        assert "DM9" not in counts.deliveries

    def test_a_row_that_does_not_change_changes_no_count(self):
        messages = Messages()
        messages.absorb(sent("m-1", "sent", delivery_id="DM1"))
        messages.absorb(sent("m-1", "sent", delivery_id="DM1"))
        assert named(messages.counts, "DM1") == {"sent": 1}


class TestReasons:
    def test_failures_and_ignored_messages_are_counted_by_category(self):
        messages = Messages()
        messages.absorb(sent("m-1", "failed", reason=Reason(category=Category.USER_UNKNOWN)))
        messages.absorb(sent("m-2", "failed", reason=Reason(Permanence.GAVE_UP, Category.UNREACHABLE)))
        messages.absorb(sent("m-3", "ignored", reason=Reason(category=Category.DENYLISTED)))
        counts = messages.counts.delivery("")
        assert (counts.failed, counts.ignored) == ({"user_unknown": 1, "unreachable": 1}, {"denylisted": 1})

    @pytest.mark.parametrize("reason", [None, Reason(code="5.0.0")])
    def test_a_reason_without_a_category_is_counted_as_undefined(self, reason):
        messages = Messages()
        messages.absorb(sent("m-1", "failed", reason=reason))
        assert messages.counts.delivery("").failed == {"undefined": 1}

    def test_a_failure_whose_reason_is_given_later_changes_its_category(self):
        messages = Messages()
        messages.absorb(sent("m-1", "failed", 1))
        messages.absorb(sent("m-1", "failed", 2, reason=Reason(category=Category.MAILBOX_FULL)))
        assert messages.counts.delivery("").failed == {"mailbox_full": 1}

    def test_the_reason_of_an_attempt_is_not_counted(self):
        messages = Messages()
        messages.absorb(sent("m-1", "taken_into_account", reason=Reason(Permanence.TRANSIENT, Category.MAILBOX_FULL)))
        assert (messages.counts.delivery("").failed, messages.counts.delivery("").ignored) == ({}, {})

    def test_a_message_that_is_delivered_after_all_leaves_the_failures(self):
        messages = Messages()
        messages.absorb(sent("m-1", "failed", 1, reason=Reason(Permanence.GAVE_UP, Category.UNREACHABLE)))
        messages.absorb(sent("m-1", "sent", 2))
        assert messages.counts.delivery("").failed == {}

    def test_the_provider_goes_by_the_name_that_it_is_given(self):
        """Upstream may name anything, and counts may not grow with it."""
        row, _ = fold(None, sent("m-1", "sent", provider="whoever"), Node.SENT)
        counts = Counts()
        counts.move({(None, place_of(row, "other")): 1})
        assert counts.delivery("").providers == {"other": 1}


class TestTimes:
    def test_the_earliest_and_the_latest_are_kept(self):
        counts = DeliveryCounts()
        assert (counts.first, counts.last) == (None, None)
        assert [counts.see(*times) for times in [(5, 7), (5, 7), (6, 6), (4, 6), (5, 8)]] == [
            True, False, False, True, True
        ]  # fmt: skip
        assert (counts.first, counts.last) == (4, 8)

    def test_moments_before_1970_count_as_well(self):
        counts = DeliveryCounts()
        assert counts.see(0, 0)
        assert counts.see(-3, -3)
        assert (counts.first, counts.last) == (-3, 0)


class TestRetention:
    def test_a_delivery_goes_on_counting_what_retention_removes(self):
        messages = Messages()
        failed = Reason(category=Category.USER_UNKNOWN)
        messages.absorb(sent("m-1", "failed", delivery_id="DM1", provider="kumomta", reason=failed))
        messages.absorb(sent("m-2", "sent", delivery_id="DM1"))
        before = parts(messages.counts.delivery("DM1"))
        messages.expire("m-1")
        counts = messages.counts.delivery("DM1")
        assert {**parts(counts), "live": None} == {**before, "live": None}
        assert (counts.messages, counts.expired) == (2, 1)

    def test_it_is_out_of_the_rows_that_there_are(self):
        messages = Messages()
        messages.absorb(sent("m-1", "failed", delivery_id="DM1"))
        messages.absorb(sent("m-2", "sent", delivery_id="DM1"))
        messages.expire("m-1")
        assert messages.counts.by_channel(Channel.EMAIL)[Status.FAILED] == 0
        assert sum(messages.counts.delivery("DM1").live[Channel.EMAIL]) == 1
        assert messages.counts.conservation_error(1) == 0


class TestRestore:
    def counted(self, *history):
        messages = Messages()
        for event in history:
            messages.absorb(event)
        return messages.counts

    def test_what_was_published_takes_the_place_of_what_was_known(self):
        known = self.counted(sent("m-1", "sent", delivery_id="DM1"), sent("m-2", "sent", delivery_id="DM2"))
        published = self.counted(
            sent("m-1", "failed", delivery_id="DM1", reason=Reason(category=Category.REFUSED)),
            sent("m-3", "sent", channel=Channel.SMS, delivery_id="DM1"),
        )
        known.restore("DM1", published.delivery("DM1"))
        assert parts(known.delivery("DM1")) == parts(published.delivery("DM1"))
        assert named(known, "DM2") == {"sent": 1}
        assert {each.value: number for each, number in known.by_channel(Channel.EMAIL).items() if number} == {
            "sent": 1, "failed": 1
        }  # fmt: skip
        assert known.conservation_error(3) == 0

    @property_of
    @given(histories)
    def test_counts_that_are_restored_one_delivery_after_another_are_the_same(self, history):
        counts, again = self.counted(*history), Counts()
        for delivery_id, each in counts.deliveries.items():
            again.restore(delivery_id, each)
            again.restore(delivery_id, each)
        assert everything(again) == everything(counts)

    def test_messages_that_retention_has_removed_are_not_among_the_rows(self):
        messages = Messages()
        messages.absorb(sent("m-1", "sent", delivery_id="DM1"))
        messages.absorb(sent("m-2", "sent", delivery_id="DM1"))
        messages.expire("m-1")
        again = Counts()
        again.restore("DM1", messages.counts.delivery("DM1"))
        assert (again.delivery("DM1").messages, again.delivery("DM1").expired) == (2, 1)
        assert again.conservation_error(1) == 0


def test_every_status_has_its_place():
    assert sorted(STATUS_INDEX.values()) == list(range(len(Status)))
