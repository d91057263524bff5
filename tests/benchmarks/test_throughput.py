"""What is told of a contender that folds a topic."""

import pytest
from contenders import CONTENDERS
from measure import PeerError, Sample
from throughput import figures

QUICK_ONE, SLOW_ONE = (next(each for each in CONTENDERS if each.name == name) for name in ("ours", "plain-faust"))
EVENTS, WARM = 12_000, 6_000


def folded(until):
    """Sample a contender that gets warm: 500 events/s for its first 6,000 events, and 1,000 after them."""
    points = [
        (number / 500 if number <= WARM else WARM / 1_000 + number / 1_000, number)
        for number in range(0, until + 1, 100)
    ]
    return [Sample(moment, events, events * 20e-6, 100.0, events * 10e-6, 0.0) for moment, events in points]


def test_only_what_follows_the_warming_up_counts():
    found = figures(QUICK_ONE, folded(EVENTS), WARM, EVENTS)
    assert found["events_per_second"] == 1_000
    assert (found["contender_us"], found["broker_us"]) == (20.0, 10.0)
    assert found["events_per_system_cpu_second"] == 33_333


def test_the_way_to_it_is_told():
    found = figures(QUICK_ONE, folded(EVENTS), WARM, EVENTS)
    assert found["windows"] == [500] * 6 + [1_000] * 6
    assert found["drift"] == pytest.approx(1)


def test_the_window_ends_with_the_commit_that_reaches_its_end():
    found = figures(QUICK_ONE, folded(EVENTS + 300), WARM, EVENTS)
    assert found["events"] == EVENTS + 300 - WARM


def test_of_a_slow_one_the_second_half_of_what_it_did_counts():
    found = figures(SLOW_ONE, folded(4_000), WARM, EVENTS)
    assert found["warm_events"] == 2_000
    assert found["events_per_second"] == 500


def test_one_that_is_not_slow_and_did_not_end_is_a_failure():
    with pytest.raises(PeerError, match="4,000 of 12,000 events"):
        figures(QUICK_ONE, folded(4_000), WARM, EVENTS)


def test_one_that_commits_seldom_is_measured_between_two_commits():
    few = [each for each in folded(EVENTS) if each.events in (0, WARM, EVENTS)]
    found = figures(QUICK_ONE, few, WARM, EVENTS)
    assert found["events_per_second"] == 1_000
    assert "drift" not in found


def test_a_slow_one_that_committed_twice_is_measured_as_a_whole():
    found = figures(SLOW_ONE, [folded(4_000)[0], folded(4_000)[-1]], WARM, EVENTS)
    assert found["events_per_second"] == 500


def test_one_that_committed_once_in_its_window_is_a_failure():
    with pytest.raises(PeerError, match="once"):
        figures(QUICK_ONE, [folded(EVENTS)[0], folded(EVENTS)[-1]], WARM, EVENTS)
