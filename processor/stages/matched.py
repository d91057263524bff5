"""Write what follows once a receipt's message is known: its events, and orders to the fold to move the provisional row.

The fold stage obeys the orders: see orders.py.
"""

from __future__ import annotations

import msgspec

from processor.domain.links import Correction, Link, Match, Moved, Receipt
from processor.domain.reason import ERASED
from processor.engine.stage import Outbox
from processor.stages.erased_receipts import is_stand_in
from processor.wire.deadletters import Headers
from processor.wire.events import decode_event, encode_event
from processor.wire.links import FORGOTTEN_HEADER, MOVED_HEADER, TAKEN_BACK_HEADER, encode_moved
from processor.wire.partitioner import partition_of


class Matched:
    """Writes events and orders to the partitions of the events."""

    def __init__(self, topic: str, partitions: int) -> None:
        self._topic, self._partitions = topic, partitions

    def match(self, match: Match, outbox: Outbox) -> None:
        """Tell a receipt to its message, as an event of it."""
        self._tell(match.receipt, match.link, match.receipt.headers, outbox)

    def correct(self, correction: Correction, outbox: Outbox) -> None:
        """Order the message that a receipt went to to forget it, and tell it to its own."""
        receipt, after = correction.receipt, correction.after
        self._tell(receipt, correction.before, ((TAKEN_BACK_HEADER, after.message_id.encode()),), outbox)
        self._tell(receipt, after, receipt.headers, outbox)

    def show(self, receipt: Receipt, outbox: Outbox) -> None:
        """Tell a receipt without a link as an event of a message of its own."""
        self._forward(receipt, receipt.message_id, receipt.event, receipt.headers, outbox)

    def move(self, moved: Moved, outbox: Outbox) -> None:
        """Order that a provisional row is moved."""
        self._order(MOVED_HEADER, moved, outbox)

    def forget(self, moved: Moved, outbox: Outbox) -> None:
        """Order that the record of a move goes."""
        self._order(FORGOTTEN_HEADER, moved, outbox)

    def _tell(self, receipt: Receipt, link: Link, headers: Headers, outbox: Outbox) -> None:
        self._forward(receipt, link.message_id, _event_of(receipt, link), headers, outbox)

    def _forward(self, receipt: Receipt, message_id: str, event: bytes, headers: Headers, outbox: Outbox) -> None:
        key = message_id.encode()
        partition = partition_of(key, self._partitions)
        outbox.forward(self._topic, partition, receipt.received, key, event, headers)

    def _order(self, name: str, moved: Moved, outbox: Outbox) -> None:
        key, headers = moved.message_id.encode(), ((name, moved.moved_to.encode()),)
        value = encode_moved(moved.message_id, moved.moved_to)
        outbox.add(self._topic, partition_of(key, self._partitions), outbox.now, key, value, headers)


def _event_of(receipt: Receipt, link: Link) -> bytes:
    """Return a receipt as an event of the message that a link says it belongs to."""
    event, _, _ = decode_event(receipt.event, None)
    told = msgspec.structs.replace(
        event,
        message_id=link.message_id,
        delivery_id=event.delivery_id or link.delivery_id,
        recipient=event.recipient or (ERASED if is_stand_in(link.recipient) else link.recipient),
        part=event.part or link.part,
        parts=event.parts or link.parts,
    )
    return encode_event(told)
