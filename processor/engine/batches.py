"""Read the batches of a fetch so that no content can stop the reader or make it skip other records silently.

aiokafka's C code reads well-formed batches at full speed. A batch on which it raises is read again here, slowly and
record by record. An unreadable record, and an unreadable batch, become an `UnreadableRecord` in their place, with their
bytes and the problem.

A broker refuses most damaged data when it is produced, but not all: header names that are not text, wrong offsets,
wrong record lengths in a compressed batch, bytes after a compressed stream. The rest (a wrong checksum, an unknown
codec) takes a faulty disk or a broker that is not Kafka's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import decode_varint_py as decode_varint

from processor.domain.moment import NO_TIMESTAMP, Millis
from processor.engine.expand import EXPANDED_MAX, TooLargeError, expand
from processor.engine.stage import Record, UnreadableRecord
from processor.logs import get_logger
from processor.wire.deadletters import FORM_HEADER, NAME_HEADER, DeadReason, Headers, UnusableError

log = get_logger(__name__)

#: The head of a batch since message format 2, up to its records.
_HEAD = struct.Struct(">qiibIhiqqqhii")
#: Every format begins with an offset, and says which it is at the same place.
_OFFSET = struct.Struct(">q")
_MAGIC_AT = 16
#: Where it says how long it is, and where what it counts begins.
_LENGTH, _LENGTH_AT, _LENGTH_END = struct.Struct(">i"), 8, 12
_MESSAGE_FORMAT = 2
#: Where the attributes lie in it; their bits for the codec and the kind of its timestamps.
_ATTRIBUTES = struct.Struct(">h")
_ATTRIBUTES_AT = 21
_CODEC_BITS = 0x07
_APPEND_TIME_BIT = 0x08
#: The same for older formats, which nobody can publish any more, but old logs may hold: there a compressed batch is
#: the value of a message, behind its key and, since format 1, its timestamp.
_OLD_ATTRIBUTES_AT = 17
_OLD_KEY_AT = (18, 26)

#: Records of one batch that are put aside one by one; what else is wrong in it, its own bytes tell.
_UNREADABLE_MAX = 1_000

_FORM_RECORD, _FORM_BATCH = ((FORM_HEADER, b"record"),), ((FORM_HEADER, b"batch"),)


class _Plain(NamedTuple):
    """A good record that was read slowly."""

    offset: int
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Head(NamedTuple):
    """The header of a batch."""

    base_offset: int
    length: int
    epoch: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    first_timestamp: Millis
    max_timestamp: Millis
    producer_id: int
    producer_epoch: int
    sequence: int
    number: int


def sort_out(records: Sequence[Any]) -> tuple[Sequence[Record], list[UnreadableRecord]]:
    """Separate the records of a fetch from the unreadable ones."""
    if UnreadableRecord not in map(type, records):
        return records, []
    found: tuple[list[Record], list[UnreadableRecord]] = [], []
    for record in records:
        found[type(record) is UnreadableRecord].append(record)
    return found


def readable(topic: str, partition: int, records: Sequence[Any]) -> Sequence[Record]:
    """Return the readable records of a fetch; log that the others were skipped."""
    found, unreadable = sort_out(records)
    for each in unreadable:
        log.error(
            "record_unreadable",
            topic=topic,
            partition=partition,
            offset=each.offset,
            reason=each.error.reason.value,
            detail=each.error.detail,
            mend="docs/runbooks/DeliveryDeadLetters.md tells how to look at it; publish again what it was to say",
        )
    return found


def places_of_batches(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of each complete batch of a fetch.

    Raises:
        CorruptRecordException: a batch has no end; a broker could not serve such a log.
    """
    begin = 0
    while len(data) - begin > _LENGTH_END:
        end = begin + _LENGTH_END + _LENGTH.unpack_from(data, begin + _LENGTH_AT)[0]
        if end <= begin + _MAGIC_AT:
            raise CorruptRecordException(f"a batch of {end - begin} bytes at offset {offset_of(data, begin)}")
        if end > len(data):
            return
        yield begin, end
        begin = end


def open_batch(data: bytes, begin: int, end: int) -> Any:
    """Return aiokafka's object for a batch. aiokafka's own reader assumes the first batch's format for all."""
    magic, part = data[begin + _MAGIC_AT], memoryview(data)[begin:end]
    return DefaultRecordBatch(part) if magic >= _MESSAGE_FORMAT else LegacyRecordBatch(part, magic)


def read_batch(batch: Any, data: bytes, begin: int, end: int) -> tuple[Sequence[Any], int]:
    """Read one batch that is no control batch.

    Args:
        batch: aiokafka's, not read from yet.
        data: what was fetched.
        begin: where the batch begins in it, header included.
        end: where it ends.

    Returns:
        Its records in order, each as aiokafka's C object, one like it, or an UnreadableRecord; and the number of
        decompressed bytes. It never raises and never leaves out a record, whatever the batch holds.
    """
    try:
        return _read_fast(batch, data, begin, end)
    except Exception as error:
        raw = data[begin:end]
        if raw[_MAGIC_AT] < _MESSAGE_FORMAT:
            return [unreadable_batch(raw, error)], 0
        return _read_anyhow(_Head(*_HEAD.unpack_from(raw)), raw, error)


