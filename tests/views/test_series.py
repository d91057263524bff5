"""Counts over time stay few, however long it goes on, and lose neither the start nor the end."""

import random
from itertools import pairwise

from processor.views.series import POINTS_MAX, Point, Series

SECOND = 1_000_000
START = 1_795_420_800 * SECOND


def series(*points: tuple[float, tuple[int, ...]]) -> Series:
    made = Series(2)
    for seconds, counts in points:
        made.add(START + int(seconds * SECOND), counts)
    return made


def seconds_of(made: Series) -> list[float]:
    return [(point.time - START) / SECOND for point in made]


def test_of_one_moment_the_last_counts_stay():
    made = series((0, (1, 0)), (1, (2, 0)), (4, (3, 0)), (5, (4, 1)))
    assert list(made) == [Point(START + 4 * SECOND, (3, 0)), Point(START + 5 * SECOND, (4, 1))]


def test_what_comes_late_counts_as_of_the_last_point():
    made = series((60, (1, 0)), (30, (2, 0)))
    assert list(made) == [Point(START + 60 * SECOND, (2, 0))]


def test_it_stays_bounded_and_keeps_the_last_point():
    made = Series(2)
    rng = random.Random(1)
    time, widest = START, 0
    for number in range(5_000):
        time += rng.randrange(20 * SECOND)
        made.add(time, (number, 0))
        widest = max(widest, len(made))
        assert made[len(made) - 1] == Point(time, (number, 0))
    assert widest == POINTS_MAX
    assert len(made) > POINTS_MAX // 4
    seconds = seconds_of(made)
    assert seconds == sorted(seconds)
    # The points stay spread over all of the time.
    gaps = [later - earlier for earlier, later in pairwise(seconds)]
    assert max(gaps) < 8 * (seconds[-1] - seconds[0]) / len(seconds)


def test_an_early_point_that_was_followed_by_silence_stays():
    made = series((0, (1, 0)), *((10_000 + 5 * number, (number, 0)) for number in range(500)))
    assert seconds_of(made)[0] == 0


def test_what_held_at_a_moment():
    made = series((10, (1, 0)), (20, (2, 0)), (30, (3, 0)))
    held = [made.at(START + seconds * SECOND) for seconds in (0, 10, 19, 20, 99)]
    assert [point and point.counts[0] for point in held] == [1, 1, 1, 2, 3]
    assert Series(2).at(START) is None


def test_what_is_learnt_late_of_the_time_before_lifts_every_point():
    made = series((10, (1, 5)), (20, (2, 0)))
    made.shift((10, -3))
    assert [point.counts for point in made] == [(11, 2), (12, 0)]
