"""Counts: derived from rows, and what they sum to is the number of known messages, always."""

from collections import Counter
from datetime import datetime, timedelta, timezone

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.counts import STATUS_INDEX, Counts
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status

property_of = settings(derandomize=True, deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)


class Messages:
    """Rows by message, and the counts that are kept of them, as a partition does."""

    def __init__(self):
        self.rows = {}
        self.counts = Counts()

    def absorb(self, event):
        before = self.rows.get(event.message_id)
        self.rows[event.message_id], _ = fold(before, event, node_of(event))
        self.counts.move(before, self.rows[event.message_id])

    def forget(self, message_id):
        self.counts.move(self.rows.pop(message_id), None)


def sent(message_id, status, minute=0, **fields):
    return Event(START + timedelta(minutes=minute), message_id, Channel.EMAIL, Status(status), **fields)


def named(counts, delivery_id):
    """Give the counts of a delivery that are not zero, by name."""
    return {status.value: number for status, number in counts.by_status(delivery_id).items() if number}


events = st.builds(
    Event,
    time=st.integers(0, 5).map(lambda minute: START + timedelta(minutes=minute)),
    message_id=st.sampled_from(["m-1", "m-2", "m-3", "m-4"]),
    channel=st.sampled_from(Channel),
    status=st.sampled_from(Status),
    delivery_id=st.sampled_from([None, None, "", "DM1", "DM2"]),
    reason=st.sampled_from([None, Reason(Permanence.GAVE_UP)]),
).filter(lambda event: node_of(event) is not None)


@property_of
@given(st.lists(events, max_size=40))
def test_counts_sum_to_the_known_messages_after_every_event(history):
    messages = Messages()
    for event in history:
        messages.absorb(event)
        assert messages.counts.conservation_error(len(messages.rows)) == 0


@property_of
@given(st.lists(events, max_size=40))
def test_counts_are_what_counting_the_rows_gives(history):
    messages = Messages()
    for event in history:
        messages.absorb(event)
    counted = Counter((row.delivery, row.status) for row in messages.rows.values())
    by_channel = Counter((row.channel, row.status) for row in messages.rows.values())
    counts = messages.counts
    for delivery in ("", "DM1", "DM2"):
        assert counts.by_status(delivery) == {status: counted[delivery, status] for status in Status}
    for channel in Channel:
        assert list(counts.channels[channel]) == [by_channel[channel, status] for status in Status]


@property_of
@given(st.lists(events, max_size=20))
def test_nothing_is_left_when_every_message_is_forgotten(history):
    messages = Messages()
    for event in history:
        messages.absorb(event)
    for message_id in list(messages.rows):
        messages.forget(message_id)
    assert messages.counts.conservation_error(0) == 0
    assert not any(any(messages.counts.by_status(delivery).values()) for delivery in ("", "DM1", "DM2"))


def test_a_message_is_counted_at_its_present_status():
    messages = Messages()
    messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
    messages.absorb(sent("m-2", "pending", 0, delivery_id="DM1"))
    messages.absorb(sent("m-1", "sent", 1))
    assert named(messages.counts, "DM1") == {"pending": 1, "sent": 1}


def test_a_message_of_no_known_delivery_is_counted_under_the_empty_one_until_an_event_names_it():
    messages = Messages()
    messages.absorb(sent("m-1", "sent", 1))
    assert named(messages.counts, "") == {"sent": 1}
    messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
    assert named(messages.counts, "") == {}
    assert named(messages.counts, "DM1") == {"sent": 1}


def test_a_message_moves_to_the_delivery_that_was_named_before():
    messages = Messages()
    messages.absorb(sent("m-1", "sent", 1, delivery_id="DM2"))
    messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
    assert named(messages.counts, "DM2") == {}
    assert named(messages.counts, "DM1") == {"sent": 1}


def test_a_delivery_whose_last_message_has_left_stays_with_zeroes():
    """What was published must be corrected, not forgotten."""
    messages = Messages()
    messages.absorb(sent("m-1", "sent", 1, delivery_id="DM2"))
    messages.absorb(sent("m-1", "pending", 0, delivery_id="DM1"))
    assert "DM2" in messages.counts.deliveries
    assert messages.counts.by_status("DM2") == dict.fromkeys(Status, 0)


def test_a_delivery_that_nobody_named_has_zeroes():
    counts = Counts()
    assert counts.by_status("DM9") == dict.fromkeys(Status, 0)
    assert "DM9" not in counts.deliveries


def test_a_row_that_does_not_change_changes_no_count():
    messages = Messages()
    messages.absorb(sent("m-1", "sent", delivery_id="DM1"))
    messages.absorb(sent("m-1", "sent", delivery_id="DM1"))
    assert named(messages.counts, "DM1") == {"sent": 1}


def test_the_law_says_by_how_many_messages_it_is_broken():
    messages = Messages()
    messages.absorb(sent("m-1", "sent"))
    messages.absorb(sent("m-2", "sent"))
    assert messages.counts.conservation_error(2) == 0
    # Both sums are off by one.
    assert messages.counts.conservation_error(1) == 2
    assert messages.counts.conservation_error(3) == 2


def test_every_status_has_its_place():
    assert sorted(STATUS_INDEX.values()) == list(range(len(Status)))