def offset_of(data: bytes, begin: int) -> int:
    """Return the base offset of the batch that begins at a position."""
    offset: int = _OFFSET.unpack_from(data, begin)[0]
    return offset


def not_before(first: int, records: Sequence[Any]) -> Iterator[Any]:
    """Leave out the records of a batch before an offset; an unreadable batch gets that offset."""
    for record in records:
        if record.offset >= first:
            yield record
        elif type(record) is UnreadableRecord and record.notes == _FORM_BATCH:
            yield replace(record, offset=first)


def unreadable_batch(raw: bytes, error: Exception) -> UnreadableRecord:
    """Return the UnreadableRecord for a batch of which only the place can be read."""
    return _whole(
        offset_of(raw, 0), NO_TIMESTAMP, raw, DeadReason.UNREADABLE_BATCH, f"its batch cannot be read: {error!r}"
    )


class _ChecksumError(Exception):
    """The checksum of a batch is wrong."""


class _OffsetsError(Exception):
    """The offsets of a batch's records are outside of the batch."""


def _read_fast(batch: Any, data: bytes, begin: int, end: int) -> tuple[Sequence[Any], int]:
    if not batch.validate_crc():
        raise _ChecksumError("the checksum does not fit")
    if data[begin + _MAGIC_AT] < _MESSAGE_FORMAT:
        _check_old(data[begin:end])
        return list(batch), 0
    expanded = 0
    if batch.compression_type:
        plain = _plain(data[begin:end])
        expanded = len(plain)
        batch = DefaultRecordBatch(plain)
    records = list(batch)
    # A batch that was compacted has gaps, and none before its first or behind its last.
    if records and not (batch.base_offset <= records[0].offset <= records[-1].offset < batch.next_offset):
        raise _OffsetsError("offsets of records lie outside of their batch")
    if len(records) == batch.last_offset_delta + 1 != records[-1].offset - records[0].offset + 1:
        raise _OffsetsError("offsets of records do not follow one another")
    return records, expanded


def _check_old(raw: bytes) -> None:
    """Check that a batch of an older format is not too large; aiokafka decompresses it by itself."""
    codec = raw[_OLD_ATTRIBUTES_AT] & _CODEC_BITS
    if codec:
        at = _OLD_KEY_AT[raw[_MAGIC_AT]]
        (key,) = _LENGTH.unpack_from(raw, at)
        expand(codec, raw[at + 2 * _LENGTH.size + max(0, key) :])


def _plain(raw: bytes) -> bytes:
    """Return a batch decompressed, with its former checksum."""
    (attributes,) = _ATTRIBUTES.unpack_from(raw, _ATTRIBUTES_AT)
    expanded = expand(attributes & _CODEC_BITS, raw[_HEAD.size :])
    head = raw[:_ATTRIBUTES_AT] + _ATTRIBUTES.pack(attributes & ~_CODEC_BITS) + raw[_ATTRIBUTES_AT + 2 : _HEAD.size]
    return head + expanded


# The slow way


def _read_anyhow(head: _Head, raw: bytes, error: Exception) -> tuple[Sequence[Any], int]:
    """Read a batch on which the C code raised, record by record as far as their bounds are known."""
    place = f"{head.number} records at offsets {head.base_offset} to {head.base_offset + head.last_delta}"
    if isinstance(error, _ChecksumError):
        detail = f"{place}: the checksum of their batch does not fit: compare the replicas, and the disks they are on"
        return [_whole(head.base_offset, head.max_timestamp, raw, DeadReason.UNREADABLE_BATCH, detail)], 0
    if isinstance(error, TooLargeError):
        detail = f"{place}: their batch of {len(raw)} bytes holds more than {EXPANDED_MAX}: publish smaller batches"
        return [_whole(head.base_offset, head.max_timestamp, raw, DeadReason.BATCH_TOO_LARGE, detail)], 0
    try:
        payload = _plain(raw)[_HEAD.size :] if head.attributes & _CODEC_BITS else raw[_HEAD.size :]
    except Exception as codec_error:
        detail = f"{place}: their batch cannot be decompressed: {codec_error!r}"
        return [_whole(head.base_offset, head.max_timestamp, raw, DeadReason.UNREADABLE_BATCH, detail)], 0
    return list(_told_apart(head, payload, raw, place)), len(payload)


