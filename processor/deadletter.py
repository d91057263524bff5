"""Dead letters: why a record could not be used, and the headers that say so.

The record's key, value, timestamp and headers stay as they came. Header names: those of Kafka Streams (KIP-1034), which
Kafka's tools know, and `delivery.dead.reason`, which is one of `DeadReason`.
"""

from __future__ import annotations

import traceback
from enum import Enum
from typing import NamedTuple

#: A Kafka record's headers.
Headers = tuple[tuple[str, bytes], ...]


class DeadReason(str, Enum):
    """Why a record is a dead letter; the value is what the header and the metric say."""

    #: The record has no value. Raw and event topics are not compacted: null says nothing there.
    NULL_VALUE = "null_value"
    #: The value has no bytes.
    EMPTY_VALUE = "empty_value"
    #: The value is larger than DELIVERY_MAX_RECORD_BYTES.
    RECORD_TOO_LARGE = "record_too_large"
    #: The bytes are not text in UTF-8.
    INVALID_ENCODING = "invalid_encoding"
    #: The bytes are not JSON.
    INVALID_JSON = "invalid_json"
    #: A required field is absent, or a field has the wrong type or an impossible value.
    INVALID_EVENT = "invalid_event"
    #: The status does not exist on the channel, or `failed` came with `transient`.
    INVALID_STATUS = "invalid_status"
    #: As `invalid_event`, of a control record; or `schedule` came without a date.
    INVALID_CONTROL = "invalid_control"
    #: The event time is more than 24 hours ahead of the record's timestamp.
    TIME_AHEAD = "time_ahead"
    #: The event time is further back than messages are kept, and messages of that time have been removed.
    TOO_OLD = "too_old"
    #: A cancel marker among the events (header `delivery.control: cancel`): only control records cancel a delivery.
    CANCEL_MARKER = "cancel_marker"
    #: The message's row, or the delivery, is there and cannot be read by this version: nothing may be written over it.
    ROW_UNREADABLE = "row_unreadable"
    #: Neither a header nor a setting says which provider sent it.
    NO_PROVIDER = "no_provider"
    #: The header names a provider that has no adapter.
    UNKNOWN_PROVIDER = "unknown_provider"
    #: Not what this provider sends.
    UNREADABLE_PAYLOAD = "unreadable_payload"
    #: The native status is not in the provider's table.
    UNKNOWN_STATUS = "unknown_status"
    #: A fault of ours; the record is kept, the worker goes on, and the stack trace is in the headers.
    INTERNAL_ERROR = "internal_error"


class RefusedError(Exception):
    """A record cannot be used.

    Attributes:
        reason: what the metric counts.
        detail: what a person needs to mend it.
    """

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Origin(NamedTuple):
    """Where a record came from."""

    topic: str
    partition: int
    offset: int


#: A detail may quote what a stranger sent: enough to see, not enough to fill a topic.
_DETAIL_MAX = 1_000
_STACKTRACE_MAX = 4_000


def headers_of(
    headers: Headers, origin: Origin, reason: DeadReason, detail: str, error: BaseException | None = None
) -> Headers:
    """Give a dead letter's headers: those of the record as they came, then ours."""
    return (
        *headers,
        ("delivery.dead.reason", reason.value.encode()),
        ("__streams.errors.exception", (RefusedError if error is None else type(error)).__name__.encode()),
        ("__streams.errors.message", detail[:_DETAIL_MAX].encode(errors="replace")),
        ("__streams.errors.stacktrace", _stacktrace(error)),
        ("__streams.errors.topic", origin.topic.encode()),
        ("__streams.errors.partition", str(origin.partition).encode()),
        ("__streams.errors.offset", str(origin.offset).encode()),
    )


def _stacktrace(error: BaseException | None) -> bytes:
    if error is None:
        return b""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines)[-_STACKTRACE_MAX:].encode(errors="replace")
