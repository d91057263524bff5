"""Links and receipts on the wire: links as anybody publishes them, and both as they lie side by side in receipts.v1.

The published form of a link is schemas/link.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from processor.domain.event import MAX_NAME, MAX_PARTS
from processor.domain.links import Link
from processor.domain.moment import FIRST, LAST, Millis, to_microseconds, to_rfc3339
from processor.wire.deadletters import DeadReason, Headers, UnusableError
from processor.wire.decoding import decode_json, is_ahead

#: The header of a record in events.v1 which says that a provisional row is another message's: its id.
MOVED_HEADER = "delivery.moved_to"

#: The header of one which says that the record of such a move has expired.
FORGOTTEN_HEADER = "delivery.forgotten"

#: The header of one which says that an event of before was another message's; the value is that event.
TAKEN_BACK_HEADER = "delivery.taken_back"

#: The header that tells links from receipts in receipts.v1.
KIND_HEADER, LINK = "delivery.kind", b"link"
LINK_HEADERS: Headers = ((KIND_HEADER, LINK),)

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]


class LinkRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """That a provider's id is a message of ours, from a moment on."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    provider: _Name
    provider_message_id: _Name
    message_id: _Name
    #: Which account or SMS centre of the provider; None: there is but one.
    account: _Name | None = None
    delivery_id: _Name | None = None
    #: Whom it is about, where the provider's id covers several recipients.
    recipient: _Name | None = None
    part: _Number | None = None
    parts: _Number | None = None


_link_decoder = msgspec.json.Decoder(LinkRecord)
_encode = msgspec.json.Encoder().encode


def decode_link(value: bytes | None, record_ms: Millis | None) -> LinkRecord:
    """Decode and check one link.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None, or a negative one, skips the check for times
            ahead.

    Raises:
        UnusableError: the record breaks the contract of docs/links.md; it says how.
    """
    if value is None:
        raise UnusableError(DeadReason.NULL_VALUE, "the record has no value")
    link = decode_json(_link_decoder, value, DeadReason.INVALID_LINK)
    if link.part is not None and link.parts is not None and link.part > link.parts:
        raise UnusableError(DeadReason.INVALID_LINK, f"part {link.part} of {link.parts} parts")
    time = to_microseconds(link.time)
    if not FIRST <= time <= LAST:
        detail = f"the time {link.time.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.time`"
        raise UnusableError(DeadReason.INVALID_LINK, detail)
    if is_ahead(time, record_ms):
        detail = f"the time {link.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise UnusableError(DeadReason.TIME_AHEAD, detail)
    return link


def encode_link(link: LinkRecord) -> bytes:
    """Write a link as JSON."""
    return _encode(link)


def to_link(record: LinkRecord, recipient: str | None) -> Link:
    """Return what is kept of a link; the recipient is given in the form that ids are compared in."""
    return Link(
        to_microseconds(record.time),
        record.message_id,
        recipient,
        record.delivery_id,
        record.part,
        record.parts,
    )


class MovedRecord(msgspec.Struct, frozen=True, gc=False):
    """That a provisional row is gone, and whose message it was: in events.v1 an order, in messages.v1 the outcome."""

    message_id: _Name
    moved_to: _Name


_moved_decoder = msgspec.json.Decoder(MovedRecord)


def encode_moved(message_id: str, moved_to: str) -> bytes:
    """Write that a provisional row is another message's."""
    return _encode(MovedRecord(message_id, moved_to))


def decode_moved(value: bytes | None) -> MovedRecord:
    """Decode what `encode_moved` wrote.

    Raises:
        UnusableError: it is none.
    """
    if value is None:
        raise UnusableError(DeadReason.NULL_VALUE, "the record has no value")
    return decode_json(_moved_decoder, value, DeadReason.INVALID_EVENT)


def encode_contradiction(native_key: str, loser: Link, links: Iterable[Link]) -> bytes:
    """Write, as evidence, a link that lost against another one of the same moment."""
    kept = next(each for each in links if (each.time, each.recipient) == (loser.time, loser.recipient))
    record = {
        "native_key": native_key,
        "link": {"message_id": loser.message_id, "time": to_rfc3339(loser.time)},
        "kept": {"message_id": kept.message_id, "time": to_rfc3339(kept.time)},
        "rule": "of two links of one id and one moment, the one with the smaller message id is believed",
    }
    return _encode(record)


#: How the value of a row that was moved begins; a row's own fields go on otherwise.
_MOVED = re.compile(rb'\{"message_id":"(?:[^"\\]|\\.)*","moved_to":')


def is_moved(value: bytes) -> bool:
    """Return whether a record of the messages topic says that a provisional row was moved."""
    return _MOVED.match(value) is not None


def is_link(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Return whether a record among the receipts is a link."""
    return any(name == KIND_HEADER and value == LINK for name, value in headers)


_ORDERS = frozenset({MOVED_HEADER, FORGOTTEN_HEADER, TAKEN_BACK_HEADER})


def order_in(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Return the header by which a record among the events is an order about links; None: it is none."""
    return next((name for name, _ in headers if name in _ORDERS), None)
