"""The fold stage: reads canonical events; writes rows, counts and their history, rejected events and dead letters.

One record of a message is its changelog entry, its row in the public table and its entry in the change feed. Its
counts are in books.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from typing import NoReturn

from processor.domain.addresses import LEAST_REACHED
from processor.domain.erasure import erase_event, erase_row, is_erased
from processor.domain.event import Event
from processor.domain.fold import Verdict, fold, join_rows
from processor.domain.moment import NO_TIMESTAMP, Micros, Millis, from_seconds, to_micros, to_millis
from processor.domain.reason import ERASED
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
from processor.metrics.labels import ByStatus, ByVerdict
from processor.settings import Settings
from processor.stages.aside import Aside, note_of, pack_note
from processor.stages.books import Books
from processor.stages.cancels import Cancels, cancel
from processor.stages.dates import Dates
from processor.stages.dead import DeadLetters
from processor.stages.erasures import Erasures, ErasureWalk
from processor.stages.expiry import Expiry
from processor.stages.facts import Facts
from processor.stages.hand import Hand
from processor.stages.index import Index, describe_by
from processor.stages.link import link_told_by
from processor.stages.sightings import sightings_for
from processor.watch.board import Board
from processor.watch.sweeper import Pace, Sweeper
from processor.wire.control import is_marker
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event, encode_event
from processor.wire.links import (
    FORGOTTEN_HEADER,
    LINK_HEADERS,
    TAKEN_BACK_HEADER,
    MovedRecord,
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
from processor.wire.rows import encode_row, pack_row, packed_row_in, packed_rows_in, unpack_row
from processor.wire.topics import (
    COUNTS,
    DEAD,
    DELIVERIES,
    ERASURES,
    EVENTS,
    HISTORY,
    MESSAGES,
    RECEIPTS,
    RECIPIENTS,
    REJECTED,
    Topic,
)
from processor.wire.trace import carried

log = get_logger(__name__)


def stage(
    settings: Settings,
    metrics: Metrics,
    board: Board,
    clock: Callable[[], float] = time.time,
    erasures: Erasures | None = None,
) -> Stage:
    """Declare the stage.

    Args:
        settings: those of the worker.
        metrics: those of the worker.
        board: shows present problems.
        clock: returns the present time, in seconds since the epoch.
        erasures: what is erased, which this stage learns for all stages of the worker; None: it tells no other.
    """
    pace, dates, erased = Pace(), Dates(), Erasures() if erasures is None else erasures

    def start(partitioning: Partitioning) -> Fold:
        name = StoreName(partitioning.cluster, settings.topic(MESSAGES), partitioning.number)
        store = open_store(settings, name, settings.index, describe_by(settings.index))
        sweeper = Sweeper(settings, store, partitioning.number, pace, board)
        return Fold(settings, metrics, partitioning, store, sweeper, board, dates, erased, clock)

    def take(topic: Topic, records: Sequence[Record]) -> None:
        if topic.name == ERASURES.name:
            erased.take(records)
        else:
            dates.take(topic, records)

    # Events that came to the wrong partition go back to EVENTS.
    feed = (RECIPIENTS,) if settings.addresses_key else ()
    outputs = (MESSAGES, COUNTS, HISTORY, REJECTED, DEAD, EVENTS, RECEIPTS, ERASURES, *feed)
    follows = Followed((DELIVERIES, ERASURES), take)
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

#: Rows that one transaction looks at for what is to be erased: few of them change.
_ROWS_LOOKED_AT = 10_000

#: Seconds behind the present from which on what has not been read yet may be what is missed.
_LATE_SECONDS = 30


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
        erasures: Erasures,
        clock: Callable[[], float],
    ) -> None:
        self._metrics, self._sweeper, self._dates, self._clock = metrics, sweeper, dates, clock
        self._partition = partitioning.number
        self._store = store
        self.is_durable = store.is_durable
        #: What the rows are listed and found by.
        self.index = Index(settings.index, store)
        self._books = Books(settings, self._partition, metrics, board)
        self._max_bytes = settings.max_record_bytes
        self._traces = settings.trace
        self._events_topic, self._messages_topic = settings.topic(EVENTS), settings.topic(MESSAGES)
        self._rejected_topic, self._receipts_topic = settings.topic(REJECTED), settings.topic(RECEIPTS)
        self._hears_links = settings.link_wait > 0
        self._partitions = partitioning.counts[self._events_topic]
        #: Rows that cannot be read.
        self._aside = Aside(settings, MESSAGES, self._partition, metrics, board)
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        #: What the transaction in hand changes: the store learns of it when it is committed.
        self._hand = Hand(store, ())
        self._facts = Facts()
        self._sightings = sightings_for(settings, partitioning)
        self._repartitioned: Counter[ByVerdict] = Counter()
        #: Stuck messages that moved after all, by channel and the status that they left.
        self._cleared: Counter[ByStatus] = Counter()
        self._cancels = Cancels(store, dates)
        self._erasures = ErasureWalk(store, erasures, "fold", self._partition)
        self._erasures_topic = settings.topic(ERASURES)
        self._expiry = Expiry(settings.retention, clock)
        #: The timestamp of the last record, in milliseconds.
        self._timestamp = Millis(0)

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
        return self._books.position

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed rows, the last one of each message; set unreadable ones aside."""
        latest = {record.key: record for record in records if record.key is not None}
        aside: dict[bytes, bytes | None] = {key: None for key in latest if key in self._store.aside}
        # Those that are gone, or were moved, too.
        rows: dict[bytes, bytes | None] = dict.fromkeys(latest)
        told = {key: record.value for key, record in latest.items() if record.value is not None}
        try:
            b" ".join(latest).decode()
            rows.update(zip(told, packed_rows_in(told.values()), strict=True))
        except (UnreadableError, UnicodeDecodeError):
            for key, value in told.items():
                try:
                    key.decode()
                    if not is_moved(value):
                        rows[key] = packed_row_in(value)
                except (UnreadableError, UnicodeDecodeError) as error:
                    aside[key] = pack_note(note_of(latest[key].offset, error))
        self._store.restore(rows, max(position, self._store.position), aside)

    def restore_ledger(self, records: Sequence[Record], position: int) -> None:
        """Take the last published counts of every delivery."""
        self._books.restore(records, position)

    def restored(self) -> None:
        """Publish the recovered state in the gauges; recompute counts that are unreadable or do not match the rows."""
        books = self._books
        self._aside.restore(self._store.aside)
        self._aside.tell()
        books.reconcile(len(self._store), lambda: (unpack_row(packed) for _, packed in self._store.items()))
        latest = books.correct_last_changes(max(to_micros(books.written), self._now()))
        if latest is not None:
            self._expiry.restore(latest, books.written or None)
        self._expiry.forget_the_old(has_expired=books.counts.has_expired)
        self._cancels.restore(books.counts)
        self._erasures.restart()
        books.show()

    def _now(self) -> Micros:
        """Return the present time in microseconds."""
        return from_seconds(self._clock())

    def forget(self) -> None:
        """Forget all rows and counts."""
        self._store.clear()
        self._books.forget()

    def suspended(self) -> None:
        """Remove this partition's messages from the gauges."""
        self._books.hide()
        self._aside.hide()
        self._sweeper.leave()

    def close(self) -> None:
        """Close the store."""
        self._cancels.stop()
        self._erasures.stop()
        self._sweeper.stop()
        self._store.close()

    # Work

    @property
    def is_due(self) -> bool:
        """Whether there are messages to cancel, to erase or to remove, or counts or samples of them to publish."""
        books = self._books
        return (
            self._cancels.is_due
            or self._erasures.is_due
            or bool(self._expiry.found or books.touched)
            or books.history.is_due(to_millis(self._now()))
        )

    def punctuate(self, *, is_behind: bool) -> None:
        """Learn new cancels, and continue the sweep through the rows."""
        self._cancels.listen(self._books.counts)
        self.index.advance()
        now = self._now()
        is_late = is_behind and now - to_micros(self._timestamp) > _LATE_SECONDS * 1_000_000
        now = to_micros(self._timestamp) if is_late else now
        found = self._sweeper.advance(
            now, self._dates.holds, is_behind=is_late, expired_before=self._expiry.seeks_before
        )
        if found:
            self._expiry.found = found

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Fold a chunk of events; then do a share of the work that is due without events."""
        hand = self._hand = Hand(self._store, {record.key for record in records if record.key is not None})
        self._books.history.write(self._books.counts, outbox, to_millis(self._now()))
        self._cancels.listen(self._books.counts)
        self._books.touched |= self._cancels.learn(self._books.counts)
        self._fold(records, hand, outbox)
        if self._sightings is not None:
            self._sightings.write(outbox)
        self._cancel_some(hand, outbox)
        self._erase_some(hand, outbox)
        self._expire_some(hand, outbox)
        self._cleared = self._books.follow(hand, self._expiry, self._sweeper.labels.has)
        self._books.publish(outbox)

    def _fold(self, records: Sequence[Record], hand: Hand, outbox: Outbox) -> None:  # noqa: PLR0912, PLR0915 - no calls: it is hot
        """Fold events into the rows in hand, one event after the other: that keeps it in the CPU's caches."""
        publish = outbox.to(self._messages_topic, self._partition).append
        note, traces = self._facts.note, self._traces
        rows, changed = hand.now, hand.changed
        max_bytes, canceled, oldest = self._max_bytes, self._cancels.moments, self._expiry.oldest
        aside, links, sightings = self._aside.notes, self._hears_links, self._sightings
        erases = bool(self._erasures.erasures)
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
                told = event
                if erases:
                    event = self._erased(event, hand, outbox)
                key = event.message_id.encode()
                # Another key than its message's id: null, or whatever upstream had in mind.
                known = rows[key] if key in rows else hand.row(key)
                if known is None:
                    if (home := partition_of(key, self._partitions)) != self._partition:
                        self._repartition(record, key, event, home, outbox)
                        continue
                    if key in aside:
                        self._aside.refuse(key)
                if event is told and is_erased(known):
                    event = erase_event(event)
                row, verdict = fold(known, event, node, moment)
                if verdict is not Verdict.DUPLICATE:
                    if row.names.recipient == ERASED:
                        row = erase_row(row)
                    packed = pack_row(row)
                    trace = carried(record.headers) if traces and record.headers else ()
                    published = encode_row(event.message_id, row, known, packed)
                    if verdict is Verdict.REJECTED:
                        evidence = encode_rejected(
                            value or b"null" if event is told else encode_event(event), row, node
                        )
                        outbox.add(self._rejected_topic, self._partition, timestamp, key, evidence, trace)
                    # What could fail has been done: an event's effect is whole, or it is a dead letter.
                    publish((timestamp, key, published, trace))
                    rows[key], changed[key] = row, packed
                if links and event.provider_message_id is not None and not event.from_payload:
                    self._link(told, known, verdict, timestamp, outbox)
            except Exception as error:
                self._dead.add(record, outbox, error)
            else:
                note(event, moment, timestamp, node, known, row, verdict)
                if sightings is not None and (
                    node >= LEAST_REACHED
                    or event.reason is not None
                    or (known is not None and known.names.recipient is None)
                ):
                    sightings.see(event, node, moment, known, row)
                if canceled and (at := canceled.get(row.delivery)) is not None:
                    self._cancel(key, row, at, hand, outbox)
        self._timestamp = timestamp
        self._expiry.see_record(newest)

    def _repartition(self, record: Record, key: bytes, event: Event, home: int, outbox: Outbox) -> None:
        """Write an event to the partition of its message."""
        outbox.forward(self._events_topic, home, record.timestamp, key, record.value, tuple(record.headers))
        self._repartitioned[ByVerdict(event.channel, provider_label(event.provider), REROUTED)] += 1

    # Links

    def _link(self, event: Event, known: Row | None, verdict: Verdict, timestamp: Millis, outbox: Outbox) -> None:
        """Tell the receipts of a provider's id whose it is, when an event of ours is the first to name it.

        Also when it comes again: a backup may have the row, and not yet the link that was on its way.
        """
        names = known is not None and known.names.provider_message_id is not None
        if names and verdict is not Verdict.DUPLICATE:
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
        if self._erasures.erasures:
            # What ordered it may not have heard of the erasure yet.
            moved = MovedRecord(self._name(moved.message_id), self._name(moved.moved_to))
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
            self._books.take_away(before)
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
        key = self._name(event.message_id).encode()
        known = hand.row(key)
        if known is None:
            return
        if is_erased(known):
            event = erase_event(event)
        row = retract(known, event, node, moment)
        if row is None:
            self._take_away(key, None, hand, outbox)
        elif row is not known:
            packed = pack_row(row)
            value = encode_row(key.decode(), row, known, packed)
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
            self._books.touched |= self._cancels.finish(self._books.counts)

    # Erasing

    def _name(self, message_id: str) -> str:
        """Return the id that a message goes by: another one if an erased address is its end."""
        return self._erasures.erasures.name_of(message_id, self._partitions) or message_id

    def _is_erased(self, recipient: str | None) -> bool:
        return recipient is not None and self._erasures.erasures.has(recipient)

    def _erase_some(self, hand: Hand, outbox: Outbox) -> None:
        """Continue to erase recipients and texts that were known when the erasure was heard of."""
        share = self._erasures.share(_ROWS_LOOKED_AT)
        if share is None:
            return
        for key, packed in share:
            row = hand.now[key] if key in hand.now else unpack_row(packed)
            if row is not None:
                message_id = key.decode()
                if self._is_erased(row.recipient_name) or self._name(message_id) != message_id:
                    self._erase(key, hand, outbox)
        if not share:
            self._erasures.finish(self._erasures_topic, outbox)

    def _erase(self, key: bytes, hand: Hand, outbox: Outbox) -> None:
        """Erase recipient and texts of a row, and the address that its id may end with."""
        row, message_id = hand.row(key), key.decode()
        if row is None:
            return
        name, recipient = self._name(message_id), row.recipient_name
        if name == message_id and not self._is_erased(recipient):
            return
        address = message_id.rpartition(":")[2] if recipient is None else recipient
        self._erasures.count(address)
        erased = erase_row(row) if self._is_erased(address) else row
        if name != message_id:
            self._take_away(key, None, hand, outbox)
            key = name.encode()
            there = hand.row(key)
            if there is not None:
                # A receipt came under the new id before the walk came here.
                erased, row = erase_row(join_rows(there, erased)), there
        packed = pack_row(erased)
        outbox.add(self._messages_topic, self._partition, outbox.now, key, encode_row(name, erased, row, packed))
        hand.put(key, erased, packed)

    def _erased(self, event: Event, hand: Hand, outbox: Outbox) -> Event:
        """Return an event without what is told of an erased recipient, under the id that its message goes by.

        It is the same object where no erasure concerns it.
        """
        name, recipient = self._name(event.message_id), event.recipient
        is_renamed = name != event.message_id
        if not is_renamed and not self._is_erased(recipient):
            return event
        erased = erase_event(event) if recipient is None or self._is_erased(recipient) else copy(event)
        if is_renamed:
            key = event.message_id.encode()
            if key in self._aside.notes:
                self._aside.refuse(key)
            # Where the walk has not come to it: the message must not have two rows.
            self._erase(key, hand, outbox)
            erased.message_id = name
        return erased

    # Retention

    def _expire_some(self, hand: Hand, outbox: Outbox) -> None:
        """Remove expired messages, except those that have changed since they were found."""
        for key in self._expiry.take(_ROWS_AT_A_TIME):
            row = None if key in hand.now else hand.row(key)
            if row is None or not may_expire(row, self._expiry.horizon):
                continue
            outbox.add(self._messages_topic, self._partition, outbox.now, key, None)
            hand.remove(key)
            self._books.expire(row)
        self._expiry.forget_the_old(has_expired=self._books.counts.has_expired)

    # After a transaction

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk to the store and the metrics."""
        hand, position = self._hand, max(positions.changelog, self._store.position)
        self._store.write(Change(hand.changed, self._books.growth, position, indexed=self.index.change(hand.changes())))
        self._books.committed(positions.ledger)
        self._hand = Hand(self._store, ())
        self._facts.publish(self._metrics, self._sweeper.flow, self._now())
        self._facts = Facts()
        count(self._metrics.events, self._repartitioned)
        count(self._metrics.stuck_cleared, self._cleared)
        self._repartitioned.clear()
        self._cleared.clear()
        self._dead.committed()

    def audit(self) -> int:
        """Return by how many messages the counts differ from the rows, including those of the present chunk."""
        return self._books.audit(len(self._store))


def _refuse_marker() -> NoReturn:
    detail = "a record among the events cancels nothing: cancel by a control record, or with `delivery-status cancel`"
    raise UnusableError(DeadReason.CANCEL_MARKER, detail)


def _refuse_large(size: int, limit: int) -> NoReturn:
    raise UnusableError(DeadReason.RECORD_TOO_LARGE, f"{size} bytes, and DELIVERY_MAX_RECORD_BYTES is {limit}")
