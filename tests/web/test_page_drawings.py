"""The geometry behind the page's drawings: nothing lost, nothing outside, nothing invented."""

import itertools
import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.status import Channel, Status
from processor.domain.transitions import NODE_NAMES, REOPENING, TRANSITIONS, Node
from processor.views.deliveries import SeriesPoint
from processor.views.history import HistoryPoint, HistoryView, Span
from processor.web.page import charts, diagram
from processor.web.page.arrange import ranges

COUNTS = st.dictionaries(st.sampled_from([status.value for status in Status]), st.integers(0, 10**9))


@given(COUNTS, st.none() | st.integers(0, 10**10))
def test_a_bar_shows_every_status_and_fills_what_is_known(statuses, planned):
    parts = charts.share_bar(statuses, planned)
    total = sum(statuses.values())
    assert {part.status: part.messages for part in parts} == {
        name: number for name, number in statuses.items() if number
    }
    if not total:
        assert parts == []
        return
    filled = 100 * total / max(total, planned or 0)
    end = parts[-1].x + parts[-1].width
    assert end == pytest.approx(filled, abs=0.05)
    assert all(part.width >= 0 for part in parts)
    for before, after in itertools.pairwise(parts):
        assert after.x == pytest.approx(before.x + before.width, abs=0.05)


def series(*totals: int) -> list[SeriesPoint]:
    return [
        SeriesPoint(f"2026-11-23T08:{minute:02d}:00Z", {"sent": total, "failed": minute})
        for minute, total in enumerate(totals)
    ]


@pytest.mark.parametrize("points", [[], series(5), [*series(5), *series(7)]])
def test_there_is_nothing_to_draw_between_fewer_than_two_moments(points):
    assert charts.over_time(points) is None


def test_areas_stack_up_to_the_total_and_stay_inside():
    chart = charts.over_time(series(0, 10, 20, 37))
    assert [area.status for area in chart.areas] == ["sent", "failed"]
    assert (chart.peak, chart.ticks) == (40, [40, 20, 0])
    assert chart.areas[-1].path.startswith("M0 200L240 145L480 90L720 0L")
    for area in chart.areas:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", area.path)]
        assert all(0 <= x <= chart.width for x in numbers[::2])
        assert all(0 <= y <= chart.height for y in numbers[1::2])
    assert chart.rows[-1].counts == [37, 3]


def history(*changes: dict[str, int]) -> HistoryView:
    points = [
        HistoryPoint(f"2026-11-23T08:{minute:02d}:00Z", 0, 0, 0, 0, 0, statuses)
        for minute, statuses in enumerate(changes)
    ]
    return HistoryView(Span.ONE_HOUR, 60, tuple(points))


def test_counts_over_a_history_go_back_from_the_present_ones():
    chart = charts.over_history(
        history({}, {}, {"pending": 9}, {"pending": -4, "sent": 4}, {}), {"pending": 5, "sent": 4, "failed": 0}
    )
    assert [area.status for area in chart.areas] == ["sent", "pending"]
    assert [(row.time[14:16], row.counts) for row in chart.rows] == [
        ("01", [0, 0]),
        ("02", [0, 9]),
        ("03", [4, 5]),
        ("04", [4, 5]),
    ]


def test_a_history_without_changes_is_not_drawn():
    assert charts.over_history(history({}, {}), {"sent": 4}) is None


@given(st.lists(st.tuples(*[st.integers(-50, 10**6)] * 3), min_size=2, max_size=60))
def test_bars_of_throughput_stand_on_each_other_and_stay_inside(numbers):
    points = [
        HistoryPoint(f"2026-11-23T08:{minute:02d}:00Z", success + failed + other, success, failed, 0, 0, {"sent": 1})
        for minute, (success, failed, other) in enumerate(numbers)
    ]
    chart = charts.throughput(HistoryView(Span.ONE_HOUR, 60, tuple(points)))
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= chart.width
        assert bar.height >= 1, "one failure among millions is seen"
        assert bar.y >= -2.02
        assert bar.y + bar.height <= chart.height + 0.02
    assert chart.peak <= chart.ticks[0]
    assert chart.sums.processed == sum(map(sum, numbers))


def test_a_long_series_is_thinned_and_keeps_its_ends():
    start = datetime(2026, 11, 1, tzinfo=timezone.utc)
    points = [SeriesPoint((start + timedelta(minutes=index)).isoformat(), {"sent": index}) for index in range(10_000)]
    chart = charts.over_time(points)
    assert (chart.first, chart.last) == (points[0].time, points[-1].time)
    assert chart.areas[0].path.count("L") < 400
    assert [chart.rows[0].counts, chart.rows[-1].counts, len(chart.rows)] == [[0], [9_999], 12]


@given(st.integers(0, 10**12))
def test_the_top_of_a_scale_is_above_and_can_be_halved(peak):
    points = [
        SeriesPoint("2026-11-23T08:00:00Z", {"sent": 0}),
        SeriesPoint("2026-11-23T09:00:00Z", {"sent": peak}),
    ]
    chart = charts.over_time(points)
    top, middle, bottom = chart.ticks
    assert top >= peak
    assert top <= max(2, 1.5 * peak)
    assert (2 * middle, bottom) == (top, 0)


@pytest.mark.parametrize("channel", Channel)
def test_every_transition_is_an_arrow_and_no_other(channel):
    drawing = diagram.draw(channel)
    arrows = [(box.name, arrow.to, arrow.kind) for box in drawing.boxes for arrow in box.arrows]
    allowed = {
        (NODE_NAMES[node], NODE_NAMES[after]) for node, afters in TRANSITIONS[channel].items() for after in afters
    }
    assert {(start, end) for start, end, kind in arrows if kind != "again"} == allowed
    again = {end for start, end, kind in arrows if kind == "again"}
    reopened = {NODE_NAMES[node] for node in REOPENING & TRANSITIONS[channel].keys()}
    gave_up = NODE_NAMES[Node.FAILED_GAVE_UP]
    assert again | {end for start, end in allowed if start == gave_up} >= reopened
    assert again <= reopened
    assert len(arrows) == len(set(arrows))
    told = {(row.node, after) for row in drawing.rows for after in row.afters}
    assert told == allowed
    assert {box.name for box in drawing.boxes if box.is_final} == {
        NODE_NAMES[node] for node, afters in TRANSITIONS[channel].items() if not afters
    }


@pytest.mark.parametrize("channel", Channel)
def test_a_diagram_stays_inside_its_frame_and_boxes_apart(channel):
    drawing = diagram.draw(channel)
    bottom = drawing.top + drawing.height
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width
        assert drawing.top <= box.y
        assert box.y + box.height <= bottom
        for arrow in box.arrows:
            points = [float(number) for number in re.findall(r"-?[\d.]+", arrow.path)]
            if "C" in arrow.path:
                ends, pulls = (points[1], points[-1]), points[3:7:2]
                # Where a cubic curve is farthest from its ends, when both pulls are as strong.
                assert drawing.top <= (sum(ends) + 3 * sum(pulls)) / 8 <= bottom
    places = {(box.x, box.y) for box in drawing.boxes}
    assert len(places) == len(drawing.boxes)


@given(st.sets(st.integers(0, 200)))
def test_ranges_name_every_number_once(numbers):
    found = set()
    for part in filter(None, ranges(numbers).split(", ")):
        low, _, high = part.partition("\N{EN DASH}")
        found |= set(range(int(low), int(high or low) + 1))
    assert found == numbers
