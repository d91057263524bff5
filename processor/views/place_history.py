"""The history of one mail domain or calling code: its messages by when each came to where it stands.

The counts know no domains: they would be work for every event (ADR 0028). So this is read from the rows, from the
newest change back, up to a bound. Each message counts once, at its present status, by event time. What was not looked
at is left out, and said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from processor.domain.counts import FIGURES
from processor.domain.moment import Micros, Millis, to_micros, to_millis, to_rfc3339
from processor.domain.traits import INDICATED, SuccessFrom
from processor.views.breakdown import PartitionBreakdown
from processor.views.history import POINTS, HistoryView, Span, point_of

_PLACE = {name: index for index, name in enumerate(FIGURES)}


def begin_of(span: Span, now: Micros) -> Micros:
    """Return when the first point of a history begins."""
    width, number = POINTS[span]
    return to_micros(Millis(width.start(to_millis(now)) - (number - 1) * width.milliseconds))


def place_history(
    found: Iterable[PartitionBreakdown],
    span: Span,
    now: Micros,
    success_from: SuccessFrom,
    incomplete: Iterable[int] = (),
) -> HistoryView:
    """Return what was found in partitions, by time, as a history.

    Args:
        found: of each partition that could be asked.
        span: how far back.
        now: the present time.
        success_from: from where on a message is a success.
        incomplete: the partitions that could not be asked.
    """
    width, number = POINTS[span]
    figures: dict[Millis, list[int]] = defaultdict(lambda: [0] * len(FIGURES))
    reached = Micros(0)
    for each in found:
        reached = max(reached, each.reached or Micros(0))
        for group in each.groups:
            second, *names = group.name
            for name in filter(None, names):
                figures[Millis(int(second) * 1_000)][_PLACE[name]] += group.messages
    last = width.start(to_millis(now))
    starts = [Millis(last - index * width.milliseconds) for index in reversed(range(number))]
    # The last point stands for what is known of it.
    known = [start for start in starts if to_micros(start) > reached] or starts[-1:]
    points = tuple([point_of(start, figures.get(start), INDICATED[success_from]) for start in known])
    known_since = None if len(known) == number else to_rfc3339(to_micros(known[0]))
    return HistoryView(span, width.milliseconds // 1_000, points, known_since, tuple(incomplete))
