"""The geometry of charts: pure, so that the templates only draw. Widths of bars are percent of their whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from processor.domain.moment import Micros, to_microseconds, to_rfc3339
from processor.domain.status import Status
from processor.views.deliveries import SeriesPoint
from processor.views.history import HistoryPoint, HistoryView
from processor.web.page.moments import parse

#: Statuses as bars and areas stack them: what arrived first, then what is under way, then what will not arrive.
ORDER: tuple[str, ...] = tuple(
    status.value
    for status in (
        Status.RECEIVED_ON_MOBILE,
        Status.SENT,
        Status.TAKEN_INTO_ACCOUNT,
        Status.SENT_TO_PROVIDER,
        Status.PREPARED,
        Status.PENDING,
        Status.NOT_APPLICABLE,
        Status.IGNORED,
        Status.CANCELED,
        Status.FAILED,
    )
)

#: The narrowest that a piece of a bar may be: one failure in a million must be seen, too.
_LEAST_WIDTH = 0.8

_WIDTH, _HEIGHT = 720, 200
#: The least height of a piece of a bar in a chart, for the same reason.
_LEAST_HEIGHT = 1.0
_POINTS, _ROWS = 120, 12


class BarPiece(NamedTuple):
    """One status in a bar: its messages of `total`, and where it is drawn, in percent."""

    status: str
    messages: int
    total: int
    x: float
    width: float


def share_bar(statuses: Mapping[str, int], planned: int | None = None) -> list[BarPiece]:
    """Lay out counts by status as one bar; what is still missing of `planned` stays empty."""
    counts = {status: statuses[status] for status in ORDER if statuses.get(status)}
    total = sum(counts.values())
    pieces: list[BarPiece] = []
    x = 0.0
    for status, width in _widths(counts, max(total, planned or 0)).items():
        pieces.append(BarPiece(status, counts[status], total, round(x, 2), round(width, 2)))
        x += width
    return pieces


def _widths(counts: Mapping[str, int], whole: int) -> dict[str, float]:
    """Return each count's share of the whole, in percent; what the narrowest get in addition, the others give."""
    shares = {status: 100 * count / whole for status, count in counts.items()}
    filled = sum(shares.values())
    least = min(_LEAST_WIDTH, filled / max(len(shares), 1))
    wide = sum(share for share in shares.values() if share > least)
    left = filled - least * sum(share <= least for share in shares.values())
    return {status: share * left / wide if share > least else least for status, share in shares.items()}


class Area(NamedTuple):
    """One status over time, as the path of what it fills."""

    status: str
    path: str


class ChartRow(NamedTuple):
    """The counts at one time, in the order of the areas."""

    time: str
    counts: list[int]


class Chart(NamedTuple):
    """Counts over time: areas that stack up from the bottom, the scale, and the same as rows of a table."""

    width: int
    height: int
    areas: list[Area]
    #: From the top.
    ticks: list[int]
    lines: list[float]
    first: str
    last: str
    peak: int
    rows: list[ChartRow]


