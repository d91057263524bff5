"""Erase a person's data from links and receipts.

A link and a receipt must still be told from those of other recipients of the same provider's id. So a name that is made
of the keyed hash stands for the address; what goes on as an event has nothing of it.
"""

from __future__ import annotations

import msgspec

from processor.domain.erasure import erase_event
from processor.domain.links import Known, Link, Match, Moved, Receipt
from processor.stages.erasures import STAND_IN, Erasures
from processor.wire.events import decode_event, encode_event


class Erase:
    """Erases what is told of a recipient, by what is remembered, in one of so many partitions of the events."""

    def __init__(self, erasures: Erasures, partitions: int) -> None:
        self._erasures, self._partitions = erasures, partitions

    def link(self, link: Link) -> Link:
        """Return a link without an erased address; the same object if it has none."""
        name = None if link.recipient is None else self._erasures.stand_in(link.recipient)
        message_id = self._name(link.message_id)
        if name is None and message_id is None:
            return link
        return msgspec.structs.replace(link, recipient=name or link.recipient, message_id=message_id or link.message_id)

    def receipt(self, receipt: Receipt) -> Receipt:
        """Return a receipt without an erased address, also in its event; the same object if it has none."""
        name = None if receipt.recipient is None else self._erasures.stand_in(receipt.recipient)
        if name is None:
            return receipt
        event, _, _ = decode_event(receipt.event, None)
        erased, message_id = erase_event(event), self._name(receipt.message_id) or receipt.message_id
        erased.message_id = message_id
        return msgspec.structs.replace(receipt, recipient=name, message_id=message_id, event=encode_event(erased))

    def known(self, known: Known) -> tuple[Known, tuple[Moved, ...]]:
        """Return what is known of a native key without erased addresses, and the moves that are to be forgotten.

        The first is the same object if there are none.
        """
        links = [self.link(each) for each in known.links]
        waiting = [self.receipt(each) for each in known.waiting]
        doubtful = [Match(self.receipt(each.receipt), self.link(each.link)) for each in known.doubtful]
        forgotten = tuple(each for each in known.moved if self._name(each.message_id) or self._name(each.moved_to))
        erased = Known(
            tuple(sorted(links, key=lambda each: (each.time, each.recipient or ""))),
            tuple(sorted(waiting, key=lambda each: (each.time, each.event))),
            tuple(sorted(doubtful, key=lambda each: (each.receipt.time, each.receipt.event))),
            tuple(each for each in known.moved if each not in forgotten),
        )
        return (known if erased == known else erased), forgotten

    def _name(self, message_id: str) -> str | None:
        return self._erasures.name_of(message_id, self._partitions)


def is_stand_in(recipient: str | None) -> bool:
    """Return whether a recipient is the stand-in of an erased address."""
    return recipient is not None and recipient.startswith(STAND_IN)
