"""Changes over time: differences of samples, of the right width, from the right beginning."""

from processor.domain.moment import Micros
from processor.domain.traits import SuccessFrom
from processor.views.deliveries import Deliveries
from processor.views.history import HistoryPoint, Span
from processor.wire.history import Width
from processor.wire.topics import COUNTS, HISTORY
from tests.views.told import DAY, HOUR, MINUTE, NOW, Record, counts, sample

ALL = (None, None)


def sent(number: int, delivery: str = "DM1") -> dict:
    return {delivery: {"ses": {"sent": number}}}


def told(*records: Record, span: Span = Span.ONE_HOUR, scope=ALL, now: int = NOW) -> dict[str, HistoryPoint]:
    """Give the points at which anything changed, by the time of day."""
    known = Deliveries(10, 0)
    for record in records:
        known.take(COUNTS if record.key.startswith(b"DM") else HISTORY, [record])
    assert not known.unreadable
    points = known.history.view([scope], span, Micros(now)).points
    return {point.time[5:16]: point for point in points if point.statuses}


def numbers(*records: Record, **how) -> dict[str, int]:
    return {time: point.success for time, point in told(*records, **how).items()}


def test_a_point_is_what_changed():
    records = [sample(NOW - (10 - index) * MINUTE, sent(number)) for index, number in enumerate((5, 12, 11))]
    assert numbers(*records) == {"11-23T07:50": 5, "11-23T07:51": 7, "11-23T07:52": -1}


def test_adobes_numbers():
    figures = {"prepared": 1, "sent": 5, "taken_into_account": 2, "failed": 4, "hard": 1, "soft": 2, "ignored": 9}
    [point] = told(sample(NOW - MINUTE, {"DM1": {"ses": figures}})).values()
    assert (point.processed, point.success, point.failed, point.hard, point.soft) == (12, 7, 4, 1, 2)
    assert point.statuses == {name: figures[name] for name in point.statuses}
    assert "hard" not in point.statuses


def test_success_may_begin_when_a_message_is_sent():
    known = Deliveries(10, 0, SuccessFrom.SENT)
    known.take(HISTORY, [sample(NOW - MINUTE, {"DM1": {"ses": {"taken_into_account": 5, "sent": 2}}})])
    [point] = [each for each in known.history.view([ALL], Span.ONE_HOUR, NOW).points if each.statuses]
    assert (point.processed, point.success) == (7, 2)


def test_partitions_and_deliveries_are_summed():
    records = [
        sample(NOW - MINUTE, sent(5), partition=0),
        sample(NOW - MINUTE, {**sent(7), **sent(1, "DM2")}, partition=1),
    ]
    assert numbers(*records) == {"11-23T07:59": 13}
    assert numbers(*records, scope=("DM1", None)) == {"11-23T07:59": 12}
    assert numbers(*records, scope=(None, "ses")) == {"11-23T07:59": 13}
    assert numbers(*records, scope=(None, "kumomta")) == {}


def test_what_has_no_sample_yet_is_told_from_the_counts():
    now = counts({"sent": 9}, at=NOW - MINUTE // 2, by_provider={"ses": {"sent": 9}})
    before = sample(NOW - MINUTE * 3, sent(4))
    for order in ([before, now], [now, before]):
        assert numbers(*order) == {"11-23T07:57": 4, "11-23T07:59": 5}
    after = sample(NOW - MINUTE // 2, sent(9))
    assert numbers(before, now, after) == {"11-23T07:57": 4, "11-23T07:59": 5}
    assert numbers(before, after, now) == {"11-23T07:57": 4, "11-23T07:59": 5}


def test_counts_of_a_version_without_a_history_are_passed_over():
    old = counts({"sent": 9}, at=NOW - MINUTE // 2)
    assert numbers(sample(NOW - MINUTE * 3, sent(4)), old) == {"11-23T07:57": 4}
    gone = counts({}, at=NOW - MINUTE // 2)
    assert numbers(sample(NOW - MINUTE * 3, sent(4)), gone) == {"11-23T07:57": 4, "11-23T07:59": -4}


def test_what_comes_again_changes_nothing():
    records = [sample(NOW - (10 - index) * MINUTE, sent(number)) for index, number in enumerate((5, 12, 20))]
    assert numbers(*records, *records) == numbers(*records)


def test_the_first_sample_of_a_minute_is_compared_with_the_last_hour_or_day():
    minute = sample(NOW - MINUTE, sent(100))
    assert numbers(sample(NOW - 2 * HOUR, sent(90), Width.HOUR), minute) == {"11-23T07:59": 10}
    assert numbers(sample(NOW - 2 * DAY, sent(80), Width.DAY), minute) == {"11-23T07:59": 20}


def test_by_hour_and_by_day():
    hours = [sample(NOW - hours * HOUR, sent(100 - hours), Width.HOUR) for hours in (30, 20, 10)]
    minutes = [sample(NOW - minutes * MINUTE, sent(100 - minutes // 60)) for minutes in (100, 70, 1)]
    assert numbers(*hours, *minutes, span=Span.ONE_DAY) == {
        "11-22T12:00": 10,
        "11-22T22:00": 10,
        "11-23T06:00": 9,
        "11-23T07:00": 1,
    }
    day = sample(NOW - 20 * DAY, sent(50), Width.DAY)
    assert numbers(day, *hours, *minutes, span=Span.THIRTY_DAYS) == {
        "11-03T00:00": 50,
        "11-22T00:00": 40,
        "11-23T00:00": 10,
    }


def test_what_is_old_is_dropped():
    known = Deliveries(10, 0)
    for minute in range(0, 1_000, 10):
        known.take(HISTORY, [sample(NOW + minute * MINUTE, sent(minute, f"DM{minute}"))])
    assert len(known.history._changes[Width.MINUTE][ALL]) == Width.MINUTE.slots // 10
    assert ("DM10", None) not in known.history._changes[Width.MINUTE]


def test_a_record_of_another_layout_is_counted_and_left():
    known = Deliveries(10, 0)
    for value in (b"{}", b'{"layout":2}', sample(NOW, sent(1)).value.replace(b":00Z", b":01Z")):
        known.take(HISTORY, [Record(b"minute|0|0", value)])
    assert known.unreadable == 3
