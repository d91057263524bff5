"""The sweep through the native keys of a partition: which receipts wait for their links, and which have expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from processor.domain.links import Bounds, Known, has_expired
from processor.domain.moment import FIRST, Micros, Millis, from_seconds, to_millis
from processor.engine.store import Store
from processor.metrics import Provider, provider_label
from processor.providers.native_keys import provider_of
from processor.settings import Settings
from processor.watch.sweeper import Pace
from processor.watch.waiting import WaitingBoard, WaitingReceipts
from processor.wire.correlations import unpack_known

#: Seconds from the end of one sweep to the start of the next, and keys that are visited before the clock is looked at.
_REST_SECONDS = 10.0
_KEYS_IN_A_ROW = 250

#: Seconds for which a receipt with a doubtful link is remembered, if it would not wait for a shorter time: where links
#: are always told with too early a time, that is each receipt.
_DOUBT_SECONDS = 86_400.0


class KeySweep:
    """The sweeps through the native keys of one partition, one after the other, and what the last one found."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the stage shares among its partitions
        self,
        settings: Settings,
        store: Store,
        partition: int,
        pace: Pace,
        board: WaitingBoard,
        clock: Callable[[], float],
    ) -> None:
        self.store, self._partition, self._pace, self._board, self._clock = store, partition, pace, board, clock
        self._wait, self._kept = settings.link_wait, settings.retention
        self._keys: Iterator[tuple[bytes, bytes]] | None = None
        self._rests_until = 0.0
        #: Keys of which something has expired, and what waits, by provider: how many, and the earliest arrival.
        self.found: list[bytes] = []
        self._candidates: list[bytes] = []
        self._waiting: Counter[Provider] = Counter()
        self._oldest: dict[Provider, Millis] = {}

    def bounds(self) -> Bounds:
        """Return what has expired by now."""
        now = self._clock()
        waiting, doubtful = (
            to_millis(from_seconds(now - seconds)) for seconds in (self._wait, min(self._wait, _DOUBT_SECONDS))
        )
        return Bounds(waiting, doubtful, from_seconds(now - self._kept) if self._kept else Micros(FIRST))

    @property
    def is_under_way(self) -> bool:
        """Whether a sweep has begun and not ended."""
        return self._keys is not None

    def take(self, number: int) -> list[bytes]:
        """Take so many of the keys that were found, each once."""
        taken = self.found[-number:]
        del self.found[-number:]
        return taken

    def put_back(self, keys: Sequence[bytes]) -> None:
        """Keep keys that were taken and not gone through."""
        self.found.extend(keys)

    def advance(self) -> None:
        """Continue the sweep for a few milliseconds, or begin one when it is time."""
        if self._keys is None:
            if self.found or self._clock() < self._rests_until:
                return
            self._keys = self.store.items()
        bounds = self.bounds()
        for _ in self._pace.shares():
            is_over = True
            for key, packed in islice(self._keys, _KEYS_IN_A_ROW):
                is_over = False
                self._see(key, unpack_known(packed), bounds)
            if is_over:
                self._finish()
                return

    def _see(self, key: bytes, known: Known, before: Bounds) -> None:
        if known.waiting:
            provider, oldest = provider_label(provider_of(key)), min(receipt.received for receipt in known.waiting)
            self._waiting[provider] += len(known.waiting)
            self._oldest[provider] = min(oldest, self._oldest.get(provider, oldest))
        if has_expired(known, before):
            self._candidates.append(key)

    def _finish(self) -> None:
        waiting = WaitingReceipts(self._waiting, self._oldest)
        self._board.put(self._partition, waiting, to_millis(from_seconds(self._clock())))
        self.found = self._candidates
        self.stop()
        self._rests_until = self._clock() + _REST_SECONDS

    def leave(self) -> None:
        """Take this partition's findings out of the gauges."""
        self.stop()
        self._board.drop(self._partition, to_millis(from_seconds(self._clock())))

    def stop(self) -> None:
        """Abandon the present sweep."""
        self._keys, self._candidates = None, []
        self._waiting, self._oldest = Counter(), {}
