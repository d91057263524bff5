"""Rows on the wire: as published, as packed in a store, and as printed by `fold` and `export`.

The published form is schemas/row.json.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from processor.domain.moment import Moment, to_rfc3339
from processor.domain.reason import Reason
from processor.domain.row import ROW_LAYOUT, Names, NodeReason, Observation, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, NODE_PERMANENCE, NODE_STATUS, TRANSITIONS, Node
from processor.wire.readback import UnreadableError, read_back, refuse_newer

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


def pack_row(row: Row) -> bytes:
    """Pack a row into the compact form of the store."""
    return _pack(row)


def unpack_row(packed: bytes) -> Row:
    """Unpack what `pack_row`, of this version or an older one, wrote.

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


def encode_row(message_id: str, row: Row, before: Row | None, packed: bytes | None = None) -> bytes:
    """Write a row for the messages topic.

    Args:
        message_id: whose row it is.
        row: the row after an event.
        before: the row before that event, or None when the message was not known.
        packed: the row as `pack_row` returns it, if the caller already has it.
    """
    node, names = row.node, row.names
    if before is None:
        previous: Previous | msgspec.UnsetType | None = None
    else:
        previous = msgspec.UNSET if before.node is node else previous_of(before)
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
            names.shown_recipient,
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
    _refuse_foreign_node(unpack_row(record.memory))
    return record


def row_in(value: bytes) -> tuple[bytes, Row]:
    """Return the row of a record of the messages topic, packed as it is there, and unpacked.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    packed = read_back(_decode_memory, value).memory
    row = unpack_row(packed)
    _refuse_foreign_node(row)
    return packed, row


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
