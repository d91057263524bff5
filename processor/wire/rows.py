"""Rows on the wire: as published, as packed in a store, and as printed by `fold` and `export`.

The published form is schemas/row.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from processor.domain.moment import FIRST, LAST, to_rfc3339
from processor.domain.reason import ERASED, Reason
from processor.domain.row import AT_ONCE, FIRST_OF_PARTS, NODE_BITS, ROW_LAYOUT, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, NODE_PERMANENCE, NODE_STATUS, TRANSITIONS, Node
from processor.wire.former_rows import FormerRow, Unversioned
from processor.wire.readback import UnreadableError, read_back, refuse_newer

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Row | FormerRow).decode
_unpack_items = msgspec.msgpack.Decoder(list[object]).decode
_unpack_unversioned = msgspec.msgpack.Decoder(Unversioned).decode

#: By node, the channels that have it. Members of enumerations are slow keys of dictionaries.
_CHANNELS_WITH = tuple(tuple(channel for channel in Channel if node in TRANSITIONS[channel]) for node in Node)

#: The spots of whole messages.
_SPOTS = frozenset(attempt << NODE_BITS | node for attempt in range(1, 100) for node in Node)

#: The first spot that is of no part.
_BEYOND_PARTS = FIRST_OF_PARTS << 8


def pack_row(row: Row) -> bytes:
    """Pack a row into the compact form of the store."""
    return _pack(row)


def unpack_row(packed: bytes) -> Row:
    """Unpack what `pack_row`, of this version or an older one, wrote.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    try:
        row = _unpack(packed)
    except msgspec.ValidationError:
        refuse_newer(read_back(_unpack_items, packed), ROW_LAYOUT)
        return FormerRow(*read_back(_unpack_unversioned, packed)).row()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
    return row if type(row) is Row else row.row()


def _refuse_impossible(row: Row) -> None:
    """Refuse what the types let pass.

    Raises:
        UnreadableError: no fold has made this row.
    """
    # Nodes of another channel may well have been observed, and were rejected; no row stands at one.
    if row.channel not in _CHANNELS_WITH[row.node]:
        raise UnreadableError(f"it stands at {NODE_NAMES[row.node]}, which {row.channel.value} does not have")
    seen, first = row.seen, row.since - row.age
    is_usual = _SPOTS.issuperset(seen[::3]) and first >= FIRST and first + 2 * max(seen) <= LAST and not row.names.after
    if len(seen) % 3 or not (is_usual or _is_possible(row)):
        raise UnreadableError("what was observed, or when, is nothing that can be")


def _is_possible(row: Row) -> bool:
    """Return whether spots are those of some node in some attempt, and times those of the calendar."""
    if len(row.names.after) not in {0, len(AT_ONCE)}:
        return False
    times = [row.first, *(row.first + after for after in row.names.after)]
    for spot, after, lasted in zip(row.seen[::3], row.seen[1::3], row.seen[2::3], strict=True):
        if spot & (FIRST_OF_PARTS - 1) not in _SPOTS or spot >= _BEYOND_PARTS:
            return False
        times.append(row.first + after + lasted)
    return min(times) >= FIRST and max(times) <= LAST


class Previous(msgspec.Struct, frozen=True, gc=False):
    """The status of a message before it moved."""

    status: Status
    permanence: Permanence | None
    since: str


class RowRecord(msgspec.Struct, frozen=True, gc=False):
    """A row as it is published: readable fields first, then the state of the fold."""

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
    #: The state of the fold as `pack_row` writes it, in base64; recovery reads nothing else.
    memory: bytes
    #: Present if this record moved the status; null if the message is new.
    previous: Previous | msgspec.UnsetType | None = msgspec.UNSET


class _Memory(msgspec.Struct, frozen=True, gc=False):
    """The part of a RowRecord that recovery needs."""

    memory: bytes


_decode_row_record = msgspec.json.Decoder(RowRecord).decode
_decode_memory = msgspec.json.Decoder(_Memory).decode


#: By node, what a record says of it: texts, which are written sooner than members of enumerations.
_STATUS: tuple[Any, ...] = tuple(status.value for status in NODE_STATUS)
_PERMANENCE: tuple[Any, ...] = tuple(each and each.value for each in NODE_PERMANENCE)
_UNSET = msgspec.UNSET


def encode_row(message_id: str, row: Row, before: Row | None, packed: bytes | None = None) -> bytes:
    """Write a row for the messages topic.

    Args:
        message_id: whose row it is.
        row: the row after an event.
        before: the row before that event, or None when the message was not known.
        packed: the row as `pack_row` returns it, if the caller already has it.
    """
    # Without calls and members of enumerations, which are slow to write: this runs for every event.
    node, names = row.node, row.names
    recipient = names.recipient
    if before is None:
        previous: Previous | msgspec.UnsetType | None = None
    elif (old := before.node) is node:
        previous = _UNSET
    else:
        previous = Previous(_STATUS[old], _PERMANENCE[old], to_rfc3339(before.since))
    return _encode(
        RowRecord(
            message_id,
            names.delivery_id,
            row.channel,
            _STATUS[node],
            _PERMANENCE[node],
            to_rfc3339(row.since),
            row.reason if row.reasons else None,
            tuple([NODE_NAMES[each] for each in row.rejected]) if row.rejected else (),
            row.attempt,
            None if recipient == ERASED else recipient,
            names.provider,
            names.provider_message_id,
            pack_row(row) if packed is None else packed,
            previous,
        )
    )


def previous_of(before: Row) -> Previous:
    """Return the status of a message, for the record that moves it."""
    return Previous(NODE_STATUS[before.node], NODE_PERMANENCE[before.node], to_rfc3339(before.since))


def decode_row_record(value: bytes) -> RowRecord:
    """Read a row as it was published.

    Raises:
        UnreadableError: the value is not one of ours.
    """
    record = read_back(_decode_row_record, value)
    _refuse_impossible(unpack_row(record.memory))
    return record


def row_in(value: bytes) -> tuple[bytes, Row]:
    """Return the row of a record of the messages topic, packed in the present layout, and unpacked.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    packed = read_back(_decode_memory, value).memory
    row = unpack_row(packed)
    _refuse_impossible(row)
    # The layout follows the byte that says how many items there are.
    return (packed if packed[1] == ROW_LAYOUT else pack_row(row)), row


def packed_rows_in(values: Iterable[bytes]) -> list[bytes]:
    """Return the packed rows of many records of the messages topic, checked as by `row_in`, in less time for each.

    Raises:
        UnreadableError: at least one of them is not ours, or a newer version wrote it.
    """
    try:
        memories = [each.memory for each in map(_decode_memory, values)]
        rows = list(map(_unpack, memories))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
    for number, found in enumerate(rows):
        if type(found) is Row:
            _refuse_impossible(found)
        else:
            row = found.row()
            _refuse_impossible(row)
            memories[number] = pack_row(row)
    return memories


def packed_row_in(value: bytes) -> bytes:
    """Return the packed row of a record of the messages topic, after checking that it can be unpacked.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    return row_in(value)[0]


def decode_row(value: bytes) -> Row:
    """Read the row that `encode_row` wrote.

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