def _told_apart(head: _Head, payload: bytes, raw: bytes, place: str) -> Iterator[Any]:
    at = number = unreadable = 0
    # Where the batch has not been compacted, the broker counted: then offsets need not be believed.
    is_whole = head.number == head.last_delta + 1
    while number < head.number and at < len(payload) and unreadable < _UNREADABLE_MAX:
        try:
            found, at = _read_record(head, payload, at, head.base_offset + number if is_whole else None)
        except _LostError as error:
            detail = f"{place}: where record {number} ends cannot be told: {error}"
            yield _whole(_place(head, number), head.max_timestamp, raw, DeadReason.UNREADABLE_BATCH, detail)
            return
        unreadable += type(found) is UnreadableRecord
        number += 1
        yield found
    if number != head.number or at != len(payload):
        detail = f"{place}: {number} records were read, and {len(payload) - at} bytes are left"
        yield _whole(_place(head, number), head.max_timestamp, raw, DeadReason.UNREADABLE_BATCH, detail)


def _place(head: _Head, number: int) -> int:
    return head.base_offset + max(0, min(number, head.last_delta))


def _whole(offset: int, timestamp: Millis, raw: bytes, reason: DeadReason, detail: str) -> UnreadableRecord:
    return UnreadableRecord(offset, timestamp, None, raw, (), UnusableError(reason, detail), _FORM_BATCH)


class _LostError(Exception):
    """The end of a record is not known."""


class _Fields(NamedTuple):
    """A record's fields as in its batch."""

    time_delta: int
    offset_delta: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[bytes, bytes | None]]
    end: int


def _read_record(head: _Head, payload: bytes, at: int, offset: int | None) -> tuple[Any, int]:
    """Read the record that begins at a position; return it, and where the next one begins.

    Args:
        head: of its batch.
        payload: all records of the batch, one after the other.
        at: where the record begins.
        offset: the offset by its place; None: trust its own.

    Raises:
        _LostError: neither its length nor its fields show where it ends.
    """
    try:
        length, begin = decode_varint(payload, at)
    except (IndexError, ValueError) as error:
        raise _LostError(repr(error)) from None
    is_sane = 0 <= length <= len(payload) - begin
    try:
        fields = _fields(payload, begin)
    except (IndexError, ValueError) as error:
        if not is_sane:
            raise _LostError(f"{error!r}, and its length is {length}") from None
        refusal = UnusableError(DeadReason.UNREADABLE_RECORD, f"its fields cannot be read: {error!r}")
        end = begin + length
        place = head.base_offset if offset is None else offset
        return UnreadableRecord(place, head.max_timestamp, None, payload[at:end], (), refusal, _FORM_RECORD), end
    given = head.base_offset + fields.offset_delta
    if offset is None:
        offset = min(max(given, head.base_offset), head.base_offset + head.last_delta)
    timestamp = (
        head.max_timestamp if head.attributes & _APPEND_TIME_BIT else Millis(head.first_timestamp + fields.time_delta)
    )
    headers, notes = _named(fields.headers)
    if notes:
        names = ", ".join(repr(name) for _, name in notes)
        refusal = UnusableError(DeadReason.UNREADABLE_RECORD, f"names of headers are not UTF-8: {names}")
    elif fields.end != begin + length:
        detail = f"it says that it has {length} bytes, and has {fields.end - begin}"
        refusal = UnusableError(DeadReason.UNREADABLE_RECORD, detail)
    else:
        return _Plain(offset, timestamp, fields.key, fields.value, headers), fields.end
    return UnreadableRecord(offset, timestamp, fields.key, fields.value, headers, refusal, notes), fields.end


def _fields(payload: bytes, at: int) -> _Fields:
    """Read a record's fields after its length.

    Raises:
        IndexError: the batch ends before the record does.
        ValueError: a field has an impossible value.
    """
    time_delta, at = decode_varint(payload, at + 1)
    offset_delta, at = decode_varint(payload, at)
    key, at = _bytes(payload, at)
    value, at = _bytes(payload, at)
    number, at = decode_varint(payload, at)
    # A header takes two bytes at least.
    if not 0 <= number <= (len(payload) - at) // 2:
        raise ValueError(f"{number} headers")
    headers = []
    for _ in range(number):
        name, at = _bytes(payload, at)
        if name is None:
            raise ValueError("a header without a name")
        header, at = _bytes(payload, at)
        headers.append((name, header))
    return _Fields(time_delta, offset_delta, key, value, headers, at)


def _bytes(payload: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(payload, at)
    if size < 0:
        return None, at
    if size > len(payload) - at:
        raise IndexError(f"{size} bytes of {len(payload) - at}")
    return payload[at : at + size], at + size


def _named(headers: Iterable[tuple[bytes, bytes | None]]) -> tuple[Headers, Headers]:
    """Return headers whose names are text, and a note for each other name."""
    named: list[tuple[str, Any]] = []
    notes: list[tuple[str, bytes]] = []
    for name, value in headers:
        try:
            named.append((name.decode(), value))
        except UnicodeDecodeError:
            named.append((name.decode(errors="backslashreplace"), value))
            notes.append((NAME_HEADER, name))
    return tuple(named), tuple(notes)
