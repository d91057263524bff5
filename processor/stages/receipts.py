"""Convert records of the receipts topic into links and receipts, and a receipt back into a record."""

from __future__ import annotations

from dataclasses import dataclass

from processor.domain.links import Link, Receipt
from processor.domain.moment import Millis
from processor.engine.stage import Record
from processor.providers import ADAPTERS
from processor.providers.addresses import bare_address
from processor.wire.deadletters import Headers
from processor.wire.events import decode_event
from processor.wire.links import decode_link, to_link
from processor.wire.received import received_at
from processor.wire.trace import carried


def link_in(value: bytes, timestamp: Millis) -> Link:
    """Return the link that a record tells."""
    record = decode_link(value, timestamp)
    adapter = ADAPTERS.get(record.provider)
    covers_several = adapter is not None and adapter.id_covers_several
    named = record.recipient if covers_several else None
    return to_link(record, None if named is None else bare_address(named))


def receipt_in(record: Record, value: bytes, timestamp: Millis) -> Receipt:
    """Return the receipt that a record tells."""
    received = received_at(record.headers, timestamp)
    event, _, moment = decode_event(value, received)
    recipient = None if event.recipient is None else bare_address(event.recipient)
    return Receipt(moment, received, event.message_id, recipient, value, carried(record.headers))


@dataclass
class Waited:
    """A receipt that has waited, as the record that it once was."""

    offset: int
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, receipt: Receipt) -> Waited:
        """Return the record of a receipt."""
        # Where it lay in the topic of receipts is not remembered, and that record may have gone.
        return cls(-1, receipt.received, receipt.message_id.encode(), receipt.event, receipt.headers)
