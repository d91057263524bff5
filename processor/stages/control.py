"""The control stage: reads control records; writes deliveries and dead letters.

One record of a delivery is both its changelog entry and its row in the public table. Every worker follows that topic;
so the fold learns which deliveries were cancelled (ADR 0017).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from processor.domain.addresses import Kind, Sighting
from processor.domain.delivery import Delivery, join
from processor.domain.moment import Micros, Millis, from_seconds, stamp_of, to_microseconds, to_millis
from processor.engine.stage import (
    Outbox,
    Partitioning,
    Positions,
    PunctuatedWork,
    Record,
    Stage,
    StatefulWork,
    UnreadableRecord,
)
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages.aside import Aside, note_of
from processor.stages.dead import DeadLetters
from processor.stages.erasures import Erasures
from processor.watch.board import Board
from processor.wire.addresses import Seen, SeenRecord, encode_seen
from processor.wire.control import decode_control
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.deliveries import decode_delivery_of, encode_delivery
from processor.wire.erasures import decode_erasure, is_erasure
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.received import received_at
from processor.wire.releases import decode_release, is_release
from processor.wire.topics import CONTROL, DEAD, DELIVERIES, ERASURES, RECIPIENTS

log = get_logger(__name__)


#: Erasures that one transaction ends.
_ERASURES_AT_A_TIME = 100


def stage(
    settings: Settings,
    metrics: Metrics,
    board: Board,
    clock: Callable[[], float] = time.time,
    erasures: Erasures | None = None,
) -> Stage:
    """Declare the stage; the clock returns seconds since the epoch; the fold stage learns the erasures."""

    def start(partitioning: Partitioning) -> StatefulWork:
        return ControlWork(settings, metrics, partitioning, board, clock, Erasures() if erasures is None else erasures)

    # Control records that came to the wrong partition go back to CONTROL.
    feed = (RECIPIENTS,) if settings.addresses_key else ()
    outputs = (DELIVERIES, DEAD, CONTROL, ERASURES, *feed)
    return Stage(name="control", inputs=(CONTROL,), outputs=outputs, start=start, changelog=DELIVERIES)


class ControlWork(StatefulWork, PunctuatedWork):
    """One partition of deliveries, all in memory: they are few compared with messages."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the stage shares among its partitions
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        board: Board,
        clock: Callable[[], float],
        erasures: Erasures,
    ) -> None:
        self._clock, self._erasures = clock, erasures
        self._retention, self._erasures_topic = settings.retention, settings.topic(ERASURES)
        #: Erasures of this partition that are over, remembered for long enough; and by how many seconds the worker's
        #: clock was ahead of the brokers' when that was looked at last.
        self._over: list[str] = []
        self._ahead = 0.0
        self._position = 0
        self._partition = partitioning.number
        self._control_topic, self._deliveries_topic = settings.topic(CONTROL), settings.topic(DELIVERIES)
        self._partitions = partitioning.counts[self._control_topic]
        self._recipients_topic = settings.topic(RECIPIENTS)
        #: None: there is no feed of addresses.
        self._recipients_partitions = partitioning.counts[self._recipients_topic] if settings.addresses_key else None
        self._max_bytes = settings.max_record_bytes
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        self._deliveries: dict[str, Delivery] = {}
        self._aside = Aside(settings, DELIVERIES, self._partition, metrics, board)
        #: What the chunk in hand changed, with the timestamp of the record that did so last.
        self._changed: dict[str, tuple[Delivery, Millis]] = {}
        self._canceled = 0

    @property
    def position(self) -> int:
        """The changelog position that the deliveries reflect."""
        return self._position

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed deliveries; a null value deletes one."""
        for record in records:
            if record.key is None:
                continue
            self._deliveries.pop(record.key.decode(errors="surrogateescape"), None)
            self._aside.notes.pop(record.key, None)
            if record.value is None:
                continue
            try:
                delivery_id, delivery = decode_delivery_of(record.value, record.key)
            except UnreadableError as error:
                self._aside.notes[record.key] = note_of(record.offset, error)
            else:
                self._deliveries[delivery_id] = delivery
        self._position = max(position, self._position)

    def forget(self) -> None:
        """Forget all deliveries."""
        self._deliveries.clear()
        self._aside.notes.clear()
        self._position = 0

    def restored(self) -> None:
        """Report the deliveries that cannot be read."""
        self._aside.tell()

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    @property
    def is_due(self) -> bool:
        """Whether there are erasures to end."""
        return bool(self._over)

    def punctuate(self, *, is_behind: bool) -> None:
        """Find the erasures that have been remembered for as long as messages are kept."""
        if not is_behind and self._erasures:
            self._over = self._found_over(self._clock() - self._ahead)

    def _found_over(self, now: float) -> list[str]:
        """Return some erasures that are over at a time, in seconds since the epoch."""
        if not self._retention:
            return []
        before = Micros(from_seconds(now - self._retention))
        over = (each for each, known in self._erasures.remembered.items() if known.time < before)
        own = (each for each in over if partition_of(each.encode(), self._partitions) == self._partition)
        return list(islice(own, _ERASURES_AT_A_TIME))

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Join every record into its delivery; write the deliveries that changed."""
        for record in records:
            # The topic is compacted, so a null value is how its owner cleans up: it tells nothing.
            if record.value is not None:
                try:
                    self._join(record, record.value, outbox)
                except Exception as error:
                    self._dead.add(record, outbox, error)
        for delivery_id, (delivery, timestamp) in self._changed.items():
            key = delivery_id.encode()
            value = encode_delivery(delivery_id, delivery)
            outbox.add(self._deliveries_topic, self._partition, timestamp, key, value)
            self._canceled += self._is_news_of_cancel(delivery_id, delivery)
        self._end_erasures(outbox)

    def _end_erasures(self, outbox: Outbox) -> None:
        """Remove erasures from both topics that have them, with what partitions said of them.

        A clock that is ahead must not bring people back: the brokers' time decides.
        """
        if not self._over:
            return
        now = outbox.now / 1000
        self._ahead = max(0.0, self._clock() - now)
        for erasure_id in self._found_over(now):
            outbox.add(self._control_topic, self._partition, outbox.now, erasure_id.encode(), None)
            outbox.add(self._erasures_topic, self._partition, outbox.now, erasure_id.encode(), None)
            for key in self._erasures.done.get(erasure_id, ()):
                partition = int(key.rpartition(b"|")[2])
                if partition < self._partitions:
                    outbox.add(self._erasures_topic, partition, outbox.now, key, None)

    def _join(self, record: Record, value: bytes, outbox: Outbox) -> None:
        if len(value) > self._max_bytes:
            detail = f"{len(value)} bytes, and DELIVERY_MAX_RECORD_BYTES is {self._max_bytes}"
            raise UnusableError(DeadReason.RECORD_TOO_LARGE, detail)
        timestamp = stamp_of(record.timestamp, to_millis(from_seconds(self._clock())))
        received = received_at(record.headers, timestamp)
        if is_release(record.headers):
            self._release(record, value, timestamp, outbox)
            return
        if is_erasure(record.headers):
            erasure = decode_erasure(value, received)
            key = erasure.erasure_id.encode()
            if self._is_home(record, key, value, outbox):
                outbox.add(self._erasures_topic, self._partition, timestamp, key, value)
            return
        control = decode_control(value, received)
        key = control.delivery_id.encode()
        if not self._is_home(record, key, value, outbox):
            return
        if key in self._aside.notes:
            self._aside.refuse(key)
        before = self._delivery(control.delivery_id)
        delivery = join(before, control)
        if delivery is not before:
            self._changed[control.delivery_id] = delivery, timestamp

    def _release(self, record: Record, value: bytes, timestamp: Millis, outbox: Outbox) -> None:
        """Tell a release to the partition of its address, or a window to all of them."""
        release = decode_release(value, timestamp)
        if self._recipients_partitions is None:
            detail = "there is no feed of addresses: DELIVERY_ADDRESSES_KEY is not set"
            raise UnusableError(DeadReason.INVALID_CONTROL, detail)
        if not self._is_home(record, release.key.encode(), value, outbox):
            return
        window = release.window
        if window is None:
            key, at = release.address or "", to_microseconds(release.time)
            seen = SeenRecord(seen=(Seen(key, Sighting(at, Kind.RELEASE)),))
            partitions = [partition_of(key.encode(), self._recipients_partitions)]
        else:
            seen, partitions = SeenRecord(released=(window,)), list(range(self._recipients_partitions))
        for partition in partitions:
            outbox.add(self._recipients_topic, partition, timestamp, None, encode_seen(seen))

    def _is_home(self, record: Record, key: bytes, value: bytes, outbox: Outbox) -> bool:
        """Return whether a record belongs to this partition; send it to its own if it does not."""
        home = partition_of(key, self._partitions)
        if home != self._partition:
            outbox.forward(self._control_topic, home, record.timestamp, key, value, tuple(record.headers))
        return home == self._partition

    def _delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery with the changes of the present chunk so far."""
        changed = self._changed.get(delivery_id)
        return self._deliveries.get(delivery_id) if changed is None else changed[0]

    def _is_news_of_cancel(self, delivery_id: str, delivery: Delivery) -> bool:
        """Return whether the chunk cancelled a delivery, or moved its cancel to an earlier time."""
        before = self._deliveries.get(delivery_id)
        return delivery.canceled_at is not None and (before is None or before.canceled_at != delivery.canceled_at)

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk."""
        self._deliveries.update({delivery_id: delivery for delivery_id, (delivery, _) in self._changed.items()})
        self._changed.clear()
        self._over = []
        self._position = max(positions.changelog, self._position)
        if self._canceled:
            log.info("deliveries_canceled", deliveries=self._canceled, partition=self._partition)
            self._canceled = 0
        self._dead.committed()

    def suspended(self) -> None:
        """Remove the deliveries that cannot be read from the gauge."""
        self._aside.hide()
