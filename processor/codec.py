"""Bytes on the wire: events in, rows, counts and rejected transitions out.

The published form is schemas/*.json; tests/contract compares it with this file.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from processor.deadletter import DeadReason, RefusedError
from processor.domain.event import MAX_AHEAD, Event, breach_of, node_of
from processor.domain.fold import contradicts
from processor.domain.moment import EPOCH, to_microseconds, to_rfc3339
from processor.domain.reason import Reason
from processor.domain.row import Claim, NodeReason, Observation, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, NODE_PERMANENCE, NODE_STATUS, Node

_event_decoder = msgspec.json.Decoder(Event)
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Row).decode

_MAX_AHEAD_MS = MAX_AHEAD // timedelta(milliseconds=1)
#: The first and the last moment that rows can be written with: the years 1 to 9999, in UTC.
_FIRST = to_microseconds(datetime.min.replace(tzinfo=timezone.utc))
_LAST = to_microseconds(datetime.max.replace(tzinfo=timezone.utc))
_NODE_BY_NAME = {name: Node(rank) for rank, name in enumerate(NODE_NAMES)}


def decode_event(value: bytes | None, record_ms: int | None) -> tuple[Event, Node, int]:
    """Decode and check one canonical event.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            leaves the rule about times ahead aside.

    Returns:
        The event, the node that it reports, and its time in microseconds.

    Raises:
        RefusedError: the event breaks the contract of docs/events.md; it says how.
    """
    if value is None:
        raise RefusedError(DeadReason.NULL_VALUE, "the record has no value")
    if not value:
        raise RefusedError(DeadReason.EMPTY_VALUE, "the record's value has no bytes")
    try:
        # msgspec does not read what it skips, and an unknown field goes on to the rejected topic as it came.
        if not value.isascii():
            value.decode()
        event = _event_decoder.decode(value)
    except msgspec.ValidationError as error:
        raise RefusedError(DeadReason.INVALID_EVENT, str(error)) from None
    except UnicodeDecodeError as error:
        raise RefusedError(DeadReason.INVALID_ENCODING, str(error)) from None
    except msgspec.DecodeError as error:
        raise RefusedError(DeadReason.INVALID_JSON, str(error)) from None
    except RecursionError:
        raise RefusedError(DeadReason.INVALID_JSON, "nested too deeply") from None
    node = node_of(event)
    if node is None:
        raise RefusedError(DeadReason.INVALID_STATUS, breach_of(event))
    time = to_microseconds(event.time)
    if not _FIRST <= time <= _LAST:
        detail = f"the event time {event.time.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.time`"
        raise RefusedError(DeadReason.INVALID_EVENT, detail)
    if record_ms is not None and record_ms >= 0 and time > (record_ms + _MAX_AHEAD_MS) * 1000:
        detail = f"the event time {event.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise RefusedError(DeadReason.TIME_AHEAD, detail)
    return event, node, time


def encode_event(event: Event) -> bytes:
    """Write a canonical event as JSON."""
    return _encode(event)


def pack_row(row: Row) -> bytes:
    """Write a row as compactly as it is kept in memory."""
    return _pack(row)


def unpack_row(packed: bytes) -> Row:
    """Read what `pack_row` wrote."""
    return _unpack(packed)


class Previous(msgspec.Struct, frozen=True, gc=False):
    """Where a message stood before its status moved."""

    status: Status
    permanence: Permanence | None
    since: str


class RowRecord(msgspec.Struct, frozen=True, gc=False):
    """A row as it is published: what people read first, then what the fold remembers."""

    message_id: str
    delivery_id: str | None
    channel: Channel
    status: Status
    permanence: Permanence | None
    since: str
    reason: Reason | None
    rejected: tuple[str, ...]
    attempt: int
    recipient: str | None
    provider: str | None
    provider_message_id: str | None
    #: (node, attempt, first, last): microseconds since the epoch.
    observations: tuple[tuple[str, int, int, int], ...]
    #: When delivery_id, recipient, provider, provider_message_id were first named (microseconds); null: were not.
    named: tuple[int | None, int | None, int | None, int | None]
    #: (node, time, reason)
    reasons: tuple[tuple[str, int, Reason], ...]
    #: Present when this record moved the status; null when there was none before.
    previous: Previous | msgspec.UnsetType | None = msgspec.UNSET


_row_decoder = msgspec.json.Decoder(RowRecord)


def encode_row(message_id: str, row: Row, before: Row | None) -> bytes:
    """Write a row for the messages topic.

    Args:
        message_id: whose row it is.
        row: the row after an event.
        before: the row before that event, or None when the message was not known.
    """
    if before is None:
        previous: Previous | msgspec.UnsetType | None = None
    else:
        previous = msgspec.UNSET if before.node is row.node else _previous(before)
    delivery_id, recipient = row.delivery_id, row.recipient
    provider, provider_message_id = row.provider, row.provider_message_id
    return _encode(
        RowRecord(
            message_id,
            None if delivery_id is None else delivery_id.value,
            row.channel,
            NODE_STATUS[row.node],
            NODE_PERMANENCE[row.node],
            to_rfc3339(row.since),
            row.reason if row.reasons else None,
            tuple([NODE_NAMES[node] for node in row.rejected]) if row.rejected else (),
            row.attempt,
            None if recipient is None else recipient.value,
            None if provider is None else provider.value,
            None if provider_message_id is None else provider_message_id.value,
            tuple([(NODE_NAMES[at.node], at.attempt, at.first, at.last) for at in row.observations]),
            (
                None if delivery_id is None else delivery_id.time,
                None if recipient is None else recipient.time,
                None if provider is None else provider.time,
                None if provider_message_id is None else provider_message_id.time,
            ),
            tuple([(NODE_NAMES[given.node], given.time, given.reason) for given in row.reasons]) if row.reasons else (),
            previous,
        )
    )


def _previous(before: Row) -> Previous:
    return Previous(NODE_STATUS[before.node], NODE_PERMANENCE[before.node], to_rfc3339(before.since))


def decode_row_record(value: bytes) -> RowRecord:
    """Read a row as it was published.

    Raises:
        msgspec.DecodeError: the value is not one of ours.
    """
    return _row_decoder.decode(value)


def to_row(record: RowRecord) -> Row:
    """Rebuild the row that `encode_row` published."""
    observations = tuple(
        [Observation(attempt, _NODE_BY_NAME[name], first, last) for name, attempt, first, last in record.observations]
    )
    node = _NODE_BY_NAME["failed_gave_up" if record.permanence is Permanence.GAVE_UP else record.status.value]
    return Row(
        record.channel,
        node,
        from_rfc3339(record.since),
        record.attempt,
        tuple([_NODE_BY_NAME[name] for name in record.rejected]),
        observations,
        _claim(record.delivery_id, record.named[0]),
        _claim(record.recipient, record.named[1]),
        _claim(record.provider, record.named[2]),
        _claim(record.provider_message_id, record.named[3]),
        tuple([NodeReason(_NODE_BY_NAME[name], time, reason) for name, time, reason in record.reasons]),
    )


def _claim(value: str | None, time: int | None) -> Claim | None:
    return None if value is None or time is None else Claim(time, value)


def from_rfc3339(text: str) -> int:
    """Read a moment that `to_rfc3339` wrote, as microseconds since the epoch."""
    return (msgspec.convert(text, datetime) - EPOCH) // timedelta(microseconds=1)


class FoldedRow(msgspec.Struct, frozen=True):
    """A row as `fold` and `export` print it."""

    message_id: str
    delivery_id: str | None
    channel: Channel
    status: Status
    permanence: Permanence | None
    since: str
    reason: Reason | None
    rejected: tuple[str, ...]
    attempt: int


def encode_folded(message_id: str, row: Row) -> bytes:
    """Write a row in the format of `fold` and `export`; `rejected` is sorted by name."""
    return _encode(
        FoldedRow(
            message_id,
            row.delivery or None,
            row.channel,
            row.status,
            row.permanence,
            to_rfc3339(row.since),
            row.reason,
            tuple(sorted(NODE_NAMES[node] for node in row.rejected)),
            row.attempt,
        )
    )


class CountsRecord(msgspec.Struct, frozen=True):
    """One partition's absolute counts for one delivery. A delivery's total is the sum over partitions."""

    delivery_id: str
    partition: int
    messages: int
    statuses: dict[Status, int]


_counts_decoder = msgspec.json.Decoder(CountsRecord)


def encode_counts(delivery_id: str, partition: int, statuses: dict[Status, int]) -> tuple[bytes, bytes]:
    """Write key and value of one partition's counts for one delivery."""
    record = CountsRecord(delivery_id, partition, sum(statuses.values()), statuses)
    return f"{delivery_id}|{partition}".encode(), _encode(record)


def decode_counts(value: bytes) -> CountsRecord:
    """Read counts as they were published.

    Raises:
        msgspec.DecodeError: the value is not one of ours.
    """
    return _counts_decoder.decode(value)


def encode_rejected(event: bytes, row: Row, node: Node) -> bytes:
    """Write an event whose effect was withheld, where its message stands, and the rule."""
    standing = NODE_NAMES[row.node]
    foreign = "" if contradicts(row.channel, row.node, node) else " at its place in time"
    record: dict[str, Any] = {
        "event": msgspec.Raw(event),
        "row": _previous(row),
        "from": standing,
        "to": NODE_NAMES[node],
        "rule": f"on {row.channel.value}, {NODE_NAMES[node]} may neither follow nor precede {standing}{foreign}",
    }
    return _encode(record)
