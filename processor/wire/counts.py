"""Counts of a delivery on the wire: one record for each delivery and partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from processor.domain.counts import FIGURES, DeliveryCounts
from processor.domain.moment import FIRST, LAST, Micros, to_microseconds, to_rfc3339
from processor.domain.status import Channel, Status
from processor.wire.readback import UnreadableError, read_back

_encode = msgspec.json.Encoder().encode

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

#: A number that means something only in its difference to another.
_Difference = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


#: The header of counts that a backup has restored: rows beside them may be newer, so that they are to be recomputed.
RESTORED_HEADER = "delivery.restored"


class CountsRecord(msgspec.Struct, frozen=True):
    """One partition's absolute counts for one delivery. A delivery's total is the sum over partitions.

    All maps but `statuses` leave out zeroes.
    """

    delivery_id: str
    partition: _Number
    messages: _Number
    #: Here and below, messages that retention has removed are included.
    statuses: dict[Status, _Number]
    channels: dict[Channel, _Number] = {}
    failed: dict[str, _Number] = {}
    ignored: dict[str, _Number] = {}
    providers: dict[str, _Number] = {}
    first: str | None = None
    last: str | None = None
    canceled_at: str | None = None
    #: Whether the cancel has reached all messages that existed when the delivery was cancelled.
    is_cancel_done: bool = True
    expired: _Number = 0
    #: The rows that exist, without those that retention has removed.
    live: dict[Channel, dict[Status, _Number]] = {}
    #: By provider (empty: not named) and figure, for differences only: messages whose counts a version without this
    #: wrote are missing, so that a number may be below zero.
    by_provider: dict[str, dict[str, _Difference]] = {}
    #: Counts of another layout are not read but recomputed.
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
        {provider: figures_by_name(figures) for provider, figures in counts.by_provider.items()},
    )
    return counts_key(delivery_id, partition), _encode(record)


def figures_by_name(figures: Sequence[int]) -> dict[str, int]:
    """Return figures by their names, without zeroes."""
    return {name: number for name, number in zip(FIGURES, figures, strict=True) if number}


def figures_of(named: Mapping[str, int]) -> list[int]:
    """Return figures in the order of `FIGURES`; unknown names are left out."""
    return [named.get(name, 0) for name in FIGURES]


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
    """Return the key of one partition's counts for one delivery."""
    return f"{delivery_id}|{partition}".encode()


def to_counts(record: CountsRecord) -> DeliveryCounts:
    """Rebuild the counts that `encode_counts` published."""
    counts = DeliveryCounts()
    counts.statuses = [record.statuses.get(status, 0) for status in Status]
    counts.channels = {channel: record.channels.get(channel, 0) for channel in Channel}
    for channel, numbers in record.live.items():
        counts.live[channel] = [numbers.get(status, 0) for status in Status]
    counts.failed, counts.ignored, counts.providers = dict(record.failed), dict(record.ignored), dict(record.providers)
    counts.by_provider = {provider: figures_of(named) for provider, named in record.by_provider.items()}
    counts.first, counts.last = _moment(record.first), _moment(record.last)
    counts.canceled_at, counts.is_cancel_done = _moment(record.canceled_at), record.is_cancel_done
    return counts


def _moment(text: str | None) -> Micros | None:
    return None if text is None else from_rfc3339(text)


def from_rfc3339(text: str) -> Micros:
    """Read a moment that `to_rfc3339` wrote, as microseconds since the epoch."""
    return to_microseconds(msgspec.convert(text, datetime))