def over_time(series: Sequence[SeriesPoint]) -> Chart | None:
    """Lay out counts over time; None when there are not two moments to draw between."""
    points = _thinned(series, _POINTS)
    times = [parse(point.time) for point in points]
    if len(points) < 2 or times[0] == times[-1]:
        return None
    statuses = [status for status in ORDER if any(point.statuses.get(status) for point in points)]
    peak = max(sum(point.statuses.values()) for point in points)
    top = _round_above(max(peak, 1))
    xs = [round(_WIDTH * share, 1) for share in _shares(times)]
    floor = [0] * len(points)
    areas: list[Area] = []
    for status in statuses:
        roof = [low + point.statuses.get(status, 0) for low, point in zip(floor, points, strict=True)]
        areas.append(Area(status, _between(xs, floor, roof, top)))
        floor = roof
    rows = [
        ChartRow(point.time, [point.statuses.get(each, 0) for each in statuses]) for point in _thinned(series, _ROWS)
    ]
    ticks = [top, top // 2, 0]
    lines = [round(_HEIGHT * (1 - tick / top), 1) for tick in ticks]
    return Chart(_WIDTH, _HEIGHT, areas, ticks, lines, points[0].time, points[-1].time, peak, rows)


def over_history(view: HistoryView, statuses: Mapping[str, int]) -> Chart | None:
    """Lay out counts over the time of a history, back from the present ones; None when nothing changed in it."""
    level, points = dict(statuses), []
    for point in reversed(view.points):
        points.append(SeriesPoint(point.time, level))
        level = {name: max(0, count - point.statuses.get(name, 0)) for name, count in level.items()}
    points.reverse()
    begun = next((index for index, point in enumerate(points) if any(point.statuses.values())), 0)
    return over_time(points[max(0, begun - 1) :]) if any(point.statuses for point in view.points) else None


class Bar(NamedTuple):
    """What came to one status in one minute, hour or day."""

    status: str
    x: float
    y: float
    width: float
    height: float


class Throughput(NamedTuple):
    """Messages that were processed over time, as bars; the scale; and the same as numbers, without what is empty."""

    width: int
    height: int
    bars: list[Bar]
    #: From the top.
    ticks: list[int]
    lines: list[float]
    first: str
    last: str
    peak: int
    sums: HistoryPoint
    rows: list[HistoryPoint]
    #: When the time of each row ends, by when it begins.
    ends: dict[str, str]


def throughput(view: HistoryView) -> Throughput:
    """Lay out what was processed: successes, failures on top of them, and what else is processed."""
    points = view.points
    kinds = [(_SENT, _success), (_FAILED, _failed), (_PREPARED, _other)]
    peak = max(sum(count(point) for _, count in kinds) for point in points)
    top = _round_above(max(peak, 1))
    step = _WIDTH / len(points)
    bars = []
    for index, point in enumerate(points):
        y = float(_HEIGHT)
        for status, count in kinds:
            if number := count(point):
                height = max(_LEAST_HEIGHT, _HEIGHT * number / top)
                y -= height
                bars.append(Bar(status, round(index * step, 2), round(y, 2), round(step * 0.85, 2), round(height, 2)))
    ticks = [top, top // 2, 0]
    lines = [round(_HEIGHT * (1 - tick / top), 1) for tick in ticks]
    rows = [point for point in reversed(points) if point.statuses]
    ends = {row.time: _end(row.time, view.width) for row in rows}
    first, last = points[0].time, points[-1].time
    return Throughput(_WIDTH, _HEIGHT, bars, ticks, lines, first, last, peak, _sums(points), rows, ends)


def _end(time: str, width: int) -> str:
    return to_rfc3339(Micros(to_microseconds(parse(time)) + width * 1_000_000 - 1))


_SENT, _FAILED, _PREPARED = Status.SENT.value, Status.FAILED.value, Status.PREPARED.value


def _success(point: HistoryPoint) -> int:
    """Return what is drawn of successes: a correction takes away what an earlier bar shows, so it has none."""
    return max(0, point.success)


def _failed(point: HistoryPoint) -> int:
    return max(0, point.failed)


def _other(point: HistoryPoint) -> int:
    return max(0, point.processed - point.success - point.failed)


def _sums(points: Sequence[HistoryPoint]) -> HistoryPoint:
    return HistoryPoint(
        points[0].time,
        sum(point.processed for point in points),
        sum(point.success for point in points),
        sum(point.failed for point in points),
        sum(point.hard for point in points),
        sum(point.soft for point in points),
        {},
    )


def _thinned(series: Sequence[SeriesPoint], most: int) -> list[SeriesPoint]:
    if len(series) <= most:
        return list(series)
    step = (len(series) - 1) / (most - 1)
    return [series[round(index * step)] for index in range(most)]


def _shares(times: Sequence[datetime]) -> list[float]:
    whole = (times[-1] - times[0]).total_seconds()
    return [(time - times[0]).total_seconds() / whole for time in times]


def _between(xs: Sequence[float], floor: Sequence[int], roof: Sequence[int], top: int) -> str:
    def at(x: float, value: int) -> str:
        return f"{x:g} {round(_HEIGHT * (1 - value / top), 1):g}"

    there = [at(x, value) for x, value in zip(xs, roof, strict=True)]
    back = [at(x, value) for x, value in zip(reversed(xs), reversed(floor), strict=True)]
    return f"M{'L'.join([*there, *back])}Z"


#: Tops of scales, times a power of ten: half of each is a whole number, too.
_TOPS = (10, 12, 16, 20, 24, 30, 40, 50, 60, 80)


def _round_above(value: int) -> int:
    """Return a round even number that is not below the value."""
    if value <= _TOPS[0]:
        return value + value % 2
    unit = 1
    while True:
        for top in _TOPS:
            if top * unit >= value:
                return top * unit
        unit *= 10
