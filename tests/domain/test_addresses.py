"""The condition of addresses: each rule by an example, and that neither order nor repetition of sightings matters."""

from itertools import combinations, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.addresses import (
    COUNTED,
    MAX_REASONS,
    NOTHING,
    Kind,
    Sighting,
    State,
    condition_of,
    join,
    kind_of_report,
    may_be_forgotten,
    window_of,
    without,
)
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence
from processor.domain.transitions import Node
from tests.examples import examples

HOUR = 3_600 * 1_000_000
DAY = 24 * HOUR
START = 1_790_000_000_000_000 // HOUR * HOUR

property_of = settings(derandomize=True, deadline=None, max_examples=examples(400))


def at(days):
    return START + round(days * DAY)


def seen(kind, days, category=Category.UNREACHABLE):
    if kind not in {Kind.SOFT, Kind.HARD}:
        return Sighting(at(days), kind)
    return Sighting(at(days), kind, category, "", "example.com")


def soft(*days, category=Category.UNREACHABLE):
    return [seen(Kind.SOFT, day, category) for day in days]


def address_of(sightings, windows=()):
    address = NOTHING
    for sighting in sightings:
        address = join(address, sighting, windows)
    return address


def state(sightings, days):
    return condition_of(address_of(sightings), at(days)).state


# What a report says


def test_every_category_has_a_row():
    assert set(COUNTED) == set(Category)


@pytest.mark.parametrize(
    ("node", "category", "permanence", "kind"),
    [
        (Node.FAILED, "user_unknown", "permanent", Kind.HARD),
        (Node.FAILED, "account_disabled", None, Kind.HARD),
        (Node.FAILED_GAVE_UP, "user_unknown", "gave_up", Kind.SOFT),
        (Node.TAKEN_INTO_ACCOUNT, "mailbox_full", "transient", Kind.SOFT),
        (Node.FAILED, "unreachable", "permanent", Kind.SOFT),
        (Node.FAILED, "refused", "permanent", None),
        (Node.FAILED_GAVE_UP, "refused", "gave_up", None),
        (Node.FAILED, "undefined", "permanent", None),
        (Node.IGNORED, "quarantined", None, None),
        (Node.TAKEN_INTO_ACCOUNT, "user_unknown", None, None),
        (Node.SENT, None, None, Kind.SUCCESS),
    ],
)
def test_a_report_says_of_its_address_what_its_reason_is_about(node, category, permanence, kind):
    reason = None
    if category is not None:
        reason = Reason(None if permanence is None else Permanence(permanence), Category(category))
    assert kind_of_report(Channel.EMAIL, node, reason) is kind


def test_a_failure_without_a_reason_counts_for_nothing():
    assert kind_of_report(Channel.EMAIL, Node.FAILED, None) is None


def test_a_text_message_has_reached_its_number_when_the_handset_says_so():
    assert kind_of_report(Channel.SMS, Node.SENT, None) is None
    assert kind_of_report(Channel.SMS, Node.RECEIVED_ON_MOBILE, None) is Kind.SUCCESS


# What it comes to


def test_an_address_of_which_nothing_is_known_is_valid():
    assert condition_of(NOTHING, at(0)) == (State.VALID, None, None, ())


def test_a_hard_error_quarantines_at_once():
    found = condition_of(address_of([seen(Kind.HARD, 1, Category.USER_UNKNOWN)]), at(1))
    assert (found.state, found.since, found.until) == (State.QUARANTINED, at(1), None)
    assert [(error.time, error.category) for error in found.reasons] == [(at(1), Category.USER_UNKNOWN)]


