"""The published records as typed values: what `schemas/` says, without what is a worker's own.

Fields that are not named here are passed over, as the schemas ask of readers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from processor.domain.addresses import State as AddressState
from processor.domain.delivery import State
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Standing(msgspec.Struct, frozen=True):
    """Where a message stands, or stood, and since when."""

    status: Status
    permanence: Permanence | None
    since: datetime


class Row(msgspec.Struct, frozen=True):
    """The status that one message has, why, and since when; `schemas/row.json`."""

    message_id: str
    delivery_id: str | None
    channel: Channel
    status: Status
    permanence: Permanence | None
    since: datetime
    reason: Reason | None
    #: Nodes that were reported and contradict the status.
    rejected: tuple[str, ...]
    attempt: int
    recipient: str | None
    provider: str | None
    provider_message_id: str | None
    #: Set only where this record moved the status; None: the message was not known before.
    previous: Standing | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def is_change(self) -> bool:
        """Whether this record moved the status, or is the message's first."""
        return self.previous is not msgspec.UNSET


class Moved(msgspec.Struct, frozen=True):
    """A provisional row has gone to another message, which a link named; `schemas/moved.json`."""

    message_id: str
    moved_to: str


class Counts(msgspec.Struct, frozen=True):
    """How many messages of a delivery stand where, in one partition, in absolute numbers; `schemas/counts.json`.

    A delivery's total is the sum over partitions. All maps but `statuses` leave out zeroes.
    """

    delivery_id: str
    partition: int
    messages: int
    statuses: dict[Status, int]
    channels: dict[Channel, int] = {}
    failed: dict[str, int] = {}
    ignored: dict[str, int] = {}
    providers: dict[str, int] = {}
    first: datetime | None = None
    last: datetime | None = None
    canceled_at: datetime | None = None
    expired: int = 0


class Delivery(msgspec.Struct, frozen=True):
    """What control records told of a delivery; `schemas/delivery.json`."""

    delivery_id: str
    state: State
    label: str | None
    campaign: str | None
    channel: Channel | None
    planned: int | None
    scheduled_at: datetime | None
    started_at: datetime | None
    paused_at: datetime | None
    finished_at: datetime | None
    canceled_at: datetime | None


class Evidence(msgspec.Struct, frozen=True):
    """An error that counted, or an objection."""

    time: datetime
    #: `soft`, `hard`, `complaint` or `unsubscribe`.
    kind: str
    category: Category | None = None
    code: str | None = None


class Address(msgspec.Struct, frozen=True):
    """Whether to send to an address, since when, and why; `schemas/address.json`."""

    channel: Channel
    hash: str
    domain: str | None
    state: AddressState
    since: datetime | None
    #: When it ends by itself: the address is valid from then on.
    until: datetime | None
    reasons: tuple[Evidence, ...] = ()

    def may_be_sent_to(self, now: datetime) -> bool:
        """Return whether to send to it at an aware time."""
        if self.until is not None and now >= self.until:
            return True
        return self.state in {AddressState.VALID, AddressState.WITH_ERRORS}


class Rejected(msgspec.Struct, frozen=True, rename={"from_node": "from", "to_node": "to"}):
    """An event whose effect was withheld, since it contradicts where its message stands; `schemas/rejected.json`."""

    #: The event as it came.
    event: dict[str, Any]
    row: Standing
    from_node: str
    to_node: str
    #: For people; its wording may change.
    rule: str


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that could not be used, as it came, and why; `schemas/dead.json`."""

    key: bytes | None
    value: bytes | None
    #: All of them: those that the record came with, then those that say why it is here.
    headers: tuple[tuple[str, bytes | None], ...]
    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    #: The record's own; None: it had none.
    timestamp: datetime | None


_row = msgspec.json.Decoder(Row).decode
_moved = msgspec.json.Decoder(Moved).decode
_counts = msgspec.json.Decoder(Counts).decode
_delivery = msgspec.json.Decoder(Delivery).decode
_address = msgspec.json.Decoder(Address).decode
_rejected = msgspec.json.Decoder(Rejected).decode


def decode_row(value: bytes) -> Row:
    """Read the value of a record of `delivery.messages.v1` that is a row.

    Raises:
        msgspec.DecodeError: it is none, for instance a `Moved`.
    """
    return _row(value)


def decode_moved(value: bytes) -> Moved:
    """Read the value of a record of `delivery.messages.v1` that says that a provisional row has gone.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _moved(value)


def decode_counts(value: bytes) -> Counts:
    """Read the value of a record of `delivery.counts.v1`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _counts(value)


def decode_delivery(value: bytes) -> Delivery:
    """Read the value of a record of `delivery.deliveries.v1`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _delivery(value)


def decode_address(value: bytes) -> Address:
    """Read the value of a record of `delivery.addresses.v1`.

    Raises:
        msgspec.DecodeError: it is none, for instance that with the key `releases`.
    """
    return _address(value)


def decode_rejected(value: bytes) -> Rejected:
    """Read the value of a record of `delivery.rejected.v1`.

    Raises:
        msgspec.DecodeError: it is none, for instance a link that was rejected (`schemas/rejected_link.json`).
    """
    return _rejected(value)


def decode_dead_letter(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> DeadLetter:
    """Read a record of `delivery.dead.v1`.

    Raises:
        ValueError: its headers are not those of a dead letter.
    """
    found = tuple(headers)
    # Of a letter that was published again and refused again, the last ones count.
    told = {name: (text or b"").decode(errors="replace") for name, text in found}
    try:
        timestamp = int(told["delivery.dead.timestamp"])
        return DeadLetter(
            key,
            value,
            found,
            told["delivery.dead.reason"],
            told["__streams.errors.message"],
            told["__streams.errors.topic"],
            int(told["__streams.errors.partition"]),
            int(told["__streams.errors.offset"]),
            None if timestamp < 0 else _EPOCH + timedelta(milliseconds=timestamp),
        )
    except KeyError as error:
        raise ValueError(f"the header {error} is missing") from None
    except OverflowError:
        raise ValueError(f"the timestamp {told['delivery.dead.timestamp']} is beyond the year 9999") from None
