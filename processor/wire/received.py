"""The time at which a record was received: its timestamp, or a header where Kafka would not keep the timestamp.

Kafka removes records by timestamp and refuses those ahead of its clock. So a record that we write has the present time
as its timestamp unless the time of the record that it derives from is close to that. No new record is removed as a week
old, and a provider's late report still shows when it was received.
"""

from __future__ import annotations

from collections.abc import Iterable

from processor.domain.moment import Millis
from processor.wire.deadletters import Headers

#: The header: milliseconds since the epoch, in decimal.
RECEIVED_HEADER = "delivery.received"

#: Milliseconds by which a timestamp may lie before the present, and after it, and is written as it is. Brokers take
#: what is an hour ahead of them; the clocks of publishers differ, and so do retentions, by less than either.
_BEHIND_MAX = 60 * 60 * 1000
_AHEAD_MAX = 10 * 60 * 1000

#: Milliseconds have 13 digits until the year 2286.
_DIGITS_MAX = 15


def window(now: Millis) -> tuple[Millis, Millis]:
    """Return the first and the last timestamp, in milliseconds, that are kept as they are."""
    return Millis(now - _BEHIND_MAX), Millis(now + _AHEAD_MAX)


def keep_received(headers: Headers, timestamp: Millis, first: Millis) -> Headers:
    """Add the header if a record's timestamp is before the first that is kept as it is."""
    if not 0 <= timestamp < first or any(name == RECEIVED_HEADER for name, _ in headers):
        return headers
    return (*headers, (RECEIVED_HEADER, str(timestamp).encode()))


def received_at(headers: Iterable[tuple[str, bytes | None]], timestamp: Millis) -> Millis:
    """Return when a record was received, in milliseconds: by its header, else by its timestamp.

    Headers are untrusted: one that is not earlier than the record itself is ignored.
    """
    for name, value in headers:
        if name == RECEIVED_HEADER and value is not None and value.isdigit() and len(value) <= _DIGITS_MAX:
            return min(Millis(int(value)), timestamp)
    return timestamp
