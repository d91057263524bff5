"""The fold stage: reads canonical events; writes rows, counts and their history, rejected events and dead letters.

One record of a message is its changelog entry, its row in the public table and its entry in the change feed. Its
counts are in books.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from processor.domain.moment import Micros, Millis, from_seconds, to_micros, to_millis
from processor.domain.row import Row
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
from processor.metrics import Metrics, count
from processor.metrics.labels import ByStatus
from processor.settings import Settings
from processor.stages.aside import Aside, note_of, pack_note
from processor.stages.beside import Beside
from processor.stages.books import Books
from processor.stages.cancels import Cancels
from processor.stages.dates import Dates
from processor.stages.dead import DeadLetters
from processor.stages.erasing import Eraser
from processor.stages.erasures import Erasures, ErasureWalk
from processor.stages.expiry import Expiry
from processor.stages.facts import Facts
from processor.stages.folding import Terms, fold_chunk
from processor.stages.hand import Hand
from processor.stages.index import Index, describe_by
from processor.stages.table import Table
from processor.watch.board import Board
from processor.watch.sweeper import Pace, Sweeper
from processor.wire.links import is_moved
from processor.wire.readback import UnreadableError
from processor.wire.rows import packed_row_in, packed_rows_in, unpack_row
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
        self._messages_topic = settings.topic(MESSAGES)
        self._hears_links = settings.link_wait > 0
        #: Rows that cannot be read.
        self._aside = Aside(settings, MESSAGES, self._partition, metrics, board)
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        self._facts = Facts()
        #: Stuck messages that moved after all, by channel and the status that they left.
        self._cleared: Counter[ByStatus] = Counter()
        self._cancels = Cancels(store, dates)
        self._erasures = ErasureWalk(store, erasures, "fold", self._partition)
        self._expiry = Expiry(settings.retention, clock)
        #: What the transaction in hand changes: the store learns of it when it is committed.
        self._table = Table(self._messages_topic, self._partition, store, self._books)
        partitions = partitioning.counts[settings.topic(EVENTS)]
        self._eraser = Eraser(self._erasures, self._table, self._aside, settings.topic(ERASURES), partitions)
        self._beside = Beside(
            settings,
            partitioning,
            self._table,
            self._eraser,
            self._aside,
            self._dead,
            self._expiry,
            self._facts,
        )
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
        hand = Hand(self._store, {record.key for record in records if record.key is not None})
        self._table.begin(hand, outbox)
        self._books.history.write(self._books.counts, outbox, to_millis(self._now()))
        self._cancels.listen(self._books.counts)
        self._books.touched |= self._cancels.learn(self._books.counts)
        self._fold(records, hand, outbox)
        if self._beside.sightings is not None:
            self._beside.sightings.write(outbox)
        self._cancel_some()
        self._eraser.erase_some()
        self._expire_some()
        self._cleared = self._books.follow(hand, self._expiry, self._sweeper.labels.has)
        self._books.publish(outbox)

    def _fold(self, records: Sequence[Record], hand: Hand, outbox: Outbox) -> None:
        terms = Terms(
            max_bytes=self._max_bytes,
            oldest=self._expiry.oldest,
            now=to_millis(self._now()),
            canceled=self._cancels.moments,
            erases=self._eraser.is_needed,
            links=self._hears_links,
            traces=self._traces,
            sees=self._beside.sightings is not None,
        )
        published = outbox.to(self._messages_topic, self._partition)
        timestamp, newest = fold_chunk(records, hand, self._facts, published, terms, self._beside)
        if records:
            self._timestamp = timestamp
        self._expiry.see_record(newest)

    # Cancelling

    def _cancel_some(self) -> None:
        """Continue to cancel messages that existed when their delivery was cancelled."""
        keys = self._cancels.walk(_ROWS_AT_A_TIME)
        if keys is None:
            return
        for key in keys:
            row = self._table.hand.row(key)
            if row is not None and (at := self._cancels.moments.get(row.delivery)) is not None:
                self._beside.cancel(key, row, at)
        if not keys:
            self._books.touched |= self._cancels.finish(self._books.counts)

    # Retention

    def _expire_some(self) -> None:
        """Remove expired messages, except those that have changed since they were found."""
        hand = self._table.hand
        for key in self._expiry.take(_ROWS_AT_A_TIME):
            row = None if key in hand.now else hand.row(key)
            if row is None or not may_expire(row, self._expiry.horizon):
                continue
            self._table.expire(key, row)
        self._expiry.forget_the_old(has_expired=self._books.counts.has_expired)

    # After a transaction

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk to the store and the metrics."""
        hand, position = self._table.hand, max(positions.changelog, self._store.position)
        self._store.write(Change(hand.changed, self._books.growth, position, indexed=self.index.change(hand.changes())))
        self._books.committed(positions.ledger)
        # What came in hand is as large as the chunk, and the next one may be long in coming.
        self._table.begin(Hand(self._store, ()), Outbox(Millis(0)))
        self._facts.publish(self._metrics, self._sweeper.flow, self._now())
        count(self._metrics.events, self._beside.rerouted)
        count(self._metrics.stuck_cleared, self._cleared)
        self._beside.rerouted.clear()
        self._cleared.clear()
        self._dead.committed()

    def audit(self) -> int:
        """Return by how many messages the counts differ from the rows, including those of the present chunk."""
        return self._books.audit(len(self._store))
