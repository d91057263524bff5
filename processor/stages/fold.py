"""The fold stage: reads canonical events; writes rows, counts, rejected events and dead letters.

One record of a message is its changelog entry, its row in the public table and its entry in the change feed. Counts
are absolute numbers of this partition, so writing them again does no harm.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import NoReturn

from processor.domain.counts import STATUS_INDEX, Counts, DeliveryCounts, Place, place_of
from processor.domain.event import MAX_AHEAD, Event
from processor.domain.fold import Verdict, fold
from processor.domain.moment import NO_TIMESTAMP, Micros, Millis, from_seconds, to_micros, to_millis
from processor.domain.retraction import retract
from processor.domain.row import Row
from processor.domain.transitions import Node
from processor.domain.waiting import may_expire
from processor.engine.stage import (
    AuditedWork,
    Followed,
    LedgerWork,
    Outbox,
    Partitioning,
    Positions,
    PunctuatedWork,
    Record,
    Stage,
    StoredWork,
    UnreadableRecord,
)
from processor.engine.store import Change, Store, StoreName
from processor.engine.store.opening import open_store
from processor.logs import get_logger
from processor.metrics import REROUTED, Metrics, count, provider_label
from processor.metrics.labels import ByStatus, ByVerdict, by_status
from processor.settings import Settings
from processor.stages.aside import Aside, note_of, pack_note
from processor.stages.cancels import Cancels, cancel
from processor.stages.dates import Dates
from processor.stages.dead import DeadLetters
from processor.stages.expiry import Expiry
from processor.stages.facts import Facts
from processor.stages.hand import Hand
from processor.stages.index import Index
from processor.stages.link import link_told_by
from processor.watch.board import Board
from processor.watch.sweeper import Pace, Sweeper
from processor.wire.control import is_marker
from processor.wire.counts import CountsRecord, counts_key, decode_counts_of, encode_counts, to_counts
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event
from processor.wire.links import (
    FORGOTTEN_HEADER,
    LINK_HEADERS,
    TAKEN_BACK_HEADER,
    decode_moved,
    encode_link,
    encode_moved,
    is_moved,
    order_in,
)
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.received import received_at
from processor.wire.rejected import encode_rejected
from processor.wire.rows import encode_row, pack_row, row_in, unpack_row
from processor.wire.topics import COUNTS, DEAD, DELIVERIES, EVENTS, MESSAGES, RECEIPTS, REJECTED
from processor.wire.trace import carried

log = get_logger(__name__)


def stage(
    settings: Settings,
    metrics: Metrics,
    board: Board,
    clock: Callable[[], float] = time.time,
) -> Stage:
    """Declare the stage.

    Args:
        settings: those of the worker.
        metrics: those of the worker.
        board: shows present problems.
        clock: returns the present time, in seconds since the epoch.
    """
    pace, dates = Pace(), Dates()

    def start(partitioning: Partitioning) -> Fold:
        name = StoreName(partitioning.cluster, settings.topic(MESSAGES), partitioning.number)
        store = open_store(settings, name)
        sweeper = Sweeper(settings, store, partitioning.number, pace, board)
        return Fold(settings, metrics, partitioning, store, sweeper, board, dates, clock)

    # Events that came to the wrong partition go back to EVENTS.
    outputs = (MESSAGES, COUNTS, REJECTED, DEAD, EVENTS, RECEIPTS)
    follows = Followed((DELIVERIES,), dates.take)
    return Stage(
        name="fold",
        inputs=(EVENTS,),
        outputs=outputs,
        start=start,
        changelog=MESSAGES,
        ledger=COUNTS,
        follows=follows,
    )


#: Rows that are cancelled, or removed, in one transaction besides those that records change.
_ROWS_AT_A_TIME = 2_000

#: Seconds behind the present from which on what has not been read yet may be what is missed.
_LATE_SECONDS = 30

#: By how much an event's time may lie ahead of its record, in microseconds.
_AHEAD = MAX_AHEAD // timedelta(microseconds=1)


class Fold(LedgerWork, StoredWork, PunctuatedWork, AuditedWork):
    """One partition of messages."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the stage shares among its partitions
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        store: Store,
        sweeper: Sweeper,
        board: Board,
        dates: Dates,
        clock: Callable[[], float],
    ) -> None:
        self._metrics, self._sweeper, self._dates, self._clock = metrics, sweeper, dates, clock
        self._partition = partitioning.number
        self._store = store
        self.is_durable = store.is_durable
        #: What the rows are listed and found by.
        self.index = Index(settings.index, store)
        self._counts = Counts()
        self._ledger_position = 0
        #: When the counts were last written, in milliseconds; 0: it is not known.
        self._written = Millis(0)
        self._max_bytes = settings.max_record_bytes
        self._traces = settings.trace
        self._events_topic, self._messages_topic = settings.topic(EVENTS), settings.topic(MESSAGES)
        self._counts_topic, self._rejected_topic = settings.topic(COUNTS), settings.topic(REJECTED)
        self._receipts_topic = settings.topic(RECEIPTS)
        self._hears_links = settings.link_wait > 0
        self._partitions = partitioning.counts[self._events_topic]
        #: Rows that cannot be read; and counts, until they have been written anew.
        self._aside = Aside(settings, MESSAGES, self._partition, metrics, board)
        self._lost = Aside(settings, COUNTS, self._partition, metrics, board)
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        #: What the transaction in hand changes: the store learns of it when it is committed.
        self._hand = Hand(store, ())
        self._growth = 0
        #: Deliveries whose counts are to be published, whatever rows changed.
        self._touched: set[str] = set()
        self._facts = Facts()
        self._repartitioned: Counter[ByVerdict] = Counter()
        #: Stuck messages that moved after all, by channel and the status that they left.
        self._cleared: Counter[ByStatus] = Counter()
        self._cancels = Cancels(store, dates)
        self._expiry = Expiry(settings.retention, clock)
        #: The timestamp of the last record, in milliseconds.
        self._timestamp = Millis(0)
        #: What this partition has added to the gauge of messages.
        self._shown: dict[ByStatus, int] = {}

    # State

    def row(self, key: bytes) -> Row | None:
        """Return a message's row as last committed; None: it is not known.

        Raises:
            UnreadableError: it cannot be read.
        """
        if key in self._aside.notes:
            raise UnreadableError(self._aside.describe(key))
        packed = self._store.get_many([key])[0]
        return None if packed is None else unpack_row(packed)

    @property
    def position(self) -> int:
        """The changelog position that the rows reflect."""
        return self._store.position

    @property
    def ledger_position(self) -> int:
        """The position in the topic of counts that the counts reflect."""
        return self._ledger_position

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed rows, the last one of each message; set unreadable ones aside."""
        latest = {record.key: record for record in records if record.key is not None}
        rows: dict[bytes, bytes | None] = {}
        unpacked: list[Row | None] = []
        aside: dict[bytes, bytes | None] = {key: None for key in latest if key in self._store.aside}
        for key, record in latest.items():
            value = record.value
            packed: bytes | None = None
            row: Row | None = None
            try:
                key.decode()
                if value is not None and not is_moved(value):
                    packed, row = row_in(value)
            except (UnreadableError, UnicodeDecodeError) as error:
                aside[key] = pack_note(note_of(record.offset, error))
            rows[key] = packed
            unpacked.append(row)
        known = self._store.get_many(list(rows))
        growth = sum((row is not None) - (old is not None) for row, old in zip(rows.values(), known, strict=True))
        index = self.index.change_stored(zip(rows, unpacked, strict=True), known)
        self._store.write(Change(rows, growth, max(position, self._store.position), aside, index))

    def restore_ledger(self, records: Sequence[Record], position: int) -> None:
        """Take the last published counts of every delivery; unreadable ones are recomputed later."""
        latest = {record.key: record for record in records if record.key is not None}
        for key, record in latest.items():
            self._lost.notes.pop(key, None)
            if record.value is None:
                continue
            try:
                told = self._own(decode_counts_of(record.value, key))
            except UnreadableError as error:
                self._lost.notes[key] = note_of(record.offset, error)
            else:
                self._counts.restore(told.delivery_id, to_counts(told))
                self._written = max(self._written, record.timestamp)
        self._ledger_position = position

    def _own(self, told: CountsRecord) -> CountsRecord:
        if told.partition != self._partition:
            raise UnreadableError(f"it is of partition {told.partition}")
        return told

    def restored(self) -> None:
        """Publish the recovered state in the gauges; recompute counts that are unreadable or do not match the rows."""
        self._aside.restore(self._store.aside)
        self._aside.tell()
        self._lost.tell()
        if lost := self._lost_deliveries():
            for delivery in lost:
                self._counts.restore(delivery, DeliveryCounts())
            self._recount(lost)
            log.warning("counts_rebuilt", topic=self._counts_topic, partition=self._partition, deliveries=sorted(lost))
        if error := self._counts.conservation_error(len(self._store)):
            self._recount(None)
            log.warning("counts_rebuilt", topic=self._counts_topic, partition=self._partition, messages=error)
        self._restore_clock()
        self._expiry.forget_the_old(has_expired=self._counts.has_expired)
        self._cancels.restore(self._counts)
        self._show()

    def _restore_clock(self) -> None:
        """Set retention's clock, and correct a delivery's last change that has an absurd event time."""
        present = max(to_micros(self._written), self._now())
        for delivery, counts in self._counts.deliveries.items():
            if counts.last is not None and counts.last > present + _AHEAD:
                counts.last = present
                self._touched.add(delivery)
        latest = max([each.last for each in self._counts.deliveries.values() if each.last is not None], default=None)
        if latest is not None:
            self._expiry.restore(latest, self._written or None)

    def _now(self) -> Micros:
        """Return the present time in microseconds."""
        return from_seconds(self._clock())

    def _lost_deliveries(self) -> set[str]:
        """Return the deliveries whose counts cannot be read; a record under a wrong key has none to lose."""
        deliveries = {key.decode(errors="replace").rpartition("|")[0] for key in self._lost.notes}
        return {each for each in deliveries if counts_key(each, self._partition) in self._lost.notes}

    def _recount(self, lost: set[str] | None) -> None:
        """Recount the rows of deliveries with lost counts; None: all rows, and take over what rows do not have."""
        places: Iterable[Place] = (_place(unpack_row(packed)) for _, packed in self._store.items())
        if lost is not None:
            self._counts.move(Counter((None, place) for place in places if place[0] in lost))
            self._touched |= lost
            return
        published, self._counts = self._counts, Counts()
        self._counts.move(Counter((None, place) for place in places))
        self._counts.has_expired = published.has_expired
        for delivery, known in published.deliveries.items():
            self._counts.delivery(delivery).take_over(known)
        self._touched = set(self._counts.deliveries)

    def forget(self) -> None:
        """Forget all rows and counts."""
        self._store.clear()
        self._lost.notes.clear()
        self._counts = Counts()
        self._ledger_position = 0

    def suspended(self) -> None:
        """Remove this partition's messages from the gauges."""
        self._hide()
        self._aside.hide()
        self._lost.hide()
        self._sweeper.leave()

    def close(self) -> None:
        """Close the store."""
        self._cancels.stop()
        self._sweeper.stop()
        self._store.close()

    # Work

    @property
    def is_due(self) -> bool:
        """Whether there are messages to cancel or to remove, or counts to publish again."""
        return self._cancels.is_due or bool(self._expiry.found or self._touched)

    def punctuate(self, *, is_behind: bool) -> None:
        """Learn new cancels, and continue the sweep through the rows."""
        self._cancels.listen(self._counts)
        now = self._now()
        is_late = is_behind and now - to_micros(self._timestamp) > _LATE_SECONDS * 1_000_000
        now = to_micros(self._timestamp) if is_late else now
        found = self._sweeper.advance(
            now, self._dates.starts, is_behind=is_late, expired_before=self._expiry.seeks_before
        )
        if found:
            self._expiry.found = found

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Fold a chunk of events; then do a share of the work that is due without events."""
        hand = self._hand = Hand(self._store, {record.key for record in records if record.key is not None})
        self._cancels.listen(self._counts)
        self._touched |= self._cancels.learn(self._counts)
        self._fold(records, hand, outbox)
        self._cancel_some(hand, outbox)
        self._expire_some(hand, outbox)
        self._count(hand, outbox)

    def _fold(self, records: Sequence[Record], hand: Hand, outbox: Outbox) -> None:  # noqa: PLR0912 - no calls: it is hot
        """Fold events into the rows in hand, one event after the other: that keeps it in the CPU's caches."""
        publish = outbox.to(self._messages_topic, self._partition).append
        note, traces = self._facts.note, self._traces
        rows, changed = hand.now, hand.changed
        max_bytes, canceled, oldest = self._max_bytes, self._cancels.moments, self._expiry.oldest
        aside, links = self._aside.notes, self._hears_links
        now, timestamp, newest = to_millis(self._now()), self._timestamp, NO_TIMESTAMP
        for record in records:
            value, timestamp = record.value, record.timestamp
            if timestamp > newest:
                newest = timestamp
            elif timestamp < 0:
                timestamp = now
            try:
                if record.headers:
                    if self._obeys(record, hand, outbox):
                        continue
                    timestamp = received_at(record.headers, timestamp)
                if value is not None and len(value) > max_bytes:
                    _refuse_large(len(value), max_bytes)
                event, node, moment = decode_event(value, timestamp)
                if moment < oldest:
                    self._expiry.refuse(moment)
                key = event.message_id.encode()
                # Another key than its message's id: null, or whatever upstream had in mind.
                known = rows[key] if key in rows else hand.row(key)
                if known is None:
                    if (home := partition_of(key, self._partitions)) != self._partition:
                        self._repartition(record, key, event, home, outbox)
                        continue
                    if key in aside:
                        self._aside.refuse(key)
                row, verdict = fold(known, event, node, moment)
                if verdict is not Verdict.DUPLICATE:
                    packed = pack_row(row)
                    trace = carried(record.headers) if traces and record.headers else ()
                    published = encode_row(event.message_id, row, known, packed)
                    if verdict is Verdict.REJECTED:
                        evidence = encode_rejected(value or b"null", row, node)
                        outbox.add(self._rejected_topic, self._partition, timestamp, key, evidence, trace)
                    # What could fail has been done: an event's effect is whole, or it is a dead letter.
                    publish((timestamp, key, published, trace))
                    rows[key], changed[key] = row, packed
                    if links and event.provider_message_id is not None and not event.from_payload:
                        self._link(event, known, timestamp, outbox)
            except Exception as error:
                self._dead.add(record, outbox, error)
            else:
                note(event, moment, timestamp, node, known, row, verdict)
                if canceled and (at := canceled.get(row.delivery)) is not None:
                    self._cancel(key, row, at, hand, outbox)
        self._timestamp = timestamp
        self._expiry.see_record(newest)

    def _repartition(self, record: Record, key: bytes, event: Event, home: int, outbox: Outbox) -> None:
        """Write an event to the partition of its message."""
        outbox.forward(self._events_topic, home, record.timestamp, key, record.value, tuple(record.headers))
        self._repartitioned[ByVerdict(event.channel, provider_label(event.provider), REROUTED)] += 1

    # Links

    def _link(self, event: Event, known: Row | None, timestamp: Millis, outbox: Outbox) -> None:
        """Tell the receipts of a provider's id whose it is, when an event of ours is the first to name it."""
        if known is not None and known.names.provider_message_id is not None:
            return
        told = link_told_by(event)
        if told is not None:
            key, link = told
            partition = partition_of(key, self._partitions)
            outbox.add(self._receipts_topic, partition, timestamp, key, encode_link(link), LINK_HEADERS)

    def _obeys(self, record: Record, hand: Hand, outbox: Outbox) -> bool:
        """Do what a record asks for that is no event; return whether it was one that does."""
        if is_marker(record.headers):
            _refuse_marker()
        order = order_in(record.headers)
        if order is None:
            return False
        if order == TAKEN_BACK_HEADER:
            self._take_back(record, hand, outbox)
        elif order == FORGOTTEN_HEADER:
            self._forget(record, hand, outbox)
        else:
            self._move(record, hand, outbox)
        return True

    def _move(self, record: Record, hand: Hand, outbox: Outbox) -> None:
        """Take a provisional row out of table and counts: its receipts are events of another message now."""
        moved = decode_moved(record.value)
        key = moved.message_id.encode()
        row = hand.row(key)
        if row is None:
            return
        if not (
            row.names.provider and moved.message_id.startswith((f"{row.names.provider}:", f"{row.names.provider}@"))
        ):
            detail = f"{moved.message_id!r} is no provisional row: only one that goes by a provider's id can be moved"
            raise UnusableError(DeadReason.INVALID_EVENT, detail)
        self._take_away(key, encode_moved(moved.message_id, moved.moved_to), hand, outbox)

    def _take_away(self, key: bytes, value: bytes | None, hand: Hand, outbox: Outbox) -> None:
        """Take a row out of table and counts, as one that has never been; the value takes its place in the topic."""
        before = hand.before[key]
        if before is not None:
            self._counts.move({(_place(before), None): 1})
            self._growth -= 1
            self._touched.add(before.delivery)
        outbox.add(self._messages_topic, self._partition, outbox.now, key, value)
        hand.move_away(key)

    def _forget(self, record: Record, hand: Hand, outbox: Outbox) -> None:
        """Remove the record of a move from the topic; where a row has taken its place, retention removes that."""
        key = decode_moved(record.value).message_id.encode()
        if hand.row(key) is None and key not in self._aside.notes:
            outbox.add(self._messages_topic, self._partition, outbox.now, key, None)

    def _take_back(self, record: Record, hand: Hand, outbox: Outbox) -> None:
        """Take a receipt back from a message: it was another's, as a newer link of a provider's id tells."""
        event, node, moment = decode_event(record.value, None)
        key = event.message_id.encode()
        known = hand.row(key)
        if known is None:
            return
        row = retract(known, event, node, moment)
        if row is None:
            self._take_away(key, None, hand, outbox)
        elif row is not known:
            packed = pack_row(row)
            value = encode_row(event.message_id, row, known, packed)
            outbox.add(self._messages_topic, self._partition, outbox.now, key, value)
            hand.put(key, row, packed)

    # Cancelling

    def _cancel(self, key: bytes, row: Row, at: Micros, hand: Hand, outbox: Outbox) -> None:
        """Apply the cancel of its delivery to a message, if that can still change anything."""
        message_id = key.decode()
        told = cancel(message_id, row, at)
        if told is None:
            return
        event, after, verdict = told
        packed = pack_row(after)
        value = encode_row(message_id, after, row, packed)
        timestamp = outbox.now
        outbox.add(self._messages_topic, self._partition, timestamp, key, value)
        hand.put(key, after, packed)
        self._facts.note(event, at, timestamp, Node.CANCELED, row, after, verdict)

    def _cancel_some(self, hand: Hand, outbox: Outbox) -> None:
        """Continue to cancel messages that existed when their delivery was cancelled."""
        keys = self._cancels.walk(_ROWS_AT_A_TIME)
        if keys is None:
            return
        for key in keys:
            row = hand.row(key)
            if row is not None and (at := self._cancels.moments.get(row.delivery)) is not None:
                self._cancel(key, row, at, hand, outbox)
        if not keys:
            self._touched |= self._cancels.finish(self._counts)

    # Retention

    def _expire_some(self, hand: Hand, outbox: Outbox) -> None:
        """Remove expired messages, except those that have changed since they were found."""
        for key in self._expiry.take(_ROWS_AT_A_TIME):
            row = None if key in hand.now else hand.row(key)
            if row is None or not may_expire(row, self._expiry.horizon):
                continue
            outbox.add(self._messages_topic, self._partition, outbox.now, key, None)
            hand.remove(key)
            self._counts.expire(_place(row))
            self._growth -= 1
            self._touched.add(row.delivery)
        self._expiry.forget_the_old(has_expired=self._counts.has_expired)

    # Books

    def _count(self, hand: Hand, outbox: Outbox) -> None:
        """Update the counts with the changed rows, and write the counts that changed."""
        moves: Counter[tuple[Place | None, Place | None]] = Counter()
        times: dict[str, list[Micros]] = defaultdict(list)
        labels = self._sweeper.labels
        for key in hand.changed:
            old, row = hand.before[key], hand.now[key]
            if row is None:
                continue  # Expired: counted when it was.
            here, there = None if old is None else _place(old), _place(row)
            if here != there:
                moves[here, there] += 1
                self._growth += here is None
                if old is not None and old.node is not row.node and labels.has(key, old):
                    self._cleared[ByStatus(old.channel, old.status)] += 1
            times[there[0]].append(row.since)
        changed = self._counts.move(moves) | self._touched
        self._touched = set()
        for delivery, moments in times.items():
            latest = max(moments)
            self._expiry.see(latest)
            if self._counts.delivery(delivery).see(min(moments), latest):
                changed.add(delivery)
        for delivery in changed:
            key, value = encode_counts(delivery, self._partition, self._counts.delivery(delivery))
            outbox.add(self._counts_topic, self._partition, outbox.now, key, value)
            self._lost.notes.pop(key, None)

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk to the store and the metrics."""
        hand, position = self._hand, max(positions.changelog, self._store.position)
        self._store.write(Change(hand.changed, self._growth, position, indexed=self.index.change(hand.changes())))
        self._ledger_position = max(positions.ledger, self._ledger_position)
        self._hand = Hand(self._store, ())
        self._growth = 0
        self._facts.publish(self._metrics, self._sweeper.flow, self._now())
        self._facts = Facts()
        count(self._metrics.events, self._repartitioned)
        count(self._metrics.stuck_cleared, self._cleared)
        self._repartitioned.clear()
        self._cleared.clear()
        self._dead.committed()
        self._lost.show()
        self._show()

    # Gauges

    def _show(self) -> None:
        messages = self._metrics.messages
        for labels in by_status():
            number = self._counts.live[labels.channel][STATUS_INDEX[labels.status]]
            change = number - self._shown.get(labels, 0)
            if change:
                messages.labels(labels).inc(change)
                self._shown[labels] = number

    def _hide(self) -> None:
        for labels, number in self._shown.items():
            self._metrics.messages.labels(labels).dec(number)
        self._shown.clear()

    def audit(self) -> int:
        """Return by how many messages the counts differ from the rows, including those of the present chunk."""
        return self._counts.conservation_error(len(self._store) + self._growth)


def _refuse_marker() -> NoReturn:
    detail = "a record among the events cancels nothing: cancel by a control record, or with `delivery-status cancel`"
    raise UnusableError(DeadReason.CANCEL_MARKER, detail)


def _refuse_large(size: int, limit: int) -> NoReturn:
    raise UnusableError(DeadReason.RECORD_TOO_LARGE, f"{size} bytes, and DELIVERY_MAX_RECORD_BYTES is {limit}")


def _place(row: Row) -> Place:
    provider = row.names.provider
    return place_of(row, None if provider is None else provider_label(provider))
