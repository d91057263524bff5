"""Keep the books of one partition: its counts of messages by delivery and status, which follow its rows, and gauges.

Counts are published as absolute numbers of this partition, so writing them again does no harm. Their topic is the
partition's ledger: a restart reads them back, and recomputes from the rows what cannot be read or does not match.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from processor.domain.counts import STATUS_INDEX, Counts, DeliveryCounts, Place, place_of
from processor.domain.event import MAX_AHEAD
from processor.domain.moment import Micros, Millis
from processor.domain.row import Row
from processor.engine.stage import Outbox, Record
from processor.logs import get_logger
from processor.metrics import Metrics, provider_label
from processor.metrics.labels import ByStatus, by_status
from processor.settings import Settings
from processor.stages.aside import Aside, note_of
from processor.stages.expiry import Expiry
from processor.stages.hand import Hand
from processor.stages.history import History
from processor.watch.board import Board
from processor.wire.counts import RESTORED_HEADER, CountsRecord, counts_key, decode_counts_of, encode_counts, to_counts
from processor.wire.readback import UnreadableError
from processor.wire.topics import COUNTS

log = get_logger(__name__)

#: By how much an event's time may lie ahead of its record, in microseconds.
_AHEAD = MAX_AHEAD // timedelta(microseconds=1)

#: The gauges of messages, and the place of each in a list of counts.
_SHOWN = tuple((labels, STATUS_INDEX[labels.status]) for labels in by_status())


class Books:
    """The counts of one partition."""

    def __init__(self, settings: Settings, partition: int, metrics: Metrics, board: Board) -> None:
        self._metrics, self._partition = metrics, partition
        self._topic = settings.topic(COUNTS)
        self.counts = Counts()
        #: The position in the topic of counts that they reflect.
        self.position = 0
        #: When they were last written, in milliseconds; 0: it is not known.
        self.written = Millis(0)
        #: Deliveries whose counts are to be published, whatever rows change.
        self.touched: set[str] = set()
        #: By how many the transaction in hand changes the number of rows.
        self.growth = 0
        #: Counts that cannot be read, until they have been written anew.
        self._lost = Aside(settings, COUNTS, partition, metrics, board)
        #: The keys of counts that a backup has restored, until they have been written anew.
        self._restored: set[bytes] = set()
        #: What they were when a minute, hour or day was over.
        self.history = History(settings, partition)
        #: What this partition has added to the gauge of messages.
        self._shown: dict[ByStatus, int] = {}

    # Recovery

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take the last published counts of every delivery; unreadable ones are recomputed later."""
        latest = {record.key: record for record in records if record.key is not None}
        for key, record in latest.items():
            self._lost.notes.pop(key, None)
            self._restored.discard(key)
            if record.value is None:
                continue
            if any(name == RESTORED_HEADER for name, _ in record.headers):
                self._restored.add(key)
            try:
                told = self._own(decode_counts_of(record.value, key))
            except UnreadableError as error:
                self._lost.notes[key] = note_of(record.offset, error)
            else:
                self.counts.restore(told.delivery_id, to_counts(told))
                self.written = max(self.written, record.timestamp)
                self.history.see([told.delivery_id], record.timestamp)
        self.position = position

    def _own(self, told: CountsRecord) -> CountsRecord:
        if told.partition != self._partition:
            raise UnreadableError(f"it is of partition {told.partition}")
        return told

    def reconcile(self, number: int, rows: Callable[[], Iterable[Row]]) -> None:
        """Recompute counts that are unreadable, that were restored, or that do not match the rows.

        Args:
            number: how many rows there are.
            rows: yields them; called only when something must be recomputed.
        """
        self._lost.tell()
        if lost := self._lost_deliveries():
            for delivery in lost:
                self.counts.restore(delivery, DeliveryCounts())
            self.counts.move(Counter((None, place) for row in rows() if (place := row_place(row))[0] in lost))
            self.touched |= lost
            log.warning("counts_rebuilt", topic=self._topic, partition=self._partition, deliveries=sorted(lost))
        error = self.counts.conservation_error(number)
        if error or self._restored:
            self._recount(rows())
            log.warning("counts_rebuilt", topic=self._topic, partition=self._partition, messages=error)

    def _lost_deliveries(self) -> set[str]:
        """Return the deliveries whose counts cannot be read; a record under a wrong key has none to lose."""
        deliveries = {key.decode(errors="replace").rpartition("|")[0] for key in self._lost.notes}
        return {each for each in deliveries if counts_key(each, self._partition) in self._lost.notes}

    def _recount(self, rows: Iterable[Row]) -> None:
        """Count all rows, and take over what rows do not have."""
        published, self.counts = self.counts, Counts()
        self.counts.move(Counter((None, row_place(row)) for row in rows))
        self.counts.has_expired = published.has_expired
        for delivery, known in published.deliveries.items():
            self.counts.delivery(delivery).take_over(known)
        self.touched = set(self.counts.deliveries)

    def correct_last_changes(self, present: Micros) -> Micros | None:
        """Correct last changes that have an absurd event time; return the latest of all, None if there is none."""
        for delivery, counts in self.counts.deliveries.items():
            if counts.last is not None and counts.last > present + _AHEAD:
                counts.last = present
                self.touched.add(delivery)
        return max([each.last for each in self.counts.deliveries.values() if each.last is not None], default=None)

    def forget(self) -> None:
        """Forget all counts."""
        self._lost.notes.clear()
        self._restored.clear()
        self.counts = Counts()
        self.history.forget()
        self.position = 0

    # A transaction

    def take_away(self, row: Row) -> None:
        """Count a row no longer, as one that has never been."""
        self.counts.move({(row_place(row), None): 1})
        self.growth -= 1
        self.touched.add(row.delivery)

    def expire(self, row: Row) -> None:
        """Count a row as one that retention has removed."""
        self.counts.expire(row_place(row))
        self.growth -= 1
        self.touched.add(row.delivery)

    def follow(self, hand: Hand, expiry: Expiry, is_stuck: Callable[[bytes, Row], bool]) -> Counter[ByStatus]:
        """Count the rows that have changed, and advance retention's clock to their changes.

        Returns:
            How many of them were stuck, by the status that they left.
        """
        #: With the providers as events name them; many rows make the same move.
        moves: list[tuple[Place | None, Place]] = []
        times: dict[str, list[Micros]] = defaultdict(list)
        cleared: Counter[ByStatus] = Counter()
        for key in hand.changed:
            old, row = hand.before[key], hand.now[key]
            if row is None:
                continue  # Expired: counted when it was.
            here = None if old is None else place_of(old, old.names.provider)
            there = place_of(row, row.names.provider)
            if here != there:
                moves.append((here, there))
                if old is not None and old.node is not row.node and is_stuck(key, old):
                    cleared[ByStatus(old.channel, old.status)] += 1
            times[there[0]].append(row.since)
        self._move(Counter(moves))
        for delivery, moments in times.items():
            latest = max(moments)
            expiry.see(latest)
            if self.counts.delivery(delivery).see(min(moments), latest):
                self.touched.add(delivery)
        return cleared

    def _move(self, named: Mapping[tuple[Place | None, Place], int]) -> None:
        """Move a number of messages for each pair of places, which have the providers as events name them."""
        moves: Counter[tuple[Place | None, Place | None]] = Counter()
        for (before, after), number in named.items():
            here, there = None if before is None else _labelled(before), _labelled(after)
            if here is None:
                self.growth += number
            if here != there:
                moves[here, there] += number
        self.touched |= self.counts.move(moves)

    def publish(self, outbox: Outbox) -> None:
        """Write the counts that have changed."""
        self.history.see(self.touched, outbox.now)
        for delivery in self.touched:
            key, value = encode_counts(delivery, self._partition, self.counts.delivery(delivery))
            outbox.add(self._topic, self._partition, outbox.now, key, value)
            self._lost.notes.pop(key, None)
            self._restored.discard(key)
        self.touched = set()

    def committed(self, position: int) -> None:
        """Show what was committed."""
        self.position = max(position, self.position)
        self.growth = 0
        self._lost.show()
        self.show()

    # Gauges

    def show(self) -> None:
        """Add this partition's messages to the gauges, or what has changed since."""
        messages, live = self._metrics.messages, self.counts.live
        for labels, index in _SHOWN:
            number = live[labels.channel][index]
            change = number - self._shown.get(labels, 0)
            if change:
                messages.labels(labels).inc(change)
                self._shown[labels] = number

    def hide(self) -> None:
        """Remove this partition's messages from the gauges."""
        for labels, number in self._shown.items():
            self._metrics.messages.labels(labels).dec(number)
        self._shown.clear()
        self._lost.hide()

    def audit(self, number: int) -> int:
        """Return by how many messages the counts differ from so many rows and those of the present transaction."""
        return self.counts.conservation_error(number + self.growth)


def row_place(row: Row) -> Place:
    """Return where a row counts."""
    return _labelled(place_of(row, row.names.provider))


def _labelled(place: Place) -> Place:
    """Return a place with the label of its provider."""
    delivery, channel, node, provider, category = place
    return delivery, channel, node, None if provider is None else provider_label(provider), category
