"""Control records on the wire, and the recognition of cancel markers, which are refused.

The published form is schemas/control.json.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from processor.domain.delivery import Control, breach_of
from processor.domain.moment import FIRST, LAST, Millis, to_microseconds
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.decoding import decode_json, is_ahead

#: The header of a cancel marker among the events. A producer of events must not be able to cancel (ADR 0017).
MARKER_HEADER, CANCEL = "delivery.control", b"cancel"

_encode = msgspec.json.Encoder().encode
_control_decoder = msgspec.json.Decoder(Control)


def decode_control(value: bytes, record_ms: Millis | None) -> Control:
    """Decode and check one control record.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            skips the check for times ahead.

    Raises:
        UnusableError: the record breaks the contract of docs/deliveries.md; it says how.
    """
    control = decode_json(_control_decoder, value, DeadReason.INVALID_CONTROL)
    _check(control, record_ms)
    return control


def _check(control: Control, record_ms: Millis | None) -> None:
    breach = breach_of(control)
    if breach is not None:
        raise UnusableError(DeadReason.INVALID_CONTROL, breach)
    for name, moment in (("time", control.time), ("scheduled_at", control.scheduled_at)):
        if moment is not None and not FIRST <= to_microseconds(moment) <= LAST:
            detail = f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.{name}`"
            raise UnusableError(DeadReason.INVALID_CONTROL, detail)
    if is_ahead(to_microseconds(control.time), record_ms):
        detail = f"the time {control.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise UnusableError(DeadReason.TIME_AHEAD, detail)


def encode_control(control: Control) -> bytes:
    """Write a control record as JSON."""
    return _encode(control)


def is_marker(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Return whether a record among the events is a cancel marker; only control records can cancel."""
    return any(name == MARKER_HEADER and value == CANCEL for name, value in headers)
