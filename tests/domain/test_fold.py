"""The fold: arrival order never matters.

Three witnesses: a second, naive reading of the contract (conftest.py), which shares no code with the fold; every
arrival order of every small set of reports; and long random histories, with duplicates, ties of time, several
attempts and reports of the wrong channel.
"""

from datetime import datetime, timedelta, timezone
from itertools import product
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.event import Event, node_of
from processor.domain.fold import Verdict, fold, resolve
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category, Reason
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_OF_REPORT, Node
from tests.examples import examples

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
#: The fields of an event that name something, once and for all.
CLAIMED = ("delivery_id", "recipient", "provider", "provider_message_id")
CHANNELS = pytest.mark.parametrize("channel", list(Channel))

# The same examples in every run, and no opinion on how fast the machine is.
property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(400), suppress_health_check=list(HealthCheck)
)


def report(channel, name, minute, attempt=1, **fields):
    """Give an event that reports a node, by its name in the contract, some minutes after the start."""
    permanence = {"failed": Permanence.PERMANENT, "failed_gave_up": Permanence.GAVE_UP}.get(name)
    status = Status.FAILED if permanence else Status(name)
    if permanence:
        fields.setdefault("reason", Reason(permanence=permanence))
    time = START + timedelta(minutes=minute)
    return Event(time, "m-1", Channel(channel), status, attempt=attempt, **fields)


def email(name, minute, attempt=1, **fields):
    return report("email", name, minute, attempt, **fields)


def sms(name, minute, attempt=1, **fields):
    return report("sms", name, minute, attempt, **fields)


def absorb(row, event):
    node = node_of(event)
    assert node is not None
    return fold(row, event, node)


def fold_all(arrivals):
    """Fold events in the order given; the last verdict goes with the row."""
    row = verdict = None
    for event in arrivals:
        row, verdict = absorb(row, event)
    return row, verdict


def row_of(*events):
    return fold_all(events)[0]


def assert_stands_where_the_full_walk_ends(row):
    walk = resolve(row.channel, row.observations, row.parts)
    assert (row.node, row.since, row.attempt, row.rejected) == (walk.node, walk.since, walk.attempt, walk.rejected)


def assert_is_duplicate(row, event):
    again, verdict = absorb(row, event)
    assert again is row
    assert verdict is Verdict.DUPLICATE


# Every arrival order of every small set of reports


#: In how many ways one, two, three or four reports can be earlier, equal and later.
TIME_PATTERNS = (1, 3, 13, 75)


class Told(NamedTuple):
    """A set of reports: one of its arrival orders, the row that this gave, and how many orders there are."""

    events: tuple[Event, ...] = ()
    row: Row | None = None
    orders: int = 1
    #: A bit for each time at which there is a report.
    times: int = 0


def gaps(times):
    """Give at how many times before the last one there is no report."""
    return times.bit_length() - times.bit_count()


def fold_in_every_order(contract, reports, length):
    """Fold every set of up to so many reports in every arrival order, and compare with the row of the contract.

    The sets are built one report at a time. All orders of a set having given one row, and the fold seeing nothing else
    of them, it suffices to add the next report to that row: each set is compared once for each report that can come
    last in it. (That is why rows must be alike in their `repr` too: equal numbers of unlike types could part later.)

    Args:
        contract: what gives the row that is due.
        reports: all reports that there can be.
        length: the number of reports in the largest sets, repetitions counted.

    Returns:
        All sets whose times leave no gap.
    """
    moments = sorted({event.time for event in reports})
    # A set with repetitions is a number: three bits for how often each report is in it.
    members = [
        (event, node_of(event), 1 << (3 * index), 1 << moments.index(event.time)) for index, event in enumerate(reports)
    ]
    largest, complete = {0: Told()}, []
    for size in range(1, length + 1):
        grown: dict[int, Told] = {}
        for smaller, told in largest.items():
            for event, node, member, moment in members:
                times = told.times | moment
                if gaps(times) > length - size:
                    continue
                row, _ = fold(told.row, event, node)
                known = grown.get(smaller + member)
                if known is None:
                    known = Told((*told.events, event), contract.row((*told.events, event)), 0, times)
                if row != known.row or (size < length and repr(row) != repr(known.row)):
                    pytest.fail(f"{(*told.events, event)} gives {row}; other orders and the contract {known.row}")
                grown[smaller + member] = known._replace(row=row, orders=known.orders + told.orders)
        complete += [told for told in grown.values() if not gaps(told.times)]
        largest = grown
    return complete


