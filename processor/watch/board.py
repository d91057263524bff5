"""What one worker knows of what is wrong now: the latest partial of each of its partitions, and its dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from processor.domain.delivery import Cause
from processor.metrics import PROVIDERS, Metrics, provider_label
from processor.metrics.labels import ByCause, ByProvider, ByStatus
from processor.watch.findings import Partial, merge
from processor.watch.silence import Verdict, judge
from processor.watch.tallies import DeadLetterTally, UnreadableRow, cut
from processor.wire.deadletters import DeadReason, Origin

_SECOND = 1_000_000


class Board:
    """The latest of each partition, shown in the gauges; what is gone is taken out of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._partials: dict[int, Partial] = {}
        #: Partials that came since the gauges were set.
        self._unshown = 0
        self._dead: dict[DeadReason, DeadLetterTally] = {}
        self._unreadable: dict[tuple[str, int], tuple[UnreadableRow, ...]] = {}

    def put(self, partition: int, partial: Partial) -> None:
        """Take what a sweep of a partition found; it is shown when there is news of as many partitions as there are.

        Showing looks at all partitions: after every sweep of each it would cost their number squared.
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
        """The partitions that it knows of."""
        return self._partials.keys()

    def partials(self) -> dict[int, Partial]:
        """Give what each of them knows."""
        return dict(self._partials)

    def partial(self) -> Partial:
        """Give what all of them know."""
        return merge(self._partials.values())

    def _show(self) -> None:
        self._unshown = 0
        merged, metrics = self.partial(), self._metrics
        for at in merged.standings:
            labels = ByStatus(at.channel, at.status)
            age = 0.0 if at.oldest is None else max(0.0, (merged.now - at.oldest.since) / _SECOND)
            metrics.stuck_messages.labels(labels).set(at.stuck)
            metrics.oldest_in_status.labels(labels).set(age)
        silent = dict.fromkeys(PROVIDERS, 0.0)
        for evidence in merged.providers:
            found = judge(evidence, merged.now)
            if found.verdict is Verdict.SILENT and found.quiet is not None:
                label = provider_label(found.provider)
                silent[label] = max(silent[label], found.quiet)
        for provider, seconds in silent.items():
            metrics.provider_silent.labels(ByProvider(provider)).set(seconds)

    def show_pending(self, deliveries: Mapping[Cause, int]) -> None:
        """Show how many deliveries wait, by why."""
        for cause in Cause:
            self._metrics.pending_deliveries.labels(ByCause(cause)).set(deliveries.get(cause, 0))

    # Unreadable rows

    def put_unreadable(self, topic: str, partition: int, rows: Iterable[UnreadableRow]) -> None:
        """Take which records of a partition cannot be read, in place of what was said before."""
        self._unreadable[topic, partition] = tuple(rows)

    def unreadable(self) -> tuple[UnreadableRow, ...]:
        """Give those that this worker has set aside, by topic and partition."""
        return tuple([row for at in sorted(self._unreadable) for row in self._unreadable[at]])

    # Dead letters

    def see_dead(self, reason: DeadReason, records: int, origin: Origin, timestamp: int, detail: str) -> None:
        """Take note of a chunk's dead letters for one reason, and of the last of them.

        Args:
            reason: why they were put aside.
            records: how many were.
            origin: where the last of them was read.
            timestamp: its own, in milliseconds.
            detail: what a person needs to mend it.
        """
        known = self._dead.get(reason)
        before = 0 if known is None else known.records
        self._dead[reason] = DeadLetterTally(reason, before + records, timestamp, *origin, cut(detail))

    def dead_letters(self) -> tuple[DeadLetterTally, ...]:
        """Give those that this worker has put aside, by reason."""
        return tuple(self._dead.values())
