"""What is taken back from a row leaves it as if it had never been reported."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import permutations, product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category, Reason
from processor.domain.retraction import retract
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from tests.examples import examples

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
STATUSES = [Status.SENT_TO_PROVIDER, Status.TAKEN_INTO_ACCOUNT, Status.SENT, Status.RECEIVED_ON_MOBILE, Status.FAILED]


def report(
    status: Status, minute: int, part: int | None = None, attempt: int = 1, recipient: str | None = None
) -> Event:
    reason = Reason(Permanence.PERMANENT, Category.REFUSED) if status is Status.FAILED else None
    more = {"part": part, "attempt": attempt, "recipient": recipient, "reason": reason}
    return Event(START + timedelta(minutes=minute), "m", Channel.SMS, status, **more)


def row_of(*events: Event) -> Row | None:
    row = None
    for event in events:
        row, _ = fold(row, event, node_of(event))
    return row


def without(row: Row, event: Event) -> Row | None:
    return retract(row, event, node_of(event), to_microseconds(event.time))


def assert_is_as_if_never_reported(arrived: Sequence[Event], wrong: Event) -> None:
    others = [event for event in arrived if event is not wrong]
    left, expected = without(row_of(*arrived), wrong), row_of(*others)
    if any(event.status is wrong.status for event in others):
        # Of two reasons of one status a row keeps but one.
        left, expected = (msgspec.structs.replace(row, reasons=()) for row in (left, expected))
    assert left == expected


class TestRetract:
    def test_of_a_row_that_knows_nothing_else_nothing_is_left(self):
        event = report(Status.SENT, 1)
        assert without(row_of(event), event) is None

    @pytest.mark.parametrize(
        "unheard",
        [report(Status.FAILED, 1), report(Status.SENT, 2), report(Status.SENT, 1, 2), report(Status.SENT, 1, None, 2)],
    )
    def test_what_was_never_reported_changes_nothing(self, unheard):
        row = row_of(report(Status.SENT, 1))
        assert without(row, unheard) is row

    def test_a_time_between_the_first_and_the_last_changes_nothing(self):
        row = row_of(*(report(Status.SENT, minute) for minute in (1, 2, 3)))
        assert without(row, report(Status.SENT, 2)) is row

    def test_no_order_of_up_to_three_reports_matters(self):
        every = [report(*values) for values in product(STATUSES, (1, 2), (None, 1))]
        for some in permutations(every, 3):
            places = {(event.status, event.part) for event in some}
            if len(places) == len(some):
                assert_is_as_if_never_reported(some, some[-1])

    @settings(deadline=None, max_examples=examples(300))
    @given(
        st.lists(
            st.builds(
                report,
                st.sampled_from(STATUSES),
                st.integers(0, 20),
                st.sampled_from([None, 1, 2]),
                st.sampled_from([1, 2]),
            ),
            min_size=1,
            max_size=8,
            unique_by=lambda event: (event.status, event.part, event.attempt),
        ),
        st.builds(report, st.sampled_from(STATUSES), st.integers(21, 40), st.just(None), st.just(1), st.just("+4670")),
        st.randoms(use_true_random=False),
    )
    def test_what_a_later_receipt_told_is_gone_wherever_it_came(self, events, wrong, chance):
        arrived = [*events, wrong]
        chance.shuffle(arrived)
        assert_is_as_if_never_reported(arrived, wrong)
