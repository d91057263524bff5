"""The present problems that one worker knows: the latest findings of each of its partitions, and its dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from processor.domain.delivery import Cause
from processor.domain.moment import Millis
from processor.metrics import PROVIDERS, Metrics, provider_label
from processor.metrics.labels import ByCause, ByProvider, ByStatus
from processor.watch.findings import Partial, merge
from processor.watch.silence import Answering, judge
from processor.watch.tallies import DeadLetterTally, UnreadableRow, cut
from processor.wire.deadletters import DeadReason, Origin

_SECOND = 1_000_000


class Board:
    """The latest findings of each partition; the gauges show them, and drop those of partitions that are gone."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._partials: dict[int, Partial] = {}
        #: Partials that came since the gauges were set.
        self._unshown = 0
        self._dead: dict[DeadReason, DeadLetterTally] = {}
        self._unreadable: dict[tuple[str, int], tuple[UnreadableRow, ...]] = {}

    def put(self, partition: int, partial: Partial) -> None:
        """Take the findings of a sweep; the gauges follow once there are as many new ones as partitions.

        An update reads all partitions: after every sweep it would cost the square of their number.
        """
        is_new = partition not in self._partials
        self._partials[partition] = partial
        self._unshown += 1
        if is_new or self._unshown >= len(self._partials):
            self._show()

    def drop(self, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        if self._partials.pop(partition, None) is not None:
            self._show()

    @property
    def partitions(self) -> Iterable[int]:
        """The known partitions."""
        return self._partials.keys()

    def partials(self) -> dict[int, Partial]:
        """Return the findings of each partition."""
        return dict(self._partials)

    def partial(self) -> Partial:
        """Return the findings of all partitions."""
        return merge(self._partials.values())

    def _show(self) -> None:
        self._unshown = 0
        merged, metrics = self.partial(), self._metrics
        for at in merged.waiting:
            labels = ByStatus(at.channel, at.status)
            age = 0.0 if at.oldest is None else max(0.0, (merged.now - at.oldest.since) / _SECOND)
            metrics.stuck_messages.labels(labels).set(at.stuck)
            metrics.oldest_in_status.labels(labels).set(age)
        silent = dict.fromkeys(PROVIDERS, 0.0)
        for evidence in merged.providers:
            found = judge(evidence, merged.now)
            if found.answering is Answering.SILENT and found.quiet is not None:
                label = provider_label(found.provider)
                silent[label] = max(silent[label], found.quiet)
        for provider, seconds in silent.items():
            metrics.provider_silent.labels(ByProvider(provider)).set(seconds)

    def show_pending(self, deliveries: Mapping[Cause, int]) -> None:
        """Show the number of pending deliveries by cause."""
        for cause in Cause:
            self._metrics.pending_deliveries.labels(ByCause(cause)).set(deliveries.get(cause, 0))

    # Unreadable rows

    def put_unreadable(self, topic: str, partition: int, rows: Iterable[UnreadableRow]) -> None:
        """Replace the unreadable records of a partition."""
        self._unreadable[topic, partition] = tuple(rows)

    def unreadable(self) -> tuple[UnreadableRow, ...]:
        """Return the unreadable records that this worker has set aside, by topic and partition."""
        return tuple([row for at in sorted(self._unreadable) for row in self._unreadable[at]])

    # Dead letters

    def see_dead(self, reason: DeadReason, records: int, origin: Origin, timestamp: Millis, detail: str) -> None:
        """Add a chunk's dead letters for one reason, with the last of them.

        Args:
            reason: why they were put aside.
            records: their number.
            origin: where the last of them was read.
            timestamp: its own, in milliseconds.
            detail: what a person needs to fix it.
        """
        known = self._dead.get(reason)
        before = 0 if known is None else known.records
        self._dead[reason] = DeadLetterTally(reason, before + records, timestamp, *origin, cut(detail))

    def dead_letters(self) -> tuple[DeadLetterTally, ...]:
        """Return the dead letters of this worker, by reason."""
        return tuple(self._dead.values())
