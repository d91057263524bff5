"""Obey the orders of the correlate stage to the fold, which it sends among the events: move, take back, forget."""

from __future__ import annotations

from typing import NoReturn

from processor.domain.erasure import erase_event, is_erased
from processor.domain.retraction import retract
from processor.engine.stage import Record
from processor.stages.aside import Aside
from processor.stages.erasing import Eraser
from processor.stages.table import Table
from processor.wire.control import is_marker
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event
from processor.wire.links import (
    FORGOTTEN_HEADER,
    TAKEN_BACK_HEADER,
    MovedRecord,
    decode_moved,
    encode_moved,
    order_in,
)


class Orders:
    """Obeys the orders that come to one partition."""

    def __init__(self, table: Table, eraser: Eraser, aside: Aside) -> None:
        self._table, self._eraser, self._aside = table, eraser, aside

    def obey(self, record: Record) -> bool:
        """Do what a record asks for that is no event; return whether it was one that does.

        Raises:
            UnusableError: it asks for what cannot be done.
        """
        if is_marker(record.headers):
            _refuse_marker()
        order = order_in(record.headers)
        if order is None:
            return False
        if order == TAKEN_BACK_HEADER:
            self._take_back(record)
        elif order == FORGOTTEN_HEADER:
            self._forget(record)
        else:
            self._move(record)
        return True

    def _move(self, record: Record) -> None:
        """Take a provisional row out of table and counts: its receipts are events of another message now."""
        moved = decode_moved(record.value)
        if self._eraser.is_needed:
            # What ordered it may not have heard of the erasure yet.
            moved = MovedRecord(self._eraser.name(moved.message_id), self._eraser.name(moved.moved_to))
        key = moved.message_id.encode()
        row = self._table.hand.row(key)
        if row is None:
            return
        if not (
            row.names.provider and moved.message_id.startswith((f"{row.names.provider}:", f"{row.names.provider}@"))
        ):
            detail = f"{moved.message_id!r} is no provisional row: only one that goes by a provider's id can be moved"
            raise UnusableError(DeadReason.INVALID_EVENT, detail)
        self._table.take_away(key, encode_moved(moved.message_id, moved.moved_to))

    def _forget(self, record: Record) -> None:
        """Remove the record of a move from the topic; where a row has taken its place, retention removes that."""
        key = decode_moved(record.value).message_id.encode()
        if self._table.hand.row(key) is None and key not in self._aside.notes:
            self._table.remove(key)

    def _take_back(self, record: Record) -> None:
        """Take a receipt back from a message: it was another's, as a newer link of a provider's id tells."""
        event, node, moment = decode_event(record.value, None)
        key = self._eraser.name(event.message_id).encode()
        known = self._table.hand.row(key)
        if known is None:
            return
        if is_erased(known):
            event = erase_event(event)
        row = retract(known, event, node, moment)
        if row is None:
            self._table.take_away(key, None)
        elif row is not known:
            self._table.put(key, row, known)


def _refuse_marker() -> NoReturn:
    detail = "a record among the events cancels nothing: cancel by a control record, or with `delivery-status cancel`"
    raise UnusableError(DeadReason.CANCEL_MARKER, detail)
