"""The control stage: control records in; deliveries, cancel markers and dead letters out.

A delivery's record is its changelog entry and its line in the public table, in one. Its messages are spread over all
partitions of the events, and one that was cancelled must be known to each of them: so a cancel is written, in the same
transaction, to every partition of the events, as a marker that the fold applies to that delivery's messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from processor.control import MARKER_HEADERS, decode_control, decode_delivery, encode_delivery, encode_marker
from processor.deadletter import DeadReason, RefusedError
from processor.domain.delivery import Delivery, join
from processor.engine.stage import Outbox, Partitioning, Record, Stage, Work
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.stages.dead import DeadLetters
from processor.topics import CONTROL, DEAD, DELIVERIES, EVENTS
from processor.views.board import Board

log = get_logger(__name__)


def stage(settings: Settings, metrics: Metrics, board: Board) -> Stage:
    """Declare the stage."""

    def start(partitioning: Partitioning) -> Work:
        return ControlWork(settings, metrics, partitioning, board)

    # Control records that came to the wrong partition go back to CONTROL.
    return Stage("control", (CONTROL,), DELIVERIES, None, (DELIVERIES, EVENTS, DEAD, CONTROL), start)


class ControlWork:
    """One partition of deliveries. They are few beside messages, and are kept in memory."""

    is_durable = False
    ledger_position = 0
    #: Nothing is written but what records tell.
    is_due = False

    def __init__(self, settings: Settings, metrics: Metrics, partitioning: Partitioning, board: Board) -> None:
        prefix = settings.topic_prefix
        self.position = 0
        self._partition = partitioning.number
        self._control_topic, self._deliveries_topic = prefix + CONTROL.name, prefix + DELIVERIES.name
        self._events_topic = prefix + EVENTS.name
        self._partitions = partitioning.counts[self._control_topic]
        self._events_partitions = partitioning.counts[self._events_topic]
        self._max_bytes = settings.max_record_bytes
        self._dead = DeadLetters(prefix + DEAD.name, partitioning, metrics, board)
        self._deliveries: dict[str, Delivery] = {}
        #: What the chunk in hand changed, with the timestamp of the record that did so last.
        self._changed: dict[str, tuple[Delivery, int]] = {}
        self._canceled = 0

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed deliveries; a null value is one that is to be forgotten."""
        for record in records:
            if record.value is not None:
                delivery_id, delivery = decode_delivery(record.value)
                self._deliveries[delivery_id] = delivery
            elif record.key is not None:
                self._deliveries.pop(record.key.decode(), None)
        self.position = max(position, self.position)

    def forget(self) -> None:
        """Forget all deliveries."""
        self._deliveries.clear()
        self.position = 0

    def restore_ledger(self, records: Sequence[Record], position: int) -> None:
        """Keep nothing: there is no ledger."""

    def look_around(self, *, is_behind: bool) -> None:
        """Leave nothing for later: there is little to do."""

    def restored(self) -> None:
        """Need nothing: there are no gauges."""

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Join every record into its delivery; write what changed, and tell of what was cancelled."""
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
            self._tell_cancel(delivery_id, delivery, timestamp, outbox)

    def _join(self, record: Record, value: bytes, outbox: Outbox) -> None:
        if len(value) > self._max_bytes:
            detail = f"{len(value)} bytes, and DELIVERY_MAX_RECORD_BYTES is {self._max_bytes}"
            raise RefusedError(DeadReason.RECORD_TOO_LARGE, detail)
        control = decode_control(value, record.timestamp)
        key = control.delivery_id.encode()
        home = partition_of(key, self._partitions)
        if home != self._partition:
            outbox.add(self._control_topic, home, record.timestamp, key, value, tuple(record.headers))
            return
        before = self._delivery(control.delivery_id)
        delivery = join(before, control)
        if delivery is not before:
            self._changed[control.delivery_id] = delivery, record.timestamp

    def _delivery(self, delivery_id: str) -> Delivery | None:
        """Give a delivery as the chunk in hand leaves it so far."""
        changed = self._changed.get(delivery_id)
        return self._deliveries.get(delivery_id) if changed is None else changed[0]

    def _tell_cancel(self, delivery_id: str, delivery: Delivery, timestamp: int, outbox: Outbox) -> None:
        """Write a marker to every partition of the events when the chunk made a delivery cancelled, or so earlier."""
        before = self._deliveries.get(delivery_id)
        canceled_at = delivery.canceled_at
        if canceled_at is None or (before is not None and before.canceled_at == canceled_at):
            return
        marker = encode_marker(delivery_id, canceled_at)
        for number in range(self._events_partitions):
            outbox.add(self._events_topic, number, timestamp, delivery_id.encode(), marker, MARKER_HEADERS)
        self._canceled += 1

    def committed(self, position: int) -> None:
        """Make the chunk true."""
        self._deliveries.update({delivery_id: delivery for delivery_id, (delivery, _) in self._changed.items()})
        self._changed.clear()
        self.position = max(position, self.position)
        if self._canceled:
            log.info("deliveries_canceled", deliveries=self._canceled, partition=self._partition)
            self._canceled = 0
        self._dead.committed()

    def released(self) -> None:
        """Give nothing back: there are no gauges."""

    def close(self) -> None:
        """Let go of nothing but memory."""

    def audit(self) -> int:
        """Find nothing wrong: there are no books to keep."""
        return 0
