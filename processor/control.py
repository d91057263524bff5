"""Control of deliveries on the wire: control records in, deliveries out.

The published form is schemas/control.json and schemas/delivery.json; tests/contract compares them with this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

import msgspec

from processor.deadletter import DeadReason, RefusedError
from processor.domain.delivery import DELIVERY_LAYOUT, Control, Delivery, Done, Planned, State, Told, breach_of
from processor.domain.event import MAX_AHEAD
from processor.domain.moment import FIRST, LAST, Moment, to_microseconds, to_rfc3339
from processor.domain.status import Channel
from processor.readback import UnreadableError, read_back, refuse_newer

#: The header of a cancel marker among the events. Who may publish events must not be able to cancel (ADR 0017).
MARKER_HEADER, CANCEL = "delivery.control", b"cancel"

_encode = msgspec.json.Encoder().encode
_decode_control = msgspec.json.Decoder(Control).decode

_MAX_AHEAD_MS = MAX_AHEAD // timedelta(milliseconds=1)


# Control records


def decode_control(value: bytes, record_ms: int | None) -> Control:
    """Decode and check one control record.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            leaves the rule about times ahead aside.

    Raises:
        RefusedError: the record breaks the contract of docs/deliveries.md; it says how.
    """
    if not value:
        raise RefusedError(DeadReason.EMPTY_VALUE, "the record's value has no bytes")
    try:
        # msgspec does not read what it skips.
        value.decode()
        control = _decode_control(value)
    except msgspec.ValidationError as error:
        raise RefusedError(DeadReason.INVALID_CONTROL, str(error)) from None
    except UnicodeDecodeError as error:
        raise RefusedError(DeadReason.INVALID_ENCODING, str(error)) from None
    except msgspec.DecodeError as error:
        raise RefusedError(DeadReason.INVALID_JSON, str(error)) from None
    except RecursionError:
        raise RefusedError(DeadReason.INVALID_JSON, "nested too deeply") from None
    _check(control, record_ms)
    return control


def _check(control: Control, record_ms: int | None) -> None:
    breach = breach_of(control)
    if breach is not None:
        raise RefusedError(DeadReason.INVALID_CONTROL, breach)
    for name, moment in (("time", control.time), ("scheduled_at", control.scheduled_at)):
        if moment is not None and not FIRST <= to_microseconds(moment) <= LAST:
            detail = f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC - at `$.{name}`"
            raise RefusedError(DeadReason.INVALID_CONTROL, detail)
    if record_ms is None or record_ms < 0:
        return
    if to_microseconds(control.time) > (record_ms + _MAX_AHEAD_MS) * 1000:
        detail = f"the time {control.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise RefusedError(DeadReason.TIME_AHEAD, detail)


def encode_control(control: Control) -> bytes:
    """Write a control record as JSON."""
    return _encode(control)


# Deliveries


class DeliveryRecord(msgspec.Struct, frozen=True, gc=False):
    """A delivery as it is published: what people read first, then what is remembered."""

    delivery_id: str
    state: State
    label: str | None
    campaign: str | None
    channel: Channel | None
    planned: int | None
    scheduled_at: str | None
    started_at: str | None
    paused_at: str | None
    finished_at: str | None
    canceled_at: str | None
    #: All that the others follow from: recovery reads this and nothing else.
    memory: Delivery


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """The part of a DeliveryRecord that is read back."""

    delivery_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    memory: msgspec.Raw


_decode_kept = msgspec.json.Decoder(_Kept).decode
_decode_memory = msgspec.json.Decoder(Delivery).decode
_decode_items = msgspec.json.Decoder(list[object]).decode
#: Deliveries as they were written before layouts had versions: the same, without the version.
_decode_without_version = msgspec.json.Decoder(
    tuple[
        Told[str] | None,
        Told[str] | None,
        Told[Channel] | None,
        Told[Planned] | None,
        Told[Moment] | None,
        tuple[Done, ...],
    ]
).decode


def encode_delivery(delivery_id: str, delivery: Delivery) -> bytes:
    """Write a delivery for the deliveries topic."""
    label, campaign, channel = delivery.label, delivery.campaign, delivery.channel
    planned, scheduled_at = delivery.planned, delivery.scheduled_at
    return _encode(
        DeliveryRecord(
            delivery_id,
            delivery.state,
            None if label is None else label.value,
            None if campaign is None else campaign.value,
            None if channel is None else channel.value,
            None if planned is None else planned.value,
            None if scheduled_at is None else to_rfc3339(scheduled_at.value),
            _written(delivery.started_at),
            _written(delivery.paused_at),
            _written(delivery.finished_at),
            _written(delivery.canceled_at),
            delivery,
        )
    )


def _written(moment: int | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def decode_delivery(value: bytes) -> tuple[str, Delivery]:
    """Read back the id and the delivery that `encode_delivery` published, or a former version's did.

    Raises:
        UnreadableError: the value is not one of ours, or a newer version wrote it.
    """
    kept = read_back(_decode_kept, value)
    memory = bytes(kept.memory)
    try:
        return kept.delivery_id, _decode_memory(memory)
    except msgspec.ValidationError:
        refuse_newer(read_back(_decode_items, memory), DELIVERY_LAYOUT)
        return kept.delivery_id, Delivery(*read_back(_decode_without_version, memory))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def decode_delivery_of(value: bytes, key: bytes | None) -> tuple[str, Delivery]:
    """Read back the id and the delivery of a record of the deliveries topic.

    Raises:
        UnreadableError: the value is not one of ours, or of another delivery than its key.
    """
    delivery_id, delivery = decode_delivery(value)
    if key != delivery_id.encode():
        raise UnreadableError(f"it says that it is of {delivery_id!r}")
    return delivery_id, delivery


# Cancel markers


def is_marker(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Say whether a record among the events asks for a cancel: none is heard, only control records cancel."""
    return any(name == MARKER_HEADER and value == CANCEL for name, value in headers)
