"""When a record came in: its timestamp, which goes on in a header where Kafka would not keep it.

Kafka removes records by their timestamps, and refuses those that are ahead of its clock. So what we write has the time
of now, unless the record that it stands for came about then. Nothing that was written a moment ago is removed as a week
old, and a provider's late report still shows when it was reported.
"""

from __future__ import annotations

from collections.abc import Iterable

from processor.wire.deadletters import Headers

#: The header: milliseconds since the epoch, in decimal.
RECEIVED_HEADER = "delivery.received"

#: Milliseconds by which a timestamp may lie before the present, and after it, and is written as it is. Brokers take
#: what is an hour ahead of them; the clocks of publishers differ, and so do retentions, by less than either.
_BEHIND_MAX = 60 * 60 * 1000
_AHEAD_MAX = 10 * 60 * 1000

#: Milliseconds have 13 digits until the year 2286.
_DIGITS_MAX = 15


def window(now: int) -> tuple[int, int]:
    """Give the first and the last timestamp that are written as they are, all in milliseconds."""
    return now - _BEHIND_MAX, now + _AHEAD_MAX


def keep_received(headers: Headers, timestamp: int, first: int) -> Headers:
    """Add the header if a record's timestamp lies before the first that is kept as it is."""
    if not 0 <= timestamp < first or any(name == RECEIVED_HEADER for name, _ in headers):
        return headers
    return (*headers, (RECEIVED_HEADER, str(timestamp).encode()))


def received_at(headers: Iterable[tuple[str, bytes | None]], timestamp: int) -> int:
    """Give when a record came in, in milliseconds: its header tells, or else its timestamp.

    Strangers write headers too: one that is no earlier than the record itself says nothing.
    """
    for name, value in headers:
        if name == RECEIVED_HEADER and value is not None and value.isdigit() and len(value) <= _DIGITS_MAX:
            return min(int(value), timestamp)
    return timestamp
