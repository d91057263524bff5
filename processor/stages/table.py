"""Change rows outside folding, to cancel, erase, move or expire them: in the outbox, the hand and the counts alike."""

from __future__ import annotations

from processor.domain.moment import Millis
from processor.domain.row import Row
from processor.engine.stage import Outbox
from processor.engine.store import Store
from processor.stages.books import Books
from processor.stages.hand import Hand
from processor.wire.rows import encode_row, pack_row


class Table:
    """The table of one partition in the transaction in hand.

    Args:
        topic: the full name of the messages topic.
        partition: its number.
        store: holds the committed rows.
        books: count them.
    """

    def __init__(self, topic: str, partition: int, store: Store, books: Books) -> None:
        self._topic, self._partition, self._books = topic, partition, books
        #: What the transaction changes: the store learns of it when it is committed.
        self.hand = Hand(store, ())
        #: What it writes.
        self.outbox = Outbox(Millis(0))

    def begin(self, hand: Hand, outbox: Outbox) -> None:
        """Begin a transaction."""
        self.hand, self.outbox = hand, outbox

    def put(self, key: bytes, row: Row, before: Row | None) -> None:
        """Change a row that is in hand."""
        packed = pack_row(row)
        self._write(key, encode_row(key.decode(), row, before, packed))
        self.hand.put(key, row, packed)

    def take_away(self, key: bytes, value: bytes | None) -> None:
        """Take a row out of table and counts, as one that has never been; the value takes its place in the topic."""
        before = self.hand.before[key]
        if before is not None:
            self._books.take_away(before)
        self._write(key, value)
        self.hand.move_away(key)

    def expire(self, key: bytes, row: Row) -> None:
        """Remove a row that retention removes."""
        self.remove(key)
        self.hand.remove(key)
        self._books.expire(row)

    def remove(self, key: bytes) -> None:
        """Remove a message's record from the topic."""
        self._write(key, None)

    def _write(self, key: bytes, value: bytes | None) -> None:
        self.outbox.add(self._topic, self._partition, self.outbox.now, key, value)
