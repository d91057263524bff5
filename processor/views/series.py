"""Counts over time: a bounded number of points, however long it goes on."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: The most points that a series keeps. One point is 88 bytes, so 20,000 deliveries need 85 MB at the very most.
POINTS_MAX = 48

#: What one point stands for at first; the width doubles whenever there are too many points.
_FIRST_WIDTH = 5_000_000


class Point(NamedTuple):
    """Counts by status, in the order of `Status`, as they were from `time` on (microseconds)."""

    time: int
    counts: tuple[int, ...]


class Series:
    """Points in order of time. Of all that happens within one width, the last point is kept."""

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
        return Point(time, tuple(counts))

    def add(self, time: int, counts: Sequence[int]) -> None:
        """Note the counts at a moment; one that lies before the last point counts as of that point's time."""
        if self._numbers:
            last = self._numbers[-self._size]
            time = max(time, last)
            if time // self._width == last // self._width:
                del self._numbers[-self._size :]
        self._numbers.append(max(time, 0))
        self._numbers.extend(counts)
        if len(self) > POINTS_MAX:
            self._thin()

    def shift(self, change: Sequence[int]) -> None:
        """Add to every point what was there before the first of them, and has only been learnt now."""
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

    def at(self, time: int) -> Point | None:
        """Give what held at a moment: the last point that is not after it, else the first; None when there is none."""
        found = None
        for point in self:
            if found is not None and point.time > time:
                break
            found = point
        return found
