"""What retention removes from one partition, and which events are too old since it did (ADR 0012)."""

from __future__ import annotations

import time
from typing import NoReturn

from processor.deadletter import DeadReason, RefusedError
from processor.domain.moment import to_rfc3339

#: Earlier than any event.
_EVER = -(1 << 62)

#: Seconds after its opening in which a partition removes nothing (a tenth of a short retention).
_GRACE_SECONDS = 600.0


class Expiry:
    """The clock of one partition, which goes by event time, and the messages whose time is up."""

    def __init__(self, retention: float) -> None:
        """Begin.

        Args:
            retention: seconds that messages are kept after their last change; 0: for ever.
        """
        self._retention = int(retention * 1_000_000)
        # Who has just brought in old history may look at it for a while before it goes.
        self._keeps_until = time.monotonic() + min(_GRACE_SECONDS, retention / 10)
        #: The latest event time at which a message changed, in microseconds.
        self._latest = 0
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
        return self.horizon if self._retention and time.monotonic() > self._keeps_until else None

    def see(self, moment: int) -> None:
        """Let the clock go on to the time of a change, in microseconds."""
        self._latest = max(self._latest, moment)

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
        raise RefusedError(DeadReason.TOO_OLD, f"{told}, and messages of then have been removed")
