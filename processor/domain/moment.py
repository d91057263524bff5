"""Times as whole numbers since 1970-01-01T00:00:00Z, by type: those of events, and the timestamps of records.

Durations are plain numbers. The result of arithmetic on times gets its type back by a call, which costs a tenth of a
microsecond: not in what runs for every event. `min` and `max` keep the type.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated, NewType

import msgspec

#: Microseconds since the epoch: event times, and all that is compared with them.
Micros = NewType("Micros", int)

#: Milliseconds since the epoch: timestamps of records, as in Kafka. Below 0: the record has none.
Millis = NewType("Millis", int)

NO_TIMESTAMP = Millis(-1)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

#: The first and the last time that can be formatted: the years 1 to 9999, in UTC.
FIRST = Micros((datetime.min.replace(tzinfo=timezone.utc) - EPOCH) // _MICROSECOND)
LAST = Micros((datetime.max.replace(tzinfo=timezone.utc) - EPOCH) // _MICROSECOND)

#: A stored time; one outside the calendar is refused when it is read back.
Moment = Annotated[Micros, msgspec.Meta(ge=FIRST, le=LAST)]


def to_micros(timestamp: Millis) -> Micros:
    """Convert a record's timestamp."""
    return Micros(timestamp * 1000)


def to_millis(moment: Micros) -> Millis:
    """Convert a time to the timestamp of a record, rounded down."""
    return Millis(moment // 1000)


def from_seconds(seconds: float) -> Micros:
    """Convert the seconds since the epoch that a clock returns."""
    return Micros(int(seconds * 1_000_000))


def stamp_of(timestamp: Millis, now: Millis) -> Millis:
    """Return a record's timestamp, or the present if it has none (Kafka: below 0)."""
    return timestamp if timestamp >= 0 else now


def to_microseconds(time: datetime) -> Micros:
    """Convert an aware datetime to microseconds since the epoch, exactly."""
    # Without the call of its type, and without the division, since this runs for every event.
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds  # type: ignore[return-value]


def to_datetime(microseconds: Micros) -> datetime:
    """Convert microseconds since the epoch to an aware datetime in UTC.

    Raises:
        OverflowError: the time is outside the years 1 to 9999.
    """
    return EPOCH + timedelta(microseconds=microseconds)


#: The fraction of a second in milliseconds, as it is written; none where it is 0.
_MILLISECONDS = ("Z", *(f".{number:03d}Z" for number in range(1, 1000)))


@lru_cache(maxsize=16_384)
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def to_rfc3339(microseconds: Micros) -> str:
    """Format a time as RFC 3339 in UTC, with the fewest of no, three or six fraction digits that are exact."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    if fraction % 1000:
        return f"{_second(seconds)}.{fraction:06d}Z"
    return _second(seconds) + _MILLISECONDS[fraction // 1000]
