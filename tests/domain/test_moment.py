"""Moments: whole microseconds, exactly, there and back."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.moment import EPOCH, to_datetime, to_microseconds, to_rfc3339
from tests.examples import examples

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(500), suppress_health_check=list(HealthCheck)
)

FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)

moments = st.integers(to_microseconds(FIRST), to_microseconds(LAST))
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def read(text):
    """Read RFC 3339 as Python 3.10 can: it does not know the Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_moments_are_counted_from_the_epoch():
    assert to_microseconds(EPOCH) == 0
    assert to_microseconds(EPOCH + timedelta(days=1, microseconds=1)) == 86_400_000_001
    assert to_microseconds(EPOCH - timedelta(microseconds=1)) == -1


def test_a_moment_is_the_same_whatever_the_offset_it_is_written_with():
    utc = datetime(2026, 11, 23, 8, 0, 0, 125_000, tzinfo=timezone.utc)
    assert to_microseconds(utc.astimezone(timezone(timedelta(hours=5, minutes=30)))) == to_microseconds(utc)


def test_neighbouring_microseconds_of_a_late_year_stay_apart():
    """A float of seconds could not tell them from each other."""
    assert to_microseconds(LAST) - to_microseconds(LAST - timedelta(microseconds=1)) == 1


@property_of
@given(moments)
def test_a_moment_comes_back_from_a_datetime(moment):
    assert to_microseconds(to_datetime(moment)) == moment


@property_of
@given(st.datetimes(timezones=offsets))
def test_a_datetime_of_any_offset_becomes_a_moment_exactly(time):
    assert EPOCH + timedelta(microseconds=to_microseconds(time)) - time == timedelta(0)


@property_of
@given(st.datetimes(timezones=offsets), st.datetimes(timezones=offsets))
def test_moments_are_in_the_order_of_their_times(one, other):
    assert (to_microseconds(one) < to_microseconds(other)) is (one < other)


@property_of
@given(moments)
def test_a_moment_comes_back_from_text(moment):
    assert to_microseconds(read(to_rfc3339(moment))) == moment


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (FIRST, "0001-01-01T00:00:00Z"),
        (FIRST + timedelta(microseconds=1), "0001-01-01T00:00:00.000001Z"),
        (datetime(987, 6, 5, tzinfo=timezone.utc), "0987-06-05T00:00:00Z"),
        (EPOCH - timedelta(milliseconds=1), "1969-12-31T23:59:59.999Z"),
        (EPOCH, "1970-01-01T00:00:00Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 125_000, tzinfo=timezone.utc), "2026-11-23T08:00:00.125Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 5_000, tzinfo=timezone.utc), "2026-11-23T08:00:00.005Z"),
        (datetime(2026, 11, 23, 8, 0, 0, 100, tzinfo=timezone.utc), "2026-11-23T08:00:00.000100Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_text_has_no_three_or_six_digits_of_fraction_the_fewest_that_are_exact(time, text):
    assert to_rfc3339(to_microseconds(time)) == text


@pytest.mark.parametrize("moment", [to_microseconds(FIRST) - 1, to_microseconds(LAST) + 1])
def test_a_moment_outside_the_years_1_to_9999_has_no_datetime(moment):
    with pytest.raises(OverflowError):
        to_datetime(moment)
