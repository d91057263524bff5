"""What retention removes from one partition, and which events are too old since it did (ADR 0012)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from processor.domain.moment import to_rfc3339
from processor.wire.deadletters import DeadReason, UnusableError

#: Earlier than any event.
_EVER = -(1 << 62)

#: Seconds after its opening in which a partition removes nothing (a tenth of a short retention).
_GRACE_SECONDS = 600.0


class Expiry:
    """The clock of one partition, which goes by event time, and the messages whose time is up.

    No event moves the clock beyond the present, by whichever is earlier: the worker's own clock, or the latest
    timestamp of a record, which the broker has checked. So neither an event with an absurd time nor a worker whose
    clock is ahead removes what others may still ask for.
    """

    def __init__(
        self, retention: float, clock: Callable[[], float], steady: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin.

        Args:
            retention: seconds that messages are kept after their last change; 0: for ever.
            clock: gives the present moment, in seconds since the epoch.
            steady: gives seconds since any moment, and is never set.
        """
        self._retention = int(retention * 1_000_000)
        self._clock, self._steady = clock, steady
        # Who has just brought in old history may look at it for a while before it goes.
        self._keeps_until = steady() + min(_GRACE_SECONDS, retention / 10)
        #: How far the clock has come, and when the newest record was written (None: none had a timestamp), in
        #: microseconds.
        self._latest = _EVER
        self._newest: int | None = None
        #: Events of before this time are refused, in microseconds.
        self.oldest = _EVER
        #: Messages that may be removed: found by looking through the rows.
        self.found: list[bytes] = []

    @property
    def horizon(self) -> int:
        """The time before which messages have had their time, in microseconds."""
        return self._latest - self._retention

    @property
    def seeks_before(self) -> int | None:
        """Which messages are to be looked for: those of before this time; None: none for now."""
        return self.horizon if self._retention and self._steady() > self._keeps_until else None

    def restore(self, moment: int, written: int | None) -> None:
        """Take up the clock where it stood.

        Args:
            moment: the latest time of a change that was published, in microseconds.
            written: when it was published, in milliseconds; None: not known.
        """
        present = self._now() if written is None else min(self._now(), written * 1_000)
        self._latest = max(self._latest, min(moment, present))

    def see_record(self, timestamp: int) -> None:
        """Take note of a record's own timestamp, in milliseconds; below 0: it has none."""
        if timestamp >= 0:
            self._newest = max(timestamp * 1_000, self._newest or 0)

    def see(self, moment: int) -> None:
        """Let the clock go on to the time of a change, in microseconds, and no further than the present."""
        present = self._now() if self._newest is None else min(self._now(), self._newest)
        self._latest = max(self._latest, min(moment, present))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def take(self, number: int) -> list[bytes]:
        """Give so many of the messages that were found, each once."""
        taken = self.found[-number:]
        del self.found[-number:]
        return taken

    def forget_the_old(self, *, has_expired: bool) -> None:
        """Refuse, once messages have been removed, events that are older than any that are kept.

        Whose message has been removed would become a new one, and be counted twice. While nothing has been removed,
        history of any age may be brought in.
        """
        if self._retention and has_expired:
            self.oldest = self.horizon

    def refuse(self, moment: int) -> NoReturn:
        """Refuse an event of a time before the oldest."""
        told = f"the event time {to_rfc3339(moment)} is before {to_rfc3339(self.oldest)}"
        raise UnusableError(DeadReason.TOO_OLD, f"{told}, and messages of then have been removed")
