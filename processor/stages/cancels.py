"""Cancelled deliveries of one partition: who is to be told, in turn, and what a message makes of it.

That a delivery was cancelled is told by the deliveries topic, which every worker follows (ADR 0017), and is then kept
with the delivery's counts. Messages that come later are told as they come; those that are here already are told by a
walk through all rows, a share of them in each transaction, which starts anew after a restart until the delivery's
counts say that it is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from processor.domain.counts import Counts
from processor.domain.event import Event
from processor.domain.fold import Verdict, fold
from processor.domain.moment import to_datetime
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.transitions import TRANSITIONS, Node
from processor.engine.stage import Record
from processor.engine.store import Store
from processor.wire.deliveries import decode_delivery_of
from processor.wire.readback import UnreadableError
from processor.wire.topics import Topic

#: Where a message may still be cancelled.
_CANCELABLE = {
    channel: frozenset(node for node, may_follow in table.items() if Node.CANCELED in may_follow)
    for channel, table in TRANSITIONS.items()
}

#: Cancelled deliveries that one transaction takes note of: each is a counts record.
_DELIVERIES_AT_A_TIME = 1_000


class Canceled:
    """Which deliveries were cancelled, as the deliveries topic tells: one for all partitions of a worker."""

    def __init__(self) -> None:
        self._moments: dict[str, int] = {}
        #: Each cancelled delivery and the moment in microseconds, in the order in which they were heard of; once more
        #: when an earlier moment is heard. It only grows, so that a partition can tell what is news.
        self.told: list[tuple[str, int]] = []

    def take(self, _topic: Topic, records: Sequence[Record]) -> None:
        """Take records of the deliveries topic; what is told again, or forgotten, changes nothing."""
        for record in records:
            if record.value is None:
                continue
            try:
                delivery_id, delivery = decode_delivery_of(record.value, record.key)
            except UnreadableError:
                # The control stage names it: it is its own changelog.
                continue
            at = delivery.canceled_at
            if at is None or at >= self._moments.get(delivery_id, at + 1):
                continue
            self._moments[delivery_id] = at
            self.told.append((delivery_id, at))


class Cancels:
    """What one partition knows of cancels, and the walk through the rows that tells their messages, while it lasts."""

    def __init__(self, store: Store, canceled: Canceled) -> None:
        self._store, self._canceled = store, canceled
        #: How much of what was told has been listened to, and what of it this partition did not know.
        self._heard = 0
        self._news: dict[str, int] = {}
        self._walk: Iterator[bytes] | None = None
        #: Deliveries whose messages the present walk tells, and those that need one more.
        self._walking: set[str] = set()
        self._waiting: set[str] = set()
        #: When each delivery was cancelled, by its id, in microseconds.
        self.moments: dict[str, int] = {}

    @property
    def is_due(self) -> bool:
        """Whether there are cancels to take note of, or rows that may not have been told yet."""
        return bool(self._news or self._waiting) or self._walk is not None

    def restore(self, counts: Counts) -> None:
        """Take over what was published; a walk that was not over begins anew."""
        deliveries = counts.deliveries.items()
        self.moments = {each: at for each, known in deliveries if (at := known.canceled_at) is not None}
        self._heard, self._news = 0, {}
        self._walk, self._walking = None, set()
        self._waiting = {each for each in self.moments if not counts.delivery(each).is_cancel_done}

    def listen(self, counts: Counts) -> None:
        """Find out what was told since the last time that this partition does not know yet."""
        told = self._canceled.told
        if self._heard == len(told):
            return
        for delivery, at in islice(told, self._heard, None):
            known = counts.deliveries.get(delivery)
            if known is None or known.canceled_at is None or at < known.canceled_at:
                self._news[delivery] = at
        self._heard = len(told)

    def learn(self, counts: Counts) -> set[str]:
        """Take note of cancels that are news: their messages are told from now on, and those that are here in turn.

        Returns:
            The deliveries that this is news of.
        """
        learned = list(islice(self._news, _DELIVERIES_AT_A_TIME))
        for delivery in learned:
            at = self.moments[delivery] = self._news.pop(delivery)
            known = counts.delivery(delivery)
            known.canceled_at, known.is_cancel_done = at, False
        self._waiting.update(learned)
        return set(learned)

    def walk(self, number: int) -> list[bytes] | None:
        """Give the next so many messages; none when all have been told; None when there is nobody to tell.

        A cancel that is learned meanwhile waits for the next walk, so that each comes to its end.
        """
        if self._walk is None:
            if not self._waiting:
                return None
            self._walking, self._waiting = self._waiting, set()
            self._walk = (key for key, _ in self._store.items())
        keys = list(islice(self._walk, number))
        if not keys:
            self._walk = None
        return keys

    def finish(self, counts: Counts) -> set[str]:
        """Take note that a walk is over; give the deliveries whose messages have all been told."""
        done, self._walking = self._walking - self._waiting, set()
        for delivery in done:
            counts.delivery(delivery).is_cancel_done = True
        return done

    def stop(self) -> None:
        """Let go of the rows."""
        self._walk = None


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
