"""The brokers' time, and the difference of this machine's clock.

A broker answers a batch for a topic with LogAppendTime with the time at which it appended the batch. This machine sent
the batch before that and had the answer after it, so each answer bounds the difference of the two clocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from processor.domain.moment import Millis
from processor.engine import clients
from processor.engine.records import fill_batch
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.settings import Settings
from processor.wire.received import window
from processor.wire.topics import DEAD

log = get_logger(__name__)

#: The kind of a timestamp that a broker gave by its own clock.
APPEND_TIME = 1

#: Seconds of difference that are worth telling, and seconds between tellings.
TOLD_FROM = 10.0
_TOLD_EVERY = 60.0

#: Seconds after which the measurement is repeated: clocks drift, and are set.
_FORGOTTEN_AFTER = 300.0

#: Brokers tell whole milliseconds.
_TRUNCATED = 0.001

#: By how much the time is set back when a broker says that it lies ahead, and how much it has not told.
_STEP_MS = 24 * 60 * 60 * 1000

_EPOCH = Millis(0)

_MEND = "set the clock of this machine by NTP (chronyc tracking, timedatectl); records have the brokers' time meanwhile"


def _bounds_of(sent: float, appended: int, answered: float) -> tuple[float, float]:
    """Return the bounds, in seconds, by which this machine is ahead; `appended` is in milliseconds."""
    return sent - appended / 1000 - _TRUNCATED, answered - appended / 1000


def _least(bounds: tuple[float, float]) -> float:
    """Return the smallest difference within the bounds; 0 if they allow none."""
    return max(bounds[0], 0.0) + min(bounds[1], 0.0)


async def measure_skew(settings: Settings, clock: Callable[[], float] = time.time) -> float | None:
    """Ask the brokers for their time, by records in a transaction that is aborted, so that nobody reads them.

    Returns:
        Seconds by which this machine's clock is at least ahead; None if the topic keeps the producers' times.

    Raises:
        KafkaError: the brokers cannot be reached, or refuse.
    """
    producer = clients.transactional_producer(settings, f"{settings.app_id}-check")
    await producer.start()
    try:
        await producer.begin_transaction()
        # The first is on its way for as long as it takes to find its topic.
        await _ask(producer, settings, clock)
        skew = await _ask(producer, settings, clock)
        await producer.abort_transaction()
    finally:
        await producer.stop()
    return skew


async def _ask(producer: AIOKafkaProducer, settings: Settings, clock: Callable[[], float]) -> float | None:
    batch, _ = fill_batch(producer, [(_EPOCH, None, b"", ())], 0, _EPOCH, (_EPOCH, _EPOCH))
    sent = clock()
    answer = await (await producer.send_batch(batch, settings.topic(DEAD), partition=0))
    return _least(_bounds_of(sent, answer.timestamp, clock())) if answer.timestamp_type == APPEND_TIME else None


class BrokerClock:
    """The brokers' time, learnt from their answers.

    Args:
        metrics: has the gauge of the difference.
        clock: this machine's, in seconds since the epoch.
        monotonic: seconds of a clock that is never set.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._clock, self._monotonic = metrics, clock, monotonic
        #: Seconds by which this machine is ahead of the brokers: at least, and at most.
        self._bounds = float("-inf"), float("inf")
        self._known_since = float("-inf")
        self._told_at = float("-inf")
        self._step = 0

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is at least ahead of the brokers'; negative: behind; 0: none known."""
        return _least(self._bounds)

    def now(self) -> Millis:
        """Return the brokers' time, in milliseconds since the epoch."""
        return Millis(int((self._clock() - self.ahead) * 1000) - self._step)

    def sent(self) -> float:
        """Return this machine's time, to pass to `see` with the answer to a batch that is sent now."""
        return self._clock()

    def see(self, sent: float, appended: Millis) -> None:
        """Learn from an answer.

        Args:
            sent: the result of `sent` before the batch was sent.
            appended: when the broker appended it, in milliseconds since the epoch.
        """
        low, high = _bounds_of(sent, appended, self._clock())
        now = self._monotonic()
        known_low, known_high = self._bounds
        if now - self._known_since < _FORGOTTEN_AFTER and max(low, known_low) <= min(high, known_high):
            self._bounds = max(low, known_low), min(high, known_high)
        else:
            self._bounds, self._known_since = (low, high), now
        self._step = 0
        self._metrics.worker_clock_skew.set(self.ahead)
        if abs(self.ahead) >= TOLD_FROM and now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            log.warning("clock_skewed", seconds_ahead=round(self.ahead, 1), mend=_MEND)

    def window(self) -> tuple[Millis, Millis]:
        """Return the first and the last timestamp, in milliseconds, that a written record may keep.

        While the time is in doubt, timestamps that brokers have accepted count for more than this clock.
        """
        first, last = window(self.now())
        return (_EPOCH, Millis(last + self._step)) if self._step else (first, last)

    def set_back(self, refused: Millis) -> None:
        """Set the time back because a broker refused it as too far ahead; each step is twice as long as the last.

        Args:
            refused: the result of `now` that was refused. If `now` has changed since, the refusal is known already.
        """
        if abs(refused - self.now()) >= _STEP_MS / 2:
            return
        self._step = 2 * self._step or _STEP_MS
        log.warning("clock_skewed", set_back_hours=self._step // 3_600_000, mend=_MEND)
