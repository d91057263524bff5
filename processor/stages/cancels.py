"""Cancelled deliveries of one partition: who is to be told, in turn, and what a message makes of it.

A marker on the events topic says that a delivery was cancelled (ADR 0010). Messages that come later are told as they
come; those that are here already are told by a walk through all rows, a share of them in each transaction, which starts
anew after a restart until the delivery's counts say that it is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from processor.domain.counts import Counts
from processor.domain.event import Event
from processor.domain.fold import Verdict, fold
from processor.domain.moment import to_datetime
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.transitions import TRANSITIONS, Node
from processor.engine.store import Store

#: Where a message may still be cancelled.
_CANCELABLE = {
    channel: frozenset(node for node, may_follow in table.items() if Node.CANCELED in may_follow)
    for channel, table in TRANSITIONS.items()
}


class Cancels:
    """Which deliveries were cancelled, and the walk through the rows that tells their messages, while it lasts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._walk: Iterator[bytes] | None = None
        #: When each delivery was cancelled, by its id, in microseconds.
        self.moments: dict[str, int] = {}

    @property
    def is_walking(self) -> bool:
        """Whether there are rows that may not have been told yet."""
        return self._walk is not None

    def restore(self, counts: Counts) -> None:
        """Take over what was published; a walk that was not over begins anew."""
        deliveries = counts.deliveries.items()
        self.moments = {each: at for each, known in deliveries if (at := known.canceled_at) is not None}
        if any(not counts.delivery(each).is_cancel_done for each in self.moments):
            self._walk = self._keys()

    def learn(self, delivery: str, at: int, counts: Counts, in_hand: Sequence[bytes]) -> bool:
        """Learn that a delivery was cancelled; say whether that is news.

        Args:
            delivery: its id.
            at: when, in microseconds; of several moments the first one counts.
            counts: where it is kept.
            in_hand: messages that the store does not know of yet.
        """
        known = counts.delivery(delivery)
        if known.canceled_at is not None and at >= known.canceled_at:
            return False
        known.canceled_at, known.is_cancel_done = at, False
        self.moments[delivery] = at
        self._walk = chain(in_hand, self._keys())
        return True

    def walk(self, number: int) -> list[bytes]:
        """Give the next so many messages; none of them when all have been told."""
        if self._walk is None:
            return []
        keys = list(islice(self._walk, number))
        if not keys:
            self._walk = None
        return keys

    def finish(self, counts: Counts) -> set[str]:
        """Take note that all messages have been told; give the deliveries that this is news of."""
        done = {each for each in self.moments if not counts.delivery(each).is_cancel_done}
        for delivery in done:
            counts.delivery(delivery).is_cancel_done = True
        return done

    def stop(self) -> None:
        """Let go of the rows."""
        self._walk = None

    def _keys(self) -> Iterator[bytes]:
        return (key for key, _ in self._store.items())


def cancel(message_id: str, row: Row, at: int) -> tuple[Event, Row, Verdict] | None:
    """Tell a message that its delivery was cancelled at a moment in microseconds.

    Returns:
        The event, the row after it and what it did; None when it can change nothing any more.
    """
    if row.node not in _CANCELABLE[row.channel]:
        return None
    event = Event(to_datetime(at), message_id, row.channel, Status.CANCELED, attempt=row.attempt)
    told, verdict = fold(row, event, Node.CANCELED, at)
    return None if verdict is Verdict.DUPLICATE else (event, told, verdict)
