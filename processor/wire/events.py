"""Canonical events on the wire.

The published form is schemas/event.json.
"""

from __future__ import annotations

import msgspec

from processor.domain.event import Event, breach_of, breach_of_parts
from processor.domain.moment import FIRST, LAST, Micros, Millis, to_microseconds
from processor.domain.transitions import NODE_OF_REPORT, Node
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.decoding import MAX_AHEAD_MS, decode_json

_event_decoder = msgspec.json.Decoder(Event)
_decode = _event_decoder.decode
_encode = msgspec.json.Encoder().encode


def decode_event(value: bytes | None, record_ms: Millis | None) -> tuple[Event, Node, Micros]:
    """Decode and check one canonical event.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            skips the check for times ahead.

    Returns:
        The event, the node that it reports, and its time in microseconds.

    Raises:
        UnusableError: the event breaks the contract of docs/events.md; it says how.
    """
    if value is None:
        raise UnusableError(DeadReason.NULL_VALUE, "the record has no value")
    # What `decode_json`, `node_of` and `is_ahead` do, without the calls: this runs for every event.
    try:
        if not value.isascii():
            value.decode()
        event = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        event = decode_json(_event_decoder, value, DeadReason.INVALID_EVENT)
    reason = event.reason
    node = NODE_OF_REPORT.get((event.channel, event.status, None if reason is None else reason.permanence))
    if node is None:
        raise UnusableError(DeadReason.INVALID_STATUS, breach_of(event))
    if (event.part is not None or event.parts is not None) and (breach := breach_of_parts(event)) is not None:
        raise UnusableError(DeadReason.INVALID_EVENT, breach)
    time = to_microseconds(event.time)
    if not FIRST <= time <= LAST:
        detail = f"the event time {event.time.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.time`"
        raise UnusableError(DeadReason.INVALID_EVENT, detail)
    if record_ms is not None and record_ms >= 0 and time > (record_ms + MAX_AHEAD_MS) * 1000:
        detail = f"the event time {event.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise UnusableError(DeadReason.TIME_AHEAD, detail)
    return event, node, time


def encode_event(event: Event) -> bytes:
    """Write a canonical event as JSON."""
    return _encode(event)
