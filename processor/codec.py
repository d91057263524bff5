"""Bytes on the wire: events in, rows, counts and rejected transitions out.

The published form is schemas/*.json; tests/contract compares it with this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from processor.deadletter import DeadReason, RefusedError
from processor.domain.counts import DeliveryCounts
from processor.domain.event import MAX_AHEAD, Event, breach_of, breach_of_parts
from processor.domain.fold import contradicts
from processor.domain.moment import FIRST, LAST, Moment, to_microseconds, to_rfc3339
from processor.domain.reason import Reason
from processor.domain.row import ROW_LAYOUT, Names, NodeReason, Observation, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, NODE_OF_REPORT, NODE_PERMANENCE, NODE_STATUS, TRANSITIONS, Node
from processor.readback import UnreadableError, read_back, refuse_newer

_decode_event = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Row).decode
_unpack_items = msgspec.msgpack.Decoder(list[object]).decode
#: Rows as they were packed before layouts had versions: the same, without the version.
_unpack_without_version = msgspec.msgpack.Decoder(
    tuple[
        Channel,
        Node,
        Moment,
        int,
        tuple[Node, ...],
        Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)],
        Names,
        tuple[NodeReason, ...],
    ]
).decode


_MAX_AHEAD_MS = MAX_AHEAD // timedelta(milliseconds=1)


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
        event = _decode_event(value)
    except msgspec.ValidationError as error:
        raise RefusedError(DeadReason.INVALID_EVENT, str(error)) from None
    except UnicodeDecodeError as error:
        raise RefusedError(DeadReason.INVALID_ENCODING, str(error)) from None
    except msgspec.DecodeError as error:
        raise RefusedError(DeadReason.INVALID_JSON, str(error)) from None
    except RecursionError:
        raise RefusedError(DeadReason.INVALID_JSON, "nested too deeply") from None
    reason = event.reason
    # What `node_of` does, without the call: this runs for every event.
    node = NODE_OF_REPORT.get((event.channel, event.status, None if reason is None else reason.permanence))
    if node is None:
        raise RefusedError(DeadReason.INVALID_STATUS, breach_of(event))
    if (event.part is not None or event.parts is not None) and (breach := breach_of_parts(event)) is not None:
        raise RefusedError(DeadReason.INVALID_EVENT, breach)
    time = to_microseconds(event.time)
    if not FIRST <= time <= LAST:
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
    """Read what `pack_row` wrote, or a former version's did.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    try:
        return _unpack(packed)
    except msgspec.ValidationError:
        refuse_newer(read_back(_unpack_items, packed), ROW_LAYOUT)
        return Row(*read_back(_unpack_without_version, packed))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def _refuse_foreign_node(row: Row) -> None:
    # Nodes of another channel may well have been observed, and were rejected; no row stands at one.
    if row.node not in TRANSITIONS[row.channel]:
        raise UnreadableError(f"it stands at {NODE_NAMES[row.node]}, which {row.channel.value} does not have")


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
    #: What the fold remembers, as `pack_row` writes it; in base64. Recovery reads this and nothing else.
    memory: bytes
    #: Present when this record moved the status; null when there was none before.
    previous: Previous | msgspec.UnsetType | None = msgspec.UNSET


class _Memory(msgspec.Struct, frozen=True, gc=False):
    """The part of a RowRecord that recovery needs."""

    memory: bytes


_decode_row_record = msgspec.json.Decoder(RowRecord).decode
_decode_memory = msgspec.json.Decoder(_Memory).decode


def encode_row(message_id: str, row: Row, before: Row | None, packed: bytes | None = None) -> bytes:
    """Write a row for the messages topic.

    Args:
        message_id: whose row it is.
        row: the row after an event.
        before: the row before that event, or None when the message was not known.
        packed: what `pack_row` gives of the row, where the caller has it already.
    """
    node, names = row.node, row.names
    if before is None:
        previous: Previous | msgspec.UnsetType | None = None
    else:
        previous = msgspec.UNSET if before.node is node else _previous(before)
    return _encode(
        RowRecord(
            message_id,
            names.delivery_id,
            row.channel,
            NODE_STATUS[node],
            NODE_PERMANENCE[node],
            to_rfc3339(row.since),
            row.reason if row.reasons else None,
            tuple([NODE_NAMES[each] for each in row.rejected]) if row.rejected else (),
            row.attempt,
            names.recipient,
            names.provider,
            names.provider_message_id,
            pack_row(row) if packed is None else packed,
            previous,
        )
    )


def _previous(before: Row) -> Previous:
    return Previous(NODE_STATUS[before.node], NODE_PERMANENCE[before.node], to_rfc3339(before.since))


def decode_row_record(value: bytes) -> RowRecord:
    """Read a row as it was published.

    Raises:
        UnreadableError: the value is not one of ours.
    """
    record = read_back(_decode_row_record, value)
    _refuse_foreign_node(unpack_row(record.memory))
    return record


