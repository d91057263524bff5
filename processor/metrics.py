"""Every metric: name, help, labels, and every label set that is known before traffic comes.

Counted per chunk, after its transaction has been committed; nothing here is touched per event. Labels are closed
sets: no ids, recipients or texts. Gauges count active partitions only, so `sum` over workers is right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median_low

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from processor.domain.delivery import Cause
from processor.domain.fold import Verdict
from processor.domain.reason import Category
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, TRANSITIONS, Node
from processor.domain.waiting import STUCK_AFTER
from processor.logs import KNOWN_WARNINGS
from processor.providers import ADAPTERS
from processor.wire.deadletters import DeadReason

#: The label of a provider that has no adapter: upstream may name anything, a label may not.
OTHER_PROVIDER = "other"
#: The label where no provider is named.
NO_PROVIDER = "none"

PROVIDERS: tuple[str, ...] = (*ADAPTERS, OTHER_PROVIDER, NO_PROVIDER)

#: The verdict on an event that came to the wrong partition: it was sent on to its own.
REROUTED = "rerouted"
VERDICTS: tuple[str, ...] = (*(verdict.value for verdict in Verdict), REROUTED)

#: The label of where a message came from that was not known before.
NEW = "new"

#: How it ends between a provider and a message: it was sent or arrived; it failed for good; it was given up.
SUCCESS = "success"
OUTCOME_OF_NODE: dict[Node, str] = {
    Node.SENT: SUCCESS,
    Node.RECEIVED_ON_MOBILE: SUCCESS,
    Node.FAILED: "failed",
    Node.FAILED_GAVE_UP: "gave_up",
}
OUTCOMES: tuple[str, ...] = tuple(dict.fromkeys(OUTCOME_OF_NODE.values()))

#: The topics whose records are read back, without their prefix.
READ_BACK = ("messages.v1", "deliveries.v1", "counts.v1")

PARTITION_STATES = ("recovering", "running", "closing")

_AGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400, 604_800)
_COMMIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: The thresholds of domain/waiting.py among them: an hour, 72 hours, 3.5 days.
_STAY_BUCKETS = (1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 259_200, 302_400, 604_800)
_RECORDS_BUCKETS = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)


def provider_label(provider: str | None) -> str:
    """Give the label for what an event names as its provider."""
    if not provider:
        return NO_PROVIDER
    return provider if provider in ADAPTERS else OTHER_PROVIDER


class BulkHistogram(Collector):
    """A histogram that takes a chunk's observations at once.

    `prometheus_client.Histogram.observe` costs more for each event than the fold does.

    Args:
        name: without `_bucket` and its like.
        documentation: the help text.
        labels: their names.
        known: every set of their values. There will be no others: what is not among them is passed over, for a worker
            must not end over a number.
        buckets: upper bounds, ascending.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        known: Iterable[tuple[str, ...]],
        buckets: Sequence[float],
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._buckets = tuple(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {values: [0] * (len(self._buckets) + 1) for values in known}
        self._sums: dict[tuple[str, ...], float] = dict.fromkeys(self._counts, 0.0)

    def observe_many(self, values: str | tuple[str, ...], observations: Sequence[float]) -> None:
        """Count observations under one set of the labels' values; where there is one label, its value will do."""
        if isinstance(values, str):
            values = (values,)
        counts = self._counts.get(values)
        if counts is None:
            return
        ordered = sorted(observations)
        below = 0
        for index, bound in enumerate(self._buckets):
            upto = bisect_right(ordered, bound, below)
            counts[index] += upto - below
            below = upto
        counts[-1] += len(ordered) - below
        self._sums[values] += sum(ordered)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the samples, as prometheus_client asks for them."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [*map(str, map(float, self._buckets)), "+Inf"]
        for values, counts in self._counts.items():
            total, cumulative = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                cumulative.append((bound, total))
            family.add_metric(values, buckets=cumulative, sum_value=self._sums[values])
        yield family


class ClockSkew:
    """By how much a provider's event times lie ahead of the timestamps of their records, in seconds.

    A report is never earlier than what it tells, so the event that lies furthest ahead comes closest to the truth: its
    report was the quickest. Positive: the clock is ahead by this much at least. Negative: it is behind, or no report
    is quicker than that. One event with an absurd time must not decide, so it is the median over the last minutes of
    records, each represented by its furthest.
    """

    _WINDOW = 60.0
    _WINDOWS = 9

    def __init__(self) -> None:
        self._since = float("-inf")
        self._furthest: deque[float] = deque(maxlen=self._WINDOWS)

    def see(self, ahead: float, timestamp: float) -> float:
        """Take note of a chunk's furthest event and of its records' latest timestamp; give the present estimate."""
        if timestamp >= self._since + self._WINDOW:
            self._since = timestamp
            self._furthest.append(ahead)
        else:
            self._furthest[-1] = max(self._furthest[-1], ahead)
        return median_low(self._furthest)


class Metrics:
    """All metrics of one worker, in a registry of its own."""

    def __init__(self, stages: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        # A `_created` series beside every counter doubles the page and nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.messages = Gauge("delivery_messages", "Messages by present status.", ["channel", "status"], registry=r)
        self.events = Counter(
            "delivery_events", "Events by what the fold did with them.", ["channel", "provider", "verdict"], registry=r
        )
        self.status_changes = Counter(
            "delivery_status_changes", "Moves of messages between statuses.", ["channel", "from", "to"], registry=r
        )
        self.rejected_transitions = Counter(
            "delivery_rejected_transitions",
            "Events whose effect was withheld because they contradict the message's status.",
            ["channel", "provider", "from", "to"],
            registry=r,
        )
        self.failures = Counter(
            "delivery_failures",
            "Messages that became failed, by reason.",
            ["channel", "category", "permanence"],
            registry=r,
        )
        self.ignored = Counter(
            "delivery_ignored", "Messages that became ignored, by reason.", ["channel", "category"], registry=r
        )
        self.outcomes = Counter(
            "delivery_outcomes",
            "Messages that were sent, failed or were given up, by provider; a late bounce counts after its success.",
            ["channel", "provider", "outcome"],
            registry=r,
        )
        self.dead_letters = Counter(
            "delivery_dead_letters",
            "Records that could not be used and were put aside.",
            ["reason", "provider"],
            registry=r,
        )
        self.unknown_native_status = Counter(
            "delivery_unknown_native_status", "Native statuses that are in no table of ours.", ["provider"], registry=r
        )
        self.unqualified_reasons = Counter(
            "delivery_unqualified_reasons",
            "Reasons of failures, and of failed attempts, that no rule of ours covers.",
            ["provider"],
            registry=r,
        )
        self.normalized = Counter(
            "delivery_normalized_records",
            "Raw records by what their provider's adapter found.",
            ["provider", "outcome"],
            registry=r,
        )
        self.late_corrections = Counter(
            "delivery_late_corrections", "Statuses changed by history that arrived late.", registry=r
        )
        self.conservation_error = Gauge(
            "delivery_conservation_error", "Messages by which counts differ from known messages; must be 0.", registry=r
        )
        self.rows_unreadable = Gauge(
            "delivery_rows_unreadable",
            "Records of our own topics (named without their prefix) that cannot be read and were set aside.",
            ["topic"],
            registry=r,
        )
        self.lag = Gauge(
            "delivery_lag_records",
            "Records not yet committed, of partitions of this worker.",
            ["topic", "partition"],
            registry=r,
        )
        self.commit_seconds = Histogram(
            "delivery_commit_seconds",
            "Duration of a chunk's transaction.",
            ["stage"],
            buckets=_COMMIT_BUCKETS,
            registry=r,
        )
        self.chunk_records = Histogram(
            "delivery_chunk_records", "Records in one transaction.", ["stage"], buckets=_RECORDS_BUCKETS, registry=r
        )
        self.settings_differ = Gauge(
            "delivery_settings_differ",
            "Settings on which members of the group disagree, as this worker was told; must be 0.",
            registry=r,
        )
        self.topic_problems = Gauge(
            "delivery_topic_problems",
            "Topics that have gone, were made anew or have other partitions than when this worker started; must be 0.",
            registry=r,
        )
        self.partition_state = Gauge(
            "delivery_partition_state", "Partitions of this worker by state.", ["stage", "state"], registry=r
        )
        self.recovery_progress = Gauge(
            "delivery_recovery_progress_ratio", "How much of its changelogs this worker has read; 1: all.", registry=r
        )
        self.tasks = Gauge(
            "delivery_tasks", "Tasks of the worker's event loop; constant while its partitions are.", registry=r
        )
        self.rebalances = Counter("delivery_rebalances", "Times that partitions were handed out anew.", registry=r)
        self.reopened = Counter(
            "delivery_partition_reopenings",
            "Partitions closed and recovered anew after an error.",
            ["stage"],
            registry=r,
        )
        self.warnings = Counter(
            "delivery_warnings",
            "Warnings and errors by their event in the log, also those that it withheld.",
            ["event"],
            registry=r,
        )
        self.last_event = Gauge(
            "delivery_last_event_timestamp_seconds",
            "Latest event time seen from a provider, as Unix time; 0: none yet.",
            ["provider"],
            registry=r,
        )
        self.worker_clock_skew = Gauge(
            "delivery_worker_clock_skew_seconds",
            "By how much this machine's clock is ahead of the brokers' at least; below 0: behind; 0: not known to be.",
            registry=r,
        )
        self.clock_skew = Gauge(
            "delivery_clock_skew_seconds",
            "By how much event times lie ahead of their records' timestamps; below 0: behind, or reported late.",
            ["provider"],
            registry=r,
        )
        self._latest: dict[str, float] = {}
        self._skews: dict[str, ClockSkew] = {}
        self.event_age = BulkHistogram(
            "delivery_event_age_seconds",
            "Time from event to committed row.",
            ["channel"],
            [(channel.value,) for channel in Channel],
            _AGE_BUCKETS,
        )
        self.time_in_status = BulkHistogram(
            "delivery_time_in_status_seconds",
            "Time that messages spent in a status which they have left, by event time.",
            ["channel", "status"],
            [(channel.value, status.value) for channel, status in left_statuses()],
            _STAY_BUCKETS,
        )
        r.register(self.event_age)
        r.register(self.time_in_status)
        self._make_wrong_now(r)
        self._start_at_zero()
        for stage in stages:
            self._start_stage_at_zero(stage)

    def _make_wrong_now(self, r: CollectorRegistry) -> None:
        self.stuck_messages = Gauge(
            "delivery_stuck_messages",
            "Messages that have waited in a status for longer than its threshold.",
            ["channel", "status"],
            registry=r,
        )
        self.stuck_cleared = Counter(
            "delivery_stuck_cleared",
            "Messages that were counted as stuck and moved after all, by the status that they left.",
            ["channel", "status"],
            registry=r,
        )
        self.oldest_in_status = Gauge(
            "delivery_oldest_in_status_seconds",
            "How long, by event time, the message has waited that has done so for longest; take `max`, not `sum`.",
            ["channel", "status"],
            registry=r,
        )
        self.provider_silent = Gauge(
            "delivery_provider_silent_seconds",
            "How long a provider that is asked has not answered; 0: it does, or is not asked. Take `max`, not `sum`.",
            ["provider"],
            registry=r,
        )
        self.pending_deliveries = Gauge(
            "delivery_pending_deliveries",
            "Deliveries that wait, by why; every worker knows of all, so take `max`, not `sum`.",
            ["cause"],
            registry=r,
        )

    def see_warning(self, event: str) -> None:
        """Count a line of the log; `event` is one of KNOWN_WARNINGS."""
        self.warnings.labels(event).inc()

    def see_event(self, provider: str, time: float) -> None:
        """Take note of the time of an event of a provider; only a later one counts."""
        if time > self._latest.get(provider, 0.0):
            self._latest[provider] = time
            self.last_event.labels(provider).set(time)

    def see_skew(self, provider: str, ahead: float, timestamp: float) -> None:
        """Take note of a chunk's events of a provider: see ClockSkew. A record without a timestamp says nothing."""
        if timestamp < 0:
            return
        skew = self._skews.setdefault(provider, ClockSkew())
        self.clock_skew.labels(provider).set(skew.see(ahead, timestamp))

    def _start_at_zero(self) -> None:
        """Export every known label set from the start, so that the first increment is seen."""
        for channel, status in known_statuses():
            self.messages.labels(channel.value, status.value)
        for channel, provider in known_providers():
            self._start_provider_at_zero(channel, provider)
        for channel, table in TRANSITIONS.items():
            for before, afters in table.items():
                self.status_changes.labels(channel.value, NEW, NODE_NAMES[before])
                for after in afters:
                    self.status_changes.labels(channel.value, NODE_NAMES[before], NODE_NAMES[after])
            for category in Category:
                self.ignored.labels(channel.value, category.value)
                for permanence in (Permanence.GAVE_UP, Permanence.PERMANENT):
                    self.failures.labels(channel.value, category.value, permanence.value)
        for provider in PROVIDERS:
            self.unknown_native_status.labels(provider)
            self.unqualified_reasons.labels(provider)
            self.last_event.labels(provider)
            for outcome in ("events", "no_status", "unknown", "dead"):
                self.normalized.labels(provider, outcome)
            for reason in DeadReason:
                self.dead_letters.labels(reason.value, provider)
        for topic in READ_BACK:
            self.rows_unreadable.labels(topic)
        self.recovery_progress.set(1)
        self._start_wrong_now_at_zero()

    def _start_provider_at_zero(self, channel: Channel, provider: str) -> None:
        for verdict in VERDICTS:
            self.events.labels(channel.value, provider, verdict)
        for outcome in OUTCOMES:
            self.outcomes.labels(channel.value, provider, outcome)
        for standing, reported in contradictions(channel):
            self.rejected_transitions.labels(channel.value, provider, NODE_NAMES[standing], NODE_NAMES[reported])

    def _start_wrong_now_at_zero(self) -> None:
        for channel, status in STUCK_AFTER:
            self.stuck_messages.labels(channel.value, status.value)
            self.stuck_cleared.labels(channel.value, status.value)
            self.oldest_in_status.labels(channel.value, status.value)
        for provider in PROVIDERS:
            self.clock_skew.labels(provider)
            self.provider_silent.labels(provider)
        for cause in Cause:
            self.pending_deliveries.labels(cause.value)
        for event in KNOWN_WARNINGS:
            self.warnings.labels(event)

    def _start_stage_at_zero(self, stage: str) -> None:
        self.commit_seconds.labels(stage)
        self.chunk_records.labels(stage)
        self.reopened.labels(stage)
        for state in PARTITION_STATES:
            self.partition_state.labels(stage, state)


def known_statuses() -> Iterator[tuple[Channel, Status]]:
    """Give every status that exists, by channel."""
    for status, definition in DEFINITIONS.items():
        for channel in Channel:
            if channel in definition.channels:
                yield channel, status


def left_statuses() -> Iterator[tuple[Channel, Status]]:
    """Give every status that a message may leave for another one, by channel."""
    for channel, table in TRANSITIONS.items():
        for before, afters in table.items():
            if any(NODE_STATUS[after] is not NODE_STATUS[before] for after in afters):
                yield channel, NODE_STATUS[before]


def known_providers() -> Iterator[tuple[Channel, str]]:
    """Give the labels of every provider with the channels that it may report on."""
    for channel in Channel:
        for name, adapter in ADAPTERS.items():
            if adapter.channel is channel:
                yield channel, name
        yield channel, OTHER_PROVIDER
        yield channel, NO_PROVIDER


def contradictions(channel: Channel) -> Iterator[tuple[Node, Node]]:
    """Give every pair of nodes of a channel of which neither may follow the other."""
    table = TRANSITIONS[channel]
    for standing in table:
        for reported in table:
            if standing is not reported and reported not in table[standing] and standing not in table[reported]:
                yield standing, reported


def count(counter: Counter, amounts: Mapping[tuple[str, ...], int]) -> None:
    """Add a chunk's amounts, by label values, to a counter."""
    for labels, amount in amounts.items():
        counter.labels(*labels).inc(amount)
