"""Retention of one partition: which messages it removes, and which events are then too old (ADR 0012).

The steps: `Expiry` advances its event-time clock and sets the horizon; the sweep (watch/sweep.py) finds the rows that
`may_expire` (domain/waiting.py) and passes their keys here; the fold stage takes some of them in each transaction and
removes them (`_expire_some` in fold.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from processor.domain.moment import Micros, Millis, from_seconds, to_micros, to_rfc3339
from processor.wire.deadletters import DeadReason, UnusableError

#: Earlier than any event.
_EVER = Micros(-(1 << 62))

#: Seconds after its opening in which a partition removes nothing (a tenth of a short retention).
_GRACE_SECONDS = 600.0


class Expiry:
    """The event-time clock of one partition, and the expired messages that wait for their removal.

    No event moves the clock beyond the present, which is the earlier of the worker's own clock and the latest timestamp
    of a record, which the broker has checked. So neither an event with an absurd time nor a worker whose clock is ahead
    removes messages too early.
    """

    def __init__(
        self, retention: float, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Start without a time.

        Args:
            retention: seconds to keep messages after their last change; 0: for ever.
            clock: returns the present time, in seconds since the epoch.
            monotonic: returns seconds of a monotonic clock.
        """
        self._retention = int(retention * 1_000_000)
        self._clock, self._monotonic = clock, monotonic
        # Imported history can be examined for a while before it is removed.
        self._keeps_until = monotonic() + min(_GRACE_SECONDS, retention / 10)
        #: How far the clock has come, and when the newest record was written (None: none had a timestamp), in
        #: microseconds.
        self._latest = _EVER
        self._newest: Micros | None = None
        #: Events of before this time are refused, in microseconds.
        self.oldest = _EVER
        #: Messages that may be removed: found by looking through the rows.
        self.found: list[bytes] = []

    @property
    def horizon(self) -> Micros:
        """The time in microseconds before which messages are expired."""
        return Micros(self._latest - self._retention)

    @property
    def seeks_before(self) -> Micros | None:
        """The time before which to look for expired messages; None: do not look now."""
        return self.horizon if self._retention and self._monotonic() > self._keeps_until else None

    def restore(self, moment: Micros, written: Millis | None) -> None:
        """Set the clock after recovery.

        Args:
            moment: the latest time of a change that was published, in microseconds.
            written: when it was published, in milliseconds; None: not known.
        """
        present = self._now() if written is None else min(self._now(), to_micros(written))
        self._latest = max(self._latest, min(moment, present))

    def see_record(self, timestamp: Millis) -> None:
        """Record the timestamp of a record, in milliseconds; below 0: it has none."""
        if timestamp >= 0:
            self._newest = max(to_micros(timestamp), self._newest or _EVER)

    def see(self, moment: Micros) -> None:
        """Advance the clock to the time of a change, in microseconds, but not beyond the present."""
        present = self._now() if self._newest is None else min(self._now(), self._newest)
        self._latest = max(self._latest, min(moment, present))

    def _now(self) -> Micros:
        return from_seconds(self._clock())

    def take(self, number: int) -> list[bytes]:
        """Return up to a number of the expired messages, each once."""
        taken = self.found[-number:]
        del self.found[-number:]
        return taken

    def forget_the_old(self, *, has_expired: bool) -> None:
        """Refuse events before the horizon from now on, since messages have been removed.

        An event for a removed message would recreate it and count it twice. Until anything has been removed, history of
        any age may be imported.
        """
        if self._retention and has_expired:
            self.oldest = self.horizon

    def refuse(self, moment: Micros) -> NoReturn:
        """Refuse an event before the horizon."""
        told = f"the event time {to_rfc3339(moment)} is before {to_rfc3339(self.oldest)}"
        raise UnusableError(DeadReason.TOO_OLD, f"{told}, and messages of then have been removed")
