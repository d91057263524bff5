"""The history of one partition's counts: samples of what its deliveries counted when a minute, hour or day was over.

The clock is that of the fold: a change belongs to the minute in which its transaction was written. So what is over
never changes, whatever comes late, and the next transaction of a partition writes the samples that are due *before* it
changes the counts. There is nothing to be restored but when each delivery was counted last: the ledger's timestamps.
"""

from __future__ import annotations

from collections.abc import Iterable

from processor.domain.counts import Counts
from processor.domain.moment import Millis
from processor.engine.stage import Outbox
from processor.settings import Settings
from processor.wire.history import ByProvider, Width, encode_history
from processor.wire.topics import HISTORY

#: Deliveries that one sample tells of, those with most messages; and the bytes that they may take: a record that is
#: larger than its topic takes would hold up the partition for ever.
_DELIVERIES_TOLD = 500
_BYTES_TOLD = 4 * 1024 * 1024
#: What the figures of one provider take at most, and a character of a delivery's id.
_PROVIDER_BYTES, _CHARACTER_BYTES = 512, 6

#: Milliseconds until samples are tried again that our clock calls due and the brokers' does not.
_AGAIN = 5_000

_NEVER = Millis(1 << 62)


class History:
    """The samples of one partition."""

    def __init__(self, settings: Settings, partition: int) -> None:
        self._topic, self._partition = settings.topic(HISTORY), partition
        #: When the counts of each delivery were written last; without those of earlier days.
        self._written: dict[str, Millis] = {}
        #: The latest of these times; 0: nothing was written.
        self._latest = Millis(0)
        #: The widths whose last span has not been written, or changed since.
        self._open: set[Width] = set()
        self._due = _NEVER

    def see(self, deliveries: Iterable[str], now: Millis) -> None:
        """Note that the counts of deliveries are written now; a clock that goes back stands still."""
        changed = dict.fromkeys(deliveries, max(now, self._latest))
        if changed and now > 0:
            self._latest = max(now, self._latest)
            self._written.update(changed)
            self._open = set(Width)
            self._due = Millis(Width.MINUTE.start(self._latest) + Width.MINUTE.milliseconds)

    def is_due(self, now: Millis) -> bool:
        """Return whether a sample can be written, by our own clock."""
        return now >= self._due

    def write(self, counts: Counts, outbox: Outbox, clock: Millis) -> None:
        """Write the samples of what is over; to be called before the counts change.

        Args:
            counts: as they were after the last change.
            outbox: of the transaction, with the brokers' time.
            clock: our own.
        """
        if not self._open or outbox.now < self._due:
            if clock >= self._due:
                self._due = Millis(clock + _AGAIN)
            return
        for width in [each for each in Width if each in self._open]:
            start = width.start(self._latest)
            if width.start(outbox.now) > start:
                self._write(width, start, counts, outbox)
                self._open.discard(width)
        if Width.DAY not in self._open:
            self._written.clear()
        self._due = min(
            [Millis(width.start(self._latest) + width.milliseconds) for width in self._open], default=_NEVER
        )

    def _write(self, width: Width, start: Millis, counts: Counts, outbox: Outbox) -> None:
        changed = [delivery for delivery, time in self._written.items() if time >= start]
        largest = sorted(changed, key=lambda delivery: -counts.delivery(delivery).messages)[:_DELIVERIES_TOLD]
        figures: dict[str, ByProvider] = {}
        room = _BYTES_TOLD
        for delivery in largest:
            by_provider = counts.delivery(delivery).by_provider
            room -= _CHARACTER_BYTES * len(delivery) + _PROVIDER_BYTES * len(by_provider)
            if room >= 0:
                figures[delivery] = by_provider
        key, value = encode_history(self._partition, width, start, figures, len(changed) - len(figures))
        outbox.add(self._topic, self._partition, outbox.now, key, value)

    def forget(self) -> None:
        """Forget all times."""
        self._written.clear()
        self._latest, self._due = Millis(0), _NEVER
        self._open.clear()
