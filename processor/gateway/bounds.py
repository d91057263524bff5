"""Bound how many calls are taken at a time, and in a second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rate:
    """So many in a second, and as many at once; a call that is too many costs nothing of the next second.

    Args:
        rate: in a second; 0: any.
        clock: seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left, self._at = max(1.0, rate), clock()

    def takes(self) -> bool:
        """Return whether there is room for one more, and count it."""
        if not self._rate:
            return True
        now = self._clock()
        self._left = min(max(1.0, self._rate), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