def packed_row_in(value: bytes) -> bytes:
    """Give the packed row of a record of the messages topic, which can be unpacked.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    packed = read_back(_decode_memory, value).memory
    _refuse_foreign_node(unpack_row(packed))
    return packed


def decode_row(value: bytes) -> Row:
    """Read back the row that `encode_row` published.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    return unpack_row(packed_row_in(value))


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


_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class CountsRecord(msgspec.Struct, frozen=True):
    """One partition's absolute counts for one delivery. A delivery's total is the sum over partitions.

    All maps but `statuses` hold what is not zero only.
    """

    delivery_id: str
    partition: _Number
    messages: _Number
    #: Messages that retention has removed are counted, here and in what follows.
    statuses: dict[Status, _Number]
    channels: dict[Channel, _Number] = {}
    failed: dict[str, _Number] = {}
    ignored: dict[str, _Number] = {}
    providers: dict[str, _Number] = {}
    first: str | None = None
    last: str | None = None
    canceled_at: str | None = None
    #: Whether all messages that there were when the delivery was cancelled have been told.
    is_cancel_done: bool = True
    expired: _Number = 0
    #: The rows that there are: without those that retention has removed.
    live: dict[Channel, dict[Status, _Number]] = {}
    #: Counts of another layout are not read, but worked out anew.
    layout: Literal[1] = 1


_decode_counts = msgspec.json.Decoder(CountsRecord).decode


def encode_counts(delivery_id: str, partition: int, counts: DeliveryCounts) -> tuple[bytes, bytes]:
    """Write key and value of one partition's counts for one delivery."""
    live = {channel: _by_status(numbers) for channel, numbers in counts.live.items()}
    record = CountsRecord(
        delivery_id,
        partition,
        counts.messages,
        dict(zip(Status, counts.statuses, strict=True)),
        {channel: number for channel, number in counts.channels.items() if number},
        counts.failed,
        counts.ignored,
        counts.providers,
        None if counts.first is None else to_rfc3339(counts.first),
        None if counts.last is None else to_rfc3339(counts.last),
        None if counts.canceled_at is None else to_rfc3339(counts.canceled_at),
        counts.is_cancel_done,
        counts.expired,
        {channel: numbers for channel, numbers in live.items() if numbers},
    )
    return counts_key(delivery_id, partition), _encode(record)


def _by_status(numbers: Sequence[int]) -> dict[Status, int]:
    return {status: number for status, number in zip(Status, numbers, strict=True) if number}


def decode_counts(value: bytes) -> CountsRecord:
    """Read counts as they were published.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    record = read_back(_decode_counts, value)
    for moment in (record.first, record.last, record.canceled_at):
        if moment is not None and not FIRST <= read_back(from_rfc3339, moment) <= LAST:
            raise UnreadableError(f"{moment} lies outside the years 1 to 9999 in UTC")
    for status in Status:
        if sum([numbers.get(status, 0) for numbers in record.live.values()]) > record.statuses.get(status, 0):
            raise UnreadableError(f"more messages are {status.value} than were counted so")
    return record


def decode_counts_of(value: bytes, key: bytes | None) -> CountsRecord:
    """Read the counts of a record of the counts topic.

    Raises:
        UnreadableError: the value is not one of ours, or of another delivery or partition than its key.
    """
    record = decode_counts(value)
    if key != counts_key(record.delivery_id, record.partition):
        raise UnreadableError(f"it says that it is of {record.delivery_id!r} in partition {record.partition}")
    return record


def counts_key(delivery_id: str, partition: int) -> bytes:
    """Give the key of one partition's counts for one delivery."""
    return f"{delivery_id}|{partition}".encode()


def to_counts(record: CountsRecord) -> DeliveryCounts:
    """Rebuild the counts that `encode_counts` published."""
    counts = DeliveryCounts()
    counts.statuses = [record.statuses.get(status, 0) for status in Status]
    counts.channels = {channel: record.channels.get(channel, 0) for channel in Channel}
    for channel, numbers in record.live.items():
        counts.live[channel] = [numbers.get(status, 0) for status in Status]
    counts.failed, counts.ignored, counts.providers = dict(record.failed), dict(record.ignored), dict(record.providers)
    counts.first, counts.last = _moment(record.first), _moment(record.last)
    counts.canceled_at, counts.is_cancel_done = _moment(record.canceled_at), record.is_cancel_done
    return counts


def _moment(text: str | None) -> int | None:
    return None if text is None else from_rfc3339(text)


def from_rfc3339(text: str) -> int:
    """Read a moment that `to_rfc3339` wrote, as microseconds since the epoch."""
    return to_microseconds(msgspec.convert(text, datetime))


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
