"""Erase a person's data from the messages of one partition: from rows, in turn, and from events as they come."""

from __future__ import annotations

from copy import copy

from processor.domain.erasure import erase_event, erase_row
from processor.domain.event import Event
from processor.domain.fold import join_rows
from processor.stages.aside import Aside
from processor.stages.erasures import ErasureWalk
from processor.stages.table import Table
from processor.wire.rows import unpack_row

#: Rows that one transaction looks at for what is to be erased: few of them change.
_ROWS_LOOKED_AT = 10_000


class Eraser:
    """Erases in one partition.

    Args:
        walk: through its rows; it knows what is erased.
        table: has the rows.
        aside: rows that cannot be read.
        topic: the full name of the erasures topic.
        partitions: how many there are.
    """

    def __init__(self, walk: ErasureWalk, table: Table, aside: Aside, topic: str, partitions: int) -> None:
        self._walk, self._table, self._aside = walk, table, aside
        self._topic, self._partitions = topic, partitions

    @property
    def is_needed(self) -> bool:
        """Whether any erasure is remembered."""
        return bool(self._walk.erasures)

    def name(self, message_id: str) -> str:
        """Return the id that a message goes by: another one if an erased address is its end."""
        return self._walk.erasures.name_of(message_id, self._partitions) or message_id

    def _is_erased(self, recipient: str | None) -> bool:
        return recipient is not None and self._walk.erasures.has(recipient)

    def erase_some(self) -> None:
        """Continue to erase recipients and texts that were known when the erasure was heard of."""
        share = self._walk.share(_ROWS_LOOKED_AT)
        if share is None:
            return
        now = self._table.hand.now
        for key, packed in share:
            row = now[key] if key in now else unpack_row(packed)
            if row is not None:
                message_id = key.decode()
                if self._is_erased(row.recipient_name) or self.name(message_id) != message_id:
                    self._erase(key)
        if not share:
            self._walk.finish(self._topic, self._table.outbox)

    def _erase(self, key: bytes) -> None:
        """Erase recipient and texts of a row, and the address that its id may end with."""
        row, message_id = self._table.hand.row(key), key.decode()
        if row is None:
            return
        name, recipient = self.name(message_id), row.recipient_name
        if name == message_id and not self._is_erased(recipient):
            return
        address = message_id.rpartition(":")[2] if recipient is None else recipient
        self._walk.count(address)
        erased = erase_row(row) if self._is_erased(address) else row
        if name != message_id:
            self._table.take_away(key, None)
            key = name.encode()
            there = self._table.hand.row(key)
            if there is not None:
                # A receipt came under the new id before the walk came here.
                erased, row = erase_row(join_rows(there, erased)), there
        self._table.put(key, erased, row)

    def without_erased(self, event: Event) -> Event:
        """Return an event without what is told of an erased recipient, under the id that its message goes by.

        It is the same object where no erasure concerns it.
        """
        name, recipient = self.name(event.message_id), event.recipient
        is_renamed = name != event.message_id
        if not is_renamed and not self._is_erased(recipient):
            return event
        erased = erase_event(event) if recipient is None or self._is_erased(recipient) else copy(event)
        if is_renamed:
            key = event.message_id.encode()
            if key in self._aside.notes:
                self._aside.refuse(key)
            # Where the walk has not come to it: the message must not have two rows.
            self._erase(key)
            erased.message_id = name
        return erased
