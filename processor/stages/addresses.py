"""The addresses stage: what is seen of addresses in, their conditions out (ADR 0030).

All of one address lies in one partition. The rules are in domain/addresses.py; what is remembered of each address is
the stage's state, and its changelog is the public table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from processor.domain.addresses import (
    NOTHING,
    Address,
    Kind,
    Sighting,
    Window,
    condition_of,
    join,
    may_be_forgotten,
)
from processor.domain.moment import Micros
from processor.engine.stage import (
    Outbox,
    Partitioning,
    Positions,
    PunctuatedWork,
    Record,
    Stage,
    StoredWork,
    UnreadableRecord,
    Work,
)
from processor.engine.store import Change, Store, StoreName
from processor.engine.store.opening import open_store
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages.aside import Aside, restore_store
from processor.stages.dead import DeadLetters
from processor.watch.address_sweep import AddressSweep, Present
from processor.watch.board import Board
from processor.watch.conditions import ConditionsBoard
from processor.watch.sweeper import Pace
from processor.wire.addresses import (
    RELEASES_KEY,
    Known,
    Seen,
    SeenRecord,
    decode_releases,
    decode_seen,
    encode_address,
    encode_reached,
    encode_releases,
    encode_seen,
    keys_of,
    known_in,
    pack_known,
    pack_reached,
    reached_in,
    split,
    unpack_known,
)
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.readback import UnreadableError
from processor.wire.topics import ADDRESSES, DEAD, RECIPIENTS

#: Addresses whose condition has ended that one transaction goes through besides those that records change.
_ADDRESSES_AT_A_TIME = 2_000


def stage(settings: Settings, metrics: Metrics, board: Board, clock: Callable[[], float] = time.time) -> Stage:
    """Declare the stage; the clock gives seconds since the epoch."""
    pace, conditions = Pace(), ConditionsBoard(metrics)

    def start(partitioning: Partitioning) -> Work:
        name = StoreName(partitioning.cluster, settings.topic(ADDRESSES), partitioning.number)
        store = open_store(settings, name)
        sweep = AddressSweep(settings, store, pace, clock)
        return Addresses(settings, metrics, partitioning, store, sweep, conditions, board)

    outputs = (ADDRESSES, DEAD)
    return Stage(name="addresses", inputs=(RECIPIENTS,), outputs=outputs, start=start, changelog=ADDRESSES)


class Addresses(StoredWork, PunctuatedWork):
    """One partition of addresses."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the stage shares among its partitions
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        store: Store,
        sweep: AddressSweep,
        conditions: ConditionsBoard,
        board: Board,
    ) -> None:
        self._store, self._sweep, self._conditions = store, sweep, conditions
        self.is_durable = store.is_durable
        self._partition = partitioning.number
        self._topic = settings.topic(ADDRESSES)
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        self._aside = Aside(settings, ADDRESSES, self._partition, metrics, board)
        #: What the transaction in hand knows and changes, by key; and what the store has of these keys.
        self._hand: dict[bytes, Address] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._before: dict[bytes, bytes | None] = {}
        #: The released windows, as the transaction in hand leaves them.
        self._windows: tuple[Window, ...] = ()

    # State

    @property
    def position(self) -> int:
        """The changelog position that the state reflects."""
        return self._store.position

    def known(self, key: bytes) -> Known | None:
        """Return what is known of an address, as it was last committed; None: nothing.

        Raises:
            UnreadableError: it is there, and cannot be read.
        """
        if key in self._aside.notes:
            raise UnreadableError(self._aside.describe(key))
        packed = self._store.get_many([key])[0]
        return None if packed is None else unpack_known(packed)

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take what was known of each address; what cannot be read is set aside."""
        restore_store(self._store, records, position, _restored)

    def restored(self) -> None:
        """Name what cannot be read, and take the released windows."""
        self._aside.restore(self._store.aside)
        self._aside.tell()
        packed = self._store.get_many([RELEASES_KEY])[0]
        self._windows = () if packed is None else decode_releases(packed)
        self._sweep.restart(self._windows)

    def forget(self) -> None:
        """Forget what is known of all addresses."""
        self._store.clear()

    def suspended(self) -> None:
        """Take what this partition shows out of the gauges."""
        self._aside.hide()
        self._sweep.stop()
        self._conditions.drop(self._partition)

    def close(self) -> None:
        """Let go of the store."""
        self._sweep.stop()
        self._store.close()

    # Work

    @property
    def is_due(self) -> bool:
        """Whether conditions have ended, or addresses may be forgotten."""
        return bool(self._sweep.found)

    def punctuate(self, *, is_behind: bool) -> None:
        """Go on sweeping through the addresses: how they stand, and what has ended."""
        del is_behind
        counted = self._sweep.advance()
        if counted is not None:
            self._conditions.put(self._partition, counted)

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Keep what could not be read as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Join a chunk of sightings; then do a share of what is due without one."""
        self._hand, self._changed, self._before = {}, {}, {}
        reached: dict[bytes, Micros] = {}
        for record in records:
            try:
                seen = self._read(record, outbox)
            except Exception as error:
                self._dead.add(record, outbox, error)
            else:
                self._release(seen.released, outbox)
                self._join(seen.seen)
                # All of a chunk is joined, and a join does not mind the order: of an address the last time will do.
                for key, moment in zip(seen.reached, seen.times, strict=True):
                    packed = key.encode()
                    if reached.get(packed, moment) <= moment:
                        reached[packed] = moment
        self._load(self._sweep.take(_ADDRESSES_AT_A_TIME))
        present = self._sweep.present()
        self._reach(reached, present, outbox)
        for changed, address in self._hand.items():
            self._write(changed, self._sweep.released(address), present, outbox)

    def _reach(self, reached: Mapping[bytes, Micros], present: Present, outbox: Outbox) -> None:
        """Join the successes; those of addresses of which nothing else is known are written at once, since most are."""
        if not reached:
            return
        publish = outbox.to(self._topic, self._partition).append
        hand, changed, before, now = self._hand, self._changed, self._before, outbox.now
        for (key, moment), packed in zip(reached.items(), self._store.get_many(list(reached)), strict=True):
            known = None if packed is None else reached_in(packed)
            if key in hand or (known is None and packed is not None):
                self._load([key])
                hand[key] = join(hand[key], Sighting(moment, Kind.SUCCESS))
            elif (known is None or moment > known) and moment >= present.kept:
                before[key], changed[key] = packed, pack_reached(moment)
                publish((now, key, encode_reached(key, moment), ()))

    def _read(self, record: Record, outbox: Outbox) -> SeenRecord:
        if record.value is None:
            raise UnusableError(DeadReason.NULL_VALUE, "what is seen of addresses needs a value")
        seen = decode_seen(record.value)
        aside = self._aside.notes
        if aside and any(key.encode() in aside for key in keys_of(seen)):
            refused, seen = split(seen, {key.decode() for key in aside})
            for each in keys_of(refused):
                self._refuse(record, each, refused, outbox)
        return seen

    def _refuse(self, record: Record, key: str, seen: SeenRecord, outbox: Outbox) -> None:
        """Put aside what is seen of one address that cannot be read: the others of its record are none the worse."""
        own, _ = split(seen, {key})
        error = UnusableError(DeadReason.ROW_UNREADABLE, self._aside.describe(key.encode()))
        self._dead.add(record, outbox, error, value=encode_seen(own))

    def _load(self, keys: Iterable[bytes]) -> None:
        """Take into the hand what the store knows of addresses."""
        missing = list(dict.fromkeys(key for key in keys if key not in self._hand))
        for key, packed in zip(missing, self._store.get_many(missing), strict=True):
            self._before[key] = packed
            self._hand[key] = NOTHING if packed is None else unpack_known(packed).memory

    def _join(self, seen: Sequence[Seen]) -> None:
        keys = [each.key.encode() for each in seen]
        self._load(keys)
        hand, windows = self._hand, self._windows
        for key, each in zip(keys, seen, strict=True):
            sighting = each.sighting
            released = [window for window in windows if window.domain == sighting.domain] if windows else ()
            hand[key] = join(hand[key], sighting, released)

    def _release(self, windows: Sequence[Window], outbox: Outbox) -> None:
        """Release windows: the next sweep takes away what lies in them, and it does not count when it comes later."""
        kept_from = self._sweep.present().kept
        kept = tuple(sorted(window for window in {*self._windows, *windows} if window.until > kept_from))
        if kept != self._windows:
            self._put_windows(kept, outbox)

    def _put_windows(self, windows: tuple[Window, ...], outbox: Outbox) -> None:
        self._windows = windows
        self._sweep.restart(windows)
        value = encode_releases(windows) if windows else None
        if RELEASES_KEY not in self._before:
            self._before[RELEASES_KEY] = self._store.get_many([RELEASES_KEY])[0]
        self._changed[RELEASES_KEY] = value
        outbox.add(self._topic, self._partition, outbox.now, RELEASES_KEY, value)

    def _write(self, key: bytes, address: Address, present: Present, outbox: Outbox) -> None:
        """Write an address if it is another than the store has, or its condition another than was published."""
        before = self._before[key]
        if address == NOTHING or may_be_forgotten(address, present.now, present.kept):
            if before is not None:
                self._changed[key] = None
                outbox.add(self._topic, self._partition, outbox.now, key, None)
            return
        condition = condition_of(address, present.now)
        packed = pack_known(Known(condition.state, address))
        if packed != before:
            self._changed[key] = packed
            value = encode_address(key.decode(), address, condition)
            outbox.add(self._topic, self._partition, outbox.now, key, value)

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk to the store."""
        growth = sum((new is not None) - (self._before[key] is not None) for key, new in self._changed.items())
        self._store.write(Change(self._changed, growth, max(positions.changelog, self._store.position)))
        self._hand, self._changed, self._before = {}, {}, {}
        self._dead.committed()


def _restored(key: bytes, value: bytes) -> bytes:
    """Return what the store has of a record of the changelog.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    if key == RELEASES_KEY:
        decode_releases(value)
        return value
    return pack_known(known_in(value))
