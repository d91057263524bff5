"""What one worker knows of what is wrong now: the latest partial of each of its partitions, and its dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from processor.deadletter import DeadReason, Origin
from processor.domain.delivery import Cause
from processor.metrics import PROVIDERS, Metrics, provider_label
from processor.views.partials import Partial, merge
from processor.views.silence import Verdict, judge

_SECOND = 1_000_000

#: A detail may quote what a stranger sent: enough to see.
_DETAIL_MAX = 300


class DeadLetters(msgspec.Struct, frozen=True):
    """Records put aside for one reason since the workers that tell of them started, and the newest of them."""

    reason: DeadReason
    records: int
    #: The newest record's timestamp in milliseconds, and where it was read.
    time: int
    topic: str
    partition: int
    offset: int
    detail: str


class UnreadableRow(msgspec.Struct, frozen=True):
    """A record of a topic of ours that cannot be read: where it is, its key as text, and why."""

    topic: str
    partition: int
    offset: int
    key: str
    problem: str


class Board:
    """The latest of each partition, shown in the gauges; what is gone is taken out of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._partials: dict[int, Partial] = {}
        #: Partials that came since the gauges were set.
        self._unshown = 0
        self._dead: dict[DeadReason, DeadLetters] = {}
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
            labels = at.channel.value, at.status.value
            age = 0.0 if at.oldest is None else max(0.0, (merged.now - at.oldest.since) / _SECOND)
            metrics.stuck_messages.labels(*labels).set(at.stuck)
            metrics.oldest_in_status.labels(*labels).set(age)
        silent = dict.fromkeys(PROVIDERS, 0.0)
        for evidence in merged.providers:
            found = judge(evidence, merged.now)
            if found.verdict is Verdict.SILENT and found.quiet is not None:
                label = provider_label(found.provider)
                silent[label] = max(silent[label], found.quiet)
        for provider, seconds in silent.items():
            metrics.provider_silent.labels(provider).set(seconds)

    def show_pending(self, deliveries: Mapping[Cause, int]) -> None:
        """Show how many deliveries wait, by why."""
        for cause in Cause:
            self._metrics.pending_deliveries.labels(cause.value).set(deliveries.get(cause, 0))

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
        self._dead[reason] = DeadLetters(reason, before + records, timestamp, *origin, _cut(detail))

    def dead_letters(self) -> tuple[DeadLetters, ...]:
        """Give those that this worker has put aside, by reason."""
        return tuple(self._dead.values())


def _cut(detail: str) -> str:
    """Cut a long detail so that it shows: what its last word was, nobody can tell."""
    return detail if len(detail) <= _DETAIL_MAX else detail[: _DETAIL_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


def merge_dead(dead: Iterable[DeadLetters]) -> tuple[DeadLetters, ...]:
    """Join what several workers have put aside: sums, and the newest of each reason. Associative and commutative."""
    by_reason: dict[DeadReason, DeadLetters] = {}
    for each in dead:
        known = by_reason.get(each.reason)
        if known is not None:
            newest = max(known, each, key=lambda at: (at.time, at.topic, at.partition, at.offset))
            each = msgspec.structs.replace(newest, records=known.records + each.records)  # noqa: PLW2901 - the join
        by_reason[each.reason] = each
    return tuple(by_reason[reason] for reason in DeadReason if reason in by_reason)