def test_a_hard_error_never_ends_by_itself():
    assert state([seen(Kind.HARD, 1, Category.MAILBOX_FULL)], 10_000) is State.QUARANTINED


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ((0, 1, 2, 3), State.WITH_ERRORS),
        ((0, 1, 2, 3, 4), State.QUARANTINED),
        ((0, 2.5, 5, 7.5, 10), State.QUARANTINED),
        ((0, 2.5, 5, 7.5, 10.1), State.WITH_ERRORS),
        ((0, 1, 2, 3, 3.9), State.WITH_ERRORS),
        ((0, 0.5, 1, 1.5, 2, 2.5, 3), State.WITH_ERRORS),
        # What counts first is not always the first: the day begins anew with each.
        ((0, 0.9, 1.9, 2.9, 3.9, 4.9), State.QUARANTINED),
        ((0, 6, 7, 8, 9, 10.5), State.QUARANTINED),
    ],
)
def test_five_soft_errors_a_day_apart_within_ten_days_quarantine(days, expected):
    assert state(soft(*days), max(days)) is expected


def test_a_quarantine_is_proven_by_five_errors_a_day_apart():
    found = condition_of(address_of(soft(0, 0.5, 1, 2, 2.5, 3, 4)), at(4))
    assert [error.time for error in found.reasons] == [at(day) for day in (0, 1, 2, 3, 4)]
    assert found.since == at(4)


def test_soft_errors_are_forgiven_ten_days_after_the_last():
    assert state(soft(0, 1), 10.9) is State.WITH_ERRORS
    assert state(soft(0, 1), 11) is State.VALID


def test_a_quarantine_by_soft_errors_does_not_end_by_itself():
    assert state(soft(0, 1, 2, 3, 4), 10_000) is State.QUARANTINED


def test_a_full_mailbox_is_released_after_thirty_days():
    full = soft(0, 1, 2, 3, 4, category=Category.MAILBOX_FULL)
    assert condition_of(address_of(full), at(4)).until == at(34)
    assert state(full, 33.9) is State.QUARANTINED
    assert state(full, 34) is State.VALID


def test_a_full_mailbox_counts_from_the_start_after_its_release():
    full = soft(0, 1, 2, 3, 4, 34, category=Category.MAILBOX_FULL)
    assert state(full, 34) is State.WITH_ERRORS
    assert state(full + soft(35, 36, 37, 38), 38) is State.QUARANTINED


@pytest.mark.parametrize("kind", [Kind.SUCCESS, Kind.RELEASE])
def test_a_success_or_a_release_clears_what_was_before_it(kind):
    errors = [seen(Kind.HARD, 1), *soft(0, 1, 2, 3, 4)]
    assert state([*errors, seen(kind, 5)], 5) is State.VALID
    assert state([seen(kind, 0.5), *errors], 5) is State.QUARANTINED


def test_an_error_at_the_moment_of_a_success_is_after_it_as_in_the_table_of_transitions():
    assert state([seen(Kind.SUCCESS, 1), seen(Kind.HARD, 1)], 1) is State.QUARANTINED
    assert state([seen(Kind.RELEASE, 1), seen(Kind.HARD, 1)], 1) is State.VALID


@pytest.mark.parametrize("kind", [Kind.COMPLAINT, Kind.UNSUBSCRIBE])
def test_an_objection_denylists_whatever_arrives_afterwards(kind):
    found = condition_of(address_of([seen(kind, 1), seen(Kind.SUCCESS, 2)]), at(10_000))
    assert (found.state, found.since) == (State.DENYLISTED, at(1))
    assert [(each.time, each.kind) for each in found.reasons] == [(at(1), kind)]
    assert state([seen(kind, 1), seen(Kind.RELEASE, 2)], 2) is State.VALID


def test_a_released_window_of_a_domain_takes_its_errors_away_and_no_others():
    window = window_of("example.com", at(1), at(2))
    address = address_of([*soft(0, 1, 2, 3, 4), seen(Kind.COMPLAINT, 1)])
    assert [error.time for error in without(address, window).errors] == [at(0), at(2), at(3), at(4)]
    assert without(address, window).objection == address.objection
    assert without(address, window_of("example.org", at(0), at(9))) is address


