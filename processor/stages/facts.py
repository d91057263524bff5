"""A chunk's contribution to the metrics: recorded per event, aggregated per chunk, published after the commit."""

from __future__ import annotations

from collections import defaultdict

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
    Provider,
)
from processor.watch.evidence import Flow

#: The effect of one event by the labels of metrics: channel, provider, the node that was reported, the verdict, the
#: nodes before and after, the category if this event made the message failed or ignored, and the message's own channel.
#: A plain tuple: one is made for every event.
_Fact = tuple[Channel, "str | None", Node, Verdict, "Node | None", Node, "Category | None", Channel]

#: Each event is compared with it, and to ask an enumeration for its member takes as long as all else here.
_APPLIED = Verdict.APPLIED


class _Told:
    """The events of one fact."""

    __slots__ = ("moments", "stays", "timestamps")

    def __init__(self) -> None:
        #: Event times in microseconds, and their records' timestamps in milliseconds.
        self.moments: list[Micros] = []
        self.timestamps: list[Millis] = []
        #: Time that messages spent in the node that they left, in microseconds.
        self.stays: list[int] = []

    def add(self, told: _Told) -> None:
        """Add the times of other events."""
        self.moments += told.moments
        self.timestamps += told.timestamps


class Facts:
    """The facts of the chunk in hand."""

    def __init__(self) -> None:
        self._told: defaultdict[_Fact, _Told] = defaultdict(_Told)

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
        after = row.node
        old = None if before is None else before.node
        category = category_of(row) if after is not old and IS_COUNTED_BY_REASON[after] else None
        told = self._told[event.channel, event.provider, node, verdict, old, after, category, row.channel]
        told.moments.append(moment)
        told.timestamps.append(timestamp)
        # A corrected status was never true; and a later attempt may have an earlier time.
        if verdict is _APPLIED and before is not None and row.since >= before.since:
            told.stays.append(row.since - before.since)

    def publish(self, metrics: Metrics, flow: Flow, now: Micros) -> None:
        """Add the facts to the metrics and to the flow of providers' reports, and forget them."""
        heard: defaultdict[tuple[str | None, Node], _Told] = defaultdict(_Told)
        ages: defaultdict[Channel, list[float]] = defaultdict(list)
        stays: defaultdict[ByStatus, list[float]] = defaultdict(list)
        for fact, told in self._told.items():
            channel, provider, reported, _, old, _, _, own = fact
            _publish(metrics, fact, len(told.moments))
            heard[provider, reported].add(told)
            ages[channel] += [(now - moment) / 1_000_000 for moment in told.moments]
            if told.stays and old is not None:
                stays[ByStatus(own, NODE_STATUS[old])] += [stay / 1_000_000 for stay in told.stays]
        # Once for each set of labels: a chunk may be small.
        for channel, seconds in ages.items():
            metrics.event_age.observe_many(ByChannel(channel), seconds)
        for labels, seconds in stays.items():
            metrics.time_in_status.observe_many(labels, seconds)
        named: defaultdict[Provider, _Told] = defaultdict(_Told)
        for (provider, node), told in heard.items():
            flow.hear(provider, node, told.moments, told.timestamps, now)
            named[provider_label(provider)].add(told)
        for label, told in named.items():
            times, timestamps = told.moments, told.timestamps
            metrics.see_event(label, max(times) / 1_000_000)
            ahead = max([moment - stamp * 1_000 for moment, stamp in zip(times, timestamps, strict=True)])
            metrics.see_skew(label, ahead / 1_000_000, max(timestamps) / 1_000)
        self._told.clear()


def _publish(metrics: Metrics, fact: _Fact, number: int) -> None:
    channel, named, reported, verdict, old, new, category, _ = fact
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
