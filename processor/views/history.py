"""Changes of counts over time, by delivery and provider: per minute, hour and day, the same at every worker.

It is made of the samples of the history topic, and of the counts since the last of them. Samples are absolute numbers
of one partition; what is kept are their differences, summed over partitions. The first sample of a delivery in one
width is compared with the last one of the next wider width; where there is none, the delivery was new.

Times are those of the fold, not of events (ADR 0028).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import msgspec

from processor.domain.counts import FIGURES
from processor.domain.moment import Micros, Millis, to_micros, to_millis, to_rfc3339
from processor.domain.status import Status
from processor.domain.traits import INDICATED, Indicator, SuccessFrom
from processor.wire.counts import CountsRecord, figures_of
from processor.wire.history import HistoryRecord, Width

_HOUR = Width.HOUR.milliseconds
#: The wider widths, the next one first.
_WIDER = {
    Width.MINUTE: (Width.MINUTE, Width.HOUR, Width.DAY),
    Width.HOUR: (Width.HOUR, Width.DAY),
    Width.DAY: (Width.DAY,),
}
#: Where the samples of a width are not all there yet, the narrower one tells; back to where it surely has them.
_NARROWER = {Width.HOUR: (Width.MINUTE, 3 * _HOUR), Width.DAY: (Width.HOUR, 13 * 24 * _HOUR)}


class Span(str, Enum):
    """How far back a history goes."""

    ONE_HOUR = "1h"
    THREE_HOURS = "3h"
    ONE_DAY = "24h"
    THIRTY_DAYS = "30d"


#: The width of the points of each span, and their number.
POINTS = {
    Span.ONE_HOUR: (Width.MINUTE, 60),
    Span.THREE_HOURS: (Width.MINUTE, 180),
    Span.ONE_DAY: (Width.HOUR, 24),
    Span.THIRTY_DAYS: (Width.DAY, 30),
}


class HistoryPoint(msgspec.Struct, frozen=True):
    """What changed in one minute, hour or day; corrections of what was counted before may make a number negative."""

    #: When it began.
    time: str
    #: Adobe's numbers: messages that were processed, and of these the successes and the failures; hard and soft ones.
    processed: int
    success: int
    failed: int
    hard: int
    soft: int
    #: By how many messages the number at each status changed; zeroes are left out.
    statuses: dict[str, int]


class HistoryView(msgspec.Struct, frozen=True):
    """Changes over time, the oldest first; the last point is not over yet."""

    span: Span
    #: Seconds that one point stands for.
    width: int
    points: tuple[HistoryPoint, ...]
    #: Of a domain: where the first point begins, if what is older was not looked at; null: it was.
    known_since: str | None = None
    #: Of a domain: partitions that could not be asked.
    incomplete: tuple[int, ...] = ()


#: Whose changes: of a delivery and a provider, of whatever provider or delivery where one is None.
Scope = tuple["str | None", "str | None"]

_Figures = list[int]
_ByProvider = dict[str, _Figures]
_NOTHING: _ByProvider = {}

#: Figures by provider and name, without zeroes, as bytes: a tenth of the room, of what is kept of every delivery.
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, dict[str, int]]).decode


class History:
    """The history of all deliveries; `success_from` is from where on a message is a success."""

    def __init__(self, success_from: SuccessFrom = SuccessFrom.TAKEN) -> None:
        self._indicated = INDICATED[success_from]
        #: The last sample of each delivery, packed, by width and partition, unless a wider one is as new.
        self._last: dict[tuple[Width, int], dict[str, bytes]] = defaultdict(dict)
        #: When the span of the last sample began, by width and partition.
        self._sampled: dict[tuple[Width, int], Millis] = {}
        #: Counts since the last sample of a minute, by partition and delivery, and the minute of the last change.
        self._since: dict[int, dict[str, tuple[Millis, _ByProvider]]] = defaultdict(dict)
        self._changes: dict[Width, dict[Scope, dict[Millis, _Figures]]] = {width: defaultdict(dict) for width in Width}
        self._newest: dict[Width, Millis] = dict.fromkeys(Width, Millis(0))

    # Feeding

    def take_counts(self, record: CountsRecord, time: Millis) -> None:
        """Take the present counts of a delivery in one partition, and when they were written, in milliseconds.

        Records of a partition come in order; they may come repeatedly.
        """
        if record.messages and not record.by_provider:
            return  # An older version wrote it, during an upgrade.
        start = Width.MINUTE.start(time)
        self._newest[Width.MINUTE] = max(self._newest[Width.MINUTE], start)
        if start >= self._sampled.get((Width.MINUTE, record.partition), Millis(0)) and not self._is_old(start):
            self._since[record.partition][record.delivery_id] = start, _figures(record.by_provider)

    def _is_old(self, start: Millis) -> bool:
        width = Width.MINUTE
        return start < self._newest[width] - width.slots * width.milliseconds

    def take_sample(self, record: HistoryRecord) -> None:
        """Take a sample of one partition; they come in order, and may come repeatedly."""
        width, partition, start = record.width, record.partition, record.start
        if start < self._sampled.get((width, partition), Millis(0)):
            return
        self._sampled[width, partition] = start
        for name, named in record.deliveries.items():
            # All partitions share the text.
            delivery = sys.intern(name)
            self._add(width, delivery, start, self._before(width, partition, delivery), _figures(named))
            self._last[width, partition][delivery] = _pack(named)
            for narrow in [each for each in Width if width in _WIDER[each][1:]]:
                self._last[narrow, partition].pop(delivery, None)
        if width is Width.MINUTE:
            since = self._since[partition]
            for delivery in [each for each, (minute, _) in since.items() if minute <= start]:
                del since[delivery]
        if start > self._newest[width]:
            self._newest[width] = start
            self._drop_old(width)

    def _before(self, width: Width, partition: int, delivery: str) -> _ByProvider:
        for each in _WIDER[width]:
            found = self._last[each, partition].get(delivery)
            if found is not None:
                return _figures(_unpack(found))
        return _NOTHING

    def _add(self, width: Width, delivery: str, start: Millis, before: _ByProvider, after: _ByProvider) -> None:
        changes = self._changes[width]
        for provider, change in _changes(before, after):
            for scope in _scopes(delivery, provider):
                _add_to(changes[scope], start, change)

    def _drop_old(self, width: Width) -> None:
        oldest = self._newest[width] - width.slots * width.milliseconds
        changes = self._changes[width]
        for scope in list(changes):
            kept = {start: figures for start, figures in changes[scope].items() if start > oldest}
            if kept:
                changes[scope] = kept
            else:
                del changes[scope]

    # Asking

    def view(self, scopes: Sequence[Scope], span: Span, now: Micros) -> HistoryView:
        """Return the history of some scopes, summed.

        Args:
            scopes: whose: of a campaign, its deliveries.
            span: how far back.
            now: the present time.
        """
        width, number = POINTS[span]
        changes = self._summed(scopes, width, to_millis(now))
        last = width.start(to_millis(now))
        starts = [Millis(last - index * width.milliseconds) for index in reversed(range(number))]
        points = tuple([point_of(start, changes.get(start), self._indicated) for start in starts])
        return HistoryView(span, width.milliseconds // 1_000, points)

    def _summed(self, scopes: Sequence[Scope], width: Width, now: Millis) -> dict[Millis, _Figures]:
        """Return the changes of a width: of what is recent, summed over the narrower one, whose samples are there."""
        summed: dict[Millis, _Figures] = {}
        narrow, back = _NARROWER.get(width, (None, 0))
        recent = width.start(Millis(now - back))
        if narrow is not None:
            for start, figures in self._summed(scopes, narrow, now).items():
                if start >= recent:
                    _add_to(summed, width.start(start), figures)
        for scope in scopes:
            for start, figures in self._changes[width].get(scope, {}).items():
                if narrow is None or start < recent:
                    _add_to(summed, start, figures)
        if width is Width.MINUTE:
            self._add_since(scopes, summed)
        return summed

    def _add_since(self, scopes: Sequence[Scope], summed: dict[Millis, _Figures]) -> None:
        """Add what changed since the last samples."""
        wanted = frozenset(scopes)
        for partition, since in self._since.items():
            for delivery, (start, after) in since.items():
                for provider, change in _changes(self._before(Width.MINUTE, partition, delivery), after):
                    for scope in _scopes(delivery, provider):
                        if scope in wanted:
                            _add_to(summed, start, change)


def _figures(named: Mapping[str, Mapping[str, int]]) -> _ByProvider:
    return {provider: figures_of(figures) for provider, figures in named.items()}


def _scopes(delivery: str, provider: str) -> tuple[Scope, ...]:
    return (None, None), (delivery, None), (None, provider), (delivery, provider)


def _changes(before: _ByProvider, after: _ByProvider) -> Iterable[tuple[str, _Figures]]:
    zero = [0] * len(FIGURES)
    for provider in dict.fromkeys((*before, *after)):
        old, new = before.get(provider, zero), after.get(provider, zero)
        if old != new:
            yield provider, [number - known for number, known in zip(new, old, strict=True)]


def _add_to(changes: dict[Millis, _Figures], start: Millis, figures: Sequence[int]) -> None:
    known = changes.get(start)
    if known is None:
        changes[start] = list(figures)
    else:
        changes[start] = [number + more for number, more in zip(known, figures, strict=True)]


def point_of(
    start: Millis, figures: Sequence[int] | None, indicated: Mapping[Indicator, frozenset[Status]]
) -> HistoryPoint:
    """Return one point of a history, of figures in the order of `FIGURES`; None: nothing changed."""
    figures = [0] * len(FIGURES) if figures is None else figures
    named: Mapping[str, int] = dict(zip(FIGURES, figures, strict=True))
    of = {indicator: sum(named[status.value] for status in indicated[indicator]) for indicator in Indicator}
    return HistoryPoint(
        to_rfc3339(to_micros(start)),
        sum(of.values()),
        of[Indicator.SUCCESS],
        of[Indicator.ERROR],
        named["hard"],
        named["soft"],
        {status.value: named[status.value] for status in Status if named[status.value]},
    )
