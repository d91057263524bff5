"""Durations in buckets: every duration in one, sums as sums, quantiles within a sixteenth."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.watch.durations import between, bounds, bucket_of, quantile, total

SECOND = 1_000_000
durations = st.integers(0, 400 * 365 * 86_400 * SECOND)


@given(durations)
def test_a_duration_lies_within_the_bounds_of_its_bucket(duration):
    low, high = bounds(bucket_of(duration))
    assert low <= duration < high
    assert low == 0 or high - low <= low / 16


@given(durations, durations)
def test_a_longer_duration_is_in_no_lower_bucket(one, other):
    assert (one <= other) <= (bucket_of(one) <= bucket_of(other))


def test_buckets_leave_no_gap():
    bucket = bucket_of(2 * SECOND)
    for _ in range(500):
        _, high = bounds(bucket)
        assert bounds(bucket_of(high))[0] == high
        bucket = bucket_of(high)


def test_a_clock_that_runs_ahead_makes_no_negative_ones():
    assert bucket_of(-5 * SECOND) == bucket_of(0) == 0


@given(st.lists(st.dictionaries(durations.map(bucket_of), st.integers(1, 9))))
def test_a_total_has_all(several):
    assert sum(total(several).values()) == sum(sum(each.values()) for each in several)


def test_between_counts_from_one_to_another():
    counted = total({bucket_of(seconds * SECOND): 1} for seconds in range(2, 1_000))
    assert between(counted, 0, 10_000 * SECOND) == 998
    assert between(counted, 100 * SECOND, 500 * SECOND) == pytest.approx(400, abs=40)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_quantile_is_a_sixteenth_too_long_at_most(share):
    rng = Random(1)
    values = sorted(int(rng.lognormvariate(3, 1) * SECOND) + 2 * SECOND for _ in range(1_000))
    exact = values[round(share * 1_000) - 1]
    assert exact <= quantile(total({bucket_of(value): 1} for value in values), share) <= exact * 17 / 16 + 1


def test_there_is_no_quantile_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        quantile({}, 0.5)
