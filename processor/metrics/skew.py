"""The skew of a provider's clock, estimated from its events."""

from __future__ import annotations

from collections import deque
from statistics import median_low


class ClockSkew:
    """Estimates how far a provider's event times lie ahead of the timestamps of their records, in seconds.

    A report is never earlier than its event, so the event furthest ahead, whose report was the quickest, comes closest
    to the truth. Positive: the clock is ahead by at least this much. Negative: it is behind, or no report is quicker.
    The estimate is the median over the last minutes of records, each minute represented by its furthest event: one
    absurd time does not decide.
    """

    _WINDOW = 60.0
    _WINDOWS = 9

    def __init__(self) -> None:
        self._since = float("-inf")
        self._furthest: deque[float] = deque(maxlen=self._WINDOWS)

    def see(self, ahead: float, timestamp: float) -> float:
        """Add a chunk's furthest event and its records' latest timestamp; return the new estimate."""
        if timestamp >= self._since + self._WINDOW:
            self._since = timestamp
            self._furthest.append(ahead)
        else:
            self._furthest[-1] = max(self._furthest[-1], ahead)
        return median_low(self._furthest)
