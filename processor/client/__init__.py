"""Read what delivery-status publishes: rows, changes of status, counts, deliveries, addresses, dead letters and others.

For programs of yours. The records are typed, and `Reader` reads them committed. Nothing of a worker is imported.
"""

from processor.client.reader import Change, Placed, Reader, UnreadableRecordError
from processor.client.records import (
    Address,
    Counts,
    DeadLetter,
    Delivery,
    Evidence,
    Moved,
    Rejected,
    Row,
    Standing,
    decode_address,
    decode_counts,
    decode_dead_letter,
    decode_delivery,
    decode_moved,
    decode_rejected,
    decode_row,
)
from processor.domain.addresses import State as AddressState
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status

__all__ = [
    "Address",
    "AddressState",
    "Category",
    "Change",
    "Channel",
    "Counts",
    "DeadLetter",
    "Delivery",
    "Evidence",
    "Moved",
    "Permanence",
    "Placed",
    "Reader",
    "Reason",
    "Rejected",
    "Row",
    "Standing",
    "Status",
    "UnreadableRecordError",
    "decode_address",
    "decode_counts",
    "decode_dead_letter",
    "decode_delivery",
    "decode_moved",
    "decode_rejected",
    "decode_row",
]
