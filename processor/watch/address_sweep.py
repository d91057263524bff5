"""The sweep through the addresses of a partition: counts them by condition, and finds conditions that have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from processor.domain.addresses import Address, State, Window, condition_of, may_be_forgotten, without
from processor.domain.moment import FIRST, Micros, from_seconds
from processor.engine.store import Store
from processor.settings import Settings
from processor.watch.sweeper import Pace
from processor.wire.addresses import RELEASES_KEY, reached_in, unpack_known

#: Seconds from the end of one sweep to the start of the next, and addresses that are visited before the clock is looked
#: at.
_REST_SECONDS = 10.0
_IN_A_ROW = 250


class Present(NamedTuple):
    """The present time, and the time before which what is valid is forgotten; in microseconds."""

    now: Micros
    kept: Micros


class AddressSweep:
    """The sweeps through the addresses of one partition, one after the other, and what the last one found."""

    def __init__(self, settings: Settings, store: Store, pace: Pace, clock: Callable[[], float]) -> None:
        self._store, self._pace, self._clock = store, pace, clock
        self._retention = settings.retention
        self._windows: tuple[Window, ...] = ()
        self._keys: Iterator[tuple[bytes, bytes]] | None = None
        self._rests_until = 0.0
        self._candidates: list[bytes] = []
        self._counted: Counter[tuple[str, State]] = Counter()
        #: Addresses that are to be written anew.
        self.found: list[bytes] = []

    def present(self) -> Present:
        """Return the present time, and before when what is valid is forgotten."""
        now = from_seconds(self._clock())
        return Present(now, Micros(now - round(self._retention * 1_000_000)) if self._retention else FIRST)

    def released(self, address: Address) -> Address:
        """Return an address without the errors of released windows."""
        for window in self._windows:
            address = without(address, window)
        return address

    def take(self, number: int) -> list[bytes]:
        """Take so many of the keys that were found, each once."""
        taken = self.found[-number:]
        del self.found[-number:]
        return taken

    def restart(self, windows: tuple[Window, ...]) -> None:
        """Begin at once, and anew, with windows that are released."""
        self.stop()
        self._windows, self._rests_until = windows, 0.0

    def stop(self) -> None:
        """Abandon the present sweep."""
        self._keys, self._candidates = None, []
        self._counted = Counter()

    def advance(self) -> Counter[tuple[str, State]] | None:
        """Continue the sweep for a few milliseconds; at its end return how many addresses stand how, by channel."""
        if self._keys is None:
            if self.found or self._clock() < self._rests_until:
                return None
            self._keys = self._store.items()
        present = self.present()
        for _ in self._pace.shares():
            some = list(islice(self._keys, _IN_A_ROW))
            for key, packed in some:
                if key != RELEASES_KEY:
                    self._see(key, packed, present)
            if len(some) < _IN_A_ROW:
                return self._finish()
        return None

    def _see(self, key: bytes, packed: bytes, present: Present) -> None:
        reached = reached_in(packed)
        if reached is None:
            known = unpack_known(packed)
            address, state = known.memory, condition_of(known.memory, present.now).state
            is_over = state is State.VALID and may_be_forgotten(address, present.now, present.kept)
            is_news = is_over or state is not known.state or self.released(address) is not address
        else:
            state, is_news = State.VALID, reached < present.kept
        self._counted[key.partition(b"|")[0].decode(), state] += 1
        if is_news:
            self._candidates.append(key)

    def _finish(self) -> Counter[tuple[str, State]]:
        self.found, counted = self._candidates, self._counted
        self.stop()
        self._rests_until = self._clock() + _REST_SECONDS
        return counted