def number_of_orders(reports_at_once, length):
    return sum(patterns * reports_at_once**size for size, patterns in enumerate(TIME_PATTERNS[:length], 1))


@pytest.mark.slow
@CHANNELS
def test_every_arrival_order_of_up_to_four_reports_gives_one_row(contract, channel):
    names = contract.tables[channel.value]
    reports = [report(channel, name, minute) for minute in range(4) for name in names]
    sets = fold_in_every_order(contract, reports, 4)
    assert sum(told.orders for told in sets) == number_of_orders(len(names), 4)


@pytest.mark.slow
@CHANNELS
def test_every_arrival_order_of_up_to_three_reports_of_two_attempts_gives_one_row(contract, channel):
    names = contract.tables[channel.value]
    reports = [
        report(channel, name, minute, attempt, delivery_id=f"D-{name}", recipient=f"r{attempt}{minute}")
        for minute in range(3)
        for name in names
        for attempt in (1, 2)
    ]
    sets = fold_in_every_order(contract, reports, 3)
    assert sum(told.orders for told in sets) == number_of_orders(2 * len(names), 3)
    for told in sets:
        assert_stands_where_the_full_walk_ends(told.row)
        for event in told.events:
            assert_is_duplicate(told.row, event)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "attempts"), [(3, (1,)), (2, (1, 2))])
def test_every_arrival_order_of_a_few_reports_of_mixed_channels_gives_one_row(contract, length, attempts):
    """One message has one channel; where providers disagree, the one named first is right."""
    kinds = [(*kind, attempt) for kind in names_by_channel(contract) for attempt in attempts]
    reports = [report(channel, name, minute, attempt) for minute in range(length) for channel, name, attempt in kinds]
    sets = fold_in_every_order(contract, reports, length)
    assert sum(told.orders for told in sets) == number_of_orders(len(kinds), length)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "told"), [(3, [(1, 2), (2, 2), (None, None)]), (2, [(1, None), (2, 3), (None, 3)])])
def test_every_arrival_order_of_a_few_reports_of_parts_gives_one_row(contract, length, told):
    """What is said of a part, of the whole, and of how many parts there are."""
    names = contract.tables["sms"]
    reports = [
        report("sms", name, minute, attempt, part=part, parts=parts)
        for minute in range(length)
        for name in names
        for attempt in ((1,) if length == 3 else (1, 2))
        for part, parts in told
    ]
    kinds = len(reports) // length
    sets = fold_in_every_order(contract, reports, length)
    assert sum(told.orders for told in sets) == number_of_orders(kinds, length)
    for told in sets:
        assert_stands_where_the_full_walk_ends(told.row)
        assert told.row.reason == contract.shown_reason(told.row)
        for event in told.events:
            assert_is_duplicate(told.row, event)


def names_by_channel(contract):
    return [(channel, name) for channel, table in contract.tables.items() for name in table]


# Long random histories

#: What exists: (channel, status, permanence) of every report that keeps the contract.
KINDS = {channel: [kind for kind in NODE_OF_REPORT if kind[0] is channel] for channel in Channel}

REASONS = [
    Reason(category=category, code=code, text=text)
    for category in (None, Category.MAILBOX_FULL, Category.REFUSED)
    for code in (None, "4.2.2", "5.7.1")
    for text in (None, "", "mailbox full", "refused")
]

NAMES = [dict(zip(CLAIMED, values, strict=True)) for values in product((None, "", "a", "b"), repeat=len(CLAIMED))]


#: (part, parts) of most reports, and of reports on parts.
PARTS = [(None, None)] * 6 + [(None, 3), (1, None), (1, 2), (2, 3), (2, None), (3, 3)]


def event_of(kind, time, attempt, names, reason, parts):
    channel, status, permanence = kind
    part, total = parts if channel is Channel.SMS else (None, None)
    if permanence is not None or reason is not None:
        reason = msgspec.structs.replace(reason or Reason(), permanence=permanence)
    return Event(time, "m-1", channel, status, attempt=attempt, reason=reason, part=part, parts=total, **names)


def events(channel, times, names):
    """Give events of one message, which now and then somebody takes for one of the other channel."""
    everything = [*KINDS[channel] * 9, *KINDS[Channel.EMAIL], *KINDS[Channel.SMS]]
    return st.builds(
        event_of,
        st.sampled_from(everything),
        times,
        st.sampled_from([1, 1, 1, 2, 3, 99]),
        names,
        st.sampled_from([None, *REASONS]),
        st.sampled_from(PARTS),
    )


