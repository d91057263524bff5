"""What several rounds say together: a middle, and the interval in which the true figure lies with 95 % confidence."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

#: Student's t for 95 % on both sides, by degrees of freedom from 1 on; for more, the last one, which is a little wide.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip


class Interval(NamedTuple):
    """The geometric mean of some rounds; without an interval where there was one round only."""

    middle: float
    low: float | None
    high: float | None
    rounds: int


def interval_of(values: Sequence[float]) -> Interval:
    """Join the figures of rounds, one a round and each above zero.

    Logarithms are what is averaged: what disturbs a machine makes it slower by a share, and a ratio and its inverse
    then have the same interval.
    """
    logarithms = [log(value) for value in values]
    middle = fmean(logarithms)
    if len(values) < 2:
        return Interval(exp(middle), None, None, len(values))
    student = _STUDENT[min(len(values) - 1, len(_STUDENT)) - 1]
    half = student * stdev(logarithms) / sqrt(len(values))
    return Interval(exp(middle), exp(middle - half), exp(middle + half), len(values))


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Interval:
    """Compare two contenders round by round: what changes between rounds is the same for both of a pair."""
    return interval_of([one / other for one, other in pairs])
