"""A run says whether a goal is reached, by how much, and how sure that is."""

import pytest
from contenders import NAMES
from goals import COMPARISONS, GOALS, Comparison, Goal, verdict
from intervals import Interval
from tables import TABLES

AT_LEAST = Goal(Comparison("speed", "throughput", "events_per_second", {}, {}), 1.3, "x")
AT_MOST = Goal(Comparison("delay", "latency", "p99_ms", {}), 250, "ms", is_least=False)


@pytest.mark.parametrize(
    ("goal", "found", "told"),
    [
        (AT_LEAST, Interval(1.43, 1.35, 1.52, 4), "reached, 10% better"),
        (AT_LEAST, Interval(0.65, 0.60, 0.70, 4), "not reached, 50% short"),
        (AT_LEAST, Interval(1.43, 1.20, 1.70, 4), "reached in the middle, 10% better; the interval says neither"),
        (AT_LEAST, Interval(1.17, 1.00, 1.37, 4), "not reached in the middle, 10% short; the interval says neither"),
        (AT_LEAST, Interval(1.43, None, None, 1), "reached in its one round, 10% better"),
        (AT_LEAST, Interval(0.65, None, None, 1), "not reached in its one round, 50% short"),
        (AT_MOST, Interval(200, 180, 220, 4), "reached, 20% better"),
        (AT_MOST, Interval(500, 400, 600, 4), "not reached, 100% short"),
        # A whole number does not compare itself with a fraction: it leaves that to the fraction.
        (AT_MOST, Interval(500.5, 400.5, 600.5, 4), "not reached, 100% short"),
        (AT_MOST, Interval(200.5, 180.5, 220.5, 4), "reached, 20% better"),
        (AT_MOST, Interval(200, 150, 260, 4), "reached in the middle, 20% better; the interval says neither"),
        (AT_MOST, None, "not measured"),
    ],
)
def test_a_verdict_tells_the_margin_and_what_the_interval_allows(goal, found, told):
    assert verdict(goal, found) == told


def test_only_rounds_that_both_took_part_in_are_compared():
    comparison = Comparison("", "throughput", "events_per_second", {"contender": "ours"}, {"contender": "quix"})
    rows = [
        {"contender": "ours", "round": 0, "events_per_second": 30},
        {"contender": "ours", "round": 1, "events_per_second": 40},
        {"contender": "ours", "round": 2, "events_per_second": 1_000},
        {"contender": "quix", "round": 0, "events_per_second": 10},
        {"contender": "quix", "round": 1, "events_per_second": 10},
        {"contender": "quix", "round": 2, "failure": "gone"},
    ]
    found = comparison.values({"throughput": rows})
    assert found.rounds == 2
    assert found.middle == pytest.approx((3 * 4) ** 0.5)


def test_what_was_not_measured_is_compared_with_nothing():
    assert all(each.values({}) is None for each in (*COMPARISONS, *(goal.comparison for goal in GOALS)))


def test_goals_and_comparisons_name_tables_figures_and_contenders_that_there_are():
    for each in (*COMPARISONS, *(goal.comparison for goal in GOALS)):
        assert each.figure in TABLES[each.table].figures
        for which in (each.of, each.to or {}):
            assert which.keys() <= TABLES[each.table].keys.keys()
            assert which.get("contender", "ours") in NAMES