def test_what_is_valid_and_old_may_be_forgotten():
    assert may_be_forgotten(address_of([seen(Kind.SUCCESS, 0)]), at(30), at(1))
    assert not may_be_forgotten(address_of([seen(Kind.SUCCESS, 2)]), at(30), at(1))
    assert not may_be_forgotten(address_of([seen(Kind.HARD, 0)]), at(30), at(1))


# Order and repetition

sightings = st.lists(
    st.builds(
        seen,
        st.sampled_from([*Kind, *[Kind.SOFT] * 8]),
        # Many of them a day apart, and some in one hour.
        st.one_of(st.integers(0, 14), st.integers(0, 14 * 48).map(lambda halves: halves / 48)),
        st.sampled_from([Category.UNREACHABLE, Category.MAILBOX_FULL]),
    ),
    max_size=14,
)
windows = st.lists(
    st.builds(lambda day, days: window_of("example.com", at(day), at(day + days)), st.integers(0, 14), st.floats(0, 2)),
    max_size=2,
)


@property_of
@given(sightings, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(given_sightings, chance: Random):
    repeated = [*given_sightings, *chance.choices(given_sightings, k=4)] if given_sightings else []
    chance.shuffle(repeated)
    assert address_of(repeated) == address_of(given_sightings)


@property_of
@given(sightings)
def test_what_is_known_already_changes_nothing(given_sightings):
    address = address_of(given_sightings)
    assert all(join(address, sighting) is address for sighting in given_sightings)


@property_of
@given(sightings, windows, st.integers(0, 14), st.randoms(use_true_random=False))
def test_it_does_not_matter_whether_a_window_is_released_before_its_errors_come_or_after(
    given_sightings, released, when, chance: Random
):
    address = address_of(given_sightings[:when])
    for window in released:
        address = without(address, window)
    rest = given_sightings[when:]
    chance.shuffle(rest)
    for sighting in rest:
        address = join(address, sighting, released)
    assert address == address_of(given_sightings, released)


@property_of
@given(sightings, st.floats(0, 60))
def test_the_condition_is_what_a_plain_reading_of_the_rules_says(given_sightings, days):
    found = condition_of(address_of(given_sightings), at(days))
    assert found.state is plain_reading(given_sightings, at(days))
    assert len(found.reasons) <= MAX_REASONS


def plain_reading(given_sightings, now):
    """Read the rules without any thought of how little may be remembered; of an hour, the last error counts."""

    def last(kind):
        return max((each.time for each in given_sightings if each.kind is kind), default=float("-inf"))

    success, released = last(Kind.SUCCESS), last(Kind.RELEASE)
    if any(each.kind in {Kind.COMPLAINT, Kind.UNSUBSCRIBE} and each.time > released for each in given_sightings):
        return State.DENYLISTED
    counted = [
        each
        for each in given_sightings
        if each.kind in {Kind.SOFT, Kind.HARD} and each.time >= success and each.time > released
    ]
    if any(each.kind is Kind.HARD for each in counted):
        return State.QUARANTINED
    hours = {each.time // HOUR: each for each in sorted(counted, key=lambda each: (each.time, each.category))}
    return plain_reading_of_soft([hours[hour] for hour in sorted(hours)], now)


def plain_reading_of_soft(errors, now):
    quarantined = False
    begins = 0
    for number, error in enumerate(errors):
        before = errors[number - 1]
        if quarantined and before.category is Category.MAILBOX_FULL and error.time - before.time >= 30 * DAY:
            quarantined, begins = False, number
        times = [each.time for each in errors[begins : number + 1]]
        quarantined = quarantined or any(is_proof(five) for five in combinations(times, 5))
    if not errors:
        return State.VALID
    last = errors[-1]
    if quarantined:
        is_over = last.category is Category.MAILBOX_FULL and now - last.time >= 30 * DAY
        return State.VALID if is_over else State.QUARANTINED
    return State.WITH_ERRORS if now - last.time < 10 * DAY else State.VALID


def is_proof(times):
    apart = all(later - earlier >= DAY for earlier, later in pairwise(times))
    return apart and times[-1] - times[0] <= 10 * DAY
