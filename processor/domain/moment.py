"""Times as whole microseconds since 1970-01-01T00:00:00Z, as rows keep them and the fold compares them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

#: The first and the last time that can be formatted: the years 1 to 9999, in UTC.
FIRST = (datetime.min.replace(tzinfo=timezone.utc) - EPOCH) // _MICROSECOND
LAST = (datetime.max.replace(tzinfo=timezone.utc) - EPOCH) // _MICROSECOND

#: A stored time; one outside the calendar is refused when it is read back.
Moment = Annotated[int, msgspec.Meta(ge=FIRST, le=LAST)]


def stamp_of(timestamp: int, now: int) -> int:
    """Return a record's timestamp in milliseconds, or the present if it has none (Kafka: below 0)."""
    return timestamp if timestamp >= 0 else now


def to_microseconds(time: datetime) -> int:
    """Convert an aware datetime to microseconds since the epoch, exactly."""
    return (time - EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """Convert microseconds since the epoch to an aware datetime in UTC.

    Raises:
        OverflowError: the time is outside the years 1 to 9999.
    """
    return EPOCH + timedelta(microseconds=microseconds)


#: The fraction of a second in milliseconds, as it is written.
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


@lru_cache(maxsize=16_384)
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def to_rfc3339(microseconds: int) -> str:
    """Format a time as RFC 3339 in UTC, with the fewest of no, three or six fraction digits that are exact."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    if not fraction:
        return _second(seconds) + "Z"
    if fraction % 1000:
        return f"{_second(seconds)}.{fraction:06d}Z"
    return _second(seconds) + _MILLISECONDS[fraction // 1000]
