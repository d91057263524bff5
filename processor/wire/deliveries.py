"""Deliveries on the wire: the join of a delivery's control records.

The published form is schemas/delivery.json.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from processor.domain.delivery import DELIVERY_LAYOUT, Delivery, Done, Planned, State, Told
from processor.domain.moment import Micros, Moment, to_rfc3339
from processor.domain.status import Channel
from processor.wire.readback import UnreadableError, read_back, refuse_newer

_encode = msgspec.json.Encoder().encode


class DeliveryRecord(msgspec.Struct, frozen=True, gc=False):
    """A delivery as it is published: readable fields first, then the state for recovery."""

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
    #: The state that determines the other fields; recovery reads nothing else.
    memory: Delivery


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """The part of a DeliveryRecord that recovery reads."""

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


def _written(moment: Micros | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def decode_delivery(value: bytes) -> tuple[str, Delivery]:
    """Read the id and the delivery that `encode_delivery`, of this version or an older one, wrote.

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
    """Read the id and the delivery of a record of the deliveries topic.

    Raises:
        UnreadableError: the value is not one of ours, or of another delivery than its key.
    """
    delivery_id, delivery = decode_delivery(value)
    if key != delivery_id.encode():
        raise UnreadableError(f"it says that it is of {delivery_id!r}")
    return delivery_id, delivery
