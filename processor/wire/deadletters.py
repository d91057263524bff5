"""Dead letters: the reasons why a record is unusable, and the headers of a dead letter.

The record's key, value and headers are unchanged as far as they fit into a record of the topic. Its timestamp moves to
a header, because the topic's retention counts from the dead letter's own. Header names are those of Kafka Streams
(KIP-1034), which Kafka's tools know, and `delivery.dead.*`; `delivery.dead.reason` is one of `DeadReason`.
"""

from __future__ import annotations

import traceback
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

from processor.domain.moment import Millis

#: A Kafka record's headers.
Headers = tuple[tuple[str, bytes], ...]


class DeadReason(str, Enum):
    """Why a record is a dead letter; the value is the one of the header and the metric label."""

    #: The record's value is null, which has no meaning in raw and event topics: they are not compacted.
    NULL_VALUE = "null_value"
    #: The value is empty.
    EMPTY_VALUE = "empty_value"
    #: The value is larger than DELIVERY_MAX_RECORD_BYTES, or it holds more arrays and objects than any batch has.
    RECORD_TOO_LARGE = "record_too_large"
    #: No client can read the record: header names that are not text, or a wrong length.
    UNREADABLE_RECORD = "unreadable_record"
    #: The record's batch cannot be read; the value is the batch's bytes.
    UNREADABLE_BATCH = "unreadable_batch"
    #: The record's compressed batch is larger than a reader may decompress; the value is the batch's bytes.
    BATCH_TOO_LARGE = "batch_too_large"
    #: The bytes are not text in UTF-8.
    INVALID_ENCODING = "invalid_encoding"
    #: The bytes are not JSON.
    INVALID_JSON = "invalid_json"
    #: A required field is absent, or a field has the wrong type or an impossible value.
    INVALID_EVENT = "invalid_event"
    #: The status does not exist on the channel, or `failed` came with `transient`.
    INVALID_STATUS = "invalid_status"
    #: As `invalid_event`, for a control record; or `schedule` without a date.
    INVALID_CONTROL = "invalid_control"
    #: As `invalid_event`, of a link.
    INVALID_LINK = "invalid_link"
    #: A receipt without an id of ours has waited for its link for as long as DELIVERY_LINK_WAIT lets it.
    UNMATCHED = "unmatched"
    #: The event time is more than 24 hours ahead of the record's timestamp.
    TIME_AHEAD = "time_ahead"
    #: The event time is before the retention, and messages of that time have been removed.
    TOO_OLD = "too_old"
    #: A cancel marker among the events (header `delivery.control: cancel`): only control records cancel a delivery.
    CANCEL_MARKER = "cancel_marker"
    #: This version cannot read the message's row, or the delivery, and must not overwrite it.
    ROW_UNREADABLE = "row_unreadable"
    #: Neither a header nor a setting names the provider.
    NO_PROVIDER = "no_provider"
    #: The header names a provider that has no adapter.
    UNKNOWN_PROVIDER = "unknown_provider"
    #: The payload does not have the provider's format.
    UNREADABLE_PAYLOAD = "unreadable_payload"
    #: The native status is not in the provider's table.
    UNKNOWN_STATUS = "unknown_status"
    #: A bug of the processor; the worker goes on, and the headers hold the stack trace.
    INTERNAL_ERROR = "internal_error"


class UnusableError(Exception):
    """A record is unusable and becomes a dead letter.

    Attributes:
        reason: one of the closed set.
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


#: Headers for a value that is not a record's value (the bytes of a `record` or a `batch`, as in Kafka's log), and for
#: the bytes of each header name that is not text.
FORM_HEADER, NAME_HEADER = "delivery.dead.form", "delivery.dead.header_name"

#: The header of a letter whose bytes were erased, since they quoted a person who was.
ERASED_HEADER = "delivery.dead.erased"

#: A detail may quote foreign text: enough to recognize it, not enough to fill a topic.
_DETAIL_MAX = 1_000
_STACKTRACE_MAX = 4_000


def headers_of(
    origin: Origin, timestamp: Millis, reason: DeadReason, detail: str, error: BaseException | None = None
) -> Headers:
    """Return the headers that a dead letter gets; the timestamp is the record's own, in milliseconds."""
    return (
        ("delivery.dead.reason", reason.value.encode()),
        ("delivery.dead.timestamp", str(timestamp).encode()),
        ("__streams.errors.exception", (UnusableError if error is None else type(error)).__name__.encode()),
        ("__streams.errors.message", detail[:_DETAIL_MAX].encode(errors="replace")),
        ("__streams.errors.stacktrace", _stacktrace(error)),
        ("__streams.errors.topic", origin.topic.encode()),
        ("__streams.errors.partition", str(origin.partition).encode()),
        ("__streams.errors.offset", str(origin.offset).encode()),
    )


class Letter(NamedTuple):
    """A dead letter as it is written."""

    key: bytes | None
    value: bytes | None
    headers: Headers


#: What Kafka adds to a record and to the batch that it is alone in, and what headers about a cut take.
ROOM_BESIDE = 4_096
#: What the length fields of a header take at most.
_HEADER_BESIDE = 10


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return an upper bound of a record's size in bytes, without Kafka's overhead."""
    size = len(key or b"") + len(value or b"") + _HEADER_BESIDE * len(headers)
    for name, header in headers:
        size += (len(name) if name.isascii() else len(name.encode())) + len(header or b"")
    return size


def fitted(letter: Letter, ours: Headers, limit: int) -> Letter:
    """Return a dead letter that fits into its topic: whole, or cut and with headers that say so.

    The key and the headers get at most a quarter of the room each; the value gets the rest.

    Args:
        letter: the record as it came.
        ours: headers to append, which are never cut.
        limit: bytes that one batch of the topic may have.
    """
    room = limit - ROOM_BESIDE - size_of(None, None, ours)
    if size_of(*letter) <= room:
        return letter._replace(headers=(*letter.headers, *ours))
    key, notes = _cut("key_", letter.key, room // 4)
    headers = _first(letter.headers, room // 4)
    if len(headers) < len(letter.headers):
        notes += (("delivery.dead.headers", str(len(letter.headers)).encode()),)
    value, more = _cut("", letter.value, room - size_of(key, None, headers))
    return Letter(key, value, (*headers, *ours, *notes, *more))


def _cut(name: str, data: bytes | None, room: int) -> tuple[bytes | None, Headers]:
    if data is None or len(data) <= room:
        return data, ()
    size, digest = str(len(data)).encode(), sha256(data).hexdigest().encode()
    return data[:room], ((f"delivery.dead.{name}size", size), (f"delivery.dead.{name}sha256", digest))


def _first(headers: Headers, room: int) -> Headers:
    for number, header in enumerate(headers):
        room -= size_of(None, None, (header,))
        if room < 0:
            return headers[:number]
    return headers


def _stacktrace(error: BaseException | None) -> bytes:
    if error is None:
        return b""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines)[-_STACKTRACE_MAX:].encode(errors="replace")
