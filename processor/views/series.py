"""Counts over time, with a bounded number of points for any duration."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from processor.domain.moment import Micros

#: The most points that a series keeps. One point is 88 bytes, so 20,000 deliveries need 85 MB at the very most.
POINTS_MAX = 48

#: What one point stands for at first; the width doubles whenever there are too many points.
_FIRST_WIDTH = 5_000_000


class Point(NamedTuple):
    """Counts by status, in the order of `Status`, from `time` on (microseconds)."""

    time: Micros
    counts: tuple[int, ...]


class Series:
    """Points in order of time; of all points within one width, the last one is kept."""

    __slots__ = ("_numbers", "_size", "_width")

    def __init__(self, statuses: int) -> None:
        # One flat array: a list of points would be ten times as large.
        self._numbers = array("Q")
        self._size = 1 + statuses
        self._width = _FIRST_WIDTH

    def __len__(self) -> int:
        return len(self._numbers) // self._size

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        start = index * self._size
        time, *counts = self._numbers[start : start + self._size]
        return Point(Micros(time), tuple(counts))

    def add(self, time: Micros, counts: Sequence[int]) -> None:
        """Add the counts at a time; a time before the last point counts as that point's."""
        if self._numbers:
            last = self._numbers[-self._size]
            time = max(time, Micros(last))
            if time // self._width == last // self._width:
                del self._numbers[-self._size :]
        self._numbers.append(max(time, 0))
        self._numbers.extend(counts)
        if len(self) > POINTS_MAX:
            self._thin()

    def shift(self, change: Sequence[int]) -> None:
        """Add counts that existed before the first point, and have been learnt only now, to every point."""
        points = list(self)
        self._numbers = array("Q")
        for point in points:
            self._numbers.append(point.time)
            self._numbers.extend([max(0, count + step) for count, step in zip(point.counts, change, strict=True)])

    def _thin(self) -> None:
        self._width *= 2
        kept = {point.time // self._width: point for point in self}
        self._numbers = array("Q")
        for point in kept.values():
            self._numbers.append(point.time)
            self._numbers.extend(point.counts)

    def at(self, time: Micros) -> Point | None:
        """Return the counts at a time: the last point that is not after it, else the first; None if there is none."""
        found = None
        for point in self:
            if found is not None and point.time > time:
                break
            found = point
        return found
