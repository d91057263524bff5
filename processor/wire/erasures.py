"""Erasures on the wire: as they are asked for in control.v1 and kept in erasures.v1, and what partitions have done.

The address itself is in none of them, only a keyed hash. The published forms are schemas/erasure.json and
schemas/erased.json.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from processor.domain.moment import FIRST, LAST, Millis, to_microseconds
from processor.wire.deadletters import DeadReason, Headers, UnusableError
from processor.wire.decoding import decode_json, is_ahead

#: The header that tells an erasure from the other control records.
KIND_HEADER, ERASURE = "delivery.kind", b"erasure"
ERASURE_HEADERS: Headers = ((KIND_HEADER, ERASURE),)

_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class ErasureRecord(msgspec.Struct, frozen=True, gc=False):
    """That what is told of a recipient is to be erased, by the keyed hash of the address."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    erasure_id: _Hex
    #: The key of the hash, and the hash, in hexadecimal digits. Erasures share a key: one hash tells of all.
    key: _Hex
    hash: _Hex


class ErasedRecord(msgspec.Struct, frozen=True, gc=False):
    """That one partition of a stage has erased what it knew when it heard of an erasure."""

    erasure_id: _Hex
    stage: str
    partition: Annotated[int, msgspec.Meta(ge=0)]
    #: From how many rows, or native keys, something was removed.
    erased: Annotated[int, msgspec.Meta(ge=0)]


_erasure_decoder = msgspec.json.Decoder(ErasureRecord)
_decode_erased = msgspec.json.Decoder(ErasedRecord).decode
_encode = msgspec.json.Encoder().encode


def encode_erasure(erasure: ErasureRecord) -> bytes:
    """Write an erasure as JSON."""
    return _encode(erasure)


def decode_erasure(value: bytes, record_ms: Millis | None) -> ErasureRecord:
    """Decode and check one erasure.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None skips the check for times ahead.

    Raises:
        UnusableError: it is none; it says how.
    """
    erasure = decode_json(_erasure_decoder, value, DeadReason.INVALID_CONTROL)
    time = to_microseconds(erasure.time)
    if not FIRST <= time <= LAST:
        detail = f"the time {erasure.time.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.time`"
        raise UnusableError(DeadReason.INVALID_CONTROL, detail)
    if is_ahead(time, record_ms):
        detail = f"the time {erasure.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise UnusableError(DeadReason.TIME_AHEAD, detail)
    return erasure


def is_erasure(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Return whether a control record asks for an erasure."""
    return any(name == KIND_HEADER and value == ERASURE for name, value in headers)


def encode_erased(erased: ErasedRecord) -> tuple[bytes, bytes]:
    """Write key and value of what one partition has done."""
    return done_key(erased.erasure_id, erased.stage, erased.partition), _encode(erased)


def done_key(erasure_id: str, stage: str, partition: int) -> bytes:
    """Return the key of what one partition of a stage says about an erasure."""
    return f"{erasure_id}|{stage}|{partition}".encode()


def decode_kept(key: bytes, value: bytes) -> ErasureRecord | ErasedRecord:
    """Decode a record of erasures.v1.

    Raises:
        UnusableError: it is none of ours.
    """
    if b"|" not in key:
        return decode_erasure(value, None)
    try:
        erased = _decode_erased(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError(DeadReason.INVALID_CONTROL, str(error)) from None
    if done_key(erased.erasure_id, erased.stage, erased.partition) != key:
        raise UnusableError(DeadReason.INVALID_CONTROL, "its key is another's")
    return erased
