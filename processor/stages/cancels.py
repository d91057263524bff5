"""Cancelled deliveries of one partition: applied to their messages, new ones at once and existing ones in turn.

The deliveries topic, which every worker follows, has the cancels (ADR 0017); they are then kept with the delivery's
counts. A message that arrives later is cancelled when it arrives. Existing messages are cancelled by a walk through all
rows, a share in each transaction; after a restart it begins again, until the delivery's counts say that it is finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from processor.domain.counts import Counts
from processor.domain.event import Event
from processor.domain.fold import Verdict, fold
from processor.domain.moment import Micros, to_datetime
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.traits import CANCELABLE
from processor.domain.transitions import Node
from processor.engine.store import Store
from processor.stages.dates import Dates

#: Cancelled deliveries that one transaction takes note of: each is a counts record.
_DELIVERIES_AT_A_TIME = 1_000


class Cancels:
    """The cancels that one partition knows, and the walk through its rows while there is one."""

    def __init__(self, store: Store, dates: Dates) -> None:
        self._store, self._dates = store, dates
        #: How much of what was told has been listened to, and what of it this partition did not know.
        self._heard = 0
        self._news: dict[str, Micros] = {}
        self._walk: Iterator[bytes] | None = None
        #: Deliveries whose messages the present walk tells, and those that need one more.
        self._walking: set[str] = set()
        self._waiting: set[str] = set()
        #: When each delivery was cancelled, by its id, in microseconds.
        self.moments: dict[str, Micros] = {}

    @property
    def is_due(self) -> bool:
        """Whether there are cancels to learn, or rows that the walk has not reached."""
        return bool(self._news or self._waiting) or self._walk is not None

    def restore(self, counts: Counts) -> None:
        """Take over the published counts; a walk that was not finished begins again."""
        deliveries = counts.deliveries.items()
        self.moments = {each: at for each, known in deliveries if (at := known.canceled_at) is not None}
        self._heard, self._news = 0, {}
        self._walk, self._walking = None, set()
        self._waiting = {each for each in self.moments if not counts.delivery(each).is_cancel_done}

    def listen(self, counts: Counts) -> None:
        """Return the cancels since the last call that this partition does not know yet."""
        told = self._dates.canceled
        if self._heard == len(told):
            return
        for delivery, at in islice(told, self._heard, None):
            known = counts.deliveries.get(delivery)
            if known is None or known.canceled_at is None or at < known.canceled_at:
                self._news[delivery] = at
        self._heard = len(told)

    def learn(self, counts: Counts) -> set[str]:
        """Learn new cancels: they apply to new messages from now on, and to existing ones in turn.

        Returns:
            The deliveries whose cancel is new.
        """
        learned = list(islice(self._news, _DELIVERIES_AT_A_TIME))
        for delivery in learned:
            at = self.moments[delivery] = self._news.pop(delivery)
            known = counts.delivery(delivery)
            known.canceled_at, known.is_cancel_done = at, False
        self._waiting.update(learned)
        return set(learned)

    def walk(self, number: int) -> list[bytes] | None:
        """Return the next messages of the walk; none at its end; None if there is no walk.

        A cancel that is learned meanwhile waits for the next walk, so that each walk ends.
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
        """End a walk; return the deliveries whose existing messages have all been cancelled."""
        done, self._walking = self._walking - self._waiting, set()
        for delivery in done:
            counts.delivery(delivery).is_cancel_done = True
        return done

    def stop(self) -> None:
        """Release the rows."""
        self._walk = None


def cancel(message_id: str, row: Row, at: Micros) -> tuple[Event, Row, Verdict] | None:
    """Apply a cancel, made at a time in microseconds, to a message.

    Returns:
        The event, the row after it and the verdict; None if it cannot change anything any more.
    """
    if row.node not in CANCELABLE[row.channel]:
        return None
    event = Event(to_datetime(at), message_id, row.channel, Status.CANCELED, attempt=row.attempt)
    told, verdict = fold(row, event, Node.CANCELED, at)
    return None if verdict is Verdict.DUPLICATE else (event, told, verdict)
