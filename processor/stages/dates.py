"""Learn from the deliveries topic, for the fold, until when each delivery is held, and which were cancelled.

The topic is compacted, and every worker follows it whole (ADR 0017), whether or not it serves a page: so all of them
call the same messages stuck.
"""

from __future__ import annotations

from collections.abc import Sequence

from processor.domain.moment import Micros
from processor.engine.stage import Record
from processor.wire.deliveries import decode_delivery_of
from processor.wire.readback import UnreadableError
from processor.wire.topics import Topic


class Dates:
    """What the dates, pauses and cancels of all deliveries are: one object for all partitions of a worker."""

    def __init__(self) -> None:
        #: Until when each delivery is held, in microseconds: those that have a date or were paused. Partitions read it,
        #: `take` alone changes it.
        self.holds: dict[str, Micros] = {}
        self._cancels: dict[str, Micros] = {}
        #: Each cancelled delivery and when it was, in the order in which it was heard of; once more when an earlier
        #: moment is heard. It only grows, so that a partition can tell what is news.
        self.canceled: list[tuple[str, Micros]] = []

    def take(self, _topic: Topic, records: Sequence[Record]) -> None:
        """Take records of the deliveries topic. No cancel is undone: not by a later record, nor by a tombstone."""
        for record in records:
            if record.value is None:
                if record.key is not None:
                    self.holds.pop(record.key.decode(errors="replace"), None)
                continue
            try:
                delivery_id, delivery = decode_delivery_of(record.value, record.key)
            except UnreadableError:
                # The control stage names it: it is its own changelog.
                continue
            until = delivery.held_until
            if until is None:
                self.holds.pop(delivery_id, None)
            else:
                self.holds[delivery_id] = until
            if delivery.canceled_at is not None:
                self._take_cancel(delivery_id, delivery.canceled_at)

    def _take_cancel(self, delivery_id: str, at: Micros) -> None:
        known = self._cancels.get(delivery_id)
        if known is None or at < known:
            self._cancels[delivery_id] = at
            self.canceled.append((delivery_id, at))
