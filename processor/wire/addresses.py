"""Addresses on the wire: their keyed hashes, what is seen of them on its way to their partition, and their conditions.

No record has an address, only its hash under DELIVERY_ADDRESSES_KEY. The published forms are schemas/address.json and
schemas/releases.json.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from processor.domain.addresses import (
    ADDRESS_LAYOUT,
    KIND_NAMES,
    Address,
    Condition,
    Error,
    Kind,
    Objection,
    Sighting,
    State,
    Window,
)
from processor.domain.moment import Micros, Moment, to_rfc3339
from processor.domain.reason import Category
from processor.domain.status import Channel
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.decoding import decode_json
from processor.wire.readback import UnreadableError, read_back, refuse_newer

#: The key of the record that has the released windows of one partition.
RELEASES_KEY = b"releases"

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


# What is seen of addresses, in recipients.v1

#: Keys of addresses, each with a comma behind it: all of a record are checked at once, since they are many.
_KEYS = re.compile(r"(?:(?:email|sms)\|[0-9a-f]{32},)*")


class Seen(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A sighting, and the key of its address."""

    key: str
    sighting: Sighting


class SeenRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is seen of some addresses of one partition."""

    #: Addresses that messages have reached, and when: by far the most of what is seen.
    reached: tuple[str, ...] = ()
    times: tuple[Moment, ...] = ()
    #: All else.
    seen: tuple[Seen, ...] = ()
    #: Windows that an operator has released: each partition is told of all.
    released: tuple[Window, ...] = ()


_seen_decoder = msgspec.json.Decoder(SeenRecord)


def encode_seen(seen: SeenRecord) -> bytes:
    """Write what is seen of addresses."""
    return _encode(seen)


def decode_seen(value: bytes) -> SeenRecord:
    """Read what `encode_seen` wrote.

    Raises:
        UnusableError: it is none of ours.
    """
    record = decode_json(_seen_decoder, value, DeadReason.INVALID_EVENT)
    if len(record.reached) != len(record.times):
        raise UnusableError(DeadReason.INVALID_EVENT, "it has not one time for each address that was reached")
    keys = [*record.reached, *[each.key for each in record.seen]]
    if keys and not _KEYS.fullmatch(",".join(keys) + ","):
        raise UnusableError(DeadReason.INVALID_EVENT, "it has a key that is no channel and hash")
    return record


def keys_of(seen: SeenRecord) -> list[str]:
    """Return the addresses of a record, each once."""
    return list(dict.fromkeys((*seen.reached, *(each.key for each in seen.seen))))


def split(seen: SeenRecord, keys: Collection[str]) -> tuple[SeenRecord, SeenRecord]:
    """Return what a record has of some addresses, and the rest of it."""
    reached = list(zip(seen.reached, seen.times, strict=True))
    theirs = [each for each in reached if each[0] in keys]
    others = [each for each in reached if each[0] not in keys]
    return (
        SeenRecord(
            tuple(key for key, _ in theirs),
            tuple(time for _, time in theirs),
            tuple(each for each in seen.seen if each.key in keys),
        ),
        SeenRecord(
            tuple(key for key, _ in others),
            tuple(time for _, time in others),
            tuple(each for each in seen.seen if each.key not in keys),
            seen.released,
        ),
    )


# Conditions, in addresses.v1


class ReasonRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One piece of evidence: an error that counted, or an objection."""

    time: str
    kind: str
    category: Category | None = None
    code: str | None = None


class AddressRecord(msgspec.Struct, frozen=True, gc=False):
    """An address as it is published: readable fields first, then the state for recovery."""

    channel: Channel
    hash: str
    domain: str | None
    state: State
    since: str | None
    until: str | None
    reasons: tuple[ReasonRecord, ...]
    memory: Address


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """The part of an AddressRecord that recovery reads."""

    state: State
    memory: msgspec.Raw


class ReleasesRecord(msgspec.Struct, frozen=True, gc=False):
    """The windows that are released in one partition."""

    releases: tuple[Window, ...]


