"""Schedule the sweeps through the rows of a partition, in shares of a few milliseconds.

Between chunks the fold stage calls `Sweeper.advance`, which continues the present `Sweep` (sweep.py) and, at its end,
puts the findings on the board (board.py) for the gauges and the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from processor.domain.moment import Micros
from processor.domain.waiting import Holds
from processor.engine.store import Store
from processor.settings import Settings
from processor.watch.board import Board
from processor.watch.evidence import Flow
from processor.watch.sweep import NOTHING_LABELLED, Sweep
from processor.wire.rows import unpack_row

#: Seconds from the end of one sweep to the start of the next.
_REST_SECONDS = 5.0

#: Rows that are visited before the clock is looked at, and how many seconds one share of a sweep may take.
_ROWS_AT_A_TIME = 250
_SHARE_SECONDS = 0.004

#: The part of a worker's time that sweeps may take, over all its partitions.
_PART_OF_TIME = 0.05


class Pace:
    """Limits the share of time that the sweeps of all partitions of a worker take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests_until = 0.0

    def now(self) -> float:
        """Return seconds of the clock that sweeps are paced by."""
        return self._clock()

    def shares(self) -> Iterator[None]:
        """Yield turns until the share of time is used up; none while the worker rests."""
        begun = self._clock()
        if begun < self._rests_until:
            return
        ends = begun + _SHARE_SECONDS
        while (now := self._clock()) < ends:
            yield
        self._rests_until = now + (now - begun) / _PART_OF_TIME


class Sweeper:
    """The sweeps of one partition, one after the other, and their findings."""

    def __init__(self, settings: Settings, store: Store, partition: int, pace: Pace, board: Board) -> None:
        self._stuck_after = settings.stuck_after
        self._store, self._partition, self._pace, self._board = store, partition, pace, board
        self._sweep: Sweep | None = None
        self._rows: Iterator[tuple[bytes, bytes]] = iter(())
        self._next = 0.0
        #: What was heard of providers, and which messages were called stuck last.
        self.flow = Flow()
        self.labels = NOTHING_LABELLED

    def advance(self, now: Micros, holds: Holds, *, is_behind: bool, expired_before: Micros | None) -> list[bytes]:
        """Continue the sweep for a few milliseconds, or begin one when it is time.

        Args:
            now: the time up to which this partition's records have been read, in microseconds.
            holds: until when deliveries are held, in microseconds.
            is_behind: whether there is lag.
            expired_before: microseconds of event time; older final messages may be removed. None: none may.

        Returns:
            Keys of messages that may be removed, once the sweep is complete.
        """
        if self._sweep is None:
            if self._pace.now() < self._next:
                return []
            self._sweep = Sweep(
                self._stuck_after,
                now,
                holds=holds,
                flow=self.flow,
                is_behind=is_behind,
                expired_before=expired_before,
            )
            self._rows = self._store.items()
        for _ in self._pace.shares():
            is_over = True
            for key, packed in islice(self._rows, _ROWS_AT_A_TIME):
                is_over = False
                self._sweep.visit(key, unpack_row(packed))
            if is_over:
                return self._finish(self._sweep)
        return []

    def _finish(self, sweep: Sweep) -> list[bytes]:
        self._board.put(self._partition, sweep.result())
        self.labels = sweep.labels()
        self.stop()
        self._next = self._pace.now() + _REST_SECONDS
        return sweep.expired

    def stop(self) -> None:
        """Abandon the present sweep."""
        self._sweep, self._rows = None, iter(())

    def leave(self) -> None:
        """Remove this partition's findings from the board."""
        self.stop()
        self._board.drop(self._partition)
