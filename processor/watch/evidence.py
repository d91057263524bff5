"""Evidence of whether providers answer, which silence.py judges.

There are two sources:

* The *rows*, swept periodically, have hand-overs and answers by event time, also after a restart. Imported history
  does not change them: an answer of last year is no sign of life, and a message of last year is older than the last
  sign of life and so no evidence of silence.
* The *flow* of reports has their arrival times: a provider that reports once an hour is heard once an hour, however
  quick by its event times. The flow is lost with its process; until it knows the lag of a provider's reports again,
  the minimum patience is an hour.

A partition with lag gives no evidence, since it has not read all reports.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from processor.domain.moment import Micros, Millis
from processor.domain.row import Row
from processor.domain.status import Permanence
from processor.domain.traits import ENDING, IS_HANDED_OVER
from processor.domain.transitions import Node
from processor.watch.durations import Durations, bucket_of, total

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

#: Later than any time.
_NEVER = Micros(1 << 62)

#: How old the answers may be that delays are learned from, narrowest first: the first that has enough is used. What is
#: older than the last is history.
_SPANS = (_HOUR, 6 * _HOUR, _DAY, 7 * _DAY)
HISTORY = _SPANS[-1]

#: Number of answers to sample; of more, every nth one is taken.
_ANSWERS_ENOUGH = 10_000

#: Providers that evidence is kept apart for; upstream may name any number, the others share one name.
_PROVIDERS_MAX = 64
_OTHERS = "other"

#: Lags learned from one chunk, and when a generation of them gives way to the next.
_LAGS_PER_CHUNK = 64
_LAGS_ENOUGH = 50
_LAGS_SPAN = 30 * _MINUTE


class Evidence(msgspec.Struct, frozen=True):
    """The evidence about one provider; `merge` joins that of several partitions. Times are microseconds."""

    provider: str | None
    #: When an answer was last heard; where this process heard none, the event time of the newest that rows remember.
    heard: Micros | None
    #: How long the messages have waited that are handed over and not answered.
    waiting: Durations
    #: Since when the first of them waits.
    waiting_since: Micros | None
    #: How long ago the messages were handed over that have been answered.
    answered: Durations
    #: From hand-over to answer by event time, each answer in one of the spans that it may be old.
    delays: tuple[Durations, ...]
    #: From the event time of an answer to its record's.
    lags: Durations


def merge(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Join evidence from several partitions, by provider. Associative and commutative."""
    by_provider: dict[str | None, list[Evidence]] = {}
    for each in evidence:
        by_provider.setdefault(each.provider, []).append(each)
    return tuple(
        Evidence(
            provider,
            max((at for each in several if (at := each.heard) is not None), default=None),
            total(each.waiting for each in several),
            min((at for each in several if (at := each.waiting_since) is not None), default=None),
            total(each.answered for each in several),
            tuple(total(spans) for spans in zip(*(each.delays for each in several), strict=True)),
            total(each.lags for each in several),
        )
        for provider, several in sorted(by_provider.items(), key=lambda entry: entry[0] or "")
    )


