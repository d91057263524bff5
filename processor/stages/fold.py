"""The fold stage: canonical events in; rows, counts, rejected transitions and dead letters out.

The row of a message is its changelog entry, its line in the public table and its entry in the change feed, in one
record. Counts are absolute numbers of this partition, so they may be written again without harm.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from processor.codec import (
    decode_event,
    decode_row_record,
    encode_counts,
    encode_rejected,
    encode_row,
    pack_row,
    to_row,
    unpack_row,
)
from processor.deadletter import DeadReason, RefusedError
from processor.domain.counts import STATUS_INDEX, Counts
from processor.domain.event import Event
from processor.domain.fold import Verdict, fold
from processor.domain.reason import Category
from processor.domain.row import Row
from processor.domain.status import Channel
from processor.domain.transitions import NODE_NAMES, NODE_PERMANENCE, Node
from processor.engine.stage import Outbox, Partitioning, Record, Stage, Work
from processor.engine.store import Change, Store, StoreName
from processor.engine.store.opening import open_store
from processor.metrics import NEW, REROUTED, Metrics, count, known_statuses, provider_label
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.stages.dead import DeadLetters
from processor.stages.ledger import ledger_of, load_counts
from processor.topics import COUNTS, DEAD, EVENTS, MESSAGES, REJECTED


def stage(settings: Settings, metrics: Metrics) -> Stage:
    """Declare the stage."""

    def start(partitioning: Partitioning) -> Work:
        name = StoreName(partitioning.cluster, settings.topic_prefix + MESSAGES.name, partitioning.number)
        return Fold(settings, metrics, partitioning, open_store(settings, name))

    # Events that came to the wrong partition go back to EVENTS.
    return Stage("fold", (EVENTS,), MESSAGES, (MESSAGES, COUNTS, REJECTED, DEAD, EVENTS), start)


#: A record that holds a good event: the record, its key, the event, the node that it reports, its time.
_Report = tuple[Record, bytes, Event, Node, int]


class Fold:
    """One partition of messages."""

    def __init__(self, settings: Settings, metrics: Metrics, partitioning: Partitioning, store: Store) -> None:
        self._metrics = metrics
        self._partition = partitioning.number
        self._store = store
        self.is_durable = store.is_durable
        self._counts = load_counts(store.ledger())
        self._max_bytes = settings.max_record_bytes
        prefix = settings.topic_prefix
        self._events_topic, self._messages_topic = prefix + EVENTS.name, prefix + MESSAGES.name
        self._counts_topic, self._rejected_topic = prefix + COUNTS.name, prefix + REJECTED.name
        self._partitions = partitioning.counts[self._events_topic]
        self._dead = DeadLetters(prefix + DEAD.name, partitioning.counts[prefix + DEAD.name], metrics)
        #: The rows that the chunk in hand speaks of, as its events so far leave them; None: not known.
        self._rows: dict[bytes, Row | None] = {}
        #: What the chunk in hand changed: the store learns of it when it is committed.
        self._changed: set[bytes] = set()
        self._deliveries: set[str] = set()
        self._growth = 0
        self._facts = _Facts()
        self._rerouted: Counter[tuple[str, ...]] = Counter()
        #: What this partition has added to the gauge of messages.
        self._shown: dict[tuple[str, str], int] = {}

    # State

    @property
    def position(self) -> int:
        """The changelog position that the rows reflect."""
        return self._store.position

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed rows; of each message only the last one counts."""
        latest = {record.key: record.value for record in records if record.key is not None}
        rows: dict[bytes, bytes | None] = {}
        for (key, value), packed in zip(latest.items(), self._store.get_many(list(latest)), strict=True):
            before = None if packed is None else unpack_row(packed)
            row = None if value is None else to_row(decode_row_record(value))
            rows[key] = None if row is None else pack_row(row)
            self._count(before, row)
        self._write(rows, position)

    def restored(self) -> None:
        """Show what was recovered."""
        self._show()

    def forget(self) -> None:
        """Forget all rows."""
        self._store.clear()
        self._counts = Counts()

    def released(self) -> None:
        """Take this partition's messages out of the gauge."""
        self._hide()

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _write(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        ledger = ledger_of(self._counts, self._deliveries) if self.is_durable else {}
        self._store.write(Change(rows, self._growth, ledger, max(position, self._store.position)))
        self._deliveries.clear()
        self._growth = 0

    # Work

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Fold a chunk of events."""
        reports = list(self._decode(records, outbox))
        keys = list({report[1] for report in reports})
        for key, packed in zip(keys, self._store.get_many(keys), strict=True):
            self._rows[key] = None if packed is None else unpack_row(packed)
        for report in reports:
            try:
                self._fold(report, outbox)
            except Exception as error:
                self._dead.add(report[0], outbox, error)
        timestamp = int(time.time() * 1000)
        for delivery in self._deliveries:
            key, value = encode_counts(delivery, self._partition, self._counts.by_status(delivery))
            outbox.add(self._counts_topic, self._partition, timestamp, key, value)

    def _decode(self, records: Sequence[Record], outbox: Outbox) -> Iterator[_Report]:
        """Decode the good events; the others are dead letters."""
        for record in records:
            try:
                self._check_size(record.value)
                event, node, moment = decode_event(record.value, record.timestamp)
                yield record, event.message_id.encode(), event, node, moment
            except Exception as error:
                self._dead.add(record, outbox, error)

    def _check_size(self, value: bytes | None) -> None:
        if value is not None and len(value) > self._max_bytes:
            detail = f"{len(value)} bytes, and DELIVERY_MAX_RECORD_BYTES is {self._max_bytes}"
            raise RefusedError(DeadReason.RECORD_TOO_LARGE, detail)

    def _fold(self, report: _Report, outbox: Outbox) -> None:
        record, key, event, node, moment = report
        before = self._rows[key]
        if before is None and (home := partition_of(key, self._partitions)) != self._partition:
            outbox.add(self._events_topic, home, record.timestamp, key, record.value, tuple(record.headers))
            self._rerouted[event.channel.value, provider_label(event.provider), REROUTED] += 1
            return
        row, verdict = fold(before, event, node, moment)
        if verdict is not Verdict.DUPLICATE:
            encoded = encode_row(event.message_id, row, before)
            if verdict is Verdict.REJECTED:
                evidence = encode_rejected(record.value or b"null", row, node)
                outbox.add(self._rejected_topic, self._partition, record.timestamp, key, evidence)
            # What could fail has been done: an event's effect is whole, or it is a dead letter.
            outbox.add(self._messages_topic, self._partition, record.timestamp, key, encoded)
            self._rows[key] = row
            self._changed.add(key)
            self._count(before, row)
        self._facts.note(event, moment, node, before, row, verdict)

    def _count(self, before: Row | None, row: Row | None) -> None:
        """Bring the counts up to date with one row's change."""
        if before is not None and row is not None and before.node is row.node and before.delivery == row.delivery:
            if before.channel is row.channel:
                return
        elif before is None or row is None:
            self._growth += (row is not None) - (before is not None)
        for each in (before, row):
            if each is not None:
                self._deliveries.add(each.delivery)
        self._counts.move(before, row)

    def committed(self, position: int) -> None:
        """Make the chunk true for the store and the metrics."""
        rows = {key: pack_row(row) for key in self._changed if (row := self._rows[key]) is not None}
        self._write(rows, position)
        self._rows.clear()
        self._changed.clear()
        self._facts.publish(self._metrics)
        self._facts = _Facts()
        count(self._metrics.events, self._rerouted)
        self._rerouted.clear()
        self._dead.committed()
        self._show()

    # Gauges

    def _show(self) -> None:
        messages = self._metrics.messages
        for channel, status in known_statuses():
            number = self._counts.channels[channel][STATUS_INDEX[status]]
            labels = channel.value, status.value
            change = number - self._shown.get(labels, 0)
            if change:
                messages.labels(*labels).inc(change)
                self._shown[labels] = number

    def _hide(self) -> None:
        for labels, number in self._shown.items():
            self._metrics.messages.labels(*labels).dec(number)
        self._shown.clear()

    def audit(self) -> int:
        """Give by how many messages the counts differ from the rows, those of the chunk in hand among them."""
        return self._counts.conservation_error(len(self._store) + self._growth)


#: What one event did, in what the metrics tell apart: channel, provider, verdict, the node before, after, and reported,
#: and why the message failed or was ignored where this event made it so. A plain tuple: one is made for every event.
_Fact = tuple[Channel, "str | None", Verdict, "Node | None", Node, Node, "Category | None"]


class _Facts:
    """What the metrics will say of a chunk, once it is committed: noted per event, sorted and summed per chunk."""

    def __init__(self) -> None:
        self._facts: list[_Fact] = []
        self._times: dict[str, list[int]] = {channel.value: [] for channel in Channel}
        self._latest: dict[str | None, int] = {}

    def note(  # noqa: PLR0913, PLR0917 - called for every event: an object to carry these would cost as much as the note
        self, event: Event, time: int, node: Node, before: Row | None, row: Row, verdict: Verdict
    ) -> None:
        """Take note of one event."""
        old = None if before is None else before.node
        ended = row.node is not old and row.node in _ENDINGS
        category = _category(row) if ended else None
        self._facts.append((event.channel, event.provider, verdict, old, row.node, node, category))
        self._times[event.channel].append(time)
        if time > self._latest.get(event.provider, 0):
            self._latest[event.provider] = time

    def publish(self, metrics: Metrics) -> None:
        """Add the facts to the metrics."""
        for fact, number in Counter(self._facts).items():
            _publish(metrics, fact, number)
        now = time.time()
        for channel, times in self._times.items():
            metrics.event_age.observe_many(channel, [now - moment / 1_000_000 for moment in times])
        for provider, moment in self._latest.items():
            metrics.see_event(provider_label(provider), moment / 1_000_000)


#: Where a message that gets there has a reason worth counting.
_ENDINGS = frozenset({Node.FAILED, Node.FAILED_GAVE_UP, Node.IGNORED})


def _category(row: Row) -> Category:
    reason = row.reason
    return (reason.category if reason is not None else None) or Category.UNDEFINED


def _publish(metrics: Metrics, fact: _Fact, number: int) -> None:
    on, named, verdict, old, new, reported, category = fact
    channel, provider, after = on.value, provider_label(named), NODE_NAMES[new]
    metrics.events.labels(channel, provider, verdict.value).inc(number)
    if old is not new:
        before = NEW if old is None else NODE_NAMES[old]
        metrics.status_changes.labels(channel, before, after).inc(number)
    if category is not None:
        permanence = NODE_PERMANENCE[new]
        if permanence is None:
            metrics.ignored.labels(channel, category.value).inc(number)
        else:
            metrics.failures.labels(channel, category.value, permanence.value).inc(number)
    if verdict is Verdict.REJECTED:
        metrics.rejected_transitions.labels(channel, provider, after, NODE_NAMES[reported]).inc(number)
    elif verdict is Verdict.CORRECTED:
        metrics.late_corrections.inc(number)
