"""Every metric of a worker: one row each, with its type, name, help, labels, known labels and buckets.

Counted per chunk, after its transaction has been committed; nothing here is touched per event. Gauges count active
partitions only, so `sum` over workers is right, unless the help says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, fields

from prometheus_client import Counter, Gauge, Histogram

from processor.metrics import labels as known
from processor.metrics.families import BulkHistogram, Family, Labels, bulk, labelled, single
from processor.metrics.labels import (
    PARTITION_STATES,
    ByCategory,
    ByCause,
    ByChannel,
    ByCondition,
    ByContradiction,
    ByDeadReason,
    ByEnding,
    ByFailure,
    ByLink,
    ByMove,
    ByOutcome,
    ByPartition,
    ByProvider,
    ByReceipt,
    ByStage,
    ByState,
    ByStatus,
    ByTopic,
    ByVerdict,
    Provider,
)
from processor.metrics.process import ProcessMetrics
from processor.metrics.skew import ClockSkew
from processor.settings import Settings

_AGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400, 604_800)
_COMMIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: The thresholds of domain/traits.py among them: an hour, 72 hours, 3.5 days.
_STAY_BUCKETS = (1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 259_200, 302_400, 604_800)
_RECORDS_BUCKETS = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)


def _one_stage(stage: str) -> list[ByStage]:
    return [ByStage(stage)]


def _states(stage: str) -> list[ByState]:
    return [ByState(stage, state) for state in PARTITION_STATES]


@dataclass(eq=False)
class Metrics(ProcessMetrics):
    """All metrics of one worker, in a registry of its own."""

    stages: InitVar[Iterable[str]] = ()
    commit: InitVar[str] = Settings.commit

    # Messages and events

    messages: Family[Gauge, ByStatus] = labelled(
        Gauge, "delivery_messages", "Messages by present status.", ByStatus, known.by_status
    )
    events: Family[Counter, ByVerdict] = labelled(
        Counter, "delivery_events", "Events by what the fold did with them.", ByVerdict, known.by_verdict
    )
    event_age: BulkHistogram[ByChannel] = bulk(
        "delivery_event_age_seconds", "Time from event to committed row.", ByChannel, known.by_channel, _AGE_BUCKETS
    )
    status_changes: Family[Counter, ByMove] = labelled(
        Counter, "delivery_status_changes", "Moves of messages between statuses.", ByMove, known.by_move
    )
    time_in_status: BulkHistogram[ByStatus] = bulk(
        "delivery_time_in_status_seconds",
        "Time that messages spent in a status before they left it, by event time.",
        ByStatus,
        known.by_left_status,
        _STAY_BUCKETS,
    )
    rejected_transitions: Family[Counter, ByContradiction] = labelled(
        Counter,
        "delivery_rejected_transitions",
        "Events without effect because they contradict the message's status.",
        # None is exported at 0: hundreds could be, and few ever happen. `delivery_events_total` counts them from 0.
        ByContradiction,
    )
    late_corrections: Counter = single(
        Counter, "delivery_late_corrections", "Statuses that an older event changed: events of the verdict `corrected`."
    )
    failures: Family[Counter, ByFailure] = labelled(
        Counter, "delivery_failures", "Messages that became failed, by reason.", ByFailure, known.by_failure
    )
    ignored: Family[Counter, ByCategory] = labelled(
        Counter, "delivery_ignored", "Messages that became ignored, by reason.", ByCategory, known.by_category
    )
    outcomes: Family[Counter, ByEnding] = labelled(
        Counter,
        "delivery_outcomes",
        "Messages that were sent, failed or were given up, by provider; a late bounce counts after its success.",
        ByEnding,
        known.by_ending,
    )

    # Providers

    normalized: Family[Counter, ByOutcome] = labelled(
        Counter,
        "delivery_normalized_records",
        "Raw records by what their provider's adapter found.",
        ByOutcome,
        known.by_outcome,
    )
    dead_letters: Family[Counter, ByDeadReason] = labelled(
        Counter,
        "delivery_dead_letters",
        "Unusable records, written as dead letters.",
        ByDeadReason,
        known.by_dead_reason,
    )
    unknown_native_status: Family[Counter, ByProvider] = labelled(
        Counter, "delivery_unknown_native_status", "Provider statuses without a mapping.", ByProvider, known.by_provider
    )
    unqualified_reasons: Family[Counter, ByProvider] = labelled(
        Counter,
        "delivery_unqualified_reasons",
        "Reasons of failures, and of failed attempts, that no rule maps to a category.",
        ByProvider,
        known.by_provider,
    )
    last_event: Family[Gauge, ByProvider] = labelled(
        Gauge,
        "delivery_last_event_timestamp_seconds",
        "Latest event time of a provider, as Unix time; 0: no event yet.",
        ByProvider,
        known.by_provider,
    )
    clock_skew: Family[Gauge, ByProvider] = labelled(
        Gauge,
        "delivery_clock_skew_seconds",
        "Seconds by which event times are ahead of their records' timestamps; below 0: behind, or reported late.",
        ByProvider,
        known.by_provider,
    )
    provider_silent: Family[Gauge, ByProvider] = labelled(
        Gauge,
        "delivery_provider_silent_seconds",
        "Seconds since a provider with outstanding messages last reported; 0 while it reports or has none "
        "outstanding. Take `max`, not `sum`.",
        ByProvider,
        known.by_provider,
    )

    # Links

    receipts: Family[Counter, ByReceipt] = labelled(
        Counter,
        "delivery_receipts",
        "Receipts without a message id of ours, by outcome; `received` is the sum of the others and of those waiting, "
        "but for `corrected`: those of the matched that a newer link gave to another message.",
        ByReceipt,
        known.by_receipt,
    )
    links: Family[Counter, ByLink] = labelled(
        Counter, "delivery_links", "Links of provider ids to messages, by outcome.", ByLink, known.by_link
    )
    receipts_waiting: Family[Gauge, ByProvider] = labelled(
        Gauge, "delivery_receipts_waiting", "Receipts that wait for their link.", ByProvider, known.by_provider
    )
    receipts_oldest_waiting: Family[Gauge, ByProvider] = labelled(
        Gauge,
        "delivery_receipts_oldest_waiting_seconds",
        "Seconds that the oldest waiting receipt has waited for its link; 0 while none waits. Take `max`, not `sum`.",
        ByProvider,
        known.by_provider,
    )

    addresses: Family[Gauge, ByCondition] = labelled(
        Gauge,
        "delivery_addresses",
        "Addresses in the quarantine feed, by condition; counted every few seconds.",
        ByCondition,
        known.by_condition,
    )

    # What waits

    stuck_messages: Family[Gauge, ByStatus] = labelled(
        Gauge,
        "delivery_stuck_messages",
        "Messages that have been in a status for longer than its threshold.",
        ByStatus,
        known.by_stuck_status,
    )
    stuck_cleared: Family[Counter, ByStatus] = labelled(
        Counter,
        "delivery_stuck_cleared",
        "Messages that moved after they had been stuck, by the status that they left.",
        ByStatus,
        known.by_stuck_status,
    )
    oldest_in_status: Family[Gauge, ByStatus] = labelled(
        Gauge,
        "delivery_oldest_in_status_seconds",
        "Age, by event time, of the message that has waited longest in this status; take `max`, not `sum`.",
        ByStatus,
        known.by_stuck_status,
    )
    pending_deliveries: Family[Gauge, ByCause] = labelled(
        Gauge,
        "delivery_pending_deliveries",
        "Pending deliveries by cause; every worker counts all of them, so take `max`, not `sum`.",
        ByCause,
        known.by_cause,
    )

    # The books

    conservation_error: Gauge = single(
        Gauge, "delivery_conservation_error", "Messages by which counts differ from known messages; must be 0."
    )
    undecided_partitions: Gauge = single(
        Gauge,
        "delivery_undecided_partitions",
        "Partitions of our topics whose readers wait for the end of a transaction that is over; must be 0.",
    )
    rows_unreadable: Family[Gauge, ByTopic] = labelled(
        Gauge,
        "delivery_rows_unreadable",
        "Records of our own topics (named without their prefix) that cannot be read and were set aside.",
        ByTopic,
        known.by_topic,
    )

    # The worker

    lag: Family[Gauge, ByPartition] = labelled(
        Gauge, "delivery_lag_records", "Records not yet committed, of partitions of this worker.", ByPartition
    )
    commit_seconds: Family[Histogram, ByStage] = labelled(
        Histogram,
        "delivery_commit_seconds",
        "Duration of a chunk's transaction.",
        ByStage,
        of_stage=_one_stage,
        buckets=_COMMIT_BUCKETS,
    )
    chunk_records: Family[Histogram, ByStage] = labelled(
        Histogram,
        "delivery_chunk_records",
        "Records in one transaction.",
        ByStage,
        of_stage=_one_stage,
        buckets=_RECORDS_BUCKETS,
    )
    partition_state: Family[Gauge, ByState] = labelled(
        Gauge, "delivery_partition_state", "Partitions of this worker by state.", ByState, of_stage=_states
    )
    reopened: Family[Counter, ByStage] = labelled(
        Counter,
        "delivery_partition_reopenings",
        "Partitions closed and recovered again after an error.",
        ByStage,
        of_stage=_one_stage,
    )
    recovery_progress: Gauge = single(
        Gauge, "delivery_recovery_progress_ratio", "Share of its changelogs that this worker has read; 1: all."
    )
    rebalances: Counter = single(Counter, "delivery_rebalances", "Group rebalances.")
    tasks: Gauge = single(
        Gauge, "delivery_tasks", "Tasks of the worker's event loop; constant while its partitions are."
    )
    settings_differ: Gauge = single(
        Gauge,
        "delivery_settings_differ",
        "Settings on which members of the group disagree, as this worker knows them; must be 0.",
    )
    topic_problems: Gauge = single(
        Gauge,
        "delivery_topic_problems",
        "Topics deleted, created again or repartitioned since this worker started; must be 0.",
    )
    worker_clock_skew: Gauge = single(
        Gauge,
        "delivery_worker_clock_skew_seconds",
        "Seconds by which this machine's clock is at least ahead of the brokers'; below 0: behind; 0: no skew known.",
    )

    def __post_init__(self, stages: Iterable[str], commit: str) -> None:
        self._export(commit)
        self._latest: dict[Provider, float] = {}
        self._skews: dict[Provider, ClockSkew] = {}
        stages = tuple(stages)
        for row in fields(self):
            made = getattr(self, row.name)
            if isinstance(made, Family):
                for stage in stages:
                    made.start(stage)
        self.recovery_progress.set(1)

    def see_event(self, provider: Provider, time: float) -> None:
        """Add the time of an event of a provider; only a later one counts."""
        if time > self._latest.get(provider, 0.0):
            self._latest[provider] = time
            self.last_event.labels(ByProvider(provider)).set(time)

    def see_skew(self, provider: Provider, ahead: float, timestamp: float) -> None:
        """Add a chunk's events of a provider, see ClockSkew; records without a timestamp are passed over."""
        if timestamp < 0:
            return
        skew = self._skews.setdefault(provider, ClockSkew())
        self.clock_skew.labels(ByProvider(provider)).set(skew.see(ahead, timestamp))


def count(counter: Family[Counter, Labels], amounts: Mapping[Labels, int]) -> None:
    """Add a chunk's amounts, by labels, to a counter."""
    for labels, amount in amounts.items():
        counter.labels(labels).inc(amount)