class Known(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a store has of an address: its memory, and the state that was published last."""

    state: State
    memory: Address


#: An address of which nothing is known but when it was last reached. Most are so, and a template takes a third of the
#: time.
_REACHED = (
    b'{"channel":"%b","hash":"%b","domain":null,"state":"valid","since":"%b","until":null,"reasons":[],'
    b'"memory":[%d,%d,null,null,[],null]}'
)

_decode_kept = msgspec.json.Decoder(_Kept).decode
_decode_memory = msgspec.json.Decoder(Address).decode
_decode_items = msgspec.json.Decoder(list[object]).decode
_decode_record = msgspec.json.Decoder(AddressRecord).decode
_decode_releases = msgspec.json.Decoder(ReleasesRecord).decode
_unpack_known = msgspec.msgpack.Decoder(Known).decode
_unpack_items = msgspec.msgpack.Decoder(tuple[State, list[object]]).decode


def reasons_of(condition: Condition) -> tuple[ReasonRecord, ...]:
    """Return the evidence of a condition as it is told."""
    return tuple(map(_reason_of, condition.reasons))


def _reason_of(reason: Error | Objection) -> ReasonRecord:
    if isinstance(reason, Objection):
        return ReasonRecord(to_rfc3339(reason.time), KIND_NAMES[reason.kind])
    kind = Kind.HARD if reason.is_hard else Kind.SOFT
    return ReasonRecord(to_rfc3339(reason.time), KIND_NAMES[kind], reason.category, reason.code or None)


def _written(moment: Micros | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def record_of(key: str, address: Address, condition: Condition) -> AddressRecord:
    """Return an address as it is published."""
    channel, _, hashed = key.partition("|")
    return AddressRecord(
        Channel(channel),
        hashed,
        address.domain,
        condition.state,
        _written(condition.since),
        _written(condition.until),
        reasons_of(condition) if condition.reasons else (),
        address,
    )


def encode_address(key: str, address: Address, condition: Condition) -> bytes:
    """Write an address for the addresses topic."""
    return _encode(record_of(key, address, condition))


def encode_reached(key: bytes, time: Micros) -> bytes:
    """Write an address of which nothing is known but when it was last reached: what `encode_address` would write."""
    channel, _, hashed = key.partition(b"|")
    return _REACHED % (channel, hashed, to_rfc3339(time).encode(), ADDRESS_LAYOUT, time)


def decode_address(value: bytes) -> AddressRecord:
    """Read an address as it was published.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    known_in(value)
    return read_back(_decode_record, value)


def known_in(value: bytes) -> Known:
    """Return what a record of the addresses topic has of an address.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    kept = read_back(_decode_kept, value)
    memory = bytes(kept.memory)
    try:
        return Known(kept.state, _decode_memory(memory))
    except msgspec.ValidationError as error:
        refuse_newer(read_back(_decode_items, memory), ADDRESS_LAYOUT)
        raise UnreadableError(str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def encode_releases(windows: tuple[Window, ...]) -> bytes:
    """Write the released windows of one partition."""
    return _encode(ReleasesRecord(windows))


def decode_releases(value: bytes) -> tuple[Window, ...]:
    """Read what `encode_releases` wrote.

    Raises:
        UnreadableError: the value is not one of ours.
    """
    return read_back(_decode_releases, value).releases


def pack_known(known: Known) -> bytes:
    """Pack an address into the compact form of the store."""
    address = known.memory
    if address.success is not None and address == Address(success=address.success):
        return pack_reached(address.success)
    return _pack(known)


def pack_reached(time: Micros) -> bytes:
    """Pack an address of which nothing is known but when it was last reached."""
    return b"%d" % time


def reached_in(packed: bytes) -> Micros | None:
    """Return when an address was last reached of which nothing else is known; None: more is known of it."""
    # Digits, or a minus before them; what MessagePack writes of an array begins otherwise.
    return Micros(int(packed)) if packed[0] < _FIRST_OF_ARRAY else None


#: The least byte that an array of MessagePack begins with.
_FIRST_OF_ARRAY = 0x90


def unpack_known(packed: bytes) -> Known:
    """Unpack what `pack_known` wrote.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    if (reached := reached_in(packed)) is not None:
        return Known(State.VALID, Address(success=reached))
    try:
        return _unpack_known(packed)
    except msgspec.ValidationError as error:
        refuse_newer(read_back(_unpack_items, packed)[1], ADDRESS_LAYOUT)
        raise UnreadableError(str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
