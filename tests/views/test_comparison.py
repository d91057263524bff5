"""Two workings of the same events are compared message by message, and delivery by delivery."""

from datetime import datetime, timezone

import msgspec
import pytest

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.views.comparison import (
    Comparison,
    CountsDifference,
    Kind,
    Move,
    Standing,
    counts_differences,
    difference_of,
    move_of,
)

SENT = Standing(Channel.EMAIL, Status.SENT, "2026-11-23T08:00:00Z", None, "DM1", None, (), 1)
HARD = Reason(category=Category.USER_UNKNOWN)
FAILED = Standing(
    Channel.EMAIL, Status.FAILED, "2026-11-23T08:05:00Z", Permanence.GAVE_UP, "DM1", HARD, (), 1, "kumomta"
)


def changed(standing: Standing, **fields: object) -> Standing:
    return msgspec.structs.replace(standing, **fields)


class TestOneMessage:
    def test_the_same_is_no_difference(self):
        assert difference_of("m-1", SENT, changed(SENT)) is None

    def test_what_neither_side_knows_is_none(self):
        assert difference_of("m-1", None, None) is None

    def test_another_status_is_elsewhere(self):
        difference = difference_of("m-1", SENT, FAILED)
        assert difference.difference is Kind.STATUS
        assert difference.fields == ("since", "reason")

    def test_another_permanence_is_elsewhere(self):
        difference = difference_of("m-1", FAILED, changed(FAILED, permanence=Permanence.PERMANENT))
        assert difference.difference is Kind.STATUS

    @pytest.mark.parametrize(
        ("name", "other"),
        [
            ("channel", Channel.SMS),
            ("since", "2026-11-23T08:00:01Z"),
            ("delivery_id", None),
            ("reason", HARD),
            ("rejected", ("failed",)),
            ("attempt", 2),
        ],
    )
    def test_anything_else_is_told_otherwise(self, name, other):
        difference = difference_of("m-1", SENT, changed(SENT, **{name: other}))
        assert (difference.difference, difference.fields) == (Kind.DETAILS, (name,))

    @pytest.mark.parametrize("name", ["delivery_id", "reason", "rejected", "attempt", "provider"])
    def test_what_one_side_does_not_tell_is_not_compared(self, name):
        known = changed(SENT, provider="kumomta")
        assert difference_of("m-1", known, changed(known, **{name: msgspec.UNSET})) is None
        assert difference_of("m-1", changed(known, **{name: msgspec.UNSET}), known) is None

    def test_one_that_only_one_side_knows(self):
        assert difference_of("m-1", SENT, None).difference is Kind.ONLY_LIVE
        assert difference_of("m-1", None, SENT).difference is Kind.ONLY_SHADOW


class TestMoves:
    def test_a_move_is_by_places_provider_and_reason(self):
        move = move_of(difference_of("m-1", SENT, FAILED))
        assert move == Move("sent", "failed (gave_up)", "kumomta", "user_unknown")

    def test_what_the_shadow_does_not_tell_is_the_live_sides(self):
        assert move_of(difference_of("m-1", FAILED, SENT)) == Move(
            "failed (gave_up)", "sent", "kumomta", "user_unknown"
        )

    def test_what_neither_tells_is_empty(self):
        assert move_of(difference_of("m-1", SENT, None)) == Move("sent", None, "", "")

    def test_foreign_providers_are_one_so_that_the_sum_has_a_bound(self):
        assert move_of(difference_of("m-1", None, changed(FAILED, provider="x" * 500))).provider == "other"


class TestTheSum:
    def test_every_message_is_counted_once(self):
        comparison = Comparison(10)
        comparison.see_equal()
        comparison.see("m-2", SENT, SENT)
        comparison.see("m-3", SENT, FAILED)
        comparison.see("m-4", SENT, changed(SENT, attempt=2))
        comparison.see("m-5", SENT, None)
        comparison.see("m-6", None, SENT)
        assert (comparison.live, comparison.shadow, comparison.equal) == (5, 5, 2)
        assert comparison.kinds == dict.fromkeys(Kind, 1)
        assert comparison.fields == {"attempt": 1}
        assert sum(comparison.moves.values()) == 3
        assert not comparison.agrees

    def test_no_message_at_all_agrees(self):
        assert Comparison(10).agrees

    def test_only_a_few_of_each_kind_are_named(self):
        comparison = Comparison(2)
        for number in range(5):
            comparison.see(f"m-{number}", SENT, None)
            comparison.see(f"n-{number}", None, SENT)
        assert [len(those) for those in comparison.named.values()] == [0, 0, 2, 2]
        assert comparison.kinds[Kind.ONLY_LIVE] == 5

    @pytest.mark.parametrize(("live", "shadow"), [(SENT, FAILED), (FAILED, SENT), (FAILED, None), (None, FAILED)])
    def test_what_moved_after_a_time_on_either_side_is_left_out(self, live, shadow):
        comparison = Comparison(10, datetime(2026, 11, 23, 8, 4, tzinfo=timezone.utc))
        assert comparison.see("m-1", live, shadow) is None
        assert comparison.left_out == 1
        assert comparison.agrees

    def test_what_moved_before_it_is_judged(self):
        comparison = Comparison(10, datetime(2026, 11, 23, 8, 5, tzinfo=timezone.utc))
        assert comparison.see("m-1", SENT, FAILED).difference is Kind.STATUS


class TestCounts:
    def test_a_delivery_that_a_side_does_not_know_has_no_messages_there(self):
        assert list(counts_differences({"A": {Status.SENT: 0}}, {})) == []
        assert list(counts_differences({}, {"A": {Status.SENT: 2}})) == [
            CountsDifference("A", {Status.SENT: 0}, {Status.SENT: 2})
        ]

    def test_only_what_differs_is_told(self):
        live, shadow = {Status.SENT: 3, Status.FAILED: 1}, {Status.SENT: 2, Status.FAILED: 1, Status.PENDING: 1}
        assert list(counts_differences({"A": live}, {"A": shadow})) == [
            CountsDifference("A", {Status.PENDING: 0, Status.SENT: 3}, {Status.PENDING: 1, Status.SENT: 2})
        ]

    def test_a_delivery_that_is_counted_otherwise_is_a_difference_of_the_sum(self):
        comparison = Comparison(1)
        differing = list(comparison.see_counts({"A": {Status.SENT: 1}, "B": {}, "C": {Status.SENT: 1}}, {}))
        assert [each.delivery_id for each in differing] == ["A", "C"]
        assert (comparison.deliveries, comparison.counts_differ) == (3, 2)
        assert [each.delivery_id for each in comparison.counts_named] == ["A"]
        assert not comparison.agrees