few_times = st.integers(0, 6).map(lambda minute: START + timedelta(minutes=minute))
histories = st.sampled_from(list(Channel)).flatmap(
    lambda channel: st.lists(events(channel, few_times, st.sampled_from(NAMES)), min_size=1, max_size=30)
)
shuffles = st.randoms(use_true_random=False)


@property_of
@given(histories, shuffles)
def test_any_order_with_any_duplicates_gives_the_row_of_the_contract(contract, history, random):
    expected = contract.row(history)
    for _ in range(3):
        arrivals = history + random.choices(history, k=random.randint(0, 10))
        random.shuffle(arrivals)
        assert row_of(*arrivals) == expected


@property_of
@given(histories)
def test_one_step_leads_where_the_full_walk_leads(history):
    in_order_of_time = sorted(history, key=lambda event: (event.attempt, event.time, node_of(event)))
    for arrivals in (history, in_order_of_time):
        row = None
        for event in arrivals:
            row, _ = absorb(row, event)
            assert_stands_where_the_full_walk_ends(row)


@property_of
@given(histories)
def test_the_reason_that_is_shown_is_that_of_the_contract(contract, history):
    row = row_of(*history)
    assert row.reason == contract.shown_reason(row)


@property_of
@given(histories)
def test_whatever_was_absorbed_is_a_duplicate_when_it_comes_again(history):
    row = row_of(*history)
    for event in history:
        assert_is_duplicate(row, event)


@property_of
@given(histories)
def test_the_verdict_says_what_became_of_the_row(history):
    row, verdict = absorb(None, history[0])
    assert verdict is Verdict.APPLIED
    for event in history[1:]:
        before = row
        row, verdict = absorb(before, event)
        point = event.attempt, to_microseconds(event.time), node_of(event)
        is_newest = all((at.attempt, at.last, at.node) < point for at in before.observations)
        if verdict is Verdict.DUPLICATE:
            assert row is before
        elif verdict in {Verdict.APPLIED, Verdict.CORRECTED}:
            assert row.node is not before.node
            assert is_newest is (verdict is Verdict.APPLIED)
        else:
            assert row.node is before.node
            assert row != before
        if verdict is Verdict.REJECTED:
            assert node_of(event) in row.rejected


any_names = st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMED, st.text()))
any_time = st.datetimes(timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))))


@property_of
@given(
    st.sampled_from(list(Channel)).flatmap(lambda channel: st.lists(events(channel, any_time, any_names), max_size=10))
)
def test_no_valid_event_makes_the_fold_raise(contract, history):
    row = None
    for number, event in enumerate(history, 1):
        row, _ = absorb(row, event)
        assert row == contract.row(history[:number])


# The five verdicts


def test_the_first_report_of_a_message_is_applied():
    row, verdict = fold_all([email("pending", 0)])
    assert (row.status, verdict) == (Status.PENDING, Verdict.APPLIED)


def test_the_next_step_is_applied():
    row, verdict = fold_all([email("pending", 0), email("taken_into_account", 1), email("sent", 2)])
    assert (row.status, row.since, verdict) == (
        Status.SENT,
        to_microseconds(START + timedelta(minutes=2)),
        Verdict.APPLIED,
    )


def test_steps_that_nobody_reported_may_be_skipped():
    row, verdict = fold_all([sms("pending", 0), sms("received_on_mobile", 1)])
    assert (row.status, verdict) == (Status.RECEIVED_ON_MOBILE, Verdict.APPLIED)


def test_a_bounce_after_acceptance_is_applied():
    row, verdict = fold_all([email("sent", 0), email("failed", 5)])
    assert (row.status, row.permanence, verdict) == (Status.FAILED, Permanence.PERMANENT, Verdict.APPLIED)


def test_a_cancel_that_came_too_late_gives_way_to_sent():
    row, verdict = fold_all([email("pending", 0), email("canceled", 1), email("sent", 2)])
    assert (row.status, row.rejected, verdict) == (Status.SENT, (), Verdict.APPLIED)


def test_late_truth_corrects_a_failure_that_was_given_up():
    row, verdict = fold_all([sms("failed_gave_up", 0), sms("received_on_mobile", 60)])
    assert (row.status, row.permanence, verdict) == (Status.RECEIVED_ON_MOBILE, None, Verdict.APPLIED)


def test_a_soft_bounce_changes_the_reason_and_not_the_status():
    full = Reason(permanence=Permanence.TRANSIENT, category=Category.MAILBOX_FULL)
    row, verdict = fold_all([email("taken_into_account", 0), email("taken_into_account", 1, reason=full)])
    assert (row.status, row.reason, verdict) == (Status.TAKEN_INTO_ACCOUNT, full, Verdict.LATE)
    assert row.since == to_microseconds(START)


