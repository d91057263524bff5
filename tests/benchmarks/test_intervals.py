"""What rounds say together."""

from math import exp, log, sqrt
from random import Random

import pytest
from intervals import interval_of, ratio_of


def test_one_round_has_no_interval():
    assert interval_of([40_000]) == (pytest.approx(40_000), None, None, 1)


def test_rounds_that_agree_have_an_interval_without_width():
    assert interval_of([5.0, 5.0, 5.0]) == (pytest.approx(5), pytest.approx(5), pytest.approx(5), 3)


def test_the_interval_is_students_over_logarithms():
    # Logarithms 0, 1, 2: mean 1, deviation 1, and t of 2 degrees of freedom is 4.303.
    half = 4.303 / sqrt(3)
    found = interval_of([1.0, exp(1), exp(2)])
    assert log(found.middle) == pytest.approx(1)
    assert (log(found.low), log(found.high)) == (pytest.approx(1 - half), pytest.approx(1 + half))


def test_many_rounds_have_an_interval_too():
    assert interval_of([float(number % 2 + 1) for number in range(100)]).rounds == 100


def test_a_machine_that_changes_between_rounds_does_not_widen_a_ratio():
    speeds = [10_000, 20_000, 40_000]
    found = ratio_of([(1.5 * speed, speed) for speed in speeds])
    assert found == (pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5), 3)
    assert interval_of(speeds).high > 2 * interval_of(speeds).middle


def test_a_ratio_and_its_inverse_have_the_same_interval():
    pairs = [(3.0, 2.0), (5.0, 4.0), (2.0, 1.5)]
    one, other = ratio_of(pairs), ratio_of([(b, a) for a, b in pairs])
    assert (1 / other.high, 1 / other.low) == (pytest.approx(one.low), pytest.approx(one.high))


def test_the_interval_holds_the_true_figure_19_times_of_20():
    random = Random(4)
    held = 0
    for _ in range(2_000):
        found = interval_of([exp(random.gauss(3, 0.2)) for _ in range(4)])
        held += found.low <= exp(3) <= found.high
    assert held / 2_000 == pytest.approx(0.95, abs=0.015)
