"""Decode foreign JSON; refuse unusable records with the reason of their dead letter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import msgspec

from processor.domain.event import MAX_AHEAD
from processor.domain.moment import Micros, Millis
from processor.wire.deadletters import DeadReason, UnusableError

Decoded = TypeVar("Decoded")

_MAX_AHEAD_MS = MAX_AHEAD // timedelta(milliseconds=1)


def decode_json(decode: Callable[[bytes], Decoded], value: bytes, invalid: DeadReason) -> Decoded:
    """Decode the value of an untrusted record.

    Args:
        decode: reads JSON into a type.
        value: the record's value.
        invalid: the reason if the JSON does not fit the type.

    Raises:
        UnusableError: it cannot be decoded; it says why.
    """
    if not value:
        raise UnusableError(DeadReason.EMPTY_VALUE, "the record's value has no bytes")
    try:
        # msgspec does not read what it skips, and an unknown field goes on to the rejected topic as it came.
        if not value.isascii():
            value.decode()
        return decode(value)
    except msgspec.ValidationError as error:
        raise UnusableError(invalid, str(error)) from None
    except UnicodeDecodeError as error:
        raise UnusableError(DeadReason.INVALID_ENCODING, str(error)) from None
    except msgspec.DecodeError as error:
        raise UnusableError(DeadReason.INVALID_JSON, str(error)) from None
    except RecursionError:
        raise UnusableError(DeadReason.INVALID_JSON, "nested too deeply") from None


def is_ahead(time: Micros, record_ms: Millis | None) -> bool:
    """Return whether a time lies more than 24 hours after the record that carries it.

    Args:
        time: microseconds since the epoch.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            skips the check.
    """
    return record_ms is not None and record_ms >= 0 and time > (record_ms + _MAX_AHEAD_MS) * 1000