def test_the_reason_of_a_step_that_has_been_left_is_kept_and_no_longer_shown():
    full = Reason(permanence=Permanence.TRANSIENT, category=Category.MAILBOX_FULL)
    row = row_of(email("taken_into_account", 0, reason=full), email("sent", 1))
    assert row.reason is None
    assert [given.reason for given in row.reasons] == [full]


def test_sent_is_late_once_the_handset_has_acknowledged_whatever_its_clock_says():
    for minute in (0, 2):
        row, verdict = fold_all([sms("received_on_mobile", 1), sms("sent", minute)])
        assert (row.status, row.rejected, verdict) == (Status.RECEIVED_ON_MOBILE, (), Verdict.LATE)


def test_a_message_cannot_be_both_ignored_and_sent():
    row, verdict = fold_all([email("ignored", 0), email("sent", 1)])
    assert (row.status, row.rejected, verdict) == (Status.IGNORED, (Node.SENT,), Verdict.REJECTED)


def test_what_was_rejected_is_a_duplicate_when_it_comes_again():
    row, _ = fold_all([email("ignored", 0), email("sent", 1)])
    assert_is_duplicate(row, email("sent", 1))


def test_what_was_rejected_does_not_block_what_may_follow():
    row, verdict = fold_all([email("canceled", 0), email("ignored", 1), email("sent", 2)])
    assert (row.status, row.rejected, verdict) == (Status.SENT, (Node.IGNORED,), Verdict.APPLIED)


def test_an_older_report_can_be_rejected_at_its_place():
    row, verdict = fold_all([email("canceled", 0), email("sent", 2), email("ignored", 1)])
    assert (row.status, row.rejected, verdict) == (Status.SENT, (Node.IGNORED,), Verdict.REJECTED)


def test_older_history_can_correct_the_status():
    row, verdict = fold_all([email("sent", 1), email("ignored", 0)])
    assert (row.status, row.rejected, verdict) == (Status.IGNORED, (Node.SENT,), Verdict.CORRECTED)


def test_older_history_that_changes_nothing_is_late():
    row, verdict = fold_all([email("sent", 1), email("pending", 0)])
    assert (row.status, verdict) == (Status.SENT, Verdict.LATE)
    assert len(row.observations) == 2


def test_a_redelivery_is_a_duplicate_and_gives_the_very_same_row_back():
    row = row_of(email("pending", 0), email("sent", 1, delivery_id="DM1"))
    assert_is_duplicate(row, email("sent", 1, delivery_id="DM1"))


def test_a_report_between_the_first_and_the_last_of_its_kind_says_nothing_new():
    row = row_of(email("sent", 0), email("sent", 9))
    assert_is_duplicate(row, email("sent", 5))


def test_a_known_report_that_names_the_delivery_is_late():
    row, verdict = fold_all([email("sent", 0), email("sent", 0, delivery_id="DM1")])
    assert (row.delivery, verdict) == ("DM1", Verdict.LATE)


# Attempts, ties and names


def test_a_new_attempt_reopens_a_failure_that_was_given_up():
    row, verdict = fold_all([sms("failed_gave_up", 0), sms("sent_to_provider", 1, attempt=2)])
    assert (row.status, row.attempt, verdict) == (Status.SENT_TO_PROVIDER, 2, Verdict.APPLIED)


def test_the_attempt_follows_the_walk():
    row, verdict = fold_all([email("sent", 0), email("sent", 1, attempt=2)])
    assert (row.status, row.since, row.attempt, verdict) == (
        Status.SENT,
        to_microseconds(START),
        2,
        Verdict.LATE,
    )
    # So a give-up of the first attempt, which comes in late, is before what the second said.
    assert row_of(email("failed_gave_up", 0), email("failed_gave_up", 1, attempt=2)).attempt == 2


def test_the_same_attempt_does_not_reopen_it():
    row, verdict = fold_all([sms("failed_gave_up", 0), sms("sent_to_provider", 1)])
    assert (row.status, verdict) == (Status.FAILED, Verdict.LATE)


def test_a_permanent_failure_is_not_reopened():
    row, _ = fold_all([sms("failed", 0), sms("sent", 1, attempt=2)])
    assert row.permanence is Permanence.PERMANENT


def test_an_attempt_comes_after_the_ones_before_it_whatever_the_clocks_say():
    row = row_of(sms("sent", 0, attempt=2), sms("failed_gave_up", 5, attempt=1))
    assert (row.status, row.attempt) == (Status.SENT, 2)


