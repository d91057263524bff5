"""Samples of counts on the wire: what a partition's deliveries counted at the end of a minute, an hour or a day.

A sample is absolute, so writing it again does no harm. Its key names a slot that is used again and again: the topic has
a bounded number of keys, however many deliveries there are (ADR 0028).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Literal

import msgspec

from processor.domain.moment import Millis, to_micros, to_rfc3339
from processor.wire.counts import figures_by_name, from_rfc3339
from processor.wire.readback import UnreadableError, read_back

_encode = msgspec.json.Encoder().encode

_Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
_Name = Annotated[str, msgspec.Meta(max_length=64)]


class Width(str, Enum):
    """The span of time that one sample stands for."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def milliseconds(self) -> int:
        """Its length."""
        return _MILLISECONDS[self]

    @property
    def slots(self) -> int:
        """How many samples of this width a partition keeps."""
        return _SLOTS[self]

    def start(self, time: Millis) -> Millis:
        """Return when the span that holds a time begins, in UTC."""
        return Millis(time - time % _MILLISECONDS[self])


_MILLISECONDS = {Width.MINUTE: 60_000, Width.HOUR: 3_600_000, Width.DAY: 86_400_000}

#: Four hours, fifteen days, 400 days. What is shown is less by an hour, a day: where a width begins, the sample before
#: is one of the next.
_SLOTS = {Width.MINUTE: 240, Width.HOUR: 15 * 24, Width.DAY: 400}

#: The figures of one delivery by provider, in the order of `FIGURES`; an empty name: no event has named one.
ByProvider = Mapping[str, Sequence[int]]


class HistoryRecord(msgspec.Struct, frozen=True):
    """What the deliveries that changed in a span of time counted at its end, in one partition."""

    partition: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    width: Width
    #: When the span began.
    time: str
    #: By delivery and provider: messages by status, and hard and soft failures; zeroes are left out. Only differences
    #: mean something: messages that had been counted before there was a history are missing.
    deliveries: dict[str, dict[_Name, dict[str, _Number]]]
    #: Deliveries that changed, too, and are left to a later sample.
    omitted: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    #: Samples of another layout are not read.
    layout: Literal[1] = 1

    @property
    def start(self) -> Millis:
        """When the span began, in milliseconds."""
        return Millis(from_rfc3339(self.time) // 1_000)


_decode = msgspec.json.Decoder(HistoryRecord).decode


def encode_history(
    partition: int, width: Width, start: Millis, deliveries: Mapping[str, ByProvider], omitted: int
) -> tuple[bytes, bytes]:
    """Write key and value of one sample; the span begins at `start`."""
    named = {
        delivery: {provider: figures_by_name(figures) for provider, figures in by_provider.items()}
        for delivery, by_provider in deliveries.items()
    }
    record = HistoryRecord(partition, width, to_rfc3339(to_micros(start)), named, omitted)
    return history_key(partition, width, start), _encode(record)


def history_key(partition: int, width: Width, start: Millis) -> bytes:
    """Return the key of the slot of a sample whose span begins at `start`."""
    return f"{width.value}|{start // width.milliseconds % width.slots}|{partition}".encode()


def decode_history(value: bytes) -> HistoryRecord:
    """Read a sample as it was published.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    record = read_back(_decode, value)
    if read_back(from_rfc3339, record.time) % (record.width.milliseconds * 1_000):
        raise UnreadableError(f"no {record.width.value} begins at {record.time}")
    return record