class Gatherer:
    """Collects the evidence of one partition: from its rows, in one sweep, and from the flow of reports.

    Args:
        now: the time up to which the partition has read, in microseconds.
        flow: of the partition's reports.
    """

    def __init__(self, now: Micros, flow: Flow) -> None:
        self._now, self._flow = now, flow
        self._rows: dict[str | None, _Rows] = {}

    def add_waiting(self, row: Row, since: Micros) -> None:
        """Add a message that has waited for an answer since a time in microseconds."""
        rows = self._rows.get(row.names.provider) or self._of(row.names.provider)
        if row.reasons and (tried := _tried(row)) is not None:
            # It was tried: that is an answer, and what it waits for now is not the provider.
            rows.tried = max(rows.tried, min(tried, self._now))
            rows.answered[bucket_of(self._now - since)] += 1
            return
        rows.waiting[bucket_of(self._now - since)] += 1
        if since < rows.waiting_since:  # noqa: PLR1730 - called for every row that waits; so is what follows
            rows.waiting_since = since

    def add_answered(self, row: Row, since: Micros) -> None:
        """Add a message that was answered less than `HISTORY` ago, and when its status began."""
        rows = self._rows.get(row.names.provider) or self._of(row.names.provider)
        rows.newest = max(rows.newest, since)
        rows.turn -= 1
        if rows.turn:
            return
        rows.turn = rows.stride
        handed, answered = _times(row)
        if handed is None or answered is None:
            return
        rows.answered[bucket_of(self._now - handed)] += rows.stride
        # Of one that was tried, when it was first is not remembered.
        if row.attempt == 1 and _tried(row) is None:
            span, age = 0, self._now - since
            while age >= _SPANS[span]:
                span += 1
            rows.delays[span][bucket_of(answered - handed)] += rows.stride

    def _of(self, provider: str | None) -> _Rows:
        rows = self._rows.get(provider)
        if rows is None:
            if len(self._rows) >= _PROVIDERS_MAX and provider != _OTHERS:
                return self._of(_OTHERS)
            rows = self._rows[provider] = _Rows(1 + self._flow.answers.get(provider, 0) // _ANSWERS_ENOUGH)
        return rows

    def evidence(self) -> tuple[Evidence, ...]:
        """Return the evidence; the next sweep samples less where there was plenty."""
        flow = self._flow
        for provider in flow.providers:
            self._of(provider)
        flow.answers = {provider: sum(rows.answered.values()) for provider, rows in self._rows.items()}
        return tuple(
            Evidence(
                provider,
                max(flow.heard(provider) or min(rows.newest, self._now), rows.tried) or None,
                rows.waiting,
                rows.waiting_since if rows.waiting else None,
                rows.answered,
                tuple(rows.delays),
                flow.lags(provider),
            )
            for provider, rows in self._rows.items()
        )


class _Rows:
    """The evidence of rows about one provider, while it is collected."""

    __slots__ = ("answered", "delays", "newest", "stride", "tried", "turn", "waiting", "waiting_since")

    def __init__(self, stride: int) -> None:
        #: How many answered messages each one that is examined stands for.
        self.stride = self.turn = stride
        #: Event times of the newest answer, and of the newest failure of a try; 0: none.
        self.newest = self.tried = Micros(0)
        self.answered: Durations = defaultdict(int)
        self.delays: list[Durations] = [defaultdict(int) for _ in _SPANS]
        self.waiting: Durations = defaultdict(int)
        self.waiting_since = _NEVER


def _tried(row: Row) -> Micros | None:
    """Return the time of the last failed attempt with a transient reason; None: there was none."""
    for reason in row.reasons:
        if IS_HANDED_OVER[reason.node] and reason.reason.permanence is Permanence.TRANSIENT:
            return reason.time
    return None


def _times(row: Row) -> tuple[Micros | None, Micros | None]:
    """Return the times of a message's last hand-over and first answer."""
    handed = answered = None
    for at in row.observations:
        node, first = at.node, at.first
        if IS_HANDED_OVER[node]:
            if handed is None or first > handed:
                handed = first
        elif ENDING[node] is not None and (answered is None or first < answered):
            answered = first
    return handed, answered


class Flow:
    """The flow of reports into one partition: when each provider reported, and with which lag."""

    def __init__(self) -> None:
        #: How many answers the rows had of each provider when they were last swept.
        self.answers: dict[str | None, int] = {}
        self._heard: dict[str | None, Micros] = {}
        #: The generation of lags that is gathered, and the one before: since when, and counts.
        self._lags: dict[str | None, tuple[Micros, Durations, Durations]] = {}

    def hear(
        self, provider: str | None, node: Node, times: Sequence[Micros], timestamps: Sequence[Millis], now: Micros
    ) -> None:
        """Record a chunk's reports of one node from one provider; nodes that are no answer are ignored.

        Args:
            provider: as the events name it.
            node: what they report.
            times: event times in microseconds.
            timestamps: those of their records, in milliseconds, in the same order; negative: none.
            now: microseconds; when they were folded. This is the time of arrival, also of records that waited for us.
        """
        if ENDING[node] is None:
            return
        step = -(-len(times) // _LAGS_PER_CHUNK)
        pairs = zip(times[::step], timestamps[::step], strict=True)
        lags = [lag for time, stamp in pairs if stamp >= 0 and (lag := stamp * 1000 - time) < HISTORY]
        if not lags or (len(self._heard) >= _PROVIDERS_MAX and provider not in self._heard):
            return
        self._heard[provider] = now
        begun, current, last = self._lags.get(provider, (now, {}, {}))
        if now - begun >= _LAGS_SPAN and sum(current.values()) >= _LAGS_ENOUGH:
            begun, current, last = now, {}, current
        for lag in lags:
            bucket = bucket_of(lag)
            current[bucket] = current.get(bucket, 0) + 1
        self._lags[provider] = begun, current, last

    @property
    def providers(self) -> Iterable[str | None]:
        """The providers that have reported."""
        return self._heard.keys()

    def heard(self, provider: str | None) -> Micros | None:
        """Return when a provider last reported, in microseconds."""
        return self._heard.get(provider)

    def lags(self, provider: str | None) -> Durations:
        """Return the lags of a provider's recent reports."""
        _, current, last = self._lags.get(provider, (0, {}, {}))
        return total((current, last))
