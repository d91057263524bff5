"""A chunk's contribution to the metrics: recorded per event, aggregated per chunk, published after the commit."""

from __future__ import annotations

from collections import Counter, defaultdict

from processor.domain.counts import category_of
from processor.domain.event import Event
from processor.domain.fold import Verdict
from processor.domain.moment import Micros, Millis
from processor.domain.reason import Category
from processor.domain.row import Row
from processor.domain.status import Channel
from processor.domain.traits import ENDING, IS_COUNTED_BY_REASON
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node
from processor.metrics import NEW, Metrics, provider_label
from processor.metrics.labels import (
    ByCategory,
    ByChannel,
    ByContradiction,
    ByEnding,
    ByFailure,
    ByMove,
    ByStatus,
    ByVerdict,
)
from processor.watch.silence import Flow

#: The effect of one event by the labels of metrics: channel, provider, verdict, the node before, after, and reported,
#: and the category if this event made the message failed or ignored. A plain tuple: one is made for every event.
_Fact = tuple[Channel, "str | None", Verdict, "Node | None", Node, Node, "Category | None"]


class Facts:
    """The facts of one chunk."""

    def __init__(self) -> None:
        self._facts: list[_Fact] = []
        #: Event times in microseconds, and their records' timestamps in milliseconds.
        self._times: dict[tuple[Channel, str | None, Node], list[tuple[Micros, Millis]]] = defaultdict(list)
        #: Time that messages spent in the node that they left, in microseconds.
        self._stays: dict[tuple[Channel, Node], list[int]] = defaultdict(list)

    def note(  # noqa: PLR0913, PLR0917 - called for every event: an object to carry these would cost as much as the note
        self,
        event: Event,
        moment: Micros,
        timestamp: Millis,
        node: Node,
        before: Row | None,
        row: Row,
        verdict: Verdict,
    ) -> None:
        """Record one event, with its record's timestamp in milliseconds."""
        channel, provider, after = event.channel, event.provider, row.node
        old = None if before is None else before.node
        category = category_of(row) if after is not old and IS_COUNTED_BY_REASON[after] else None
        self._facts.append((channel, provider, verdict, old, after, node, category))
        self._times[channel, provider, node].append((moment, timestamp))
        # A corrected status was never true; and a later attempt may have an earlier time.
        if before is not None and verdict is Verdict.APPLIED and row.since >= before.since:
            self._stays[row.channel, before.node].append(row.since - before.since)

    def publish(self, metrics: Metrics, flow: Flow, now: Micros) -> None:
        """Add the facts to the metrics and to the flow of providers' reports."""
        for fact, number in Counter(self._facts).items():
            _publish(metrics, fact, number)
        for (channel, provider, node), pairs in self._times.items():
            times, timestamps = zip(*pairs, strict=True)
            metrics.event_age.observe_many(ByChannel(channel), [(now - moment) / 1_000_000 for moment in times])
            label = provider_label(provider)
            metrics.see_event(label, max(times) / 1_000_000)
            ahead = max(moment - timestamp * 1_000 for moment, timestamp in pairs)
            metrics.see_skew(label, ahead / 1_000_000, max(timestamps) / 1_000)
            flow.hear(provider, node, times, timestamps, now)
        for (channel, left), stays in self._stays.items():
            labels = ByStatus(channel, NODE_STATUS[left])
            metrics.time_in_status.observe_many(labels, [stay / 1_000_000 for stay in stays])


def _publish(metrics: Metrics, fact: _Fact, number: int) -> None:
    channel, named, verdict, old, new, reported, category = fact
    provider = provider_label(named)
    metrics.events.labels(ByVerdict(channel, provider, verdict)).inc(number)
    if old is not new:
        metrics.status_changes.labels(ByMove(channel, NEW if old is None else old, new)).inc(number)
        ending = ENDING[new]
        if ending is not None and (old is None or ending is not ENDING[old]):
            metrics.outcomes.labels(ByEnding(channel, provider, ending)).inc(number)
    if category is not None:
        permanence = NODE_PERMANENCE[new]
        if permanence is None:
            metrics.ignored.labels(ByCategory(channel, category)).inc(number)
        else:
            metrics.failures.labels(ByFailure(channel, category, permanence)).inc(number)
    if verdict is Verdict.REJECTED:
        metrics.rejected_transitions.labels(ByContradiction(channel, provider, new, reported)).inc(number)
    elif verdict is Verdict.CORRECTED:
        metrics.late_corrections.inc(number)