def test_a_tie_of_time_is_broken_by_rank():
    assert row_of(email("sent", 0), email("canceled", 0)).status is Status.SENT
    assert row_of(email("ignored", 0), email("canceled", 0)).status is Status.CANCELED


def test_the_delivery_that_was_named_first_stays():
    row = row_of(email("sent", 1, delivery_id="DM2"), email("pending", 0, delivery_id="DM1"))
    assert row.delivery == "DM1"
    assert row_of(email("sent", 0, delivery_id="DM2"), email("pending", 0, delivery_id="DM1")).delivery == "DM1"


def test_a_poorer_repetition_does_not_erase_why_it_failed():
    known = Reason(Permanence.PERMANENT, Category.USER_UNKNOWN, provider_code="30005")
    for poorer in (None, Reason(Permanence.PERMANENT, Category.UNDEFINED), Reason(Permanence.PERMANENT, text="failed")):
        assert row_of(sms("failed", 0, reason=known), sms("failed", 1, reason=poorer)).reason == known
    richer = Reason(Permanence.PERMANENT, Category.REFUSED, "5.7.1")
    assert row_of(sms("failed", 1, reason=known), sms("failed", 0, reason=richer)).reason == known


def test_why_it_is_still_tried_is_seen_while_the_status_is_not_final():
    why = Reason(Permanence.TRANSIENT, Category.NOT_CONNECTED)
    row = row_of(sms("sent", 0), sms("taken_into_account", 1, reason=why))
    assert (row.status, row.reason) == (Status.SENT, why)
    assert row_of(sms("sent", 1), sms("taken_into_account", 0, reason=why)).reason is None
    assert row_of(sms("sent", 0), sms("taken_into_account", 1, reason=why), sms("received_on_mobile", 2)).reason is None


# Parts


def part(name, minute, number, parts=3, **fields):
    return sms(name, minute, part=number, parts=parts, **fields)


def test_a_message_is_received_when_all_of_its_parts_are():
    row = row_of(part("received_on_mobile", 1, 1), part("received_on_mobile", 3, 2))
    assert (row.status, row.since) == (Status.TAKEN_INTO_ACCOUNT, to_microseconds(START + timedelta(minutes=1)))
    row, verdict = absorb(row, part("received_on_mobile", 2, 3))
    assert (row.status, row.since) == (Status.RECEIVED_ON_MOBILE, to_microseconds(START + timedelta(minutes=3)))
    assert verdict is Verdict.CORRECTED  # not the latest of all


def test_a_message_of_which_one_part_failed_has_failed_whatever_came_first():
    events = [part("received_on_mobile", 1, 1), part("failed", 2, 2), part("received_on_mobile", 3, 3)]
    for arrivals in (events, events[::-1]):
        row = row_of(*arrivals)
        assert (row.permanence, row.since) == (Permanence.PERMANENT, to_microseconds(START + timedelta(minutes=2)))


def test_a_part_that_nobody_spoke_of_stands_where_the_whole_does():
    row = row_of(sms("sent", 0), part("received_on_mobile", 1, 1, parts=2))
    assert row.status is Status.SENT
    assert row_of(sms("sent", 0), sms("received_on_mobile", 1, part=1)).status is Status.RECEIVED_ON_MOBILE


def test_a_contradiction_of_one_part_is_kept():
    row, verdict = fold_all([part("ignored", 0, 1, parts=1), part("sent", 1, 1, parts=1)])
    assert (row.status, row.rejected, verdict) == (Status.IGNORED, (Node.SENT,), Verdict.REJECTED)


def test_the_reason_that_was_given_last_counts():
    early, late = (Reason(Permanence.PERMANENT, text=text) for text in ("no such user", "blocked"))
    assert row_of(email("failed", 1, reason=late), email("failed", 0, reason=early)).reason == late


def test_a_message_has_the_channel_that_was_named_first():
    row = row_of(sms("received_on_mobile", 1), email("sent", 0))
    assert (row.channel, row.status, row.rejected) == (Channel.EMAIL, Status.SENT, (Node.RECEIVED_ON_MOBILE,))


def test_a_new_attempt_does_not_take_a_message_to_what_its_channel_lacks():
    row, verdict = fold_all([email("failed_gave_up", 0), sms("prepared", 1, attempt=2)])
    assert (row.permanence, row.rejected, verdict) == (Permanence.GAVE_UP, (Node.PREPARED,), Verdict.REJECTED)
