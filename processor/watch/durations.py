"""Durations counted in buckets: compact, exact under addition, with quantiles accurate to a sixteenth.

A bucket is as wide as a sixteenth of the power of two below it, so the relative accuracy is the same for seconds and
days. Counts are a plain mapping from bucket to number, without zeroes, that can be sent as JSON and summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Counts by bucket.
Durations = dict[int, int]

#: Binary digits of the parts that a power of two has.
_DIGITS = 4
_PARTS = 1 << _DIGITS

#: Shorter durations (microseconds; about a second) are all one: nothing here depends on them.
_SHORTEST = 1 << 20


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in microseconds; a negative one counts as 0."""
    if duration < _SHORTEST:
        return 0
    power = duration.bit_length() - 1
    return power << _DIGITS | (duration >> power - _DIGITS) & _PARTS - 1


def bounds(bucket: int) -> tuple[int, int]:
    """Return the bounds of a bucket in microseconds, the upper one exclusive."""
    if not bucket:
        return 0, _SHORTEST
    power, part = bucket >> _DIGITS, bucket & _PARTS - 1
    return (_PARTS + part) << power - _DIGITS, (_PARTS + part + 1) << power - _DIGITS


def total(durations: Iterable[Durations]) -> Durations:
    """Add counts."""
    summed: Durations = {}
    for each in durations:
        for bucket, number in each.items():
            summed[bucket] = summed.get(bucket, 0) + number
    return summed


def between(durations: Mapping[int, int], shortest: int, longest: int) -> int:
    """Count the durations between two, in microseconds, both rounded up to their buckets."""
    found = 0
    for bucket, number in durations.items():
        low, _ = bounds(bucket)
        if shortest <= low < longest:
            found += number
    return found


def quantile(durations: Mapping[int, int], share: float) -> int:
    """Return a quantile in microseconds, rounded up to its bucket.

    Raises:
        ValueError: there are none.
    """
    wanted = share * sum(durations.values())
    seen = 0
    for bucket in sorted(durations):
        seen += durations[bucket]
        if seen >= wanted:
            return bounds(bucket)[1]
    raise ValueError("a quantile of nothing")
